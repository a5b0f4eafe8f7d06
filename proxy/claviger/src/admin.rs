//! Looking at a running process, and changing it. What only reads has a TCP listener; what changes something goes
//! through a Unix socket, or is done by an attested principal that has the role.

mod access;
mod answer;
mod api;
pub(crate) mod client;
mod door;
mod read_only;
mod settings;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use arc_swap::ArcSwap;
use claviger_contract::event::{Event, SystemEvent};
use claviger_contract::{Clock, EventSink};
use claviger_ledger::Ledger;
use claviger_policy::document::Located;
use claviger_wire::View;
use prometheus::Registry;
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};

use crate::command::Failure;
use crate::config::Env;
use crate::console;
use crate::state::State;

use self::door::Guests;

pub(crate) use self::access::{Access, Roles};
pub(crate) use self::api::{Change, Changed, Finding, Listed, Reloaded, Standing, Wanted, shown};
pub(crate) use self::settings::AdminSettings;

/// What only the control loop can do.
#[derive(Debug)]
pub(crate) enum Ask {
    /// Put the configuration as it is now in force.
    Reload {
        /// Who wants it.
        actor: Arc<str>,
        /// Told what came of it.
        reply: oneshot::Sender<Reloaded>,
    },
}

/// What of a generation the status tells, and a reload changes.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Facts {
    /// Names and addresses.
    pub(crate) listeners: Vec<Listening>,
    /// Names.
    pub(crate) teams: Vec<TeamFacts>,
}

/// A listener and where it really listens.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Listening {
    pub(crate) name: String,
    pub(crate) bind: String,
}

/// A team and whether its files are in force.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct TeamFacts {
    pub(crate) name: String,
    /// `loaded`, `frozen` (its last good files are in force) or `denied`.
    pub(crate) state: &'static str,
    /// Since which its files are in force.
    pub(crate) generation: Option<u64>,
    /// Since when it is frozen, in milliseconds since the Unix epoch.
    pub(crate) since_ms: Option<i64>,
    /// The first error in its files.
    pub(crate) why: Option<String>,
}

/// What the endpoints look at and ask.
pub(crate) struct Desk {
    pub(crate) registry: Registry,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) events: Arc<dyn EventSink>,
    pub(crate) clock: Arc<dyn Clock>,
    /// False while starting and while draining.
    pub(crate) ready: Arc<AtomicBool>,
    pub(crate) state: Arc<State>,
    pub(crate) view: View,
    pub(crate) access: ArcSwap<Access>,
    pub(crate) facts: ArcSwap<Facts>,
    pub(crate) started_ms: i64,
    /// The control loop.
    pub(crate) asks: mpsc::Sender<Ask>,
    /// Who is inside.
    guests: Guests,
}

impl Desk {
    /// Of a process that serves; what only its control loop can do comes out of the receiver.
    pub(crate) fn new(
        env: &Env,
        ledger: Arc<Ledger>,
        registry: Registry,
        state: Arc<State>,
        view: View,
        (access, facts): (Access, Facts),
    ) -> (Arc<Self>, mpsc::Receiver<Ask>) {
        let (asks, asked) = mpsc::channel(16);
        let desk = Self {
            registry,
            ledger,
            events: env.events.clone(),
            clock: env.clock.clone(),
            ready: Arc::new(AtomicBool::new(true)),
            state,
            view,
            access: ArcSwap::from_pointee(access),
            facts: ArcSwap::from_pointee(facts),
            started_ms: env.clock.now_ms(),
            asks,
            guests: Guests::default(),
        };
        (Arc::new(desk), asked)
    }

    fn record(&self, kind: &'static str, actor: &Arc<str>, detail: String) {
        self.events.emit(Event::System(SystemEvent {
            at_ms: self.clock.now_ms(),
            kind,
            generation: Some(self.view.generation().number),
            configuration: None,
            actor: Some(actor.clone()),
            detail: Some(detail.into()),
        }));
    }
}

/// Where the desk is reached.
#[derive(Clone, Debug)]
pub(crate) struct Doors {
    pub(crate) bind: Option<Located<std::net::SocketAddr>>,
    pub(crate) socket: PathBuf,
}

/// Opens all doors; none of them is open unless all are.
pub(crate) fn open(control: &tokio::runtime::Runtime, doors: &Doors, desk: &Arc<Desk>) -> Result<(), Failure> {
    let _inside = control.enter();
    let socket = bind_socket(&doors.socket)?;
    let remote = match &desk.access.load().listener {
        None => None,
        Some(listener) => {
            let settings = &listener.settings;
            let bound = control.block_on(door::Remote::bind(&settings.bind, settings.socket_mode));
            let (socket, bind) = bound.map_err(|error| {
                let place = &settings.bind_location.location;
                Failure::Other(format!(
                    "{place}: error: `admin.remote.bind`: failed to bind `{}`: {error}",
                    settings.bind
                ))
            })?;
            console::note(&format!("admin.remote listens on {bind}"));
            Some(socket)
        }
    };
    if let Some(bind) = &doors.bind {
        let socket = control.block_on(read_only::bind(bind.value)).map_err(|error| {
            Failure::Other(format!("{}: error: `admin.bind`: failed to bind `{}`: {error}", bind.location, bind.value))
        })?;
        if let Ok(address) = socket.local_addr() {
            console::note(&format!("admin listens on {address}"));
        }
        control.spawn(read_only::serve(socket, desk.clone()));
    }
    let router = api::routes(desk.clone());
    if let Some(remote) = remote {
        control.spawn(door::remote(remote, desk.clone(), router.clone()));
    }
    control.spawn(door::socket(socket, desk.clone(), router));
    Ok(())
}

/// Only the owner may connect.
const SOCKET_MODE: u32 = 0o600;

fn bind_socket(file: &Path) -> Result<tokio::net::UnixListener, Failure> {
    let bound = claviger_wire::bind_unix(file, SOCKET_MODE).and_then(tokio::net::UnixListener::from_std);
    bound.map_err(|error| {
        Failure::Other(format!(
            "failed to bind the admin socket `{}`: {error}\n  help: choose another with `[admin]` and `socket = \
             \"unix:…\"`",
            file.display()
        ))
    })
}

/// How long calls that are under way may take when the process ends.
const FAREWELL: Duration = Duration::from_secs(2);

/// Closes the doors when the data plane has drained: calls under way are answered first, for one of them may be what
/// ended the last stream.
pub(crate) fn close(control: &tokio::runtime::Runtime, doors: &Doors, desk: &Desk) {
    // Nobody is to knock at a door behind which nobody is; the next start would replace it as well.
    let _ = std::fs::remove_file(&doors.socket);
    // Whoever takes longer is cut off.
    let _ = control.block_on(async { tokio::time::timeout(FAREWELL, desk.guests.leave()).await });
}
