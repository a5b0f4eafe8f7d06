//! What the claims of a verified token must say (RFC 7519 §4.1), and how one is named in configuration.

use std::borrow::Cow;
use std::sync::Arc;

use claviger_policy::AttributeValue;
use serde_json::{Map, Value};

use crate::IdentityError;

/// The name of a claim: `repository`, or `"kubernetes.io".namespace` where it is nested or has dots in its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClaimPath(Vec<String>);

impl ClaimPath {
    /// Parses dotted names; a name in double quotes is taken as it stands. There is one reading of each path, so that
    /// a claim `a.b` can never stand in for `b` inside of `a`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("`{text}` is not the name of a claim; write `a`, `a.b`, or `\"a.b\".c` for a name with dots");
        let mut names = Vec::new();
        let mut rest = text;
        loop {
            let (name, after) = match rest.strip_prefix('"') {
                Some(quoted) => quoted.split_once('"').ok_or_else(wrong)?,
                None => rest.split_at(rest.find('.').unwrap_or(rest.len())),
            };
            if name.is_empty() || (!rest.starts_with('"') && name.contains('"')) {
                return Err(wrong());
            }
            names.push(name.to_owned());
            match after.strip_prefix('.') {
                Some(more) => rest = more,
                None if after.is_empty() => return Ok(Self(names)),
                None => return Err(wrong()),
            }
        }
    }

    /// Whether it is a claim at the top, of this name.
    pub(crate) fn is(&self, claim: &str) -> bool {
        matches!(self.0.as_slice(), [only] if only == claim)
    }

    /// The claim, if the token has it.
    pub(crate) fn of<'c>(&self, claims: &'c Map<String, Value>) -> Option<&'c Value> {
        let (first, nested) = self.0.split_first()?;
        nested.iter().try_fold(claims.get(first)?, |value, name| value.as_object()?.get(name))
    }

    /// The claim as text for an identity: a string or an integer.
    pub(crate) fn text_of<'c>(&self, claims: &'c Map<String, Value>) -> Option<Cow<'c, str>> {
        match self.of(claims)? {
            Value::String(text) => Some(Cow::Borrowed(text)),
            Value::Number(number) => Some(Cow::Owned(number.as_i64()?.to_string())),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        }
    }

    /// The claim as an attribute; what is no text, integer, flag or list of texts stays unknown to policy.
    pub(crate) fn attribute_of(&self, claims: &Map<String, Value>) -> Option<AttributeValue> {
        match self.of(claims)? {
            Value::String(text) => Some(text.as_str().into()),
            Value::Number(number) => Some(number.as_i64()?.into()),
            Value::Bool(flag) => Some((*flag).into()),
            Value::Array(items) => {
                let texts: Option<Vec<Arc<str>>> = items.iter().map(|item| item.as_str().map(Arc::from)).collect();
                Some(AttributeValue::Strings(texts?.into()))
            }
            Value::Null | Value::Object(_) => None,
        }
    }
}

/// When a token holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    /// How far the issuer's clock may be off, in seconds.
    pub(crate) leeway: i64,
    /// The longest `exp - iat` that is accepted, in seconds.
    pub(crate) lifetime_max: Option<i64>,
}

impl Times {
    /// Checks `exp`, `nbf` and, if a longest lifetime is set, `iat`. Yields when the token ends on our clock.
    pub(crate) fn check(self, claims: &Map<String, Value>, now: i64) -> Result<i64, IdentityError> {
        let expires = numeric_date(claims, "exp")?.ok_or(IdentityError::Malformed("`exp` is absent"))?;
        let ends = expires.saturating_add(self.leeway);
        if now >= ends {
            return Err(IdentityError::Expired);
        }
        if numeric_date(claims, "nbf")?.is_some_and(|not_before| now < not_before.saturating_sub(self.leeway)) {
            return Err(IdentityError::NotYetValid);
        }
        if let Some(longest) = self.lifetime_max {
            let issued = numeric_date(claims, "iat")?.ok_or(IdentityError::Malformed("`iat` is absent"))?;
            if expires.saturating_sub(issued) > longest {
                return Err(IdentityError::Untrusted("it lives longer than `max_lifetime`"));
            }
            // Else a date far ahead would make any lifetime short.
            if issued > now.saturating_add(self.leeway) {
                return Err(IdentityError::NotYetValid);
            }
        }
        Ok(ends)
    }
}

/// RFC 7519 §2: seconds, possibly with a fraction, which is cut off.
fn numeric_date(claims: &Map<String, Value>, name: &str) -> Result<Option<i64>, IdentityError> {
    const WRONG: IdentityError = IdentityError::Malformed("`exp`, `nbf` or `iat` is not a date in seconds");
    // Year 9999; beyond it somebody meant milliseconds.
    const LATEST: i64 = 253_402_300_799;
    let Some(value) = claims.get(name) else { return Ok(None) };
    let seconds = match (value.as_i64(), value.as_f64()) {
        (Some(seconds), _) => seconds,
        #[allow(clippy::cast_possible_truncation, reason = "a float cast saturates, and the range is checked below")]
        (None, Some(seconds)) => seconds.floor() as i64,
        (None, None) => return Err(WRONG),
    };
    if (0..=LATEST).contains(&seconds) { Ok(Some(seconds)) } else { Err(WRONG) }
}

/// RFC 7519 §4.1.3: a text or a list of texts, one of which is ours.
pub(crate) fn check_audience(claims: &Map<String, Value>, ours: &[String]) -> Result<(), IdentityError> {
    let is_ours = |value: &Value| value.as_str().is_some_and(|audience| ours.iter().any(|own| own == audience));
    let found = match claims.get("aud") {
        None => return Err(IdentityError::Malformed("`aud` is absent")),
        Some(audience @ Value::String(_)) => is_ours(audience),
        Some(Value::Array(audiences)) if audiences.iter().all(Value::is_string) => audiences.iter().any(is_ours),
        Some(_) => return Err(IdentityError::Malformed("`aud` is not a text or a list of texts")),
    };
    if found { Ok(()) } else { Err(IdentityError::Audience) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use crate::token::json::object;

    fn claims(text: &str) -> Map<String, Value> {
        object(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_path_has_one_reading() {
        let token = claims(r#"{"a":{"b":"nested"},"a.b":"dotted","k.io":{"ns":{"name":"x"}},"n":7}"#);
        for (path, expected) in [
            ("a.b", Some("nested")),
            ("\"a.b\"", Some("dotted")),
            ("\"a\".b", Some("nested")),
            ("\"k.io\".ns.name", Some("x")),
            ("k.io.ns.name", None),
            ("n", Some("7")),
            ("a", None),
            ("a.b.c", None),
        ] {
            let found = ClaimPath::parse(path).unwrap().text_of(&token);
            assert_eq!(found.as_deref(), expected, "{path}");
        }
        for wrong in ["", ".", "a.", ".a", "a..b", "\"a", "\"a\"b", "a\"b\"", "\"\""] {
            assert!(ClaimPath::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn attributes_have_types() {
        let token = claims(r#"{"s":"x","i":3,"b":true,"l":["x","y"],"mixed":["x",1],"f":1.5,"o":{},"n":null}"#);
        let of = |path: &str| ClaimPath::parse(path).unwrap().attribute_of(&token);
        assert_eq!(of("s"), Some("x".into()));
        assert_eq!(of("i"), Some(3.into()));
        assert_eq!(of("b"), Some(true.into()));
        assert_eq!(of("l"), Some(AttributeValue::Strings([Arc::from("x"), Arc::from("y")].into())));
        for unknown in ["mixed", "f", "o", "n", "absent"] {
            assert_eq!(of(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn dates() {
        let times = Times { leeway: 30, lifetime_max: None };
        let short = Times { leeway: 30, lifetime_max: Some(600) };
        for (times, text, expected) in [
            (times, r#"{"exp":971}"#, Ok(1001)),
            (times, r#"{"exp":970}"#, Err("identity_expired")),
            (times, r#"{"exp":971.9}"#, Ok(1001)),
            (times, r#"{"exp":970.9}"#, Err("identity_expired")),
            (times, r#"{}"#, Err("identity_malformed")),
            (times, r#"{"exp":"971"}"#, Err("identity_malformed")),
            (times, r#"{"exp":null}"#, Err("identity_malformed")),
            (times, r#"{"exp":-1}"#, Err("identity_malformed")),
            (times, r#"{"exp":1700000000000}"#, Err("identity_malformed")),
            (times, r#"{"exp":18446744073709551615}"#, Err("identity_malformed")),
            (times, r#"{"exp":1e300}"#, Err("identity_malformed")),
            (times, r#"{"exp":2000,"nbf":1030}"#, Ok(2030)),
            (times, r#"{"exp":2000,"nbf":1031}"#, Err("identity_not_yet_valid")),
            (times, r#"{"exp":2000,"nbf":"1"}"#, Err("identity_malformed")),
            (times, r#"{"exp":2000,"iat":9999}"#, Ok(2030)),
            (short, r#"{"exp":1500,"iat":900}"#, Ok(1530)),
            (short, r#"{"exp":1501,"iat":900}"#, Err("identity_untrusted")),
            (short, r#"{"exp":1500}"#, Err("identity_malformed")),
            (short, r#"{"exp":99999,"iat":99990}"#, Err("identity_not_yet_valid")),
        ] {
            assert_eq!(times.check(&claims(text), 1000).map_err(|e| e.code()), expected, "{text}");
        }
    }

    #[test]
    fn audiences() {
        let ours = ["us".to_owned(), "also-us".to_owned()];
        for (text, expected) in [
            (r#"{"aud":"us"}"#, "ok"),
            (r#"{"aud":["x","also-us"]}"#, "ok"),
            (r#"{"aud":"US"}"#, "identity_audience"),
            (r#"{"aud":"us "}"#, "identity_audience"),
            (r#"{"aud":["x"]}"#, "identity_audience"),
            (r#"{"aud":[]}"#, "identity_audience"),
            (r#"{"aud":["us",1]}"#, "identity_malformed"),
            (r#"{"aud":{"us":1}}"#, "identity_malformed"),
            (r#"{"aud":null}"#, "identity_malformed"),
            (r#"{}"#, "identity_malformed"),
        ] {
            assert_eq!(check_audience(&claims(text), &ours).map_or_else(|e| e.code(), |()| "ok"), expected, "{text}");
        }
    }
}
