//! The values of a lease, and what they must be to stand somewhere.

use std::fmt;

use bytes::Bytes;
use zeroize::Zeroizing;

use super::InjectError;
use crate::guard;
use crate::lease::{Lease, ONLY_FIELD};

/// A credential's field; `None` means its only or main value.
pub(super) type Field = Option<std::sync::Arc<str>>;

/// Bytes that hold a value, wiped on drop.
pub(super) type Text = Zeroizing<Vec<u8>>;

/// Where a value goes, for messages.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place<'a> {
    Header(&'a http::HeaderName),
    Query(&'a str),
    Cookie(&'a str),
    Path(&'a str),
    Placeholder(&'a str),
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(name) => write!(f, "the header `{name}`"),
            Self::Query(name) => write!(f, "the query parameter `{name}`"),
            Self::Cookie(name) => write!(f, "the cookie `{name}`"),
            Self::Path(pattern) => write!(f, "the path `{pattern}`"),
            Self::Placeholder(text) => write!(f, "the placeholder `{text}`"),
        }
    }
}

impl Place<'_> {
    pub(super) fn invalid(self, problem: &'static str) -> InjectError {
        InjectError::InvalidValue { slot: self.to_string(), problem }
    }
}

/// The bytes of a field, checked for what no place allows.
pub(super) fn get<'a>(
    lease: &'a Lease,
    field: &Field,
    guarded: bool,
    place: Place<'_>,
) -> Result<&'a [u8], InjectError> {
    let value = find(lease, field, guarded, place)?;
    check(value, place)?;
    Ok(value)
}

/// The same, before its [bytes are looked at](check).
pub(super) fn find<'a>(
    lease: &'a Lease,
    field: &Field,
    guarded: bool,
    place: Place<'_>,
) -> Result<&'a [u8], InjectError> {
    let secret = lease
        .field(field.as_deref())
        .ok_or_else(|| InjectError::MissingField { field: field.as_deref().unwrap_or(ONLY_FIELD).to_owned() })?;
    if guarded && !guard::can_guard(secret) {
        return Err(InjectError::TooShort { slot: place.to_string() });
    }
    #[allow(clippy::disallowed_methods, reason = "this is where the value is written into the request")]
    let value = secret.expose();
    Ok(value)
}

/// No value is empty or has a control character, wherever it goes.
pub(super) fn check(value: &[u8], place: Place<'_>) -> Result<(), InjectError> {
    if value.is_empty() {
        return Err(place.invalid("it is empty"));
    }
    if value.iter().any(u8::is_ascii_control) {
        return Err(place.invalid("it has a control character, such as the end of a line"));
    }
    Ok(())
}

/// Visible ASCII, and spaces inside only (RFC 9110 §5.5 without obs-text).
pub(super) fn check_header(value: &[u8], place: Place<'_>) -> Result<(), InjectError> {
    if !value.iter().all(|byte| matches!(byte, b' '..=b'~')) {
        return Err(place.invalid("a header takes visible ASCII characters only"));
    }
    if value.first() == Some(&b' ') || value.last() == Some(&b' ') {
        return Err(place.invalid("it begins or ends with a space"));
    }
    Ok(())
}

/// Bytes that are wiped when the last reference to them is dropped.
pub(super) fn wiped(bytes: Text) -> Bytes {
    Bytes::from_owner(bytes)
}

/// A header value that holds a secret: marked, and wiped when dropped.
pub(super) fn header_value(bytes: Text, place: Place<'_>) -> Result<http::HeaderValue, InjectError> {
    let mut value = http::HeaderValue::from_maybe_shared(wiped(bytes))
        .map_err(|_| place.invalid("a header takes visible ASCII characters only"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// Replaces each of the texts by its value in one pass, so that no value is searched for placeholders; says whether
/// there were any.
pub(super) fn replace(text: &[u8], with: &[(&[u8], &[u8])], out: &mut Vec<u8>) -> bool {
    let mut found = false;
    let mut rest = text;
    while let Some((first, behind)) = rest.split_first() {
        match with.iter().find_map(|(from, to)| Some((rest.strip_prefix(*from)?, to))) {
            Some((behind, to)) => {
                out.extend_from_slice(to);
                found = true;
                rest = behind;
            }
            None => {
                out.push(*first);
                rest = behind;
            }
        }
    }
    found
}

/// Room for `text` with every placeholder replaced, so that writing leaves no unwiped copy behind.
pub(super) fn buffer_for(text: &[u8], with: &[(&[u8], &[u8])]) -> Text {
    Text::new(Vec::with_capacity(text.len() + growth(text, with)))
}

/// By how many bytes `text` grows at most when its placeholders are replaced.
pub(super) fn growth(text: &[u8], with: &[(&[u8], &[u8])]) -> usize {
    with.iter().map(|(from, to)| memchr::memmem::find_iter(text, from).count() * to.len()).sum()
}
