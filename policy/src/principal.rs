//! Who is calling: a SPIFFE ID plus attested attributes.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

/// A SPIFFE ID (SPIFFE-ID §2), canonical: lower-case scheme and trust domain, checked path.
///
/// Shape: `spiffe://<trust domain>[/<segment>…]`, at most 2,048 bytes, trust domain at most 255.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SpiffeId {
    text: Arc<str>,
    path_at: usize,
}

/// Why a text is not a SPIFFE ID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpiffeIdError {
    /// The scheme is not `spiffe`.
    #[error("a SPIFFE ID starts with `spiffe://`")]
    Scheme,
    /// The trust domain is empty or longer than 255 bytes.
    #[error("the trust domain is empty or longer than 255 bytes")]
    TrustDomainLength,
    /// The trust domain has a character other than a-z, 0-9, `.`, `_`, `-`.
    #[error("a trust domain has only a-z, 0-9, `.`, `_` and `-` (no port, no user, no percent-encoding)")]
    TrustDomainCharacter,
    /// The path has an empty, `.` or `..` segment, or ends with `/`.
    #[error("the path has an empty, `.` or `..` segment, or ends with `/`")]
    Segment,
    /// The path has a character other than a-z, A-Z, 0-9, `.`, `_`, `-`.
    #[error("a path segment has only letters, digits, `.`, `_` and `-` (no query, no fragment, no percent-encoding)")]
    PathCharacter,
    /// Longer than 2,048 bytes.
    #[error("a SPIFFE ID has at most 2048 bytes")]
    Length,
}

impl SpiffeId {
    /// Parses and canonicalises; scheme and trust domain compare without case (SPIFFE-ID §2.4).
    pub fn parse(text: &str) -> Result<Self, SpiffeIdError> {
        const SCHEME: &str = "spiffe://";
        if text.len() > 2_048 {
            return Err(SpiffeIdError::Length);
        }
        let (scheme, rest) = text.split_at_checked(SCHEME.len()).ok_or(SpiffeIdError::Scheme)?;
        if !scheme.eq_ignore_ascii_case(SCHEME) {
            return Err(SpiffeIdError::Scheme);
        }
        let (domain, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let domain = TrustDomain::parse(domain)?;
        if let Some(segments) = path.strip_prefix('/') {
            for segment in segments.split('/') {
                check_segment(segment)?;
            }
        }
        let path_at = SCHEME.len() + domain.as_str().len();
        Ok(Self { text: format!("{SCHEME}{}{path}", domain.as_str()).into(), path_at })
    }

    /// The whole ID.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The trust domain's name.
    pub fn trust_domain(&self) -> &str {
        self.text.get("spiffe://".len()..self.path_at).unwrap_or_default()
    }

    /// The path with its leading `/`; empty for the ID of the trust domain itself.
    pub fn path(&self) -> &str {
        self.text.get(self.path_at..).unwrap_or_default()
    }
}

/// Whether a text may stand as one path segment of a SPIFFE ID (SPIFFE-ID §2.2, §2.3).
pub fn check_segment(segment: &str) -> Result<(), SpiffeIdError> {
    if matches!(segment, "" | "." | "..") {
        return Err(SpiffeIdError::Segment);
    }
    if !segment.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-')) {
        return Err(SpiffeIdError::PathCharacter);
    }
    Ok(())
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The name of a trust domain, in lower case.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TrustDomain(Arc<str>);

impl TrustDomain {
    /// Parses a bare name such as `acme.internal`.
    pub fn parse(text: &str) -> Result<Self, SpiffeIdError> {
        if text.is_empty() || text.len() > 255 {
            return Err(SpiffeIdError::TrustDomainLength);
        }
        let text = text.to_ascii_lowercase();
        if !text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-')) {
            return Err(SpiffeIdError::TrustDomainCharacter);
        }
        Ok(Self(text.into()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The value of an attested attribute.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum AttributeValue {
    /// A text, such as a Git reference.
    String(Arc<str>),
    /// An integer, such as a user id.
    Integer(i64),
    /// A flag.
    Boolean(bool),
    /// A list of texts, such as groups: a condition holds if it holds for any of them.
    Strings(Arc<[Arc<str>]>),
}

impl From<&str> for AttributeValue {
    fn from(value: &str) -> Self {
        Self::String(value.into())
    }
}

impl From<i64> for AttributeValue {
    fn from(value: i64) -> Self {
        Self::Integer(value)
    }
}

impl From<bool> for AttributeValue {
    fn from(value: bool) -> Self {
        Self::Boolean(value)
    }
}

/// Attested attributes by dotted name (`github.ref`, `unix.uid`), sorted by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Attributes(Arc<[(Arc<str>, AttributeValue)]>);

impl Attributes {
    /// The value, if it was attested.
    pub fn get(&self, name: &str) -> Option<&AttributeValue> {
        let at = self.0.binary_search_by(|(key, _)| key.as_ref().cmp(name)).ok()?;
        self.0.get(at).map(|(_, value)| value)
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &AttributeValue)> {
        self.0.iter().map(|(name, value)| (name.as_ref(), value))
    }
}

impl<K: Into<Arc<str>>, V: Into<AttributeValue>> FromIterator<(K, V)> for Attributes {
    /// Of two values with one name the first stays.
    fn from_iter<I: IntoIterator<Item = (K, V)>>(items: I) -> Self {
        let mut all: Vec<(Arc<str>, AttributeValue)> = items.into_iter().map(|(k, v)| (k.into(), v.into())).collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all.dedup_by(|later, earlier| later.0 == earlier.0);
        Self(all.into())
    }
}

/// An authenticated caller. Only attestors make one; policy only reads it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Principal {
    /// Its SPIFFE ID.
    pub id: SpiffeId,
    /// What was attested about it.
    pub attributes: Attributes,
    /// The name of the attestor that yielded it (`[attestor.NAME]`).
    pub attested_by: Arc<str>,
}

impl Principal {
    /// By what a session of `claviger exec` is attested. It is no name of an `[attestor.NAME]`, for it has a dot.
    pub const EXEC_SESSION: &'static str = "exec.session";

    /// How the names of attributes begin that whoever started a session said of it.
    pub const EXEC_ATTRIBUTES: &'static str = "exec.";

    /// Whether nothing but a session of `claviger exec` speaks for it: it is what whoever started the session chose.
    pub fn is_of_exec_session(&self) -> bool {
        *self.attested_by == *Self::EXEC_SESSION
    }
}

/// What a condition may ask about a request besides the principal and the target.
#[derive(Clone, Debug)]
pub struct Context {
    /// The client's address; `None` on a Unix socket (then a condition on it is unknown).
    pub source_ip: Option<IpAddr>,
    /// Now, in seconds since the Unix epoch.
    pub now: i64,
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn spiffe_ids() {
        let long = format!("spiffe://a/{}", "x".repeat(2_048));
        let long_domain = format!("spiffe://{}/x", "a".repeat(256));
        for (text, expected) in [
            ("spiffe://acme.internal/payments/api", Ok("spiffe://acme.internal/payments/api")),
            ("SPIFFE://ACME.Internal/Payments", Ok("spiffe://acme.internal/Payments")),
            ("spiffe://acme", Ok("spiffe://acme")),
            ("spiffe://127.0.0.1/x", Ok("spiffe://127.0.0.1/x")),
            ("https://acme/x", Err(SpiffeIdError::Scheme)),
            ("spiffe:/acme/x", Err(SpiffeIdError::Scheme)),
            ("", Err(SpiffeIdError::Scheme)),
            ("spiffe:///x", Err(SpiffeIdError::TrustDomainLength)),
            (long_domain.as_str(), Err(SpiffeIdError::TrustDomainLength)),
            ("spiffe://acme:8080/x", Err(SpiffeIdError::TrustDomainCharacter)),
            ("spiffe://u@acme/x", Err(SpiffeIdError::TrustDomainCharacter)),
            ("spiffe://ac%6de/x", Err(SpiffeIdError::TrustDomainCharacter)),
            ("spiffe://acme?x", Err(SpiffeIdError::TrustDomainCharacter)),
            ("spiffe://acme/", Err(SpiffeIdError::Segment)),
            ("spiffe://acme/x/", Err(SpiffeIdError::Segment)),
            ("spiffe://acme//x", Err(SpiffeIdError::Segment)),
            ("spiffe://acme/./x", Err(SpiffeIdError::Segment)),
            ("spiffe://acme/../x", Err(SpiffeIdError::Segment)),
            ("spiffe://acme/x?q", Err(SpiffeIdError::PathCharacter)),
            ("spiffe://acme/x#f", Err(SpiffeIdError::PathCharacter)),
            ("spiffe://acme/%41", Err(SpiffeIdError::PathCharacter)),
            ("spiffe://acme/ü", Err(SpiffeIdError::PathCharacter)),
            (long.as_str(), Err(SpiffeIdError::Length)),
        ] {
            let id = SpiffeId::parse(text);
            assert_eq!(id.as_ref().map(SpiffeId::as_str).map_err(|e| *e), expected, "{text}");
        }
        let id = SpiffeId::parse("spiffe://acme/a/b").unwrap();
        assert_eq!((id.trust_domain(), id.path()), ("acme", "/a/b"));
    }

    #[test]
    fn attributes_are_found_by_name() {
        let attributes: Attributes = [("b", "2"), ("a", "1"), ("b", "3")].into_iter().collect();
        assert_eq!(attributes.get("a"), Some(&"1".into()));
        assert_eq!(attributes.get("b"), Some(&"2".into()));
        assert_eq!(attributes.get("c"), None);
    }
}
