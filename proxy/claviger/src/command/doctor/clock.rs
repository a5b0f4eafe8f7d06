//! Whether this machine's clock can be right. Nobody is asked: what is known here already is compared with it.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use claviger_ledger::query;
use serde_json::Value;
use x509_parser::prelude::{FromDer, X509Certificate};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::check::{Check, Id};
use super::scene::Scene;
use crate::os;

/// No clock that is right shows less: this source is of then (2025-01-01).
const BUILT_AFTER: i64 = 1_735_689_600;

/// As much as clocks of machines differ that are kept in step, and as attestors forgive by default.
const LEEWAY: i64 = 30;

/// No identity token is larger.
const TOKEN_MAX: u64 = 64 << 10;

/// All of this category.
pub(crate) fn checks(scene: &Scene<'_>, since_ms: i64) -> Vec<Check> {
    let mut all = vec![built(scene.now())];
    all.extend(synchronised());
    all.extend(ledger(scene));
    all.extend(tokens(scene));
    all.extend(certificates(scene));
    all.extend(callers(scene, since_ms));
    all
}

const SET_IT: &str = "put the clock right: `timedatectl set-ntp true`, or what your machine has for that";

fn moment(at: i64) -> String {
    jiff::Timestamp::from_second(at).map_or_else(|_| at.to_string(), |at| at.to_string())
}

fn built(now: i64) -> Check {
    if now < BUILT_AFTER {
        let what = format!("the clock shows {}", moment(now));
        return Check::error(Id::ClockBuild, what, "this program is younger than that", SET_IT);
    }
    Check::ok(Id::ClockBuild, format!("the clock shows {}", moment(now)))
}

/// What systemd knows about it, where it keeps the clock.
fn synchronised() -> Option<Check> {
    let folder = Path::new("/run/systemd/timesync");
    let known = folder.exists();
    known.then(|| match folder.join("synchronized").exists() {
        true => Check::ok(Id::ClockSync, "it is kept in step with others (systemd-timesyncd)"),
        false => {
            let cause = "systemd-timesyncd runs, and has reached no time server yet";
            Check::warning(
                Id::ClockSync,
                "the clock is not kept in step with others",
                cause,
                "`timedatectl timesync-status`",
            )
        }
    })
}

/// What was recorded cannot be still to come.
fn ledger(scene: &Scene<'_>) -> Option<Check> {
    let lasts = scene.ledgers().into_iter().filter_map(|file| query::tail(&file, 1).ok()?.pop());
    let last = lasts.max_by_key(|last| last.at_ms())?;
    let at = last.at_ms()?.div_euclid(1_000);
    let ahead = at - scene.now();
    if ahead > LEEWAY {
        let what = format!("the ledger's last record is {ahead} s ahead of the clock");
        let cause = format!("record {} is of {}: the clock was put back since, or is wrong now", last.seq(), last.at());
        return Some(Check::error(Id::ClockLedger, what, cause, SET_IT));
    }
    Some(Check::ok(Id::ClockLedger, "it goes on where the ledger's last record was written"))
}

/// Tokens that the configuration names were issued by somebody else's clock.
fn tokens(scene: &Scene<'_>) -> Vec<Check> {
    let is_token =
        |key: &str| key.starts_with("attestor.") && (key.ends_with(".token") || key.ends_with(".jwks_token"));
    let named = scene.leaves.iter().filter(|(key, _)| is_token(key));
    let judged = named.filter_map(|(key, leaf)| {
        let file = leaf.file()?;
        let what = format!("the token `{}`", file.display());
        let bytes = match os::read_regular(&file, TOKEN_MAX) {
            Ok(bytes) => bytes,
            Err(error) => {
                let next = "let this user read it, or see that whoever writes it runs";
                let line = format!("{what} cannot be read");
                return Some(Check::error(Id::ClockTokens, line, error.to_string(), next).of(key));
            }
        };
        Some(token(&what, &times_of(&bytes)?, scene.now()).of(key))
    });
    judged.collect()
}

/// `iat`, `nbf` and `exp`; nothing else of a token leaves this function.
#[derive(Debug, Default, PartialEq, Eq)]
struct Times {
    issued: Option<i64>,
    from: Option<i64>,
    until: Option<i64>,
}

fn times_of(token: &[u8]) -> Option<Times> {
    let text = std::str::from_utf8(token).ok()?.trim();
    let claims = URL_SAFE_NO_PAD.decode(text.split('.').nth(1)?).ok()?;
    let claims: Value = serde_json::from_slice(&claims).ok()?;
    let number = |name: &str| claims.get(name).and_then(Value::as_f64).map(whole);
    Some(Times { issued: number("iat"), from: number("nbf"), until: number("exp") })
}

#[allow(clippy::cast_possible_truncation, reason = "a NumericDate may have a fraction (RFC 7519 §2); `as` saturates")]
fn whole(seconds: f64) -> i64 {
    seconds as i64
}

fn token(what: &str, times: &Times, now: i64) -> Check {
    let begins = times.from.max(times.issued);
    if let Some(begins) = begins.filter(|begins| *begins > now + LEEWAY) {
        let line = format!("{what} is not valid yet: it begins in {} s", begins - now);
        let cause = format!("its issuer's clock showed {} already", moment(begins));
        return Check::error(Id::ClockTokens, line, cause, SET_IT);
    }
    if let Some(until) = times.until.filter(|until| *until <= now) {
        let line = format!("{what} has expired {} s ago", now - until);
        let cause = "whoever renews it does not, or this machine's clock is ahead";
        return Check::error(
            Id::ClockTokens,
            line,
            cause,
            "see that what writes this file runs, then look at the clock",
        );
    }
    Check::ok(Id::ClockTokens, format!("{what} is valid now"))
}

/// Certificates that the configuration names, for the same reason.
fn certificates(scene: &Scene<'_>) -> Vec<Check> {
    let is_own = |key: &str| key.ends_with(".certificate");
    let named = scene.leaves.iter().filter(|(key, _)| is_own(key));
    let judged = named.filter_map(|(key, leaf)| {
        let file = leaf.file()?;
        let pem = os::read_regular(&file, 1 << 20).ok()?;
        let der = CertificateDer::pem_slice_iter(&pem).next()?.ok()?;
        let (_, x509) = X509Certificate::from_der(&der).ok()?;
        let validity = x509.validity();
        let (from, until) = (validity.not_before.timestamp(), validity.not_after.timestamp());
        Some(certificate(&file.display().to_string(), from, until, scene.now()).of(key))
    });
    judged.collect()
}

fn certificate(file: &str, from: i64, until: i64, now: i64) -> Check {
    let id = Id::ClockCertificates;
    if from > now {
        let line = format!("the certificate `{file}` is not valid yet: it begins in {} s", from - now);
        return Check::error(id, line, format!("its issuer's clock showed {} already", moment(from)), SET_IT);
    }
    if until <= now {
        let line = format!("the certificate `{file}` has expired on {}", moment(until));
        return Check::error(
            id,
            line,
            "nobody accepts it any more",
            "renew it; the proxy takes up the new one by itself",
        );
    }
    Check::ok(id, format!("the certificate `{file}` is valid until {}", moment(until)))
}

/// What callers were refused for, in records: their issuer's clock against ours.
fn callers(scene: &Scene<'_>, since_ms: i64) -> Option<Check> {
    let seen = super::network::seen(&scene.ledgers(), since_ms);
    let early: Vec<_> = seen.denied.values().filter(|kind| kind.code == "identity_not_yet_valid").collect();
    let count: u64 = early.iter().map(|kind| kind.count).sum();
    let newest = early.iter().max_by(|a, b| a.at.cmp(&b.at))?;
    let what = format!("{count} requests came with a proof that is not valid yet");
    let cause = format!("{}: the issuer's clock is ahead of this one", newest.detail);
    Some(Check::error(Id::ClockCallers, what, cause, SET_IT))
}

#[cfg(test)]
mod tests {
    use super::super::check::Status;
    use super::*;

    fn jwt(claims: &str) -> String {
        format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims))
    }

    #[test]
    fn tokens_tell_their_times() {
        for (claims, status) in [
            (r#"{"iat":1000,"exp":2000}"#, Status::Ok),
            (r#"{"iat":1530.5,"exp":2000}"#, Status::Ok),
            (r#"{"iat":1532,"exp":2000}"#, Status::Error),
            (r#"{"iat":1000,"nbf":1800,"exp":2000}"#, Status::Error),
            (r#"{"iat":1000,"exp":1500}"#, Status::Error),
            (r#"{"exp":1501}"#, Status::Ok),
            ("{}", Status::Ok),
        ] {
            let times = times_of(jwt(claims).as_bytes()).unwrap();
            assert_eq!(token("it", &times, 1500).status, status, "{claims}");
        }
        for broken in ["", "abc", "a.b.c", "a.!.c", &jwt("[").replace("e30", "")] {
            assert_eq!(times_of(broken.as_bytes()), None, "{broken}");
        }
    }

    #[test]
    fn certificates_tell_their_times() {
        for (from, until, status) in [
            (1000, 2000, Status::Ok),
            (1501, 2000, Status::Error),
            (1000, 1500, Status::Error),
            (1500, 1501, Status::Ok),
        ] {
            assert_eq!(certificate("x", from, until, 1500).status, status, "{from} {until}");
        }
    }
}
