//! What a record says of a change of the state.

use claviger_contract::Suspension;

/// Who ends a suspension whose time is over.
pub(super) const BY_ITSELF: &str = "claviger";

pub(super) fn of_suspended(suspension: &Suspension) -> String {
    let until = suspension.until_ms.map_or_else(String::new, |until| format!(" until {}", at(until)));
    let reason = suspension.reason.as_ref().map_or_else(String::new, |reason| format!(": {reason}"));
    format!("{} `{}`{until}{reason}", suspension.kind, suspension.name)
}

pub(super) fn of_resumed(suspension: &Suspension) -> String {
    let Suspension { kind, name, actor, since_ms, .. } = suspension;
    format!("{kind} `{name}`, suspended by {actor} since {}", at(*since_ms))
}

pub(super) fn of_expired(suspension: &Suspension) -> String {
    format!("{}; its time was over", of_resumed(suspension))
}

/// A moment for people and programs, in RFC 3339.
pub(crate) fn at(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms).map_or_else(|_| format!("{ms} ms"), |at| at.to_string())
}
