//! The fields of a credential, out of an answer's `data`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use claviger_contract::Secret;
use serde_json::value::RawValue;
use zeroize::Zeroizing;

use crate::store::VALUE_MAX;
use crate::store::field::SecretText;
use crate::vault::millis;

type Members<'a> = BTreeMap<Cow<'a, str>, &'a RawValue>;

/// Each field's value: a text, a number or a boolean as it is written, a list of texts line by line. What is wrong is said
/// without a part of the answer.
pub(super) fn read(data: &RawValue, wanted: &[(Arc<str>, String)]) -> Result<Vec<(Arc<str>, Secret)>, &'static str> {
    let one = |(name, member): &(Arc<str>, String)| {
        let found = find(data, member).ok_or("a member that `fields` names is not in it")?;
        let value =
            text(found).ok_or("a member that `fields` names is neither a text, a number nor a list of texts")?;
        match value.len() {
            0 => Err("a member that `fields` names is empty"),
            1..=VALUE_MAX => Ok((name.clone(), Secret::new(value.as_bytes().to_vec()))),
            _ => Err("a member that `fields` names has more than 65536 bytes"),
        }
    };
    wanted.iter().map(one).collect()
}

/// A member by its name, or by the names that lead to it: `data.password`.
fn find<'a>(data: &'a RawValue, member: &str) -> Option<&'a RawValue> {
    let members: Members<'a> = serde_json::from_str(data.get()).ok()?;
    if let Some(found) = members.get(member) {
        return Some(found);
    }
    let (outer, inner) = member.split_once('.')?;
    find(members.get(outer)?, inner)
}

fn text(value: &RawValue) -> Option<Zeroizing<String>> {
    let json = value.get();
    match json.bytes().next()? {
        b'"' => serde_json::from_str::<SecretText>(json).ok().map(|text| text.0),
        b'[' => {
            let lines: Vec<SecretText> = serde_json::from_str(json).ok()?;
            let mut all = Zeroizing::new(String::with_capacity(json.len()));
            for line in &lines {
                if !all.is_empty() && !all.ends_with('\n') {
                    all.push('\n');
                }
                all.push_str(&line.0);
            }
            Some(all)
        }
        b'0'..=b'9' | b'-' | b't' | b'f' => Some(Zeroizing::new(json.to_owned())),
        _ => None,
    }
}

/// When a value without a lease ends, as engines say it: `expiration` (pki) and `expires_at_seconds` (gcp) are moments,
/// `ttl` (static roles of databases, identity tokens) is what is left.
pub(super) fn end_ms(data: &RawValue, asked_at_ms: i64) -> Option<i64> {
    let number = |name: &str| find(data, name).and_then(|value| serde_json::from_str::<u64>(value.get()).ok());
    let moment = number("expiration").or_else(|| number("expires_at_seconds")).map(millis);
    moment.or_else(|| number("ttl").filter(|left| *left > 0).map(|left| asked_at_ms.saturating_add(millis(left))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(json: &str) -> Box<RawValue> {
        RawValue::from_string(json.to_owned()).unwrap()
    }

    #[test]
    fn members_become_fields() {
        let check = |json: &str, member: &str, expected: Result<&str, &str>| {
            let read = read(&raw(json), &[("x".into(), member.to_owned())]);
            let read = read.map(|fields| crate::fixture::text(&fields[0].1));
            assert_eq!(read.as_deref().map_err(|why| *why), expected, "{json} {member}");
        };
        let (absent, wrong) = (
            "a member that `fields` names is not in it",
            "a member that `fields` names is neither a text, a number nor a list of texts",
        );
        check(r#"{"password":"p\u0061ss","username":"u"}"#, "password", Ok("pass"));
        check(r#"{"port":5432}"#, "port", Ok("5432"));
        check(r#"{"on":true}"#, "on", Ok("true"));
        check(r#"{"chain":["a\n","b"]}"#, "chain", Ok("a\nb"));
        check(r#"{"data":{"a.b":"x"},"metadata":{}}"#, "data.a.b", Ok("x"));
        check(r#"{"data.a":"direct","data":{"a":"deep"}}"#, "data.a", Ok("direct"));
        check(r#"{"a":"x"}"#, "b", Err(absent));
        check(r#"{"a":"x"}"#, "a.b", Err(absent));
        check(r#"{"token":null}"#, "token", Err(wrong));
        check(r#"{"a":{"b":"x"}}"#, "a", Err(wrong));
        check(r#"{"a":[1]}"#, "a", Err(wrong));
        check(r#"{"a":""}"#, "a", Err("a member that `fields` names is empty"));
        check(r#"{"a":[]}"#, "a", Err("a member that `fields` names is empty"));
    }

    #[test]
    fn engines_say_the_end_in_their_own_ways() {
        let check = |json: &str, expected: Option<i64>| assert_eq!(end_ms(&raw(json), 5_000), expected, "{json}");
        check(r#"{"expiration":1795359175}"#, Some(1_795_359_175_000));
        check(r#"{"expires_at_seconds":1795359175,"ttl":3}"#, Some(1_795_359_175_000));
        check(r#"{"ttl":60}"#, Some(65_000));
        check(r#"{"ttl":0}"#, None);
        check(r#"{"ttl":"1h"}"#, None);
        check("{}", None);
    }
}
