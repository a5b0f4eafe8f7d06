//! `secret://STORE/NAME[#field]`: where a value is read. Safe to commit.

use std::fmt;

/// A parsed reference.
///
/// Shape: `secret://`, the store's name (letters, digits, `-`, `_`; at most 64), `/`, the secret's name
/// (segments of visible ASCII, at most 512 bytes; a second leading `/` makes a file's path absolute),
/// and, for a value that is a JSON object, `#` and the name of a member.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SecretReference {
    store: Box<str>,
    name: Box<str>,
    field: Option<Box<str>>,
}

/// Why a text is no reference. The text itself is never shown: it may be a value that was put in the
/// place of a reference by mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// Something else stands here, perhaps a value.
    #[error("expected a reference, `secret://STORE/NAME`; a value itself must not be written here")]
    NotAReference,
    /// Nothing behind the store.
    #[error("the reference has no name: write `secret://STORE/NAME`")]
    NoName,
    /// The store is no name.
    #[error("the store of a reference has letters, digits, `-` and `_`, and at most 64 of them")]
    Store,
    /// An empty segment, `.` or `..`.
    #[error("the name of a reference has an empty, `.` or `..` segment")]
    Segment,
    /// A character that no name has.
    #[error("the name of a reference has a space, `%`, `?`, `*`, `\\`, a quote or a character that is not ASCII")]
    Character,
    /// An empty field, or one with characters that no name has.
    #[error("the field behind `#` is empty or has a character that no name has")]
    Field,
    /// Too long.
    #[error("the name of a reference has more than 512 bytes")]
    Length,
}

const SCHEME: &str = "secret://";
const NAME_MAX: usize = 512;

impl SecretReference {
    /// Parses a reference; nothing is normalised.
    pub fn parse(text: &str) -> Result<Self, ReferenceError> {
        let rest = text.strip_prefix(SCHEME).ok_or(ReferenceError::NotAReference)?;
        let (store, rest) = rest.split_once('/').ok_or(ReferenceError::NoName)?;
        let is_name = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        if !(1..=64).contains(&store.len()) || !store.bytes().all(is_name) {
            return Err(ReferenceError::Store);
        }
        let (name, field) = match rest.split_once('#') {
            Some((name, field)) => (name, Some(field)),
            None => (rest, None),
        };
        check_name(name)?;
        if let Some(field) = field
            && (field.is_empty() || field.len() > 128 || !field.bytes().all(|b| is_plain(b) && b != b'#'))
        {
            return Err(ReferenceError::Field);
        }
        Ok(Self { store: store.into(), name: name.into(), field: field.map(Into::into) })
    }

    /// The store's name.
    pub fn store(&self) -> &str {
        &self.store
    }

    /// The secret's name in its store.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The member of a value that is a JSON object.
    pub fn field(&self) -> Option<&str> {
        self.field.as_deref()
    }
}

fn check_name(name: &str) -> Result<(), ReferenceError> {
    if name.is_empty() {
        return Err(ReferenceError::NoName);
    }
    if name.len() > NAME_MAX {
        return Err(ReferenceError::Length);
    }
    if !name.bytes().all(is_plain) {
        return Err(ReferenceError::Character);
    }
    let relative = name.strip_prefix('/').unwrap_or(name);
    if relative.split('/').any(|segment| matches!(segment, "" | "." | "..")) {
        return Err(ReferenceError::Segment);
    }
    Ok(())
}

/// Visible ASCII without what a shell, a URL or a pattern reads in its own way.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'%' | b'?' | b'*' | b'\\' | b'"' | b'\'' | b'`' | b'<' | b'>')
}

impl fmt::Display for SecretReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}/{}", self.store, self.name)?;
        match &self.field {
            Some(field) => write!(f, "#{field}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str, expected: Result<(&str, &str, Option<&str>), ReferenceError>) {
        let parsed = SecretReference::parse(text);
        let parts = parsed.as_ref().map(|r| (r.store(), r.name(), r.field())).map_err(|error| *error);
        assert_eq!(parts, expected, "{text}");
    }

    #[test]
    fn what_is_a_reference() {
        check("secret://sealed/openai", Ok(("sealed", "openai", None)));
        check("secret://sealed/payments/x", Ok(("sealed", "payments/x", None)));
        check("secret://file//etc/keys/a.txt", Ok(("file", "/etc/keys/a.txt", None)));
        check("secret://vault/kv/data/crm#client_secret", Ok(("vault", "kv/data/crm", Some("client_secret"))));
        check("secret://env/A_B", Ok(("env", "A_B", None)));
        for (text, error) in [
            ("sk-live-1234567890", ReferenceError::NotAReference),
            ("SECRET://sealed/x", ReferenceError::NotAReference),
            (" secret://sealed/x", ReferenceError::NotAReference),
            ("secret://sealed", ReferenceError::NoName),
            ("secret://sealed/", ReferenceError::NoName),
            ("secret://sealed/#x", ReferenceError::NoName),
            ("secret:///x", ReferenceError::Store),
            ("secret://a.b/x", ReferenceError::Store),
            ("secret://sealed/a//b", ReferenceError::Segment),
            ("secret://file///etc", ReferenceError::Segment),
            ("secret://file//", ReferenceError::Segment),
            ("secret://sealed/a/../b", ReferenceError::Segment),
            ("secret://sealed/./b", ReferenceError::Segment),
            ("secret://sealed/a/", ReferenceError::Segment),
            ("secret://sealed/a b", ReferenceError::Character),
            ("secret://sealed/a%2e", ReferenceError::Character),
            ("secret://sealed/a\n", ReferenceError::Character),
            ("secret://sealed/ä", ReferenceError::Character),
            ("secret://sealed/a#", ReferenceError::Field),
            ("secret://sealed/a#b#c", ReferenceError::Field),
        ] {
            check(text, Err(error));
        }
    }

    proptest! {
        #[test]
        fn parsing_never_panics_and_errors_never_show_the_text(text in "(secret://)?\\PC{0,80}") {
            if let Err(error) = SecretReference::parse(&text) {
                prop_assert!(text.len() < 12 || !error.to_string().contains(&text));
            }
        }

        #[test]
        fn a_reference_is_read_back_as_it_was_written(
            store in "[a-zA-Z0-9_-]{1,64}",
            name in "/?[a-zA-Z0-9_+=@:,~-][a-zA-Z0-9_.+=@:,~-]{0,20}(/[a-zA-Z0-9_-][a-zA-Z0-9_.-]{0,20}){0,3}",
            field in proptest::option::of("[a-zA-Z0-9_./-]{1,40}"),
        ) {
            let field = field.map(|field| format!("#{field}")).unwrap_or_default();
            let text = format!("secret://{store}/{name}{field}");
            prop_assert_eq!(SecretReference::parse(&text).unwrap().to_string(), text);
        }
    }
}
