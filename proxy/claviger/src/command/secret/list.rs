//! `claviger secret list`.

use claviger_contract::{Clock, SystemClock};
use claviger_credential::{GrantNote, SealedEntry, SealedStore};
use serde::Serialize;

use super::other;
use crate::cli::Output;
use crate::command::Failure;
use crate::console;

#[derive(Serialize)]
struct Listed<'a> {
    name: &'a str,
    version: &'a str,
    created: String,
    owner: Option<&'a str>,
    hosts: Vec<String>,
    /// The value before, while a rotation is open.
    #[serde(skip_serializing_if = "Option::is_none")]
    rotating: Option<Rotating<'a>>,
    /// What a login was granted.
    #[serde(skip_serializing_if = "Option::is_none")]
    grant: Option<Granted<'a>>,
}

#[derive(Serialize)]
struct Rotating<'a> {
    since: String,
    /// Whether a probe showed that upstream takes the new value.
    probed: bool,
    previous_version: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    previous_created: Option<String>,
}

#[derive(Serialize)]
struct Granted<'a> {
    credential: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<&'a str>,
    renewed: String,
    /// The refresh token was seen to work; until then the one before is kept.
    proven: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unanswered: Option<String>,
}

impl<'a> From<&'a SealedEntry> for Listed<'a> {
    fn from(entry: &'a SealedEntry) -> Self {
        Self {
            name: &entry.name,
            version: &entry.version,
            created: time(entry.created),
            owner: entry.owner.as_deref(),
            hosts: entry.hosts.iter().map(ToString::to_string).collect(),
            rotating: entry.previous.as_ref().map(|previous| Rotating {
                since: time(entry.created),
                probed: entry.proven,
                previous_version: &previous.version,
                previous_created: previous.created.map(time),
            }),
            grant: entry.grant.as_ref().map(|grant| Granted {
                credential: &grant.credential,
                scope: grant.scope.as_deref(),
                renewed: time(grant.renewed),
                proven: grant.proven,
                refused: grant.refused.map(time),
                unanswered: grant.unanswered.map(time),
            }),
        }
    }
}

pub(super) fn list(store: &SealedStore, output: Output) -> Result<(), Failure> {
    let entries = store.list().map_err(other)?;
    match output {
        Output::Json => {
            let listed: Vec<Listed<'_>> = entries.iter().map(Listed::from).collect();
            let json = serde_json::to_string_pretty(&listed).map_err(other)?;
            console::out(&json);
        }
        Output::Text => entries.iter().for_each(|entry| text(entry, SystemClock.now())),
    }
    Ok(())
}

fn text(entry: &SealedEntry, now: i64) {
    let SealedEntry { name, version, created, owner, hosts, previous, grant, .. } = entry;
    let hosts = hosts.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let owner = owner.as_deref().unwrap_or("-");
    console::out(&format!("{name:<24} {version:<18} {:>5}  {owner:<24} {hosts}", age(now - created)));
    if let Some(previous) = previous {
        let former = previous.created.map_or("?".to_owned(), |created| age(now - created));
        console::out(&format!(
            "{:<24} {:<18} {former:>5}  previous; rotating since {}",
            "",
            previous.version,
            time(*created)
        ));
    }
    if let Some(grant) = grant {
        console::out(&format!("{:<24} {}", "", about(name, grant, now)));
    }
}

/// What is known of a grant: whose it is, how old its refresh token is, and whether somebody has to log in.
fn about(name: &str, grant: &GrantNote, now: i64) -> String {
    let whose = if grant.credential.is_empty() { name } else { &grant.credential };
    let state = match (grant.refused, grant.unanswered) {
        (Some(refused), _) => format!("refused {} ago: run `claviger login {whose}`", age(now - refused)),
        (None, Some(since)) => format!("an answer was lost {} ago; it is tried again", age(now - since)),
        (None, None) => format!("renewed {} ago", age(now - grant.renewed)),
    };
    let scope = grant.scope.as_deref().map_or(String::new(), |scope| format!("; granted: {}", console::visible(scope)));
    format!("login of `{whose}`, {state}{scope}")
}

/// The two coarsest units would be too much: "12d", "3h", "5m", "8s".
fn age(seconds: i64) -> String {
    match seconds.max(0) {
        seconds @ 0..60 => format!("{seconds}s"),
        seconds @ 60..3_600 => format!("{}m", seconds / 60),
        seconds @ 3_600..86_400 => format!("{}h", seconds / 3_600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

/// RFC 3339 in UTC.
fn time(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).map_or_else(|_| seconds.to_string(), |time| time.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_told_in_one_unit() {
        for (seconds, expected) in [
            (-5, "0s"),
            (0, "0s"),
            (59, "59s"),
            (60, "1m"),
            (3_599, "59m"),
            (3_600, "1h"),
            (86_399, "23h"),
            (86_400, "1d"),
        ] {
            assert_eq!(age(seconds), expected);
        }
    }
}
