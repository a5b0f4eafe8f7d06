//! Cookies (RFC 6265 §5.4): one header, pairs separated by `; `.

use http::HeaderMap;
use http::header::COOKIE;

use super::InjectError;
use super::slots::Slots;
use super::value::{self, Place, Text};
use crate::lease::Lease;

/// The cookies of all `Cookie` headers: name and value.
pub(super) fn pairs(headers: &HeaderMap) -> impl Iterator<Item = (&[u8], &[u8])> {
    pieces(headers).map(split)
}

fn pieces(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let all = headers.get_all(COOKIE).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b';'));
    all.map(<[u8]>::trim_ascii).filter(|piece| !piece.is_empty())
}

fn split(piece: &[u8]) -> (&[u8], &[u8]) {
    let (name, value) = memchr::memchr(b'=', piece).and_then(|at| piece.split_at_checked(at)).unwrap_or((piece, b"="));
    (name.trim_ascii(), value.get(1..).unwrap_or_default().trim_ascii())
}

/// Removes the slots' cookies from every `Cookie` header, and appends them with their values; the others keep their order.
pub(super) fn fill(plan: &Slots, lease: Option<&Lease>, headers: &mut HeaderMap) -> Result<(), InjectError> {
    if plan.cookies.is_empty() {
        return Ok(());
    }
    let mut values = Vec::with_capacity(plan.cookies.len());
    if let Some(lease) = lease {
        for slot in plan.cookies.iter().filter(|slot| slot.fill) {
            let place = Place::Cookie(&slot.name);
            let value = value::get(lease, &slot.field, plan.guard, place)?;
            check(value, place)?;
            values.push((slot.name.as_bytes(), value));
        }
    }
    let sent: usize = headers.get_all(COOKIE).iter().map(|value| value.len() + 2).sum();
    let added: usize = values.iter().map(|(name, value)| name.len() + value.len() + 3).sum();
    // Doubled, as `a;b` grows to `a; b`.
    let mut text = Text::new(Vec::with_capacity(sent * 2 + added));
    let is_slot = |piece: &[u8]| plan.cookies.iter().any(|slot| *slot.name.as_bytes() == *split(piece).0);
    for piece in pieces(headers).filter(|piece| !is_slot(piece)) {
        separate(&mut text);
        text.extend_from_slice(piece);
    }
    for (name, value) in values {
        separate(&mut text);
        text.extend_from_slice(name);
        text.push(b'=');
        text.extend_from_slice(value);
    }
    headers.remove(COOKIE);
    if let (false, Some(slot)) = (text.is_empty(), plan.cookies.first()) {
        headers.insert(COOKIE, value::header_value(text, Place::Cookie(&slot.name))?);
    }
    Ok(())
}

fn separate(text: &mut Text) {
    if !text.is_empty() {
        text.extend_from_slice(b"; ");
    }
}

/// Only `cookie-octet` (RFC 6265 §4.1.1): cookies have no escapes.
fn check(value: &[u8], place: Place<'_>) -> Result<(), InjectError> {
    let allowed = |byte: &u8| byte.is_ascii_graphic() && !b"\",;\\".contains(byte);
    if value.iter().all(allowed) {
        return Ok(());
    }
    Err(place.invalid("a cookie takes visible ASCII characters other than `\"`, `,`, `;` and `\\` only"))
}
