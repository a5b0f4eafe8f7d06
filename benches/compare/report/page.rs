//! The figures in docs/performance.md and README.md: between markers, so that a run can rewrite them.

use std::fs;
use std::path::Path;

use super::{Outcome, Verdict, plot, table, verdicts};
use crate::works::Metric;

const BEGIN: &str = "<!-- figures: benches/compare/run --page -->";
const END: &str = "<!-- end of figures -->";

/// Rewrites the pages of a stored result.
pub(crate) fn page(result: &Path) {
    let outcome: Outcome = serde_json::from_str(&fs::read_to_string(result).unwrap()).unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let plot = "![CPU time for each request, Claviger's and the peers'](performance.svg)";
    rewrite(&root.join("docs/performance.md"), &format!("{plot}\n\n{}", whole(&outcome)));
    rewrite(&root.join("README.md"), &brief(&outcome));
    fs::write(root.join("docs/performance.svg"), plot::svg(&outcome)).unwrap();
}

fn rewrite(page: &Path, figures: &str) {
    let text = fs::read_to_string(page).unwrap_or_default();
    let parts = text.split_once(BEGIN).and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
    match parts {
        Some((before, after)) => {
            fs::write(page, format!("{before}{BEGIN}\n\n{}\n\n{END}{after}", figures.trim())).unwrap();
            println!("wrote {}", page.display());
        }
        None => println!("{} has no place for figures: no `{BEGIN}` … `{END}`", page.display()),
    }
}

/// The targets, one line each.
pub(crate) fn short(outcome: &Outcome) -> String {
    let mut text = "| work | target | measured: median (95 % bound) | |\n|---|---|---|---|\n".to_owned();
    for work in &outcome.works {
        for Verdict { what, measured, met } in verdicts(work) {
            let met = met.map_or("–", |met| if met { "met" } else { "**missed**" });
            text += &format!("| {} | {what} | {measured} | {met} |\n", work.title);
        }
    }
    text
}

/// One line for each work, for README.md.
fn brief(outcome: &Outcome) -> String {
    let mut text = "| work | Claviger | beside | targets met |\n|---|---|---|---|\n".to_owned();
    for work in &outcome.works {
        let verdicts = verdicts(work);
        let Some(ours) = work.leg("claviger") else { continue };
        let metric =
            [Metric::CpuUs, Metric::StartMs, Metric::ConnectionKib].into_iter().find(|m| ours.median(*m).is_some());
        let Some((metric, value)) = metric.and_then(|metric| Some((metric, ours.median(metric)?))) else { continue };
        let peers = work.legs.iter().filter(|leg| !["claviger", "before"].contains(&leg.name.as_str()));
        let beside = peers.filter_map(|peer| {
            // Memory of next to nothing makes no ratio.
            let memory = (metric == Metric::ConnectionKib).then(|| peer.median(metric)).flatten();
            let shown = memory.map(|memory| format!("{} {}", peer.name, metric.show(memory)));
            shown.or_else(|| Some(format!("{:.2} × {}", work.ratio(&peer.name, metric)?.median, peer.name)))
        });
        let met = verdicts.iter().filter(|verdict| verdict.met == Some(true)).count();
        let title = format!("{}: {}", work.title, metric.title());
        let beside = beside.collect::<Vec<_>>().join(", ");
        text += &format!("| {title} | {} | {beside} | {met} of {} |\n", metric.show(value), verdicts.len());
    }
    text
}

/// Where it ran, the targets, and each work's table.
pub(crate) fn whole(outcome: &Outcome) -> String {
    let Outcome { machine, commit, rounds, seconds, works, skipped } = outcome;
    let mut text = format!(
        "{machine}; Claviger {commit}; {rounds} rounds of {seconds} s for each proxy and work, of a second at 300 requests a second.\n"
    );
    for (peer, reason) in skipped {
        text += &format!("\nWithout {peer}: {reason}.\n");
    }
    text += &format!("\n### Targets\n\n{}\n### Each work\n", short(outcome));
    works.iter().for_each(|work| text += &table(work));
    text
}
