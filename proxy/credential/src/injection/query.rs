//! Query parameters, and placeholders in the query.

use super::InjectError;
use super::encode::{self, Case, Keep, Plus};
use super::slots::Slots;
use super::value::{self, Place, Text};
use crate::lease::Lease;

/// One parameter as it was written.
#[derive(Clone, Copy)]
pub(super) struct Pair<'a> {
    pub(super) written: &'a [u8],
    pub(super) name: &'a [u8],
    /// `None` without `=`.
    pub(super) value: Option<&'a [u8]>,
}

/// The parameters of a query or a form.
pub(super) fn pairs(query: &str) -> impl Iterator<Item = Pair<'_>> {
    raw_pairs(query.as_bytes())
}

pub(super) fn raw_pairs(query: &[u8]) -> impl Iterator<Item = Pair<'_>> {
    query.split(|byte| *byte == b'&').map(pair)
}

fn pair(written: &[u8]) -> Pair<'_> {
    let equals = memchr::memchr(b'=', written);
    let (name, value) = equals.and_then(|at| written.split_at_checked(at)).unwrap_or((written, &[]));
    Pair { written, name, value: equals.and(value.get(1..)) }
}

/// What became of the query.
pub(super) struct Filled {
    /// `None`: it stays as it was judged, byte for byte.
    pub(super) text: Option<Text>,
    /// Whether a placeholder was replaced.
    pub(super) placeholder: bool,
}

/// Removes every parameter that is a slot, replaces placeholders in the values of the others, and appends the slots.
pub(super) fn fill(plan: &Slots, lease: Option<&Lease>, query: Option<&str>) -> Result<Filled, InjectError> {
    if plan.query.is_empty() && !plan.placeholders.iter().any(|placeholder| placeholder.query) {
        return Ok(Filled { text: None, placeholder: false });
    }
    let slots = slots(plan, lease)?;
    let placeholders = placeholders(plan, lease)?;
    let with: Vec<(&[u8], &[u8])> = placeholders.iter().map(|(from, to)| (*from, to.as_slice())).collect();
    let query = query.unwrap_or_default();
    let added: usize = slots.iter().map(|slot| slot.len() + 1).sum();
    let mut text = Text::new(Vec::with_capacity(query.len() + value::growth(query.as_bytes(), &with) + added));
    let mut placeholder = false;
    let mut changed = !slots.is_empty();
    for pair in pairs(query).filter(|_| !query.is_empty()) {
        let has_placeholder = |value: &[u8]| with.iter().any(|(from, _)| memchr::memmem::find(value, from).is_some());
        if is_slot(plan, pair)? {
            changed = true;
            continue;
        }
        match pair.value {
            Some(value) if has_placeholder(value) => {
                changed = true;
                // Without a lease there is nothing to put in its place, and the parameter means nothing.
                if lease.is_none() {
                    continue;
                }
                separate(&mut text);
                text.extend_from_slice(pair.name);
                text.push(b'=');
                placeholder |= value::replace(value, &with, &mut text);
            }
            _ => {
                separate(&mut text);
                text.extend_from_slice(pair.written);
            }
        }
    }
    for slot in &slots {
        separate(&mut text);
        text.extend_from_slice(slot);
    }
    Ok(Filled { text: changed.then_some(text), placeholder })
}

fn separate(text: &mut Text) {
    if !text.is_empty() {
        text.push(b'&');
    }
}

/// `name=value` of each slot.
fn slots(plan: &Slots, lease: Option<&Lease>) -> Result<Vec<Text>, InjectError> {
    let Some(lease) = lease else { return Ok(Vec::new()) };
    let fill = |slot: &super::slots::NamedSlot| {
        let value = value::get(lease, &slot.field, plan.guard, Place::Query(&slot.name))?;
        let mut text = Text::new(Vec::with_capacity((slot.name.len() + value.len()) * 3 + 1));
        encode::percent(slot.name.as_bytes(), Keep::Unreserved, Case::Upper, &mut text);
        text.push(b'=');
        encode::percent(value, Keep::Unreserved, Case::Upper, &mut text);
        Ok(text)
    };
    plan.query.iter().filter(|slot| slot.fill).map(fill).collect()
}

/// Each placeholder of the query, and what goes there; nothing without a lease.
fn placeholders<'a>(plan: &'a Slots, lease: Option<&Lease>) -> Result<Vec<(&'a [u8], Text)>, InjectError> {
    let fill = |placeholder: &'a super::slots::Placeholder| {
        let mut text = Text::default();
        if let Some(lease) = lease {
            let value = value::get(lease, &placeholder.field, plan.guard, Place::Placeholder(&placeholder.text))?;
            text.reserve_exact(value.len() * 3);
            encode::percent(value, Keep::Unreserved, Case::Upper, &mut text);
        }
        Ok((placeholder.text.as_bytes(), text))
    };
    plan.placeholders.iter().filter(|placeholder| placeholder.query).map(fill).collect()
}

/// Whether a parameter is a slot. What only some servers read as one is refused: a name in another case (ASP.NET),
/// and a parameter behind `;` (a separator in HTML 4).
fn is_slot(plan: &Slots, pair: Pair<'_>) -> Result<bool, InjectError> {
    for slot in &plan.query {
        let name = encode::decode(pair.name, Plus::Space);
        if *name == *slot.name.as_bytes() {
            return Ok(true);
        }
        let hidden = || {
            let pieces = pair.written.split(|byte| *byte == b';').skip(1);
            pieces.map(|piece| encode::decode(self::pair(piece).name, Plus::Space)).any(|name| same(&name, &slot.name))
        };
        if same(&name, &slot.name) || hidden() {
            return Err(InjectError::AmbiguousParameter { name: slot.name.clone().into() });
        }
    }
    Ok(false)
}

fn same(written: &[u8], slot: &str) -> bool {
    written.trim_ascii().eq_ignore_ascii_case(slot.as_bytes())
}
