//! A credential that is part of the path, as in `/bot<TOKEN>/sendMessage`.
//!
//! The client writes a fixed placeholder there, so that policy judges one path and not one for each token.

use super::InjectError;
use super::encode::{self, Case, Keep, Plus};
use super::slots::Slots;
use super::value::{self, Field, Place, Text};
use crate::lease::Lease;

/// The mark in a pattern.
pub(super) const MARK: &str = "{credential}";

/// One segment of the path, and the segments before it. What follows may be anything.
#[derive(Clone, Debug)]
pub(super) struct PathSlot {
    /// As it was written, for messages.
    pub(super) pattern: Box<str>,
    /// The segments before, decoded.
    pub(super) before: Vec<Box<str>>,
    /// What stands before and behind the credential in its segment.
    pub(super) prefix: Box<str>,
    pub(super) suffix: Box<str>,
    /// What the client writes.
    pub(super) placeholder: Box<str>,
    pub(super) field: Field,
}

impl PathSlot {
    /// Reads `/bot{credential}`: one mark, and nothing behind its segment.
    pub(super) fn field(&self) -> &Field {
        &self.field
    }

    pub(super) fn parse(pattern: &str, placeholder: &str, field: Field) -> Result<Self, &'static str> {
        let Some(segments) = pattern.strip_prefix('/') else { return Err("a path begins with `/`") };
        let mut segments: Vec<&str> = segments.split('/').collect();
        let last = segments.pop().unwrap_or_default();
        let Some((prefix, suffix)) = last.split_once(MARK) else {
            return Err("the last segment has no `{credential}`");
        };
        let plain = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~:@=,!$".contains(&b));
        if !segments.iter().all(|segment| plain(segment) && !segment.is_empty()) || !plain(prefix) || !plain(suffix) {
            return Err(
                "it has characters other than letters, digits and `-._~:@=,!$`, an empty segment, or two marks",
            );
        }
        if placeholder.is_empty() || !plain(placeholder) {
            return Err("the placeholder has characters other than letters, digits and `-._~:@=,!$`, or none");
        }
        Ok(Self {
            pattern: pattern.into(),
            before: segments.into_iter().map(Into::into).collect(),
            prefix: prefix.into(),
            suffix: suffix.into(),
            placeholder: placeholder.into(),
            field,
        })
    }

    /// Whether one text could stand in both slots.
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        let nested = |a: &str, b: &str| a.starts_with(b) || b.starts_with(a);
        let ends = |a: &str, b: &str| a.ends_with(b) || b.ends_with(a);
        self.before == other.before && nested(&self.prefix, &other.prefix) && ends(&self.suffix, &other.suffix)
    }

    /// Where in the path the credential's segment stands, if the path has one.
    ///
    /// Empty segments do not count: a server that merges slashes would find the slot behind them.
    fn find<'a>(&self, path: &'a str) -> Option<Segment<'a>> {
        let base = path.as_ptr() as usize;
        let mut segments = path.split('/').filter(|segment| !segment.is_empty());
        for before in &self.before {
            segments
                .next()
                .filter(|written| *encode::decode(written.as_bytes(), Plus::Literal) == *before.as_bytes())?;
        }
        let written = segments.next()?;
        let decoded = encode::decode(written.as_bytes(), Plus::Literal);
        let inner = decoded.strip_prefix(self.prefix.as_bytes())?.strip_suffix(self.suffix.as_bytes())?;
        let is_placeholder = inner == self.placeholder.as_bytes();
        Some(Segment { start: written.as_ptr() as usize - base, written, is_placeholder })
    }

    /// The segment with the credential in it.
    fn render(&self, plan: &Slots, lease: &Lease) -> Result<Text, InjectError> {
        let place = Place::Path(&self.pattern);
        let value = value::get(lease, &self.field, plan.guard, place)?;
        let mut text = Text::new(Vec::with_capacity(self.prefix.len() + value.len() * 3 + self.suffix.len()));
        text.extend_from_slice(self.prefix.as_bytes());
        encode::percent(value, Keep::Segment, Case::Upper, &mut text);
        text.extend_from_slice(self.suffix.as_bytes());
        if matches!(text.as_slice(), b"." | b"..") {
            return Err(place.invalid("it would make a dot segment"));
        }
        Ok(text)
    }
}

struct Segment<'a> {
    start: usize,
    written: &'a str,
    is_placeholder: bool,
}

/// The path with the credential in its slots; `None` if no slot is in it, or there is no lease.
pub(super) fn fill(plan: &Slots, lease: Option<&Lease>, path: &str) -> Result<Option<Text>, InjectError> {
    let mut edits = Vec::new();
    for slot in &plan.paths {
        let Some(segment) = slot.find(path) else { continue };
        if !segment.is_placeholder {
            // It cannot be stripped, so that a credential of the client's own would go upstream.
            return Err(InjectError::PathSlotFilled { pattern: slot.pattern.clone().into() });
        }
        if let Some(lease) = lease {
            edits.push((segment.start, segment.written.len(), slot.render(plan, lease)?));
        }
    }
    if edits.is_empty() {
        return Ok(None);
    }
    edits.sort_by_key(|(start, ..)| *start);
    let added: usize = edits.iter().map(|(.., text)| text.len()).sum();
    let mut text = Text::new(Vec::with_capacity(path.len() + added));
    let mut copied = 0;
    for (start, length, segment) in edits {
        text.extend_from_slice(path.get(copied..start).unwrap_or_default().as_bytes());
        text.extend_from_slice(&segment);
        copied = start + length;
    }
    text.extend_from_slice(path.get(copied..).unwrap_or_default().as_bytes());
    Ok(Some(text))
}
