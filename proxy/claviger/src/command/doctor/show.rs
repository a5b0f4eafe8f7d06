//! How checks are told: a line each for people, an object each for programs.

use std::io::IsTerminal;

use serde::Serialize;

use super::check::{Category, Check, Status};
use crate::command::{Failure, plural};
use crate::console;

/// How lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Look {
    /// Letters instead of signs: not every terminal has them.
    pub(crate) ascii: bool,
    pub(crate) coloured: bool,
}

impl Look {
    /// As this terminal can have it.
    pub(crate) fn of(ascii: bool, variable: &dyn Fn(&str) -> Option<String>) -> Self {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        // The first that is set counts (POSIX, XBD §8.2).
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(set).unwrap_or_default().to_lowercase();
        let is_utf8 = locale.contains("utf-8") || locale.contains("utf8");
        let is_plain = set("NO_COLOR").is_some() || variable("TERM").as_deref() == Some("dumb");
        Self { ascii: ascii || !is_utf8, coloured: !is_plain && std::io::stdout().is_terminal() }
    }

    fn mark(self, status: Status) -> String {
        let (sign, letters, colour) = match status {
            Status::Ok => ("✓", "ok", "32"),
            Status::Warning => ("!", "!", "33"),
            Status::Error => ("✗", "x", "31"),
        };
        let (sign, width) = if self.ascii { (letters, 2) } else { (sign, 1) };
        let padded = format!("{sign:<width$}");
        if self.coloured { format!("\x1b[{colour}m{padded}\x1b[0m") } else { padded }
    }

    /// The lines of one check.
    pub(crate) fn lines(self, check: &Check) -> String {
        let arrow = if self.ascii { "->" } else { "→" };
        let mut text = format!("  {} {}", self.mark(check.status), one_line(&check.what));
        if let Some(cause) = &check.cause {
            text.push_str(&format!("\n      {}", one_line(cause)));
        }
        if let Some(next) = &check.next {
            text.push_str(&format!("\n      {arrow} {}", one_line(next)));
        }
        text
    }

    fn heading(self, category: Category) -> String {
        if self.coloured { format!("\x1b[1m{}\x1b[0m", category.title()) } else { category.title().to_owned() }
    }

    /// A category, as soon as it was looked at.
    pub(crate) fn tell(self, category: Category, checks: &[Check]) {
        if checks.is_empty() {
            return;
        }
        console::out(&self.heading(category));
        checks.iter().for_each(|check| console::out(&self.lines(check)));
    }

    /// The last line.
    pub(crate) fn sum_up(self, checks: &[Check]) {
        let count = |status| checks.iter().filter(|check| check.status == status).count();
        let (errors, warnings) = (count(Status::Error), count(Status::Warning));
        let fine = format!("{} looked at", plural(checks.len(), "thing"));
        console::out(&match (errors, warnings) {
            (0, 0) => format!("{fine}: all as it should be"),
            (0, _) => format!("{fine}: nothing is broken, {}", plural(warnings, "warning")),
            (_, 0) => format!("{fine}: {}", plural(errors, "fault")),
            (_, _) => format!("{fine}: {}, {}", plural(errors, "fault"), plural(warnings, "warning")),
        });
    }
}

/// What stands in a file or a record must not steer the terminal, nor look like a check of ours.
fn one_line(text: &str) -> String {
    console::visible(&text.split_whitespace().collect::<Vec<_>>().join(" "))
}

#[derive(Serialize)]
struct Report<'a> {
    /// The worst of all.
    status: Status,
    checks: Vec<Row<'a>>,
}

#[derive(Serialize)]
struct Row<'a> {
    id: &'static str,
    category: &'static str,
    status: Status,
    subject: Option<&'a str>,
    what: &'a str,
    cause: Option<&'a str>,
    next: Option<&'a str>,
}

/// All of them, for programs.
pub(crate) fn json(checks: &[Check]) -> Result<String, Failure> {
    let rows = checks.iter().map(|check| Row {
        id: check.id.as_str(),
        category: check.id.category().as_str(),
        status: check.status,
        subject: check.subject.as_deref(),
        what: &check.what,
        cause: check.cause.as_deref(),
        next: check.next.as_deref(),
    });
    let status = checks.iter().map(|check| check.status).max().unwrap_or(Status::Ok);
    let report = Report { status, checks: rows.collect() };
    serde_json::to_string_pretty(&report).map_err(|error| Failure::doing("print the checks")(&error))
}

#[cfg(test)]
mod tests {
    use super::super::check::Id;
    use super::*;

    fn look(set: &[(&str, &str)]) -> Look {
        let find = |name: &str| set.iter().find(|(is, _)| *is == name).map(|(_, value)| (*value).to_owned());
        Look::of(false, &find)
    }

    #[test]
    fn signs_are_for_terminals_that_have_them() {
        for (set, ascii) in [
            (&[("LANG", "de_DE.UTF-8")][..], false),
            (&[("LANG", "C.utf8")], false),
            (&[("LC_ALL", ""), ("LC_CTYPE", "en_US.UTF-8"), ("LANG", "C")], false),
            (&[("LC_ALL", "C"), ("LANG", "de_DE.UTF-8")], true),
            (&[], true),
            (&[("LANG", "POSIX")], true),
        ] {
            assert_eq!(look(set).ascii, ascii, "{set:?}");
        }
        assert!(Look::of(true, &|_| Some("C.UTF-8".to_owned())).ascii);
    }

    #[test]
    fn what_is_not_as_it_should_be_says_why_and_what_to_do() {
        let good = Check::ok(Id::ConfigFound, "a");
        let bad = Check::error(Id::CaExpires, "b\x1b[2J", "since\nyesterday", "`claviger ca`");
        let (signs, letters) = (Look { ascii: false, coloured: false }, Look { ascii: true, coloured: false });
        assert_eq!(signs.lines(&good), "  ✓ a");
        assert_eq!(letters.lines(&good), "  ok a");
        assert_eq!(signs.lines(&bad), "  ✗ b\\u{1b}[2J\n      since yesterday\n      → `claviger ca`");
        assert_eq!(letters.lines(&bad), "  x  b\\u{1b}[2J\n      since yesterday\n      -> `claviger ca`");
        assert!(letters.lines(&bad).is_ascii());
    }
}
