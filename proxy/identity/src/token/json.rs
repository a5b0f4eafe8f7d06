//! JSON in which a member has one meaning.
//!
//! RFC 7519 §4 and RFC 7515 §4 let a reader refuse duplicate names or take the last one. Two readers of one
//! token must not see two tokens, so they are refused here.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// An object without duplicate names at any depth; `None` for anything else.
pub(crate) fn object(text: &[u8]) -> Option<Map<String, Value>> {
    match serde_json::from_slice(text).ok()? {
        Strict(Value::Object(members)) => Some(members),
        Strict(_) => None,
    }
}

struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Self)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON without duplicate names")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("not a finite number"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut all = Vec::new();
        while let Some(Strict(item)) = items.next_element()? {
            all.push(item);
        }
        Ok(Value::Array(all))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut all = Map::new();
        while let Some((name, Strict(value))) = members.next_entry::<String, Strict>()? {
            if all.insert(name, value).is_some() {
                return Err(A::Error::custom("duplicate name"));
            }
        }
        Ok(Value::Object(all))
    }
}

#[cfg(test)]
mod tests {
    use super::object;

    #[test]
    fn one_name_one_value() {
        for (text, accepted) in [
            (r#"{"a":1,"b":{"c":[{"d":null},{"d":1.5}]}}"#, true),
            ("{}", true),
            (r#"{"a":1,"a":1}"#, false),
            (r#"{"a":1,"\u0061":2}"#, false),
            (r#"{"x":{"a":1,"a":2}}"#, false),
            (r#"{"x":[{"a":1,"a":2}]}"#, false),
            (r#"{"a":1} "#, true),
            (r#"{"a":1}x"#, false),
            (r#"{"a":1e999}"#, false),
            ("[]", false),
            ("1", false),
            ("", false),
        ] {
            assert_eq!(object(text.as_bytes()).is_some(), accepted, "{text}");
        }
        assert!(object("[".repeat(100_000).as_bytes()).is_none(), "depth is bounded");
        assert!(object(b"{\"a\":\"\xff\"}").is_none(), "UTF-8 only");
    }
}
