//! The one place that writes to the terminal.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this module is where printing is allowed")]

use std::io::Write;

use claviger_policy::document::Diagnostics;

/// What a command was asked for.
pub(crate) fn out(text: &str) {
    // A reader that went away (`| head`) is no error of ours.
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// As [`out`], without the line's end.
pub(crate) fn out_raw(text: &str) {
    let _ = write!(std::io::stdout(), "{text}");
    let _ = std::io::stdout().flush();
}

/// What an operator should know while the proxy runs.
pub(crate) fn note(text: &str) {
    let text = paragraph(text);
    let _ = writeln!(std::io::stderr(), "claviger: {text}");
}

/// Why a command failed.
pub(crate) fn failure(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// One finding, which may cite what somebody else wrote.
pub(crate) fn cited(text: &str) {
    failure(&paragraph(text));
}

/// Findings about a configuration, one paragraph each.
pub(crate) fn diagnostics(found: &Diagnostics) {
    for diagnostic in found.iter() {
        cited(&diagnostic.to_string());
    }
}

/// As much of a finding as anybody reads, in characters.
const LONGEST: usize = 8_000;

/// A finding cites what somebody wrote into a file, perhaps a team: it must not steer the terminal, nor begin a line
/// that looks like one of ours.
fn paragraph(text: &str) -> String {
    let plain: String =
        text.chars().take(LONGEST).map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c }).collect();
    let indented = |line: &str| if line.starts_with(' ') { line.to_owned() } else { format!("  {line}") };
    let lines = plain.lines().enumerate().map(|(at, line)| if at == 0 { line.to_owned() } else { indented(line) });
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::paragraph;

    #[test]
    fn what_is_cited_stays_within_its_paragraph() {
        for (text, shown) in [
            ("one line", "one line"),
            ("a\n  help: b", "a\n  help: b"),
            ("a\nclaviger: ready", "a\n  claviger: ready"),
            ("a\x1b[2J\rclaviger: b\u{9b}", "a\u{fffd}[2J\u{fffd}claviger: b\u{fffd}"),
        ] {
            assert_eq!(paragraph(text), shown);
        }
    }
}
