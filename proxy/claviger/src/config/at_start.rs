//! What a process reads once: a reload keeps it as it was, and says so.

use std::net::SocketAddr;
use std::path::PathBuf;

use claviger_ledger::LedgerSettings;
use claviger_policy::document::{Diagnostics, Location, Table};

use claviger_wire::Bind;

use super::Draft;

/// The settings with which the process was started.
pub(crate) struct AtStart {
    state_dir: PathBuf,
    ledger: LedgerSettings,
    admin: AdminAt,
    issuer: Option<SocketAddr>,
}

/// Where these keys stand; where one is not written, the file.
pub(super) struct Places {
    state_dir: Location,
    ledger: Location,
    admin: Location,
    issuer: Location,
}

impl Places {
    pub(super) fn of(root: &Table) -> Self {
        let place = |key: &str| root.place_of(key).unwrap_or(root.location()).clone();
        let [state_dir, ledger, admin, issuer] = ["state_dir", "ledger", "admin", "issuer"].map(place);
        Self { state_dir, ledger, admin, issuer }
    }
}

impl AtStart {
    pub(crate) fn of(draft: &Draft) -> Self {
        let (state_dir, ledger) = (draft.state_dir.clone(), draft.ledger.clone());
        Self { state_dir, ledger, admin: admin_of(draft), issuer: issuer_of(draft) }
    }

    /// The state folder that is in use.
    pub(crate) fn state_dir(&self) -> &std::path::Path {
        &self.state_dir
    }

    /// Puts what is in force into a draft that is reloaded, and warns of what differs: half of a change, such as a
    /// new state folder under the open ledger, would be worse than none.
    pub(crate) fn keep(&self, draft: &mut Draft, out: &mut Diagnostics) {
        let mut warn = |place: &Location, key: &str| {
            out.warning(
                place,
                key,
                "a change of this is not taken up by a reload; what the process started with stays",
            )
            .help("restart Claviger for it to take effect");
        };
        let moved = draft.state_dir != self.state_dir;
        // A ledger that lies in the state folder moves with it, which is one change.
        let follows = moved
            && draft.ledger.path == LedgerSettings::new(&draft.state_dir).path
            && self.ledger.path == LedgerSettings::new(&self.state_dir).path;
        if follows {
            draft.ledger.path.clone_from(&self.ledger.path);
        }
        if moved {
            warn(&draft.places.state_dir, "state_dir");
        }
        if draft.ledger != self.ledger {
            warn(&draft.places.ledger, "ledger");
        }
        // The socket of a state folder moves with it, which is said already.
        let mut admin = admin_of(draft);
        if moved && admin.1 == draft.state_dir.join("admin.sock") && self.admin.1 == self.state_dir.join("admin.sock") {
            admin.1.clone_from(&self.admin.1);
        }
        if admin != self.admin {
            warn(&draft.places.admin, "admin");
        }
        if issuer_of(draft) != self.issuer {
            warn(&draft.places.issuer, "issuer.bind");
        }
        draft.state_dir.clone_from(&self.state_dir);
        draft.ledger.clone_from(&self.ledger);
    }
}

/// Where the process is reached.
type AdminAt = (Option<SocketAddr>, PathBuf, Option<Bind>);

/// Where the documents of the issuer are served.
fn issuer_of(draft: &Draft) -> Option<SocketAddr> {
    draft.issuer.as_ref()?.public.as_ref().map(|public| public.bind.value)
}

fn admin_of(draft: &Draft) -> AdminAt {
    let admin = &draft.admin;
    let bind = admin.bind.as_ref().map(|bind| bind.value);
    (bind, admin.socket.clone(), admin.remote.as_ref().map(|remote| remote.bind.clone()))
}
