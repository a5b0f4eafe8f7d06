//! Names and texts of injections.

use claviger_policy::document::{Diagnostics, Table};
use http::HeaderName;

use super::super::value::Field;
use super::{is_cookie, is_reserved};
use crate::certificate::PRIVATE_KEY;

/// Takes `from`.
pub(super) fn field(table: &mut Table, out: &mut Diagnostics) -> Field {
    let parse = |name: &str| {
        let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
        match name {
            // It signs, and is never sent.
            PRIVATE_KEY => Err(format!("`{name}` is not injected: a private key stays here")),
            _ if plain && !name.is_empty() => Ok(name.into()),
            _ => Err(format!("`{name}` is not the name of a field")),
        }
    };
    table.parsed("from", out, parse).map(|name| name.value)
}

fn header(name: &str) -> Result<HeaderName, String> {
    HeaderName::from_bytes(name.as_bytes()).map_err(|_| format!("`{name}` is not the name of a header"))
}

/// A header that an injection may fill.
pub(super) fn free_header(name: &str) -> Result<HeaderName, String> {
    let name = header(name)?;
    if is_cookie(&name) {
        return Err("`cookie` holds many cookies; write `{ cookie = \"NAME\" }`".to_owned());
    }
    if is_reserved(&name) {
        return Err(format!("`{name}` is the proxy's own, and cannot hold a credential"));
    }
    Ok(name)
}

/// A header that may be removed.
pub(super) fn strip_header(name: &str) -> Result<HeaderName, String> {
    let name = header(name)?;
    if is_reserved(&name) {
        return Err(format!("`{name}` is the proxy's own, and is not stripped by name"));
    }
    Ok(name)
}

/// What stands before the value, with its space: `token `.
pub(super) fn prefix(text: &str) -> Result<Box<str>, String> {
    if text.starts_with(' ') || !text.bytes().all(|b| matches!(b, b' '..=b'~')) {
        return Err(format!("`{}` is not a prefix: it takes visible ASCII characters", text.escape_default()));
    }
    Ok(text.into())
}

/// The name of a query parameter, not encoded.
pub(super) fn parameter_name(name: &str) -> Result<Box<str>, String> {
    if name.is_empty() || name.chars().any(char::is_control) {
        return Err(format!("`{}` is not the name of a parameter", name.escape_default()));
    }
    Ok(name.into())
}

/// A token (RFC 6265 §4.1.1).
pub(super) fn cookie_name(name: &str) -> Result<Box<str>, String> {
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if name.is_empty() || !name.bytes().all(token) {
        return Err(format!("`{}` is not the name of a cookie", name.escape_default()));
    }
    Ok(name.into())
}

/// Characters that no encoding changes, so that the text is found wherever it stands, and enough of
/// them that it stands nowhere by chance.
pub(super) fn placeholder_text(text: &str) -> Result<Box<str>, String> {
    let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
    if !plain || !(8..=256).contains(&text.len()) {
        return Err(format!(
            "`{}` is not a placeholder: it takes 8 to 256 letters, digits and `-._`",
            text.escape_default()
        ));
    }
    Ok(text.into())
}
