//! Events as JSON objects. What a record may say is written out here, field by field.

use std::io::Write as _;
use std::net::IpAddr;

use claviger_contract::Secretless;
use claviger_contract::event::{ConnectionEvent, CredentialEvent, Decided, Event, Finished, SystemEvent, Verdict};
use claviger_policy::{AttributeValue, Principal};
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};

/// Longer texts are cut, so that a line has a bounded length.
const TEXT_MAX: usize = 4_096;

/// A longer value of an attribute is not recorded: a part of it would be taken for the whole.
const ATTRIBUTE_MAX: usize = 256;

/// Neither is a longer list.
const ATTRIBUTE_LIST_MAX: usize = 32;

/// No more attributes of one caller than these are recorded.
const ATTRIBUTES_MAX: usize = 32;

/// Writes events into a buffer; keeps the part of the time that rarely changes.
#[derive(Debug, Default)]
pub(crate) struct Encoder {
    second: Option<i64>,
    until_second: String,
}

/// A record of the ledger about itself.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Note {
    /// Events that could not be written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) count: Option<u64>,
    /// Bytes that were cut off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) bytes: Option<u64>,
    pub(crate) detail: String,
}

impl Encoder {
    /// Appends one JSON object.
    pub(crate) fn event(&mut self, event: &Event, out: &mut Vec<u8>) {
        match event {
            Event::Decided(event) => self.decided(event, out),
            Event::Finished(event) => self.finished(event, out),
            Event::Credential(event) => self.write(event.at_ms, "credential", CredentialFields::from(event), out),
            Event::System(event) => self.write(event.at_ms, "system", SystemFields::from(event), out),
            Event::Connection(event) => self.write(event.at_ms, "connection", ConnectionFields::from(event), out),
        }
    }

    pub(crate) fn decided(&mut self, event: &Decided, out: &mut Vec<u8>) {
        self.write(event.at_ms, "decided", DecidedFields::from(event), out);
    }

    pub(crate) fn finished(&mut self, event: &Finished, out: &mut Vec<u8>) {
        self.write(event.at_ms, "finished", FinishedFields::from(event), out);
    }

    /// Appends a record of the ledger about itself.
    pub(crate) fn note(&mut self, at_ms: i64, kind: &'static str, note: &Note, out: &mut Vec<u8>) {
        self.write(at_ms, kind, note, out);
    }

    fn write(&mut self, at_ms: i64, kind: &'static str, fields: impl Serialize, out: &mut Vec<u8>) {
        let start = out.len();
        self.set_second(at_ms.div_euclid(1_000));
        // Writing into a Vec cannot fail, nor can fields whose keys are all texts.
        let _ = write!(out, r#"{{"at":"{}.{:03}Z","type":"{kind}""#, self.until_second, at_ms.rem_euclid(1_000));
        let fields_at = out.len();
        if serde_json::to_writer(&mut *out, &fields).is_err() {
            out.truncate(start);
        } else if let Some(brace) = out.get_mut(fields_at) {
            // The object of the fields goes on where the head of the record ended.
            *brace = b',';
        }
    }

    /// RFC 3339 in UTC, but for the milliseconds.
    fn set_second(&mut self, second: i64) {
        if self.second == Some(second) {
            return;
        }
        self.second = Some(second);
        let time = jiff::Timestamp::from_second(second).unwrap_or_default().to_string();
        time.trim_end_matches('Z').clone_into(&mut self.until_second);
    }
}

/// A text of at most [`TEXT_MAX`] bytes, cut at a character.
#[derive(Clone, Copy)]
struct Text<'a>(&'a str);

impl Serialize for Text<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.get(..self.0.floor_char_boundary(TEXT_MAX)) {
            Some(cut) if cut.len() < self.0.len() => serializer.collect_str(&format_args!("{cut}…")),
            _ => serializer.serialize_str(self.0),
        }
    }
}

/// 32 hexadecimal digits.
#[derive(Clone, Copy)]
struct Hex(u128);

impl Serialize for Hex {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:032x}", self.0))
    }
}

/// RFC 3339 in UTC, from seconds since the Unix epoch.
#[derive(Clone, Copy)]
struct Second(i64);

impl Serialize for Second {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match jiff::Timestamp::from_second(self.0) {
            Ok(time) => serializer.collect_str(&time),
            Err(_) => serializer.serialize_i64(self.0),
        }
    }
}

/// The attributes of a caller that policy asks for; `null` for one that is too long.
struct Attributes<'a> {
    principal: &'a Principal,
    asked: &'a [std::sync::Arc<str>],
}

impl<'a> Attributes<'a> {
    /// `None` if there is nothing to say, as in most configurations.
    fn of(event: &'a Decided) -> Option<Self> {
        let (principal, asked) = (event.principal.as_deref()?, event.asked.as_deref()?);
        let any = asked.iter().any(|name| principal.attributes.get(name).is_some());
        any.then_some(Self { principal, asked })
    }
}

impl Serialize for Attributes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        let known = |name: &'_ std::sync::Arc<str>| Some((name.clone(), self.principal.attributes.get(name)?));
        for (name, value) in self.asked.iter().filter_map(known).take(ATTRIBUTES_MAX) {
            let name = Text(&name);
            match value {
                AttributeValue::String(text) if text.len() <= ATTRIBUTE_MAX => map.serialize_entry(&name, &**text)?,
                AttributeValue::Strings(texts)
                    if texts.len() <= ATTRIBUTE_LIST_MAX && texts.iter().all(|text| text.len() <= ATTRIBUTE_MAX) =>
                {
                    let texts: Vec<&str> = texts.iter().map(|text| &**text).collect();
                    map.serialize_entry(&name, &texts)?;
                }
                AttributeValue::Integer(value) => map.serialize_entry(&name, value)?,
                AttributeValue::Boolean(value) => map.serialize_entry(&name, value)?,
                AttributeValue::String(_) | AttributeValue::Strings(_) => map.serialize_entry(&name, &())?,
            }
        }
        map.end()
    }
}

fn text(text: &Option<impl AsRef<str>>) -> Option<Text<'_>> {
    text.as_ref().map(|text| Text(text.as_ref()))
}

#[derive(Serialize)]
struct CredentialField<'a> {
    name: Text<'a>,
    version: Text<'a>,
}

#[derive(Serialize)]
struct DecidedFields<'a> {
    id: Hex,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<Hex>,
    listener: Text<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    principal: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attested_by: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attributes: Option<Attributes<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source_ip: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<Text<'a>>,
    method: Text<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<Text<'a>>,
    decision: &'static str,
    code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    credential: Option<CredentialField<'a>>,
    generation: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    observed: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    would: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    alert: Option<AlertField<'a>>,
}

#[derive(Serialize)]
struct AlertField<'a> {
    kind: &'static str,
    workload: Text<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<Text<'a>>,
    place: Text<'a>,
}

impl<'a> From<&'a Decided> for DecidedFields<'a> {
    fn from(event: &'a Decided) -> Self {
        // Attributes that no rule asks for stay out: they may be personal, and nothing rests on them.
        Self {
            id: Hex(event.id.0),
            trace_id: event.trace.map(|trace| Hex(trace.0)),
            listener: Text(&event.listener),
            principal: event.principal.as_ref().map(|principal| Text(principal.id.as_str())),
            attested_by: event.principal.as_ref().map(|principal| Text(&principal.attested_by)),
            attributes: Attributes::of(event),
            source_ip: event.source_ip,
            service: text(&event.service),
            rule: text(&event.rule),
            method: Text(event.method.as_str()),
            host: text(&event.host),
            path: text(&event.path),
            decision: match event.verdict {
                Verdict::Allow => "allow",
                Verdict::Deny => "deny",
            },
            code: event.code,
            detail: text(&event.detail),
            credential: event
                .credential
                .as_ref()
                .map(|stamp| CredentialField { name: Text(&stamp.name), version: Text(&stamp.version) }),
            generation: event.generation,
            observed: text(&event.observed),
            would: event.would,
            alert: event.alert.as_ref().map(|alert| AlertField {
                kind: alert.kind,
                workload: Text(&alert.workload),
                service: text(&alert.service),
                place: Text(&alert.place),
            }),
        }
    }
}

#[derive(Serialize)]
struct FinishedFields<'a> {
    id: Hex,
    code: &'static str,
    /// Absent if the client was sent none.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream_status: Option<u16>,
    duration_us: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_byte_us: Option<u64>,
    request_bytes: u64,
    response_bytes: u64,
    masked: u32,
    replayed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    served_version: Option<Text<'a>>,
}

impl<'a> From<&'a Finished> for FinishedFields<'a> {
    fn from(event: &'a Finished) -> Self {
        Self {
            id: Hex(event.id.0),
            code: event.code,
            status: (event.status != 0).then_some(event.status),
            upstream_status: event.upstream_status,
            duration_us: event.duration_us,
            first_byte_us: event.first_byte_us,
            request_bytes: event.request_bytes,
            response_bytes: event.response_bytes,
            masked: event.masked,
            replayed: event.replayed,
            served_version: text(&event.served_version),
        }
    }
}

#[derive(Serialize)]
struct CredentialFields<'a> {
    kind: &'static str,
    credential: VersionField<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    principal: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<Second>,
    #[serde(skip_serializing_if = "Option::is_none")]
    secretless: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<Text<'a>>,
}

#[derive(Serialize)]
struct VersionField<'a> {
    name: Text<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<Text<'a>>,
}

impl<'a> From<&'a CredentialEvent> for CredentialFields<'a> {
    fn from(event: &'a CredentialEvent) -> Self {
        Self {
            kind: event.kind.code(),
            credential: VersionField { name: Text(&event.credential), version: text(&event.version) },
            principal: event.principal.as_ref().map(|id| Text(id.as_str())),
            expires_at: event.expires_at.map(Second),
            secretless: event.secretless.map(Secretless::as_str),
            detail: text(&event.detail),
        }
    }
}

#[derive(Serialize)]
struct SystemFields<'a> {
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    generation: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    configuration: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    actor: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<Text<'a>>,
}

impl<'a> From<&'a SystemEvent> for SystemFields<'a> {
    fn from(event: &'a SystemEvent) -> Self {
        Self {
            kind: event.kind,
            generation: event.generation,
            configuration: text(&event.configuration),
            actor: text(&event.actor),
            detail: text(&event.detail),
        }
    }
}

#[derive(Serialize)]
struct ConnectionFields<'a> {
    listener: Text<'a>,
    peer: Text<'a>,
    code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<Text<'a>>,
}

impl<'a> From<&'a ConnectionEvent> for ConnectionFields<'a> {
    fn from(event: &'a ConnectionEvent) -> Self {
        Self { listener: Text(&event.listener), peer: Text(&event.peer), code: event.code, detail: text(&event.detail) }
    }
}
