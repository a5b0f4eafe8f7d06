//! What every minted value is looked at for before it may replace a good one, whichever source it is from.
//!
//! What a place of a request allows besides is checked where the value is injected; what was only read from a store is the
//! operator's own, and is checked there alone.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use claviger_contract::Secret;
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::lease::ONLY_FIELD;

/// The longest single value, in bytes: what servers take as a header.
const TOKEN_MAX: usize = 16 * 1024;
/// The longest of several fields, in bytes: chains of certificates are longer than tokens.
const FIELD_MAX: usize = 64 * 1024;

/// What is wrong with the fields of a minted value, without showing any of them.
pub(super) fn check(fields: &[(Arc<str>, Secret)]) -> Result<(), &'static str> {
    if fields.is_empty() {
        return Err("it has no field");
    }
    for (name, value) in fields {
        #[allow(clippy::disallowed_methods, reason = "looked at, and not kept")]
        let value = value.expose();
        if **name == *ONLY_FIELD {
            token(value)?;
        } else if value.len() > FIELD_MAX {
            return Err("a field of it has more than 65536 bytes");
        } else if !value.starts_with(b"-----BEGIN ") && value.iter().any(u8::is_ascii_control) {
            return Err("a field of it has a control character");
        }
    }
    Ok(())
}

fn token(value: &[u8]) -> Result<(), &'static str> {
    match value {
        [] => Err("it is empty"),
        long if long.len() > TOKEN_MAX => Err("it has more than 16384 bytes"),
        [b' ', ..] | [.., b' '] => Err("it begins or ends with a space"),
        text if text.iter().all(|byte| matches!(byte, b' '..=b'~')) => Ok(()),
        _ => Err("it has a character that is not visible ASCII"),
    }
}

/// When the value says itself that it ends, in milliseconds since the Unix epoch: `exp` of a JWT (RFC 7519 §4.1.4). Not
/// verified, which is for whoever takes it; it can only end a lease earlier.
pub(super) fn own_end_ms(fields: &[(Arc<str>, Secret)]) -> Option<i64> {
    fields.iter().filter_map(|(_, value)| jwt_end_ms(value)).min()
}

fn jwt_end_ms(value: &Secret) -> Option<i64> {
    #[derive(Deserialize)]
    struct Header {
        #[serde(rename = "alg")]
        _alg: String,
    }
    #[derive(Deserialize)]
    struct Claims {
        exp: f64,
    }
    #[allow(clippy::disallowed_methods, reason = "read for its end only")]
    let mut parts = value.expose().split(|byte| *byte == b'.');
    let (header, claims, _signature) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    serde_json::from_slice::<Header>(&decoded(header)?).ok()?;
    let Claims { exp } = serde_json::from_slice(&decoded(claims)?).ok()?;
    #[allow(clippy::cast_possible_truncation, reason = "a cast saturates")]
    let exp_ms = (exp * 1_000.0) as i64;
    exp.is_finite().then_some(exp_ms)
}

fn decoded(part: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    (part.len() <= TOKEN_MAX).then(|| URL_SAFE_NO_PAD.decode(part).ok().map(Zeroizing::new)).flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fields(of: &[(&str, &[u8])]) -> Vec<(Arc<str>, Secret)> {
        of.iter().map(|(name, value)| ((*name).into(), Secret::new(value.to_vec()))).collect()
    }

    #[test]
    fn what_may_serve() {
        let long = vec![b'a'; TOKEN_MAX + 1];
        for (of, said) in [
            (&[("value", b"token-0123456789".as_slice())][..], Ok(())),
            (&[("value", &long[..TOKEN_MAX])], Ok(())),
            (&[("user", b"v-token"), ("password", b"A1a-b c")], Ok(())),
            (&[("certificate", b"-----BEGIN CERTIFICATE-----\nAA==\n"), ("issuing_ca", b"")], Ok(())),
            (&[], Err("it has no field")),
            (&[("value", b"")], Err("it is empty")),
            (&[("value", &long)], Err("it has more than 16384 bytes")),
            (&[("value", b" token")], Err("it begins or ends with a space")),
            (&[("value", b"token ")], Err("it begins or ends with a space")),
            (&[("value", b"to\r\nken")], Err("it has a character that is not visible ASCII")),
            (&[("value", b"to\0ken")], Err("it has a character that is not visible ASCII")),
            (&[("value", "tokän".as_bytes())], Err("it has a character that is not visible ASCII")),
            (&[("user", b"a"), ("password", b"a\nb")], Err("a field of it has a control character")),
        ] {
            assert_eq!(check(&fields(of)), said);
        }
    }

    #[test]
    fn a_jwt_says_when_it_ends() {
        let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let jwt = |header: &str, claims: &str| format!("{}.{}.c2ln", part(header), part(claims));
        let end = |value: &str| own_end_ms(&fields(&[("value", value.as_bytes())]));
        let header = r#"{"alg":"ES256","typ":"JWT"}"#;
        for (value, ends) in [
            (jwt(header, r#"{"exp":1795305600}"#), Some(1_795_305_600_000)),
            (jwt(header, r#"{"exp":1795305600.5}"#), Some(1_795_305_600_500)),
            (jwt(header, r#"{"exp":-1}"#), Some(-1_000)),
            (jwt(header, r#"{"exp":1e300}"#), Some(i64::MAX)),
            (jwt(header, r#"{"exp":"1795305600"}"#), None),
            (jwt(header, r#"{"iat":1}"#), None),
            (jwt(r#"{"typ":"JWT"}"#, r#"{"exp":1}"#), None),
            (jwt(header, "[]"), None),
            ("a.b".to_owned(), None),
            ("a.b.c".to_owned(), None),
            (format!("{}.x", jwt(header, r#"{"exp":1}"#)), None),
            ("sk-no-jwt-at-all".to_owned(), None),
        ] {
            assert_eq!(end(&value), ends, "{value}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(value in proptest::collection::vec(any::<u8>(), 0..200)) {
            let all = fields(&[("value", &value), ("other", &value)]);
            let _ = (check(&all), own_end_ms(&all));
        }
    }
}
