//! Events as JSON objects. What a record may say is written out here, field by field.

use std::net::IpAddr;

use claviger_contract::Secretless;
use claviger_contract::event::{ConnectionEvent, CredentialEvent, Decided, Event, Finished, SystemEvent, Verdict, hex};
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

    /// One of the two records that each request makes: written field by field, for it is most of what the ledger does.
    pub(crate) fn decided(&mut self, event: &Decided, out: &mut Vec<u8>) {
        let mut fields = self.open(event.at_ms, "decided", out);
        fields.hex(",\"id\":", event.id.0);
        if let Some(trace) = event.trace {
            fields.hex(",\"trace_id\":", trace.0);
        }
        fields.text(",\"listener\":", &event.listener);
        if let Some(principal) = &event.principal {
            fields.text(",\"principal\":", principal.id.as_str());
            fields.text(",\"attested_by\":", &principal.attested_by);
        }
        // Attributes that no rule asks for stay out: they may be personal, and nothing rests on them.
        if let Some(attributes) = Attributes::of(event) {
            fields.other(",\"attributes\":", &attributes);
        }
        if let Some(address) = event.source_ip {
            fields.address(",\"source_ip\":", address);
        }
        fields.maybe_text(",\"service\":", event.service.as_deref());
        fields.maybe_text(",\"rule\":", event.rule.as_deref());
        fields.word(",\"method\":", event.method.as_str());
        fields.maybe_text(",\"host\":", event.host.as_deref());
        fields.maybe_text(",\"path\":", event.path.as_deref());
        fields.word(
            ",\"decision\":",
            match event.verdict {
                Verdict::Allow => "allow",
                Verdict::Deny => "deny",
            },
        );
        fields.word(",\"code\":", event.code);
        fields.maybe_text(",\"detail\":", event.detail.as_deref());
        if let Some(stamp) = &event.credential {
            fields.text(",\"credential\":{\"name\":", &stamp.name);
            fields.text(",\"version\":", &stamp.version);
            fields.raw("}");
        }
        fields.number(",\"generation\":", event.generation);
        fields.maybe_text(",\"observed\":", event.observed.as_deref());
        fields.maybe_text(",\"would\":", event.would);
        if let Some(alert) = &event.alert {
            fields.text(",\"alert\":{\"kind\":", alert.kind);
            fields.text(",\"workload\":", &alert.workload);
            fields.maybe_text(",\"service\":", alert.service.as_deref());
            fields.text(",\"place\":", &alert.place);
            fields.raw("}");
        }
        fields.raw("}");
    }

    /// The other one.
    pub(crate) fn finished(&mut self, event: &Finished, out: &mut Vec<u8>) {
        let mut fields = self.open(event.at_ms, "finished", out);
        fields.hex(",\"id\":", event.id.0);
        fields.word(",\"code\":", event.code);
        // Absent if the client was sent none.
        if event.status != 0 {
            fields.number(",\"status\":", u64::from(event.status));
        }
        fields.maybe_number(",\"upstream_status\":", event.upstream_status.map(u64::from));
        fields.number(",\"duration_us\":", event.duration_us);
        fields.maybe_number(",\"first_byte_us\":", event.first_byte_us);
        fields.number(",\"request_bytes\":", event.request_bytes);
        fields.number(",\"response_bytes\":", event.response_bytes);
        fields.number(",\"masked\":", u64::from(event.masked));
        fields.raw(if event.replayed { ",\"replayed\":true" } else { ",\"replayed\":false" });
        fields.maybe_text(",\"served_version\":", event.served_version.as_deref());
        fields.raw("}");
    }

    /// The head of a record: its time and type.
    fn open<'a>(&mut self, at_ms: i64, kind: &'static str, out: &'a mut Vec<u8>) -> Fields<'a> {
        self.set_second(at_ms.div_euclid(1_000));
        let mut fields = Fields(out);
        fields.raw("{\"at\":\"");
        fields.raw(&self.until_second);
        fields.raw(".");
        let ms = at_ms.rem_euclid(1_000);
        fields.raw(if ms < 10 {
            "00"
        } else if ms < 100 {
            "0"
        } else {
            ""
        });
        fields.raw(itoa::Buffer::new().format(ms));
        fields.raw("Z\",\"type\":\"");
        fields.raw(kind);
        fields.raw("\"");
        fields
    }

    /// Appends a record of the ledger about itself.
    pub(crate) fn note(&mut self, at_ms: i64, kind: &'static str, note: &Note, out: &mut Vec<u8>) {
        self.write(at_ms, kind, note, out);
    }

    fn write(&mut self, at_ms: i64, kind: &'static str, fields: impl Serialize, out: &mut Vec<u8>) {
        let start = out.len();
        self.open(at_ms, kind, out);
        let fields_at = out.len();
        // Writing into a Vec cannot fail, nor can fields whose keys are all texts.
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

/// The fields of a record, one behind the other. A key comes as it is written, with what stands before and behind it.
struct Fields<'a>(&'a mut Vec<u8>);

impl Fields<'_> {
    fn raw(&mut self, text: &str) {
        self.0.extend_from_slice(text.as_bytes());
    }

    /// One of Claviger's own, or a token of HTTP (RFC 9110 §5.6.2): it stands for itself.
    fn word(&mut self, key: &str, word: &str) {
        debug_assert!(word.bytes().all(is_plain), "{word}");
        self.raw(key);
        self.raw("\"");
        self.raw(word);
        self.raw("\"");
    }

    fn text(&mut self, key: &str, text: &str) {
        self.raw(key);
        // Nearly every text stands for itself.
        if text.len() <= TEXT_MAX && text.bytes().fold(true, |plain, byte| plain & is_plain(byte)) {
            self.raw("\"");
            self.raw(text);
            self.raw("\"");
        } else {
            self.json(&Text(text));
        }
    }

    fn maybe_text(&mut self, key: &str, text: Option<&str>) {
        if let Some(text) = text {
            self.text(key, text);
        }
    }

    fn number(&mut self, key: &str, number: u64) {
        self.raw(key);
        self.raw(itoa::Buffer::new().format(number));
    }

    fn maybe_number(&mut self, key: &str, number: Option<u64>) {
        if let Some(number) = number {
            self.number(key, number);
        }
    }

    fn hex(&mut self, key: &str, value: u128) {
        self.raw(key);
        self.raw("\"");
        self.0.extend_from_slice(&hex(value));
        self.raw("\"");
    }

    fn address(&mut self, key: &str, address: IpAddr) {
        let IpAddr::V4(v4) = address else { return self.other(key, &address) };
        self.raw(key);
        let mut before = "\"";
        for octet in v4.octets() {
            self.raw(before);
            self.raw(itoa::Buffer::new().format(octet));
            before = ".";
        }
        self.raw("\"");
    }

    fn other(&mut self, key: &str, value: &impl Serialize) {
        self.raw(key);
        self.json(value);
    }

    fn json(&mut self, value: &impl Serialize) {
        let start = self.0.len();
        // Writing into a Vec cannot fail, nor can what is written here; if it did, the record would still be JSON.
        if serde_json::to_writer(&mut *self.0, value).is_err() {
            self.0.truncate(start);
            self.raw("null");
        }
    }
}

/// Whether a byte stands for itself in a JSON text.
fn is_plain(byte: u8) -> bool {
    byte >= 0x20 && byte != b'"' && byte != b'\\'
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
