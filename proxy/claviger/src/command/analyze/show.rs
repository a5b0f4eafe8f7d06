//! Findings as text and as JSON.

use claviger_policy::analyze::{Level, Related, Reported, Suppression};
use claviger_policy::document::Location;
use jiff::Timestamp;
use serde::Serialize;

use crate::command::{Failure, plural};

pub(super) fn text(file: &str, all: &[Reported], with_suppressed: bool) -> String {
    let mut text = String::new();
    for Reported { finding, suppressed } in all {
        match suppressed {
            None => text.push_str(&format!("{finding}\n")),
            Some(by) if with_suppressed => {
                text.push_str(&format!("{finding}\n  suppressed until {}: {}\n", moment(by.until()), by.reason()));
            }
            Some(_) => {}
        }
    }
    let Summary { errors, warnings, notices, suppressed } = Summary::of(all);
    let counts = [plural(errors, "error"), plural(warnings, "warning"), plural(notices, "notice")];
    format!("{text}{file}: {}, {suppressed} suppressed", counts.join(", "))
}

/// How many findings of which level are not suppressed, and how many are.
#[derive(Debug, Serialize)]
struct Summary {
    errors: usize,
    warnings: usize,
    notices: usize,
    suppressed: usize,
}

impl Summary {
    fn of(all: &[Reported]) -> Self {
        let open = || all.iter().filter(|reported| reported.suppressed.is_none());
        let count = |level| open().filter(|reported| reported.finding.level() == level).count();
        let [errors, warnings, notices] = [Level::Error, Level::Warning, Level::Notice].map(count);
        Self { errors, warnings, notices, suppressed: all.len() - open().count() }
    }
}

#[derive(Serialize)]
struct Shown<'a> {
    code: &'static str,
    level: &'static str,
    title: &'static str,
    subject: &'a str,
    #[serde(flatten)]
    place: Option<Place<'a>>,
    message: &'a str,
    help: Option<&'a str>,
    related: Vec<Other<'a>>,
    suppressed: Option<Suppressed<'a>>,
}

#[derive(Serialize)]
struct Place<'a> {
    file: &'a str,
    line: usize,
    column: usize,
}

#[derive(Serialize)]
struct Other<'a> {
    #[serde(flatten)]
    place: Place<'a>,
    what: &'a str,
}

#[derive(Serialize)]
struct Suppressed<'a> {
    reason: &'a str,
    until: String,
    #[serde(flatten)]
    place: Place<'a>,
}

#[derive(Serialize)]
struct Document<'a> {
    findings: Vec<Shown<'a>>,
    summary: Summary,
}

pub(super) fn json(all: &[Reported]) -> Result<String, Failure> {
    let document = Document { findings: all.iter().map(shown).collect(), summary: Summary::of(all) };
    serde_json::to_string_pretty(&document).map_err(|error| Failure::doing("print the findings")(&error))
}

fn shown(Reported { finding, suppressed }: &Reported) -> Shown<'_> {
    Shown {
        code: finding.code.id(),
        level: finding.level().as_str(),
        title: finding.code.title(),
        subject: &finding.subject,
        place: finding.location.as_ref().map(place),
        message: &finding.message,
        help: finding.help.as_deref(),
        related: finding
            .related
            .iter()
            .map(|Related { location, what }| Other { place: place(location), what })
            .collect(),
        suppressed: suppressed.as_ref().map(|by: &Suppression| Suppressed {
            reason: by.reason(),
            until: moment(by.until()),
            place: place(by.location()),
        }),
    }
}

fn place(location: &Location) -> Place<'_> {
    Place { file: location.file(), line: location.line(), column: location.column() }
}

fn moment(second: i64) -> String {
    Timestamp::from_second(second).map_or_else(|_| second.to_string(), |at| at.to_string())
}
