//! Placeholders in JSON and form bodies. All other bytes stay as they are.

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, TRANSFER_ENCODING};

use super::encode::{self, Case, JsonEscapes, Keep};
use super::slots::Slots;
use super::value::{self, Place, Text};
use super::{InjectError, query};
use crate::lease::Lease;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Json,
    Form,
}

/// What stands in place of each placeholder, encoded for the body.
type Replacements<'a> = [(&'a [u8], &'a [u8])];

/// The body with its placeholders replaced, and whether there were any; its length is written into the head.
///
/// Without a lease, and in a body of another kind or a compressed one, a placeholder stays: it is no secret.
pub(super) fn fill(
    plan: &Slots,
    lease: Option<&Lease>,
    headers: &mut HeaderMap,
    body: Option<Bytes>,
) -> Result<(Option<Bytes>, bool), InjectError> {
    let (Some(lease), Some(body)) = (lease, body.as_ref()) else { return Ok((body, false)) };
    let here = |text: &str| memchr::memmem::find(body, text.as_bytes()).is_some();
    let present: Vec<_> =
        plan.placeholders.iter().filter(|placeholder| placeholder.body && here(&placeholder.text)).collect();
    let kind = match kind(headers) {
        Some(kind) if !present.is_empty() => kind,
        _ => return Ok((Some(body.clone()), false)),
    };
    let mut encoded = Vec::with_capacity(present.len());
    for placeholder in present {
        let place = Place::Placeholder(&placeholder.text);
        let value = value::get(lease, &placeholder.field, plan.guard, place)?;
        encoded.push((placeholder.text.as_bytes(), encode_for(kind, value, place)?));
    }
    let with: Vec<(&[u8], &[u8])> = encoded.iter().map(|(from, to)| (*from, to.as_slice())).collect();
    let mut filled = value::buffer_for(body, &with);
    let found = match kind {
        Kind::Form => form(body, &with, &mut filled),
        Kind::Json if serde_json::from_slice::<serde::de::IgnoredAny>(body).is_err() => {
            return Err(InjectError::BodyNotJson);
        }
        Kind::Json => json(body, &with, &mut filled),
    };
    if !found {
        return Ok((Some(body.clone()), false));
    }
    // The whole body is at hand, so its length is known; both headers together would be ambiguous.
    headers.remove(TRANSFER_ENCODING);
    headers.insert(CONTENT_LENGTH, filled.len().into());
    Ok((Some(value::wiped(filled)), true))
}

/// `None` for what placeholders are not looked for in.
fn kind(headers: &HeaderMap) -> Option<Kind> {
    let identity = |value: &http::HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"identity");
    if !headers.get_all(CONTENT_ENCODING).iter().all(identity) {
        return None;
    }
    let written = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    let essence = written.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match essence.as_str() {
        "application/x-www-form-urlencoded" => Some(Kind::Form),
        "application/json" => Some(Kind::Json),
        other if other.ends_with("+json") => Some(Kind::Json),
        _ => None,
    }
}

fn encode_for(kind: Kind, value: &[u8], place: Place<'_>) -> Result<Text, InjectError> {
    let mut text = Text::new(Vec::with_capacity(value.len() * 6));
    match kind {
        Kind::Form => encode::percent(value, Keep::Unreserved, Case::Upper, &mut text),
        Kind::Json if std::str::from_utf8(value).is_err() => return Err(place.invalid("JSON takes UTF-8 only")),
        Kind::Json => encode::json(value, JsonEscapes::Minimal, &mut text),
    }
    Ok(text)
}

/// In the values of parameters, not in their names.
fn form(body: &[u8], with: &Replacements<'_>, out: &mut Vec<u8>) -> bool {
    let mut found = false;
    for (at, pair) in query::raw_pairs(body).enumerate() {
        if at > 0 {
            out.push(b'&');
        }
        match pair.value {
            Some(value) => {
                out.extend_from_slice(pair.name);
                out.push(b'=');
                found |= value::replace(value, with, out);
            }
            None => out.extend_from_slice(pair.written),
        }
    }
    found
}

/// In string values, not in keys. The body is valid JSON.
fn json(body: &[u8], with: &Replacements<'_>, out: &mut Vec<u8>) -> bool {
    let mut found = false;
    let mut rest = body;
    while let Some(quote) = memchr::memchr(b'"', rest) {
        let (before, string) = rest.split_at_checked(quote + 1).unwrap_or((rest, &[]));
        out.extend_from_slice(before);
        let (inside, behind) = string.split_at_checked(string_length(string)).unwrap_or((string, &[]));
        // Only a key is followed by a colon.
        let is_key = behind.get(1..).unwrap_or_default().trim_ascii_start().first() == Some(&b':');
        if is_key {
            out.extend_from_slice(inside);
        } else {
            found |= json_string(inside, with, out);
        }
        let (end, behind) = behind.split_at_checked(1).unwrap_or((behind, &[]));
        out.extend_from_slice(end);
        rest = behind;
    }
    out.extend_from_slice(rest);
    found
}

/// The bytes up to the closing quote.
fn string_length(string: &[u8]) -> usize {
    let mut at = 0;
    while let Some(found) = string.get(at..).and_then(|rest| memchr::memchr2(b'"', b'\\', rest)) {
        at += found;
        if string.get(at) == Some(&b'"') {
            return at;
        }
        at += 2;
    }
    string.len()
}

/// The inside of a string, whose escapes are stepped over: a placeholder never begins within one.
fn json_string(inside: &[u8], with: &Replacements<'_>, out: &mut Vec<u8>) -> bool {
    let mut found = false;
    let mut rest = inside;
    while let Some(backslash) = memchr::memchr(b'\\', rest) {
        let (plain, escape) = rest.split_at_checked(backslash).unwrap_or((rest, &[]));
        found |= value::replace(plain, with, out);
        let length = if escape.get(1) == Some(&b'u') { 6 } else { 2 };
        let (escape, behind) = escape.split_at_checked(length).unwrap_or((escape, &[]));
        out.extend_from_slice(escape);
        rest = behind;
    }
    found | value::replace(rest, with, out)
}
