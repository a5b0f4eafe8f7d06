//! The fields of one line, borrowed from it: what a search through millions of lines looks at.

use std::borrow::Cow;
use std::fmt;

use claviger_contract::event::RequestId;
use serde::Deserialize;
use serde::de::{Deserializer, Error, Visitor};

use crate::chain::read_seq;

/// A text that is copied only if it has escapes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Text<'a>(Cow<'a, str>);

impl Text<'_> {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

// Derived, a `Cow` within an `Option` would always be copied.
impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AsText;
        impl<'de> Visitor<'de> for AsText {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }

            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(AsText)
    }
}

#[derive(Debug, Default, Deserialize)]
pub(crate) struct Stamp<'a> {
    #[serde(borrow, default)]
    pub(crate) name: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(crate) version: Option<Text<'a>>,
}

/// The fields of a `decided` or `finished` record that are searched or counted.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Facts<'a> {
    #[serde(borrow, default)]
    pub(crate) listener: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(crate) principal: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(crate) service: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(crate) method: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(crate) host: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(crate) path: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(crate) decision: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(crate) code: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(crate) credential: Option<Stamp<'a>>,
    #[serde(borrow, default)]
    pub(crate) observed: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(crate) would: Option<Text<'a>>,
    /// There or not is all that is asked.
    #[serde(default)]
    pub(crate) alert: Option<serde::de::IgnoredAny>,
    #[serde(default)]
    pub(crate) request_bytes: u64,
    #[serde(default)]
    pub(crate) response_bytes: u64,
    #[serde(borrow, default)]
    pub(crate) served_version: Option<Text<'a>>,
}

/// An optional text, or nothing.
pub(crate) fn or_empty<'t>(text: &'t Option<Text<'_>>) -> &'t str {
    text.as_ref().map_or("", Text::as_str)
}

impl<'a> Facts<'a> {
    pub(crate) fn read(line: &'a str) -> Option<Self> {
        serde_json::from_str(line).ok()
    }
}

/// The start of a line as it is always written; most lines of a search are passed over by it alone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Start<'a> {
    /// RFC 3339, UTC, milliseconds: texts of one length, which sort as times do.
    pub(crate) at: &'a str,
    /// The record's type.
    pub(crate) kind: &'a str,
    /// What stands behind the type.
    rest: &'a str,
}

impl<'a> Start<'a> {
    /// `None` for what is no record.
    pub(crate) fn read(line: &'a str) -> Option<Self> {
        read_seq(line.as_bytes())?;
        let (_, rest) = line.split_once(",\"at\":\"")?;
        let (at, rest) = rest.split_once('"')?;
        let (kind, rest) = rest.strip_prefix(",\"type\":\"")?.split_once('"')?;
        Some(Self { at, kind, rest })
    }

    /// The id of the request, for `decided` and `finished`.
    pub(crate) fn id(&self) -> Option<RequestId> {
        let (id, _) = self.rest.strip_prefix(",\"id\":\"")?.split_once('"')?;
        id.parse().ok()
    }
}
