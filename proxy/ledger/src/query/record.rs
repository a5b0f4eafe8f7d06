//! One line, read.

use std::fmt::{self, Write as _};
use std::sync::Arc;

use claviger_contract::event::RequestId;
use claviger_policy::AttributeValue;
use serde_json::{Map, Value};

/// A record as it stands in the ledger.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    line: String,
    fields: Map<String, Value>,
}

impl Record {
    /// Reads a line without its line break; `None` if it is no record. Its hash is not checked here.
    pub fn parse(line: &str) -> Option<Self> {
        let fields: Map<String, Value> = serde_json::from_str(line).ok()?;
        let whole = fields.get("seq")?.is_u64() && fields.get("at")?.is_string() && fields.get("type")?.is_string();
        whole.then(|| Self { line: line.to_owned(), fields })
    }

    /// The line, a JSON object.
    pub fn as_json(&self) -> &str {
        &self.line
    }

    /// The sequence number, from 1.
    pub fn seq(&self) -> u64 {
        self.number("seq").unwrap_or(0)
    }

    /// When it happened: RFC 3339, UTC, milliseconds.
    pub fn at(&self) -> &str {
        self.text("at").unwrap_or_default()
    }

    /// `decided`, `finished`, `credential`, `system`, `connection`, or `lost` and `recovered`, in which
    /// the ledger speaks of itself.
    pub fn kind(&self) -> &str {
        self.text("type").unwrap_or_default()
    }

    /// The request that it is about.
    pub fn id(&self) -> Option<RequestId> {
        self.text("id")?.parse().ok()
    }

    /// Whether a `decided` record allows its request; `None` for other records.
    pub fn allowed(&self) -> Option<bool> {
        match self.text("decision")? {
            "allow" => Some(true),
            "deny" => Some(false),
            _ => None,
        }
    }

    /// Name and version of the credential that it is about.
    pub fn credential(&self) -> Option<(&str, Option<&str>)> {
        let stamp = self.fields.get("credential")?;
        Some((stamp.get("name")?.as_str()?, stamp.get("version").and_then(Value::as_str)))
    }

    /// A field that is a text, as it stands: it may hold control characters.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.fields.get(name)?.as_str()
    }

    /// A field that is a number.
    pub fn number(&self, name: &str) -> Option<u64> {
        self.fields.get(name)?.as_u64()
    }

    /// The attributes of the caller that were recorded; those that were too long are left out.
    pub fn attributes(&self) -> Vec<(String, AttributeValue)> {
        let Some(Value::Object(fields)) = self.fields.get("attributes") else { return Vec::new() };
        let value = |value: &Value| match value {
            Value::String(text) => Some(AttributeValue::from(text.as_str())),
            Value::Number(number) => number.as_i64().map(AttributeValue::Integer),
            Value::Bool(flag) => Some(AttributeValue::Boolean(*flag)),
            Value::Array(texts) => {
                Some(AttributeValue::Strings(texts.iter().filter_map(Value::as_str).map(Arc::from).collect()))
            }
            Value::Null | Value::Object(_) => None,
        };
        fields.iter().filter_map(|(name, is)| Some((name.clone(), value(is)?))).collect()
    }

    /// When it happened, in milliseconds since the Unix epoch.
    pub fn at_ms(&self) -> Option<i64> {
        self.at().parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_millisecond)
    }

    fn write_decided(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let or = |name, without| Plain(self.text(name).unwrap_or(without));
        write!(f, "{} {} {}", or("decision", "?"), or("principal", "unattested"), or("method", "?"))?;
        write!(f, " {}{}", or("host", "-"), or("path", ""))?;
        if let Some(rule) = self.text("rule") {
            write!(f, " rule={}", Plain(rule))?;
        }
        if let Some(observed) = self.text("observed") {
            write!(f, " observed={}", Plain(observed))?;
        }
        if let Some(would) = self.text("would") {
            write!(f, " would={}", Plain(would))?;
        }
        self.write_credential(f)?;
        write!(f, " code={}", or("code", "?"))?;
        if let Some(Value::Object(alert)) = self.fields.get("alert") {
            let of = |name| alert.get(name).and_then(Value::as_str);
            write!(f, " alert={} of={}", Plain(of("kind").unwrap_or("?")), Plain(of("workload").unwrap_or("?")))?;
            if let Some(service) = of("service") {
                write!(f, " for={}", Plain(service))?;
            }
            write!(f, " in={:?}", of("place").unwrap_or("?"))?;
        }
        Ok(())
    }

    fn write_finished(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(status) = self.number("status") {
            write!(f, " status={status}")?;
        }
        let us = self.number("duration_us").unwrap_or(0);
        write!(f, " {}.{:01}ms", us / 1_000, us % 1_000 / 100)?;
        if let Some(masked) = self.number("masked").filter(|masked| *masked > 0) {
            write!(f, " masked={masked}")?;
        }
        if self.fields.get("replayed").and_then(Value::as_bool) == Some(true) {
            f.write_str(" replayed")?;
        }
        if let Some(version) = self.text("served_version") {
            write!(f, " served={}", Plain(version))?;
        }
        Ok(())
    }

    fn write_credential(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.credential() {
            Some((name, Some(version))) => write!(f, " credential={}@{}", Plain(name), Plain(version)),
            Some((name, None)) => write!(f, " credential={}", Plain(name)),
            None => Ok(()),
        }
    }

    /// The fields of other records by name, as far as they are there.
    fn write_fields(&self, f: &mut fmt::Formatter<'_>, names: &[&str]) -> fmt::Result {
        for name in names {
            match self.fields.get(*name) {
                Some(Value::String(text)) => write!(f, " {name}={}", Plain(text))?,
                Some(other) => write!(f, " {name}={other}")?,
                None => {}
            }
        }
        Ok(())
    }
}

impl fmt::Display for Record {
    /// One line for people, without control characters.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", Plain(self.at()))?;
        match self.kind() {
            "decided" => {
                self.write_decided(f)?;
                self.write_fields(f, &["detail", "id"])
            }
            "finished" => {
                write!(f, "finished code={}", Plain(self.text("code").unwrap_or("?")))?;
                self.write_finished(f)?;
                self.write_fields(f, &["id"])
            }
            kind => {
                write!(f, "{}", Plain(kind))?;
                self.write_fields(f, &["kind"])?;
                self.write_credential(f)?;
                const REST: [&str; 10] = [
                    "principal",
                    "listener",
                    "peer",
                    "code",
                    "generation",
                    "actor",
                    "expires_at",
                    "count",
                    "bytes",
                    "detail",
                ];
                self.write_fields(f, &REST)
            }
        }
    }
}

/// A request from its decision to its end, for one line.
#[derive(Clone, Copy, Debug)]
pub struct Exchange<'a> {
    /// The `decided` record.
    pub decided: &'a Record,
    /// The `finished` record, once there is one.
    pub finished: Option<&'a Record>,
}

impl fmt::Display for Exchange<'_> {
    /// Time, decision, principal, method, host and path, rule, credential and version, code, status, duration.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", Plain(self.decided.at()))?;
        self.decided.write_decided(f)?;
        match self.finished {
            None => f.write_str(" open"),
            Some(finished) => {
                let code = finished.text("code").unwrap_or("?");
                if self.decided.text("code") != Some(code) {
                    write!(f, " end={}", Plain(code))?;
                }
                finished.write_finished(f)
            }
        }
    }
}

/// A text of others on a terminal: control characters are shown, not obeyed.
struct Plain<'a>(&'a str);

impl fmt::Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            if c.is_control() { write!(f, "{}", c.escape_unicode())? } else { f.write_char(c)? }
        }
        Ok(())
    }
}
