//! The private listeners of a session of `claviger exec`: no table says them.

use std::net::SocketAddr;
use std::sync::Arc;

use claviger_identity::Kinship;
use claviger_policy::document::{Diagnostics, Located, SourceFile, parse};

use super::{AuthenticateAt, Bind, ListenerSettings, Mode, Unmatched};
use crate::address::AddressGuard;

/// What holds of a session's listeners and of no other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionSettings {
    /// The services that the session was started for; `None`: all.
    pub services: Option<Arc<[Arc<str>]>>,
    /// Who belongs to the session though it shows no proof.
    pub kinship: Option<Kinship>,
}

impl SessionSettings {
    /// Whether the session was started for a service.
    pub(crate) fn serves(&self, service: &str) -> bool {
        self.services.as_ref().is_none_or(|services| services.iter().any(|name| **name == *service))
    }
}

impl ListenerSettings {
    /// A listener of a session, whose socket is bound already and is at `address`. With `Mode::Gateway` the session's
    /// token is the first segment of the path: a base URL is all that its clients take.
    ///
    /// `None` cannot happen: a place in a text is needed, and an empty text has one.
    pub fn of_session(
        name: &'static str,
        mode: Mode,
        address: SocketAddr,
        unmatched: Unmatched,
        session: SessionSettings,
    ) -> Option<Self> {
        let nowhere = parse(&SourceFile::new("claviger exec", ""), &mut Diagnostics::default())?;
        Some(Self {
            name: name.into(),
            key: format!("listener.{name}"),
            mode,
            bind: Bind::Tcp(address),
            socket_mode: 0o600,
            bind_location: Located { value: address.to_string(), location: nowhere.location().clone() },
            authenticate: Vec::new(),
            authenticate_at: AuthenticateAt::Connect,
            tls: None,
            unmatched,
            tunnel_guard: AddressGuard::new(Vec::new()),
            connections_max: 10_000,
            unenforced: None,
            session: Some(session),
        })
    }
}
