//! The one canonicaliser: what was authorised is byte for byte what is sent.
//!
//! Only the host's case and a default port are normalised. All else that two programs could read in
//! two ways is refused, never repaired: a proxy that repairs a path decides about another one than
//! the upstream serves.

mod authority;
mod path;

use std::fmt;
use std::sync::Arc;

pub use authority::{Authority, Host};
pub(crate) use path::{check_path, could_be_key, decoded, decoded_eq, hash_segment};

/// The longest `path?query`, in bytes.
pub const PATH_AND_QUERY_MAX: usize = 16 * 1024;

/// The scheme that is spoken to the upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scheme {
    /// TLS.
    Https,
    /// Cleartext; only for services that say `cleartext = true`.
    Http,
}

impl Scheme {
    /// 443 or 80.
    pub fn default_port(self) -> u16 {
        match self {
            Self::Https => 443,
            Self::Http => 80,
        }
    }

    /// `https` or `http`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Https => "https",
            Self::Http => "http",
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How much of a path the service reads as opaque names.
///
/// | | `//` | `;` | `%2f` | `%5c` | `%252f` | dot segments, `\`, control bytes |
/// |---|---|---|---|---|---|---|
/// | `strict` | refused | refused | refused | refused | refused | refused |
/// | `encoded-slash` | refused | refused | passes | refused | refused | refused |
/// | `opaque` | passes | passes | passes | passes | passes | refused |
///
/// A dot segment is refused in every mode however it is written: encoded, beside an encoded slash,
/// or with a parameter (`..;x`), which some servers cut off before they resolve it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum PathMode {
    /// Nothing ambiguous passes.
    #[default]
    Strict,
    /// `%2f` passes: names that hold a slash, such as project ids.
    EncodedSlash,
    /// Also `//`, `;`, `%5c` and doubly encoded bytes pass: object keys.
    Opaque,
}

impl PathMode {
    pub(crate) const WORDS: [(&'static str, Self); 3] =
        [("strict", Self::Strict), ("encoded-slash", Self::EncodedSlash), ("opaque", Self::Opaque)];
}

/// Why a request line or an authority is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum TargetError {
    /// The authority is empty or has no host.
    #[error("the authority has no host")]
    EmptyHost,
    /// `user@host`.
    #[error("the authority has user information")]
    UserInfo,
    /// A byte that no host has.
    #[error("the host has a character other than a-z, 0-9, `-`, `_` and `.`")]
    HostCharacter,
    /// An internationalised name that is not in its ASCII form.
    #[error("the host is not ASCII; write its punycode form (`xn--…`)")]
    HostNotAscii,
    /// An empty label, a label over 63 bytes, or a name over 253.
    #[error("the host has an empty label, a label over 63 bytes, or more than 253 bytes")]
    HostLength,
    /// A number that some resolvers read as an IPv4 address: `127.1`, `0x7f.1`, `0177.0.0.1`.
    #[error("the host is an ambiguous IPv4 address; write four decimal numbers without leading zeros")]
    AmbiguousIpv4,
    /// A bracketed host that is no IPv6 address.
    #[error("the host is not an IPv6 address in brackets")]
    Ipv6,
    /// The port is not a number from 1 to 65535.
    #[error("the port is not a number from 1 to 65535")]
    Port,
    /// The path does not begin with `/` (also `*` of `OPTIONS *`).
    #[error("the path does not begin with `/`")]
    NotAbsolute,
    /// Longer than [`PATH_AND_QUERY_MAX`].
    #[error("path and query have more than 16384 bytes")]
    Length,
    /// A byte outside ASCII.
    #[error("path or query have a byte outside ASCII")]
    NotAscii,
    /// A control byte, raw or (in the path) percent-encoded.
    #[error("path or query have a control byte")]
    Control,
    /// A space or another byte that must be percent-encoded.
    #[error("path or query have a character that must be percent-encoded")]
    Character,
    /// `#`.
    #[error("the target has a fragment")]
    Fragment,
    /// `%` without two hexadecimal digits.
    #[error("path or query have an incomplete or wrong percent-escape")]
    Escape,
    /// A doubly encoded slash, dot, backslash, percent sign or control byte.
    #[error("the path has a doubly encoded byte")]
    DoubleEscape,
    /// `.` or `..`, in whatever writing.
    #[error("the path has a dot segment")]
    DotSegment,
    /// `\` or `%5c`.
    #[error("the path has a backslash")]
    Backslash,
    /// `//`.
    #[error("the path has an empty segment (`//`)")]
    EmptySegment,
    /// `;`.
    #[error("the path has a segment parameter (`;`)")]
    Parameter,
    /// `%2f`.
    #[error("the path has an encoded slash (`%2f`)")]
    EncodedSlash,
}

impl TargetError {
    /// A stable code for the client and the ledger.
    pub fn code(self) -> &'static str {
        match self {
            Self::EmptyHost => "host_empty",
            Self::UserInfo => "authority_userinfo",
            Self::HostCharacter => "host_character",
            Self::HostNotAscii => "host_not_ascii",
            Self::HostLength => "host_length",
            Self::AmbiguousIpv4 => "host_ambiguous_ipv4",
            Self::Ipv6 => "host_ipv6",
            Self::Port => "port_invalid",
            Self::NotAbsolute => "path_not_absolute",
            Self::Length => "path_too_long",
            Self::NotAscii => "path_not_ascii",
            Self::Control => "path_control_byte",
            Self::Character => "path_character",
            Self::Fragment => "path_fragment",
            Self::Escape => "path_bad_escape",
            Self::DoubleEscape => "path_double_escape",
            Self::DotSegment => "path_dot_segment",
            Self::Backslash => "path_backslash",
            Self::EmptySegment => "path_empty_segment",
            Self::Parameter => "path_parameter",
            Self::EncodedSlash => "path_encoded_slash",
        }
    }
}

/// The canonical target of a request: immutable, cheap to clone.
///
/// URI, Host, SNI and the verified upstream name are read from here and nowhere else.
#[derive(Clone)]
pub struct Target(Arc<Parts>);

struct Parts {
    scheme: Scheme,
    authority: Authority,
    /// Where the path ends: the length, or the place of `?`.
    path_end: usize,
    /// Holds the texts of the others.
    uri: http::Uri,
    /// The authority as `Host` has it, and as records have it.
    host: http::HeaderValue,
    text: Arc<str>,
}

impl Target {
    /// Checks `path?query` (it begins with `/`) and joins it with an authority.
    pub fn parse(
        scheme: Scheme,
        authority: Authority,
        path_and_query: &str,
        mode: PathMode,
    ) -> Result<Self, TargetError> {
        let path_end = path::check(path_and_query, mode)?;
        let written =
            if authority.port == scheme.default_port() { authority.bare_host() } else { authority.to_string() };
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(match scheme {
            Scheme::Http => http::uri::Scheme::HTTP,
            Scheme::Https => http::uri::Scheme::HTTPS,
        });
        parts.authority = Some(written.as_str().parse().map_err(|_| TargetError::Character)?);
        parts.path_and_query = Some(path_and_query.parse().map_err(|_| TargetError::Character)?);
        let uri = http::Uri::from_parts(parts).map_err(|_| TargetError::Character)?;
        // The URI that is sent must be the text that was judged: refuse rather than trust the parser.
        if uri.path_and_query().map(http::uri::PathAndQuery::as_str) != Some(path_and_query) {
            return Err(TargetError::Character);
        }
        let host = http::HeaderValue::from_str(&written).map_err(|_| TargetError::Character)?;
        let text = authority.to_text();
        Ok(Self(Arc::new(Parts { scheme, authority, path_end, uri, host, text })))
    }

    /// The scheme that is spoken to the upstream.
    pub fn scheme(&self) -> Scheme {
        self.0.scheme
    }

    /// Host and port.
    pub fn authority(&self) -> &Authority {
        &self.0.authority
    }

    /// The host: DNS, SNI and certificate verification take this name.
    pub fn host(&self) -> &Host {
        &self.0.authority.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.0.authority.port
    }

    /// The path as it was written; begins with `/`.
    pub fn path(&self) -> &str {
        self.path_and_query().get(..self.0.path_end).unwrap_or_default()
    }

    /// The query as it was written, without `?`.
    pub fn query(&self) -> Option<&str> {
        self.path_and_query().get(self.0.path_end + 1..)
    }

    /// Path and query, byte for byte what was parsed.
    pub fn path_and_query(&self) -> &str {
        self.0.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str)
    }

    /// What `Host` and `:authority` carry: the port stands only if it is not the scheme's default.
    pub fn host_header(&self) -> &str {
        self.0.uri.authority().map_or("", http::uri::Authority::as_str)
    }

    /// The same, to be put into a request; cloning it copies no text.
    pub fn host_value(&self) -> &http::HeaderValue {
        &self.0.host
    }

    /// The authority as `host:port`, whatever the port is.
    pub fn authority_text(&self) -> &Arc<str> {
        &self.0.text
    }

    /// The absolute URI. Built once; cloning it copies no text.
    pub fn uri(&self) -> &http::Uri {
        &self.0.uri
    }

    /// The path for the ledger: short lower-case words and versions stay, what could be a key is `*`.
    pub fn redacted_path(&self) -> String {
        path::redact(self.path())
    }
}

impl fmt::Debug for Target {
    /// Without the query and without path keys: both may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.0.scheme, self.host_header(), self.redacted_path())
    }
}

#[cfg(test)]
mod tests;
