//! Suggestions as TOML that can be pasted as it is, or as JSON.

use std::fmt::Write as _;
use std::process::ExitCode;

use claviger_policy::{Cited, Unsuggested};
use serde_json::{Value, json};

use super::refused::{Group, Refused, Shape};
use super::{Format, Proven};
use crate::command::{Done, Failure, plural};
use crate::console;

/// Others that are listed one by one.
const LISTED: usize = 20;

/// There is nothing to suggest, and why.
pub(super) fn nothing(why: &str, output: Format) -> Done {
    match output {
        Format::Toml => Err(Failure::Other(format!("nothing is suggested: {why}"))),
        Format::Json => {
            console::out(&json!({ "suggestions": [], "unsuggested": [{ "why": why }] }).to_string());
            Ok(ExitCode::from(1))
        }
    }
}

pub(super) fn print(proven: &[Proven], refusals: &[(&Group, Unsuggested)], recent: &Refused, output: Format) {
    match output {
        Format::Toml => {
            let tables: Vec<String> = proven.iter().map(|one| toml(one, recent)).collect();
            if !tables.is_empty() {
                console::out(tables.join("\n").trim_end());
            }
            for (group, why) in refusals {
                console::note(&format!("nothing is suggested for {}: {}", asked(group), reason(why)));
            }
        }
        Format::Json => {
            let suggestions: Vec<Value> = proven.iter().map(|one| json_of(one, recent)).collect();
            let unsuggested: Vec<Value> = refusals.iter().map(|(group, why)| unsuggested(group, why)).collect();
            console::out(&json!({ "suggestions": suggestions, "unsuggested": unsuggested }).to_string());
        }
    }
}

fn asked(group: &Group) -> String {
    match group.shapes() {
        [one] => request(one),
        shapes => {
            let first = shapes.first().map(request).unwrap_or_default();
            format!("{first} and {} more", shapes.len().saturating_sub(1))
        }
    }
}

fn request(shape: &Shape) -> String {
    let recorded = &shape.recorded;
    format!("{} {}{} as {}", recorded.method, recorded.authority, recorded.path, recorded.principal.id)
}

/// In words; a rule is cited with its place.
fn reason(why: &Unsuggested) -> String {
    let names = |denies: &[Cited]| denies.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    match why {
        Unsuggested::Allowed(Some(rule)) => format!("the configuration as it is now allows it by {rule}"),
        Unsuggested::Allowed(None) => "the configuration as it is now allows it".to_owned(),
        Unsuggested::Denied(denies) => {
            format!("a deny is in the way, and always wins: {}", names(denies))
        }
        Unsuggested::Ambiguous(Some(rule)) => {
            format!("{rule} ties with another allow of its priority: give one of them another `priority`")
        }
        Unsuggested::Ambiguous(None) => "two allows tie: give one of them another `priority`".to_owned(),
        Unsuggested::TeamFrozen => {
            "the files of its team are wrong, and none of them has been in force: `claviger check` says why".to_owned()
        }
        Unsuggested::NotLent(service) => {
            format!("service `{service}` is not among the `services` of the caller's team, which the platform says")
        }
        Unsuggested::UnknownService(Some(hint)) => format!("no service claims it: {hint}"),
        Unsuggested::UnknownService(None) => "no service claims it: define `[service.NAME]` with its host".to_owned(),
        Unsuggested::Target(error) => format!("its service refuses the path as it is now: {error}"),
        Unsuggested::Method(method) => format!("no rule can name the method `{method}`"),
    }
}

fn code(why: &Unsuggested) -> &'static str {
    match why {
        Unsuggested::Allowed(_) => "allowed",
        Unsuggested::Denied(_) => "denied_by_rule",
        Unsuggested::Ambiguous(_) => "ambiguous",
        Unsuggested::TeamFrozen => "team_frozen",
        Unsuggested::NotLent(_) => "service_not_lent",
        Unsuggested::UnknownService(_) => "unknown_service",
        Unsuggested::Target(_) => "bad_target",
        Unsuggested::Method(_) => "bad_method",
    }
}

/// Nothing of a comment comes from a client but words that a record shows.
fn comment(text: &mut String, line: &str) {
    // Line breaks would end the comment.
    let line: String = line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let _ = writeln!(text, "# {line}");
}

fn toml(proven: &Proven, recent: &Refused) -> String {
    let Proven { suggestion, team, proof } = proven;
    let mut text = String::new();
    if let Some(team) = team {
        comment(&mut text, &format!("for a file of team `{team}`"));
    }
    match (proof.allowed.as_slice(), proof.holds()) {
        ([Some((rule, credential))], _) => {
            comment(&mut text, &format!("checked: with this, rule `{rule}` allows it with credential `{credential}`"));
        }
        (all, true) => comment(
            &mut text,
            &format!("checked: with this, all {} of requests are allowed", plural(all.len(), "kind")),
        ),
        (_, false) => comment(&mut text, "NOT ENOUGH: it depends on a fact of the body that was not recorded"),
    }
    let since = jiff::Timestamp::from_second(recent.since_ms.div_euclid(1_000)).unwrap_or_default();
    let refused = plural(usize::try_from(recent.total).unwrap_or(usize::MAX), "request");
    let others = proof.others();
    let also = match others {
        0 => "allow no other".to_owned(),
        others => format!("also allow {others}"),
    };
    let same = if proof.same > 1 { format!(" ({} are alike)", proof.same) } else { String::new() };
    comment(&mut text, &format!("checked: of {refused} refused since {since}{same} it would {also}"));
    for shape in proof.also.iter().take(LISTED) {
        comment(&mut text, &format!("  {} x {}", shape.count, request(shape)));
    }
    if proof.also.len() > LISTED {
        comment(&mut text, &format!("  and {} more kinds", proof.also.len() - LISTED));
    }
    if recent.left_out > 0 {
        comment(&mut text, &format!("not checked: {} that cannot be judged from their records", recent.left_out));
    }
    for note in suggestion.notes.iter().chain(&proof.warnings) {
        comment(&mut text, &format!("note: {note}"));
    }
    text.push_str(&suggestion.to_string());
    text
}

fn json_of(proven: &Proven, recent: &Refused) -> Value {
    let Proven { suggestion, team, proof } = proven;
    let shape = |shape: &Shape| {
        let recorded = &shape.recorded;
        json!({
            "principal": recorded.principal.id.as_str(), "method": recorded.method.as_str(),
            "host": recorded.authority.to_string(), "path": recorded.path, "count": shape.count, "sample": shape.sample,
        })
    };
    let allowed: Vec<Value> = proof
        .allowed
        .iter()
        .map(|one| match one {
            Some((rule, credential)) => json!({ "rule": rule, "credential": credential }),
            None => Value::Null,
        })
        .collect();
    json!({
        "team": team.as_deref(),
        "toml": suggestion.to_string(),
        "allow": suggestion.name,
        "workload": suggestion.workload.as_ref().map(|workload| &workload.name),
        "notes": suggestion.notes,
        "warnings": proof.warnings,
        "proof": {
            "holds": proof.holds(),
            "allowed": allowed,
            "since_ms": recent.since_ms,
            "refused": recent.total,
            "not_checked": recent.left_out,
            "alike": proof.same,
            "also_allowed": proof.also.iter().map(shape).collect::<Vec<_>>(),
        },
    })
}

fn unsuggested(group: &Group, why: &Unsuggested) -> Value {
    let denies: Vec<Value> = match why {
        Unsuggested::Denied(denies) => denies
            .iter()
            .map(|deny| json!({ "name": &*deny.name, "file": deny.file, "line": deny.line, "why": deny.why }))
            .collect(),
        _ => Vec::new(),
    };
    json!({ "for": asked(group), "code": code(why), "why": reason(why), "denies": denies })
}
