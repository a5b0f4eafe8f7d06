//! Claims of minted tokens, made of what is attested of the caller: `"{github.repository}"`.
//!
//! In a text, `{NAME}` stands for an attribute; `{spiffe.id}` and `{spiffe.path}` for the identity. A text that is one
//! hole and nothing else keeps the attribute's type. `{{` and `}}` are braces.

use claviger_contract::SubjectTokenError;
use claviger_policy::{AttributeValue, Principal};
use serde_json::{Map, Value};

/// Whether a text can be filled; what is wrong with it, for the operator.
pub(super) fn check(text: &str) -> Result<(), String> {
    pieces(text).map(drop)
}

/// Fills all holes. What a caller does not have is no empty text: then there is no token.
pub(super) fn fill(
    claims: &Map<String, Value>,
    principal: &Principal,
) -> Result<Map<String, Value>, SubjectTokenError> {
    let one = |(name, value): (&String, &Value)| Ok((name.clone(), fill_value(name, value, principal)?));
    claims.iter().map(one).collect()
}

enum Piece<'a> {
    Text(&'a str),
    Hole(&'a str),
}

fn pieces(text: &str) -> Result<Vec<Piece<'_>>, String> {
    let (mut all, mut rest) = (Vec::new(), text);
    while let Some(at) = rest.find(['{', '}']) {
        let (before, from) = rest.split_at(at);
        all.push(Piece::Text(before));
        rest = match (from.strip_prefix("{{"), from.strip_prefix("}}"), from.strip_prefix('{')) {
            (Some(after), ..) => {
                all.push(Piece::Text("{"));
                after
            }
            (_, Some(after), _) => {
                all.push(Piece::Text("}"));
                after
            }
            (.., Some(open)) => {
                let (name, after) = open.split_once('}').ok_or("`{` has no `}`; a brace itself is written twice")?;
                if name.is_empty()
                    || !name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
                {
                    return Err(format!("`{{{name}}}` is no attribute's name; a brace itself is written twice"));
                }
                all.push(Piece::Hole(name));
                after
            }
            _ => return Err("`}` has no `{`; a brace itself is written twice".to_owned()),
        };
    }
    all.push(Piece::Text(rest));
    all.retain(|piece| !matches!(piece, Piece::Text("")));
    Ok(all)
}

fn fill_value(claim: &str, value: &Value, principal: &Principal) -> Result<Value, SubjectTokenError> {
    match value {
        Value::String(text) => fill_text(claim, text, principal),
        Value::Array(items) => items.iter().map(|item| fill_value(claim, item, principal)).collect(),
        other => Ok(other.clone()),
    }
}

fn fill_text(claim: &str, text: &str, principal: &Principal) -> Result<Value, SubjectTokenError> {
    let missing =
        |attribute: &str| SubjectTokenError::Missing { claim: claim.to_owned(), attribute: attribute.to_owned() };
    // Checked at load.
    let pieces = pieces(text).map_err(|_| missing(text))?;
    if let [Piece::Hole(name)] = pieces.as_slice() {
        return found(name, principal).ok_or_else(|| missing(name));
    }
    let mut filled = String::new();
    for piece in pieces {
        match piece {
            Piece::Text(text) => filled.push_str(text),
            Piece::Hole(name) => match found(name, principal) {
                Some(Value::String(text)) => filled.push_str(&text),
                Some(value @ (Value::Number(_) | Value::Bool(_))) => filled.push_str(&value.to_string()),
                // A list within a text could be read in two ways.
                Some(_) | None => return Err(missing(name)),
            },
        }
    }
    Ok(filled.into())
}

fn found(name: &str, principal: &Principal) -> Option<Value> {
    match name {
        "spiffe.id" => return Some(principal.id.as_str().into()),
        "spiffe.path" => return Some(principal.id.path().trim_start_matches('/').into()),
        _ => {}
    }
    Some(match principal.attributes.get(name)? {
        AttributeValue::String(text) => (**text).into(),
        AttributeValue::Integer(number) => (*number).into(),
        AttributeValue::Boolean(flag) => (*flag).into(),
        AttributeValue::Strings(texts) => texts.iter().map(|text| &**text).collect(),
    })
}

#[cfg(test)]
mod tests {
    use claviger_policy::{Attributes, SpiffeId};
    use serde_json::json;

    use super::*;

    fn principal() -> Principal {
        let attributes: Attributes = [
            ("github.repository", AttributeValue::from("acme/docs")),
            ("unix.uid", AttributeValue::from(1_000)),
            ("ci", AttributeValue::from(true)),
            ("groups", AttributeValue::Strings(["a".into(), "b".into()].into())),
        ]
        .into_iter()
        .collect();
        Principal {
            id: SpiffeId::parse("spiffe://acme.internal/ci/docs").unwrap(),
            attributes,
            attested_by: "x".into(),
        }
    }

    #[test]
    fn holes_are_filled_with_what_is_attested() {
        for (written, expected) in [
            (json!("plain"), json!("plain")),
            (json!(7), json!(7)),
            (json!("repo:{github.repository}:uid:{unix.uid}"), json!("repo:acme/docs:uid:1000")),
            (json!("{unix.uid}"), json!(1_000)),
            (json!("{ci}"), json!(true)),
            (json!("{groups}"), json!(["a", "b"])),
            (json!(["{spiffe.path}", "x"]), json!(["ci/docs", "x"])),
            (json!("{spiffe.id}"), json!("spiffe://acme.internal/ci/docs")),
            (json!("{{literal}}"), json!("{literal}")),
        ] {
            let claims = json!({"c": written});
            let filled = fill(claims.as_object().unwrap(), &principal()).unwrap();
            assert_eq!(filled["c"], expected, "{claims}");
        }
    }

    #[test]
    fn what_the_caller_does_not_have_is_no_token() {
        for written in ["{github.ref}", "x-{github.ref}", "x-{groups}"] {
            let claims = json!({"c": written});
            assert!(fill(claims.as_object().unwrap(), &principal()).is_err(), "{written}");
        }
        let claims = json!({"c": "{github.ref}"});
        let error = fill(claims.as_object().unwrap(), &principal()).unwrap_err().to_string();
        assert_eq!(error, "the claim `c` is made of `github.ref`, which the caller does not have in that form");
    }

    #[test]
    fn texts_that_are_no_templates() {
        for (text, fine) in
            [("a{b}c", true), ("{{", true), ("}}", true), ("{", false), ("}", false), ("{}", false), ("{a b}", false)]
        {
            assert_eq!(check(text).is_ok(), fine, "{text}");
        }
    }
}
