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

/// As [`out_raw`], beside the output.
pub(crate) fn err_raw(text: &str) {
    let _ = write!(std::io::stderr(), "{text}");
}

/// What an operator should know while the proxy runs.
pub(crate) fn note(text: &str) {
    let text = paragraph(text);
    let _ = writeln!(std::io::stderr(), "claviger: {text}");
}

/// A word beside the output of a command that has the terminal, perhaps in raw mode: lines begin at the left anyway.
pub(crate) fn aside(text: &str) {
    use std::io::IsTerminal;
    let text = visible(text);
    let stderr = std::io::stderr();
    if stderr.is_terminal() {
        let _ = write!(stderr.lock(), "\r{}\r\n", text.replace('\n', "\r\n"));
    } else {
        let _ = writeln!(stderr.lock(), "{text}");
    }
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

/// A text of somebody else's as a terminal may have it: what moves the cursor, or turns the order of letters round, is
/// written out. A configuration that is looked at before it is allowed must not be able to hide what it says.
pub(crate) fn visible(text: &str) -> String {
    let is_layout = |c: char| matches!(c, '\n' | '\t');
    // Marks, embeddings, overrides and isolates of bidirectional text (UAX #9), and what has no width.
    let is_hidden = |c: char| matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    let mut visible = String::with_capacity(text.len());
    for c in text.chars() {
        if !is_layout(c) && (c.is_control() || is_hidden(c)) {
            visible.extend(c.escape_unicode());
        } else {
            visible.push(c);
        }
    }
    visible
}

#[cfg(test)]
mod tests {
    use super::{paragraph, visible};

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

    #[test]
    fn what_a_terminal_would_obey_is_written_out() {
        for (text, expected) in [
            ("api.test, ü, 日本\n\tx", "api.test, ü, 日本\n\tx"),
            ("evil.test\u{1b}[2K\rgood.test", "evil.test\\u{1b}[2K\\u{d}good.test"),
            ("\u{202e}tset.live", "\\u{202e}tset.live"),
            ("a\u{200b}b\u{9b}c\u{7f}", "a\\u{200b}b\\u{9b}c\\u{7f}"),
        ] {
            assert_eq!(visible(text), expected);
        }
    }
}
