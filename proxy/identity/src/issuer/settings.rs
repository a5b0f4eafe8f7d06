//! `[issuer]`.

use std::time::Duration;

use claviger_policy::document::{Diagnostics, Located, Location, Table};

use super::key::SigningAlgorithm;
use super::ring::Schedule;

/// How tokens are minted, and how their keys change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuerSettings {
    /// `iss` of every token, without a `/` at its end.
    pub url: url::Url,
    /// As it was written, without a `/` at its end: `iss` is compared as a text.
    pub iss: String,
    /// What tokens are signed with.
    pub algorithm: SigningAlgorithm,
    /// The longest life of a token.
    pub lifetime: Duration,
    /// For how long a key signs.
    pub rotate_every: Duration,
    /// For how long a key is published before it signs.
    pub overlap: Duration,
}

const LIFETIME: Duration = Duration::from_secs(60 * 60);
const LIFETIME_MAX: Duration = Duration::from_secs(24 * 60 * 60);
const ROTATE_EVERY: Duration = Duration::from_secs(30 * 24 * 60 * 60);
const ROTATE_EVERY_MAX: Duration = Duration::from_secs(400 * 24 * 60 * 60);
const OVERLAP: Duration = Duration::from_secs(24 * 60 * 60);
const SECOND: Duration = Duration::from_secs(1);

/// Below this, most verifiers' copies of the keys are older than the next key.
const OVERLAP_SHORT: Duration = Duration::from_secs(5 * 60);

impl IssuerSettings {
    /// Takes `url`, `algorithm`, `lifetime`, `rotate_every` and `overlap`.
    pub fn take(table: &mut Table, out: &mut Diagnostics) -> Option<Self> {
        let url = take_url(table, out);
        let algorithm = table.choice("algorithm", &SigningAlgorithm::ALL, out);
        let lifetime = take_duration(table, "lifetime", LIFETIME, (SECOND, LIFETIME_MAX), out);
        let rotate_every = take_duration(table, "rotate_every", ROTATE_EVERY, (SECOND, ROTATE_EVERY_MAX), out);
        let overlap = take_duration(table, "overlap", OVERLAP, (SECOND, ROTATE_EVERY_MAX), out);
        let (place, key) = (overlap.1.unwrap_or_else(|| table.location().clone()), table.key_of("overlap"));
        let (lifetime, rotate_every, overlap) = (lifetime.0, rotate_every.0, overlap.0);
        if overlap.saturating_mul(2) > rotate_every {
            let message = "a key is published for longer before it signs than half of the time for which it signs";
            out.error(&place, key, message).help("make `overlap` at most half of `rotate_every`");
        } else if overlap < OVERLAP_SHORT {
            let message = "verifiers that keep a copy of the keys for longer than this refuse tokens of the next key";
            out.warning(&place, key, message).help("most keep it for minutes up to a day: write `overlap = \"24h\"`");
        }
        let (url, iss) = url?;
        let algorithm = algorithm.map_or(SigningAlgorithm::Es256, |algorithm| algorithm.value);
        Some(Self { url, iss, algorithm, lifetime, rotate_every, overlap })
    }

    pub(super) fn schedule(&self) -> Schedule {
        Schedule {
            algorithm: self.algorithm,
            lifetime_ms: ms(self.lifetime),
            rotate_every_ms: ms(self.rotate_every),
            overlap_ms: ms(self.overlap),
        }
    }
}

pub(super) fn ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn take_duration(
    table: &mut Table,
    name: &'static str,
    default: Duration,
    (least, most): (Duration, Duration),
    out: &mut Diagnostics,
) -> (Duration, Option<Location>) {
    let key = table.key_of(name);
    let Some(Located { value, location }) = table.duration(name, out) else { return (default, None) };
    if value < least || value > most {
        let message = format!("this is not from {} to {}", written(least), written(most));
        out.error(&location, key, message).help(format!("leave the key out for {}", written(default)));
        return (default, Some(location));
    }
    (value, Some(location))
}

/// As a configuration has it.
fn written(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let units = [(86_400, 'd'), (3_600, 'h'), (60, 'm')];
    let fitting = units.into_iter().find(|(unit, _)| seconds >= *unit && seconds.is_multiple_of(*unit));
    let (unit, letter) = fitting.unwrap_or((1, 's'));
    format!("{}{letter}", seconds / unit)
}

/// An issuer's URL (OpenID Connect Discovery §3): https, no query, no fragment.
fn take_url(table: &mut Table, out: &mut Diagnostics) -> Option<(url::Url, String)> {
    let text = table.required_string("url", out)?;
    match parse_url(&text.value) {
        Ok(url) => Some((url, text.value.trim_end_matches('/').to_owned())),
        Err(message) => {
            out.error(&text.location, table.key_of("url"), message)
                .help("write the address at which verifiers find the documents, as `https://tokens.example.com`");
            None
        }
    }
}

fn parse_url(text: &str) -> Result<url::Url, String> {
    let url = url::Url::parse(text).map_err(|error| format!("this is not a URL: {error}"))?;
    let is_loopback = match url.host() {
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    };
    match url.scheme() {
        "https" => {}
        "http" if is_loopback => {}
        _ => return Err("an issuer is an https:// URL (OpenID Connect Discovery §3)".to_owned()),
    }
    if url.query().is_some() || url.fragment().is_some() || !url.username().is_empty() || url.password().is_some() {
        return Err("an issuer's URL has no query, fragment, user or password".to_owned());
    }
    // `iss` is compared as a text: one that a parser would write otherwise means two things.
    let written = url.as_str().trim_end_matches('/');
    if written != text.trim_end_matches('/') {
        return Err(format!("an issuer's URL is written as verifiers compare it: `{written}`"));
    }
    Ok(url)
}
