//! A plot of CPU times: one group of bars for each work, each bar relative to Claviger's.

use std::fmt::Write;

use super::Outcome;
use crate::works::Metric;

const ROW: u32 = 16;
const LEFT: u32 = 110;
const WIDTH: u32 = 760;

/// An SVG picture.
pub(crate) fn svg(outcome: &Outcome) -> String {
    let (mut body, mut y) = (String::new(), 44);
    let bars = f64::from(WIDTH - LEFT - 140);
    for work in &outcome.works {
        let legs = work.legs.iter().filter_map(|leg| Some((leg.name.as_str(), leg.median(Metric::CpuUs)?)));
        let legs: Vec<(&str, f64)> = legs.collect();
        let Some((_, ours)) = legs.iter().find(|(name, _)| *name == "claviger") else { continue };
        // Beyond four times ours a bar is cut, so that the others can be told apart.
        let longest = legs.iter().map(|(_, value)| value / ours).fold(1.0, f64::max).min(4.0);
        let _ = writeln!(body, r#"<text x="8" y="{y}" class="t">{}</text>"#, escape(&work.title));
        for (name, value) in &legs {
            y += ROW;
            let share = (value / ours).min(longest) / longest;
            let class = if *name == "claviger" { "o" } else { "p" };
            let cut = if value / ours > longest { " →" } else { "" };
            let width = (bars * share).round();
            let _ = writeln!(
                body,
                r#"<text x="{x}" y="{y}" class="n">{name}</text><rect x="{LEFT}" y="{top}" width="{width}" height="11" class="{class}"/><text x="{end}" y="{y}">{show}{cut}</text>"#,
                x = LEFT - 8,
                top = y - 10,
                end = f64::from(LEFT) + width + 6.0,
                show = Metric::CpuUs.show(*value),
            );
        }
        y += 2 * ROW;
    }
    format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y}" viewBox="0 0 {WIDTH} {y}">
<style>text{{font:11px sans-serif;fill:#333}}.t{{font-weight:bold}}.n{{text-anchor:end}}.o{{fill:#2a6f97}}.p{{fill:#b8c4cc}}.h{{font:bold 13px sans-serif}}</style>
<rect width="100%" height="100%" fill="#fff"/>
<text x="8" y="20" class="h">CPU time of the proxy for each request, connection or event (less is better)</text>
{body}</svg>
"##
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}
