//! Whether an answer says that the credential itself is refused.

use http::header::WWW_AUTHENTICATE;
use http::{HeaderMap, StatusCode};

/// Whether another value of the credential may be taken: 401, or a Bearer challenge with `error="invalid_token"`, which
/// some servers send with 400 or 403 (RFC 6750 §3.1 only recommends 401).
///
/// A 401 whose Bearer challenges all name another error (`insufficient_scope`, `invalid_request`) is about the request: a
/// new value would be refused for the same reason.
pub(crate) fn refuses_value(status: StatusCode, headers: &HeaderMap) -> bool {
    match status {
        StatusCode::UNAUTHORIZED => {
            let mut said = errors(headers).peekable();
            said.peek().is_none() || said.any(|error| is_invalid_token(&error))
        }
        StatusCode::BAD_REQUEST | StatusCode::FORBIDDEN => errors(headers).any(|error| is_invalid_token(&error)),
        _ => false,
    }
}

fn is_invalid_token(error: &str) -> bool {
    error == "invalid_token"
}

/// The `error` of each Bearer challenge that has one.
fn errors(headers: &HeaderMap) -> impl Iterator<Item = String> {
    headers.get_all(WWW_AUTHENTICATE).iter().flat_map(|value| bearer_errors(value.as_bytes()))
}

/// Reads challenges (RFC 9110 §11.6.1): `Scheme name=value, name="value", Scheme …`. What cannot be read ends the reading.
fn bearer_errors(text: &[u8]) -> Vec<String> {
    let (mut errors, mut rest, mut bearer) = (Vec::new(), text, false);
    loop {
        rest = trim(rest, |byte| matches!(byte, b' ' | b'\t' | b','));
        let Some((word, behind)) = word(rest) else { return errors };
        let value = trim(behind, |byte| matches!(byte, b' ' | b'\t'));
        match value.strip_prefix(b"=") {
            // A parameter, unless it is the padding of a token68.
            Some(value) if !value.starts_with(b"=") => {
                let Some((value, behind)) = parameter(trim(value, |byte| matches!(byte, b' ' | b'\t'))) else {
                    return errors;
                };
                if bearer && word.eq_ignore_ascii_case(b"error") {
                    errors.push(value);
                }
                rest = behind;
            }
            Some(padding) => rest = trim(padding, |byte| byte == b'='),
            None => {
                bearer = word.eq_ignore_ascii_case(b"bearer");
                rest = behind;
            }
        }
    }
}

fn trim(text: &[u8], skip: impl Fn(u8) -> bool) -> &[u8] {
    let from = text.iter().position(|byte| !skip(*byte)).unwrap_or(text.len());
    text.get(from..).unwrap_or_default()
}

/// A token, or the characters of a token68.
fn word(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~/".contains(byte);
    let end = text.iter().position(|byte| !is_word(byte)).unwrap_or(text.len());
    text.split_at_checked(end).filter(|(word, _)| !word.is_empty())
}

/// A token or a quoted string, and what is behind it.
fn parameter(text: &[u8]) -> Option<(String, &[u8])> {
    let Some(quoted) = text.strip_prefix(b"\"") else {
        return word(text).map(|(value, behind)| (String::from_utf8_lossy(value).into_owned(), behind));
    };
    let (mut value, mut bytes) = (Vec::new(), quoted.iter().enumerate());
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'"' => return Some((String::from_utf8_lossy(&value).into_owned(), quoted.get(at + 1..)?)),
            b'\\' => value.push(*bytes.next()?.1),
            other => value.push(*other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_refuses_a_value() {
        for (status, challenges, refuses) in [
            (401, &[][..], true),
            (401, &["Basic realm=\"x\""], true),
            (401, &["Bearer"], true),
            (
                401,
                &["Bearer realm=\"x\", error=\"invalid_token\", error_description=\"expired, or \\\"revoked\\\"\""],
                true,
            ),
            (401, &["bearer error=invalid_token"], true),
            (401, &["Bearer error=\"insufficient_scope\", scope=\"a b\""], false),
            (401, &["Bearer error=\"invalid_request\""], false),
            (401, &["Bearer error=\"insufficient_scope\"", "Bearer error=\"invalid_token\""], true),
            (401, &["Negotiate YWJj==, Bearer error=\"invalid_request\""], false),
            (401, &["DPoP error=\"use_dpop_nonce\""], true),
            (401, &["Bearer error=\"never ends"], true),
            (403, &[], false),
            (403, &["Bearer error=\"insufficient_scope\""], false),
            (403, &["Bearer error=\"invalid_token\""], true),
            (400, &["Bearer realm=\"x\",error=\"invalid_token\""], true),
            (403, &["Basic error=\"invalid_token\""], false),
            (403, &["Bearer realm=\"error=invalid_token\""], false),
            (403, &["Bearer realm=\"a\", Basic error=\"invalid_token\""], false),
            (200, &["Bearer error=\"invalid_token\""], false),
            (500, &["Bearer error=\"invalid_token\""], false),
        ] {
            let mut headers = HeaderMap::new();
            for text in challenges {
                headers.append(WWW_AUTHENTICATE, text.parse().unwrap());
            }
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(refuses_value(status, &headers), refuses, "{status} {challenges:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_to_an_end(text in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
            let _ = bearer_errors(&text);
        }
    }
}
