//! From records back to requests.

use std::sync::Arc;

use claviger_ledger::query::Record;
use claviger_policy::{Authority, Context, Principal, Recorded, SpiffeId};

/// What a `decided` record lacks to be judged: it was refused before policy was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lacking {
    /// Nobody was attested.
    Principal,
    /// No target could be read.
    Target,
    /// The record is none of this Claviger's.
    Unreadable,
}

/// Rebuilds the request of a `decided` record, as far as it was recorded.
pub(crate) fn recorded(decided: &Record) -> Result<Recorded, Lacking> {
    let id = decided.text("principal").ok_or(Lacking::Principal)?;
    let (host, path) = (decided.text("host").ok_or(Lacking::Target)?, decided.text("path").ok_or(Lacking::Target)?);
    let read = || {
        let principal = Principal {
            id: SpiffeId::parse(id).ok()?,
            attributes: decided.attributes().into_iter().collect(),
            attested_by: decided.text("attested_by")?.into(),
        };
        let source_ip = match decided.text("source_ip") {
            Some(text) => Some(text.parse().ok()?),
            None => None,
        };
        Some(Recorded {
            principal: Arc::new(principal),
            method: decided.text("method")?.parse().ok()?,
            authority: Authority::parse(host, 443).ok()?,
            path: path.to_owned(),
            context: Context { source_ip, now: decided.at_ms()?.div_euclid(1_000) },
        })
    };
    read().ok_or(Lacking::Unreadable)
}
