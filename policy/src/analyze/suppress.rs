//! `[[suppress]]`: findings that somebody has looked at, with a reason and an end.

use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::Date;

use crate::document::{Diagnostics, Item, Located, Location, Table, Value, nearest};
use crate::rule::moment;
use crate::value::glob_matches;

use super::{Code, Finding};

/// One `[[suppress]]`.
#[derive(Clone, Debug)]
pub struct Suppression {
    code: Code,
    /// What it is about, as written.
    on: Vec<Subject>,
    reason: Arc<str>,
    until: i64,
    location: Location,
}

/// `KIND.NAME`, in both of which `*` is any run of characters.
#[derive(Clone, Debug)]
struct Subject {
    text: String,
    kind: String,
    name: String,
}

/// A finding, and what suppresses it.
#[derive(Clone, Debug)]
pub struct Reported {
    /// The finding.
    pub finding: Finding,
    /// The suppression, if there is one that has not expired.
    pub suppressed: Option<Suppression>,
}

impl Suppression {
    /// Takes all `[[suppress]]`. One in a team's file is about the team's own tables only.
    pub fn take(root: &mut Table, out: &mut Diagnostics) -> Vec<Self> {
        root.table_list("suppress", out).into_iter().filter_map(|table| Self::take_one(table, out)).collect()
    }

    fn take_one(mut table: Table, out: &mut Diagnostics) -> Option<Self> {
        let location = table.location().clone();
        let team = location.team().cloned();
        if !table.has("code") {
            table.missing("code", out).help("write the code of the finding, as `code = \"CLV0104\"`");
        }
        let code = take_code(&mut table, out);
        if !table.has("on") {
            table
                .missing("on", out)
                .help("name the tables that it is about, as `on = \"allow.NAME\"`; `*` stands for any text");
        }
        let key = table.key_of("on");
        let on = table.strings("on", out);
        if on.as_ref().is_some_and(Vec::is_empty) {
            out.error(&location, key.clone(), "the list is empty, so that nothing is suppressed");
        }
        let on: Option<Vec<Subject>> =
            on.map(|texts| texts.iter().filter_map(|text| Subject::parse(text, team.as_deref(), &key, out)).collect());
        if !table.has("reason") {
            table.missing("reason", out).help("say why this is right as it is");
        }
        let reason = table.string("reason", out);
        if let Some(reason) = reason.as_ref().filter(|reason| reason.value.trim().is_empty()) {
            out.error(&reason.location, table.key_of("reason"), "the reason is empty")
                .help("say why this is right as it is");
        }
        if !table.has("until") {
            table.missing("until", out).help("write a day on which somebody looks again, as `until = \"2030-01-31\"`");
        }
        let until = table.take("until").and_then(|item| take_day(item, out));
        table.finish(out);
        Some(Self { code: code?, on: on?, reason: reason?.value.into(), until: until?, location })
    }

    /// Why the finding is right as it is.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// Unix seconds from which on it suppresses nothing.
    pub fn until(&self) -> i64 {
        self.until
    }

    /// Where it stands.
    pub fn location(&self) -> &Location {
        &self.location
    }

    fn is_about(&self, finding: &Finding) -> bool {
        let (kind, name) = finding.subject.split_once('.').unwrap_or((&finding.subject, ""));
        let matches = |on: &Subject| glob_matches(&on.kind, kind) && glob_matches(&on.name, name);
        self.code == finding.code && self.on.iter().any(matches)
    }

    fn text(&self) -> String {
        let on: Vec<String> = self.on.iter().map(|on| format!("`{}`", on.text)).collect();
        format!("{} on {}", self.code, on.join(", "))
    }
}

/// Sets apart what is suppressed, and adds what is wrong with the suppressions: those that have expired, and those
/// that no finding needs. These two cannot be suppressed.
pub fn settle(found: Vec<Finding>, suppressions: &[Suppression], now: i64) -> Vec<Reported> {
    let mut used = vec![false; suppressions.len()];
    let mut all: Vec<Reported> = Vec::with_capacity(found.len());
    for finding in found {
        let mut suppressed = None;
        for (suppression, used) in suppressions.iter().zip(&mut used).filter(|(one, _)| one.is_about(&finding)) {
            *used = true;
            if now < suppression.until {
                suppressed = Some(suppression.clone());
            }
        }
        all.push(Reported { finding, suppressed });
    }
    for (suppression, used) in suppressions.iter().zip(used) {
        let found = |code, message: String| Finding::new(code, "suppress", &suppression.location, message);
        let finding = if !used {
            let message = format!("there is no finding {} that it could suppress", suppression.text());
            found(Code::SuppressionUnused, message).help("remove it")
        } else if suppression.until <= now {
            let ended = Timestamp::from_second(suppression.until).map(|at| at.to_string()).unwrap_or_default();
            found(Code::SuppressionExpired, format!("it ended at {ended}: {} is reported again", suppression.text()))
                .help("mend what was found, or look at it again and extend `until`")
        } else {
            continue;
        };
        all.push(Reported { finding, suppressed: None });
    }
    all
}

impl Subject {
    fn parse(text: &Located<String>, team: Option<&str>, key: &str, out: &mut Diagnostics) -> Option<Self> {
        let written = &text.value;
        let (kind, name) = written.split_once('.').unwrap_or((written, "*"));
        if written != "*" && !written.contains('.') {
            out.error(&text.location, key, format!("`{written}` is no table"))
                .help("write KIND.NAME, as `allow.docs-llm` or `service.*`");
            return None;
        }
        // A team's names stand without its own in its files.
        let name = match team {
            Some(team) if name.strip_prefix(team).is_none_or(|rest| !rest.starts_with('/')) => format!("{team}/{name}"),
            Some(_) | None => name.to_owned(),
        };
        Some(Self { text: written.clone(), kind: kind.to_owned(), name })
    }
}

fn take_code(table: &mut Table, out: &mut Diagnostics) -> Option<Code> {
    let text = table.string("code", out)?;
    let own = [Code::SuppressionExpired, Code::SuppressionUnused];
    match Code::find(&text.value) {
        Some(code) if own.contains(&code) => {
            out.error(
                &text.location,
                table.key_of("code"),
                format!("`{code}` is about suppressions, and cannot be suppressed"),
            )
            .help("remove the suppression that it is about");
            None
        }
        Some(code) => Some(code),
        None => {
            let error =
                out.error(&text.location, table.key_of("code"), format!("`{}` is no code of a finding", text.value));
            match nearest(&text.value, Code::ALL.iter().map(|code| code.id())) {
                Some(near) => error.help(format!("did you mean `{near}`?")),
                None => error.help("`claviger analyze` prints the code of each finding"),
            };
            None
        }
    }
}

/// A day, to its end in UTC, or a moment.
fn take_day(item: Item, out: &mut Diagnostics) -> Option<i64> {
    if let Value::String(text) | Value::Datetime(text) = &item.value
        && let Ok(day) = text.parse::<Date>()
        && text.len() == "2030-01-31".len()
    {
        let end = day.tomorrow().ok().and_then(|day| day.to_zoned(jiff::tz::TimeZone::UTC).ok());
        return end.map(|end| end.timestamp().as_second()).or_else(|| {
            out.error(&item.location, item.key, "this day is beyond the calendar");
            None
        });
    }
    moment(item, out).map(|at| at.value)
}
