//! Reads what rules ask about a body: JSON fields by dotted path, as `body.model`.
//!
//! A fact is known only if every reader would see the same: duplicate keys, trailing data and
//! other content types leave it unknown, so that an allow which needs it does not match.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use claviger_policy::{AttributeValue, BodyFacts, Fact, Pending};
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::request::Parts;
use http_body_util::BodyExt;
use hyper::body::Body;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use crate::client_body::ClientBody;
use crate::refusal::{Refusal, RefusalCode};

/// Reads a whole body of at most `limit` bytes; `Err(TooLarge)` if it has more.
pub(crate) async fn read(mut incoming: ClientBody, limit: usize, deadline: Duration) -> Result<Bytes, Refusal> {
    let too_large =
        || Refusal::new(RefusalCode::BodyTooLarge, format!("more than {limit} bytes, which must be read whole"));
    if incoming.size_hint().lower() > limit as u64 {
        return Err(too_large());
    }
    // A deadline for all of it: one byte now and then would hold the request, and its grant, for ever.
    let reading = async {
        let mut whole = BytesMut::new();
        while let Some(frame) = incoming.frame().await {
            let frame = frame.map_err(|_| Refusal::new(RefusalCode::BodyBroken, "the client broke the body off"))?;
            let Ok(data) = frame.into_data() else { continue };
            if whole.len() + data.len() > limit {
                return Err(too_large());
            }
            whole.extend_from_slice(&data);
        }
        Ok(whole.freeze())
    };
    let late = |_| Refusal::new(RefusalCode::BodyBroken, format!("the body took longer than {deadline:?}"));
    tokio::time::timeout(deadline, reading).await.map_err(late)?
}

/// The facts that `pending` needs, from a body that was read whole.
pub(crate) fn facts(pending: &Pending, head: &Parts, body: &Bytes) -> BodyFacts {
    let mut facts = BodyFacts::default();
    let needs = pending.needs();
    if body.is_empty() {
        for name in needs {
            facts.set(name, Fact::Inapplicable);
        }
        return facts;
    }
    let mut types = head.headers.get_all(CONTENT_TYPE).iter();
    let json = types.next().and_then(|value| value.to_str().ok()).is_some_and(is_json);
    if !json || types.next().is_some() || head.headers.contains_key(CONTENT_ENCODING) {
        return facts;
    }
    let Ok(Strict(root)) = serde_json::from_slice::<Strict>(body) else { return facts };
    for name in needs {
        let Some(path) = name.strip_prefix("body.") else { continue };
        facts.set(name, look_up(&root, path));
    }
    facts
}

/// JSON in UTF-8 (RFC 8259 §8.1), without a parameter that says otherwise.
fn is_json(value: &str) -> bool {
    let value = value.to_ascii_lowercase();
    let mut parts = value.split(';').map(str::trim);
    let media_type = parts.next().unwrap_or_default();
    let plain = parts.all(|parameter| matches!(parameter, "" | "charset=utf-8" | "charset=\"utf-8\""));
    plain && is_json_type(media_type)
}

fn is_json_type(media_type: &str) -> bool {
    media_type == "application/json" || (media_type.starts_with("application/") && media_type.ends_with("+json"))
}

fn look_up(root: &Json, path: &str) -> Fact {
    let mut at = root;
    for name in path.split('.') {
        let Json::Object(members) = at else { return Fact::Unknown };
        match members.iter().find(|(key, _)| key == name) {
            Some((_, value)) => at = value,
            None => return Fact::Unknown,
        }
    }
    match at {
        Json::String(text) => Fact::Known(AttributeValue::from(text.as_str())),
        Json::Integer(number) => Fact::Known(AttributeValue::Integer(*number)),
        Json::Boolean(flag) => Fact::Known(AttributeValue::Boolean(*flag)),
        Json::Strings(texts) => {
            Fact::Known(AttributeValue::Strings(texts.iter().map(|text| text.as_str().into()).collect()))
        }
        Json::Object(_) | Json::Other => Fact::Unknown,
    }
}

/// JSON of which no two readers could think differently.
struct Strict(Json);

enum Json {
    String(String),
    Integer(i64),
    Boolean(bool),
    Strings(Vec<String>),
    Object(Vec<(String, Json)>),
    Other,
}

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Json::deserialize(deserializer).map(Self)
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor)
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Json;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JSON")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Json, E> {
        Ok(Json::String(text.to_owned()))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Json, E> {
        Ok(Json::Integer(number))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Json, E> {
        Ok(i64::try_from(number).map_or(Json::Other, Json::Integer))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Json, E> {
        Ok(Json::Other)
    }

    fn visit_bool<E: Error>(self, flag: bool) -> Result<Json, E> {
        Ok(Json::Boolean(flag))
    }

    fn visit_unit<E: Error>(self) -> Result<Json, E> {
        Ok(Json::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
        let mut texts = Vec::new();
        let mut all = true;
        while let Some(item) = items.next_element::<Json>()? {
            match item {
                Json::String(text) => texts.push(text),
                Json::Integer(_) | Json::Boolean(_) | Json::Strings(_) | Json::Object(_) | Json::Other => all = false,
            }
        }
        Ok(if all { Json::Strings(texts) } else { Json::Other })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Json, A::Error> {
        let mut seen: Vec<(String, Json)> = Vec::new();
        let mut names = std::collections::HashSet::new();
        while let Some((key, value)) = members.next_entry::<String, Json>()? {
            // Some readers fold case, and take the last.
            if !names.insert(key.to_uppercase().to_lowercase()) {
                return Err(A::Error::custom("a key stands twice"));
            }
            seen.push((key, value));
        }
        Ok(Json::Object(seen))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fact(body: &str, path: &str) -> Fact {
        match serde_json::from_str::<Strict>(body) {
            Ok(Strict(root)) => look_up(&root, path),
            Err(_) => Fact::Unknown,
        }
    }

    #[test]
    fn facts_of_json() {
        for (body, path, expected) in [
            (r#"{"model":"gpt-4o"}"#, "model", Fact::Known("gpt-4o".into())),
            (r#"{"a":{"b":7}}"#, "a.b", Fact::Known(7.into())),
            (r#"{"stream":true}"#, "stream", Fact::Known(true.into())),
            // Near misses: absent, of another shape, ambiguous, or not JSON.
            (r#"{"model":"gpt-4o"}"#, "models", Fact::Unknown),
            (r#"{"model":null}"#, "model", Fact::Unknown),
            (r#"{"model":1.5}"#, "model", Fact::Unknown),
            (r#"{"model":"a","model":"b"}"#, "model", Fact::Unknown),
            (r#"{"x":{"y":1,"y":2},"model":"a"}"#, "model", Fact::Unknown),
            (r#"{"model":"a","mod\u0065l":"b"}"#, "model", Fact::Unknown),
            (r#"{"model":"a","Model":"b"}"#, "model", Fact::Unknown),
            (r#"{"stream":true,"\u017ftream":false}"#, "stream", Fact::Unknown),
            (r#"{"k":1,"\u212a":2}"#, "k", Fact::Unknown),
            (r#"{"model":"a"} {"model":"b"}"#, "model", Fact::Unknown),
            (r#"{"model":"a""#, "model", Fact::Unknown),
            (r#"["model"]"#, "model", Fact::Unknown),
        ] {
            assert_eq!(fact(body, path), expected, "{body}");
        }
    }
}
