//! Whether anything that lasts is behind a credential.

/// What an attacker would find who had everything of Claviger's but its running memory.
///
/// The key of an `[issuer]` does not count: it opens no destination by itself. Who trusts it, for whom and for how long is
/// decided there and can be ended there, and it is never sent anywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Secretless {
    /// No stored secret of the destination or of a login to it: it is had for an identity token, each time anew.
    EndToEnd,
    /// Claviger keeps a secret from which the value is read or made.
    ProxyHeld,
}

impl Secretless {
    /// The word in records, answers and lists.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::EndToEnd => "end-to-end",
            Self::ProxyHeld => "proxy-held",
        }
    }
}
