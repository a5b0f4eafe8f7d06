//! Host and port: lower-cased, default port filled in, nothing else changed.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use super::TargetError;

/// A DNS name in lower case without a trailing dot, or an IP address. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Host {
    text: Arc<str>,
    ip: Option<IpAddr>,
}

impl Host {
    /// Parses a name, an IPv4 address, or an IPv6 address with or without brackets.
    ///
    /// A trailing dot is refused: servers and certificates disagree about it.
    pub fn parse(text: &str) -> Result<Self, TargetError> {
        if !text.is_ascii() {
            return Err(TargetError::HostNotAscii);
        }
        if let Some(inner) = text.strip_prefix('[') {
            let inner = inner.strip_suffix(']').ok_or(TargetError::Ipv6)?;
            return Self::ipv6(inner);
        }
        if text.contains(':') {
            return Self::ipv6(text);
        }
        check_name(text)?;
        let text = text.to_ascii_lowercase();
        if let Ok(ip) = text.parse::<Ipv4Addr>() {
            return Ok(Self { text: text.into(), ip: Some(IpAddr::V4(ip)) });
        }
        // The URL standard reads a name whose last label is a number as an IPv4 address, in octal,
        // hexadecimal, or with fewer parts; resolvers differ. No public name ends in a number.
        let last = text.rsplit('.').next().unwrap_or_default();
        let hexadecimal = last.strip_prefix("0x").is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_hexdigit()));
        if hexadecimal || last.bytes().all(|b| b.is_ascii_digit()) {
            return Err(TargetError::AmbiguousIpv4);
        }
        Ok(Self { text: text.into(), ip: None })
    }

    fn ipv6(text: &str) -> Result<Self, TargetError> {
        // A zone (`%eth0`) is not parsed by the standard library, so it is refused here.
        let ip: Ipv6Addr = text.parse().map_err(|_| TargetError::Ipv6)?;
        Ok(Self { text: ip.to_string().into(), ip: Some(IpAddr::V6(ip)) })
    }

    /// The text; an IPv6 address in its canonical form without brackets.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The address, if the host is one.
    pub fn is_ip(&self) -> Option<IpAddr> {
        self.ip
    }
}

fn check_name(text: &str) -> Result<(), TargetError> {
    if text.is_empty() {
        return Err(TargetError::EmptyHost);
    }
    if !text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.')) {
        return Err(TargetError::HostCharacter);
    }
    if text.len() > 253 || text.split('.').any(|label| label.is_empty() || label.len() > 63) {
        return Err(TargetError::HostLength);
    }
    Ok(())
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Host and port. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Authority {
    /// The host.
    pub host: Host,
    /// The port, never 0.
    pub port: u16,
}

impl Authority {
    /// Parses `host`, `host:port`, `[v6]` or `[v6]:port`; user information is refused.
    pub fn parse(text: &str, default_port: u16) -> Result<Self, TargetError> {
        if text.contains('@') {
            return Err(TargetError::UserInfo);
        }
        let (host, port) = if text.starts_with('[') {
            let end = text.find(']').ok_or(TargetError::Ipv6)? + 1;
            let (host, rest) = text.split_at_checked(end).ok_or(TargetError::Ipv6)?;
            match rest.strip_prefix(':') {
                Some(port) => (host, Some(port)),
                None if rest.is_empty() => (host, None),
                None => return Err(TargetError::Port),
            }
        } else {
            match text.split_once(':') {
                // Two colons without brackets: an IPv6 address whose end cannot be told from a port.
                Some((_, rest)) if rest.contains(':') => return Err(TargetError::Ipv6),
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            }
        };
        let port = match port {
            Some(text) => parse_port(text)?,
            None => default_port,
        };
        Ok(Self { host: Host::parse(host)?, port })
    }

    /// `host:port`, as [`Display`](fmt::Display) has it; without a formatter, for requests are many.
    pub(crate) fn to_text(&self) -> Arc<str> {
        let mut text = self.bare_host();
        text.push(':');
        text.push_str(itoa::Buffer::new().format(self.port));
        text.into()
    }

    /// The host as it stands in a URI: IPv6 in brackets.
    pub(crate) fn bare_host(&self) -> String {
        match self.host.ip {
            Some(IpAddr::V6(_)) => format!("[{}]", self.host.text),
            _ => self.host.text.as_ref().to_owned(),
        }
    }
}

/// Decimal digits only: no sign, no leading zero.
fn parse_port(text: &str) -> Result<u16, TargetError> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0');
    text.parse().ok().filter(|_| plain).ok_or(TargetError::Port)
}

impl fmt::Display for Authority {
    /// `host:port`, `[v6]:port`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.ip {
            Some(IpAddr::V6(_)) => write!(f, "[{}]:{}", self.host.text, self.port),
            _ => write!(f, "{}:{}", self.host.text, self.port),
        }
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
