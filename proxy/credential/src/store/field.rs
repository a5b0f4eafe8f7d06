//! `#field`: one member of a value that is a JSON object, without copies of the others.

use std::fmt;

use claviger_contract::Secret;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use zeroize::Zeroizing;

use crate::error::StoreError;

/// A JSON string that is wiped on drop.
pub(crate) struct SecretText(pub(crate) Zeroizing<String>);

impl<'de> serde::Deserialize<'de> for SecretText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(Zeroizing::new(text)))
    }
}

/// The member of that name, which must be a string.
pub(super) fn select(value: &Secret, name: &str, field: &str) -> Result<Secret, StoreError> {
    let wrong = || StoreError::Field { name: name.to_owned(), field: field.to_owned() };
    #[allow(clippy::disallowed_methods, reason = "the object is taken apart; only the member leaves, as a Secret")]
    let mut reader = serde_json::Deserializer::from_slice(value.expose());
    // The parser's own message could cite a part of the value.
    let found = reader.deserialize_map(Member(field)).map_err(|_| wrong())?;
    reader.end().map_err(|_| wrong())?;
    let text = found.ok_or_else(wrong)?;
    super::check_length(name, text.0.len())?;
    Ok(Secret::new(text.0.as_bytes().to_vec()))
}

struct Member<'a>(&'a str);

impl<'de> Visitor<'de> for Member<'_> {
    type Value = Option<SecretText>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(key) = map.next_key::<String>()? {
            if key == self.0 {
                found = Some(map.next_value::<SecretText>()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_selected() {
        let check = |json: &str, field: &str, expected: Option<&str>| {
            let selected = select(&Secret::from(json.to_owned()), "x", field);
            let text = selected.ok().map(|secret| crate::fixture::text(&secret));
            assert_eq!(text.as_deref(), expected, "{json} #{field}");
        };
        check(r#"{"a": "one", "b": "two"}"#, "b", Some("two"));
        check(r#"{"a": {"b": "deep"}, "b": "t\u0077o"}"#, "b", Some("two"));
        check(r#"{"a": "one"}"#, "b", None);
        check(r#"{"b": 2}"#, "b", None);
        check(r#"{"b": ""}"#, "b", None);
        check(r#"{"b": "two"} trailing"#, "b", None);
        check("plain", "b", None);
        check(r#"["b"]"#, "b", None);
    }

    #[test]
    fn the_error_does_not_show_the_value() {
        let error = select(&Secret::from("{\"b\": canary-5b1c}".to_owned()), "x", "b").unwrap_err();
        assert_eq!(error.to_string(), "the secret `x` is not a JSON object with a string `b`");
        assert!(!format!("{error:?}").contains("canary"));
    }
}
