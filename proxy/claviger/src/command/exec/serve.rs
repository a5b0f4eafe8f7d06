//! The proxy of a session, and what its command must be told of it.

use std::sync::{Arc, OnceLock};

use claviger_contract::SystemClock;
use claviger_identity::SessionToken;
use claviger_policy::document::Diagnostics;
use claviger_wire::{InterceptionRoot, Refused};

use super::ExecArgs;
use super::child::{self, Place, Sockets, Surroundings};
use super::folder::{self, Folder};
use super::gateway::Through;
use crate::app::{Session, SessionParts};
use crate::command::{Failure, report};
use crate::config::{self, SessionAsk, Source, session};
use crate::environment::Endpoint;

/// The user of the proxy URL; the token is its password.
pub(super) const USER: &str = "claviger";

/// What judges the requests of a session.
pub(crate) enum Proxy {
    /// This process, by a configuration.
    Here(Box<Session>),
    /// A gateway.
    Elsewhere(Through),
}

impl Proxy {
    /// Has a place tell what it notices.
    pub(crate) fn attend(&self, place: &mut Place, quiet: bool) {
        match self {
            Self::Here(session) => session.attend(place, quiet),
            Self::Elsewhere(through) => through.attend(place, quiet),
        }
    }

    /// Serves until `end` resolves.
    pub(crate) fn run<T>(self, end: impl Future<Output = T>) -> T {
        match self {
            Self::Here(session) => session.run(end),
            Self::Elsewhere(through) => through.run(end),
        }
    }
}

/// A session that serves, and the place for its command.
pub(crate) struct Begun {
    pub(crate) session: Proxy,
    pub(crate) place: Place,
    pub(crate) endpoint: Endpoint,
}

/// The folder of a session that begins; what earlier ones left behind goes first.
pub(crate) fn folder() -> Result<Folder, Failure> {
    let failed = |error: std::io::Error| Failure::doing("make the folder of the session")(&error);
    folder::sweep(&folder::base().map_err(failed)?);
    Folder::create().map_err(failed)
}

/// Makes the place, serves in it, and says where.
pub(crate) fn begin(
    args: &ExecArgs,
    source: Source,
    folder: &Folder,
    refused: Arc<dyn Fn(Refused) + Send + Sync>,
) -> Result<Begun, Failure> {
    let attributes = session::attributes(&args.attributes).map_err(Failure::Call)?;
    // Commands of a detached session are started by others: there is no place for them to be put into.
    let (place, sockets) = match args.serve {
        true => (Place::Open, Sockets { forward: child::loopback()?, gateway: child::loopback()? }),
        false => Place::prepare(&args.sandbox, &surroundings(&source, folder)?)?,
    };
    let address = |socket: &std::net::TcpListener| {
        socket.local_addr().map_err(|error| Failure::doing("listen for the session")(&error))
    };
    let (forward, gateway) = (address(&sockets.forward)?, address(&sockets.gateway)?);
    let token = SessionToken::generate().map_err(|error| Failure::Other(error.to_string()))?;
    let root = InterceptionRoot::generate(&SystemClock).map_err(|error| Failure::Other(error.to_string()))?;
    let authority = root.certificate_pem();
    let ask = Arc::new(SessionAsk {
        identity: args.identity.clone(),
        attributes,
        services: args.services.clone(),
        unmatched: args.unmatched.into(),
        token: token.clone(),
        forward,
        gateway,
        chosen: OnceLock::new(),
    });
    let sockets = vec![(session::FORWARD.into(), sockets.forward), (session::GATEWAY.into(), sockets.gateway)];
    let (session, facts) = Session::start(source, SessionParts { ask, root, sockets, refused })?;
    let shown = token.for_command();
    let endpoint = Endpoint {
        host: forward.ip().to_string(),
        port: forward.port(),
        proof: (USER.to_owned(), shown.to_string()),
        authority,
        folder: folder.path().to_owned(),
        services: facts.services,
        gateway: Some(format!("http://{gateway}/{}", *shown)),
        pass: args.pass_env.iter().cloned().collect(),
        withheld: facts.withheld,
    };
    Ok(Begun { session: Proxy::Here(Box::new(session)), place, endpoint })
}

/// What a place must know, which the configuration says.
fn surroundings(source: &Source, folder: &Folder) -> Result<Surroundings, Failure> {
    let mut found = Diagnostics::default();
    let draft = config::read(source, &mut found);
    match draft.filter(|_| !found.has_errors()) {
        Some(draft) => Ok(Surroundings {
            folder: folder.path().to_owned(),
            state_dir: draft.state_dir.clone(),
            configuration: draft.files().to_vec(),
        }),
        None => Err(report(&found).err().unwrap_or_else(|| Failure::Other("the configuration is wrong".to_owned()))),
    }
}
