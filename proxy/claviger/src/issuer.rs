//! `[issuer]`: the issuer with its sealed keys, and where its documents are served.

mod door;

use std::path::Path;
use std::sync::Arc;

use claviger_contract::{NoIssuer, Secret, SubjectTokens};
use claviger_credential::{SealedStore, StoreError};
use claviger_identity::{Issuer, IssuerKeys, IssuerSettings};
use claviger_policy::document::{Diagnostics, Table};
use claviger_wire::PublicBind;

use crate::config::Env;

pub(crate) use self::door::{Showing, open};

/// The keys' name among Claviger's own.
const KEYS: &str = "issuer-keys";

/// What `[issuer]` says.
#[derive(Debug)]
pub(crate) struct IssuerTable {
    pub(crate) settings: IssuerSettings,
    /// Where the documents are served, if they are.
    pub(crate) public: Option<PublicBind>,
}

impl IssuerTable {
    /// Takes the root key `issuer`; what is wrong is in `out`.
    pub(crate) fn take(root: &mut Table, out: &mut Diagnostics) -> Option<Self> {
        let mut table = root.table("issuer", out)?;
        let settings = IssuerSettings::take(&mut table, out);
        let public = PublicBind::take(&mut table, out);
        table.finish(out);
        Some(Self { settings: settings?, public })
    }

    /// The issuer in force if its settings are these, else one that makes or reads its keys when it is first used.
    pub(crate) fn issuer(&self, state_dir: &Path, env: &Env) -> Arc<Issuer> {
        let in_force = env.issuer.load_full().filter(|issuer| *issuer.settings() == self.settings);
        in_force.unwrap_or_else(|| {
            let keys = Arc::new(SealedKeys(SealedStore::open(state_dir)));
            Arc::new(Issuer::new(self.settings.clone(), keys, env.clock.clone(), env.events.clone()))
        })
    }
}

/// What sources mint with.
pub(crate) fn tokens(issuer: Option<&Arc<Issuer>>) -> Arc<dyn SubjectTokens> {
    issuer.map_or_else(|| Arc::new(NoIssuer) as Arc<dyn SubjectTokens>, |issuer| issuer.clone())
}

/// The issuer's keys in the sealed store of the state folder.
#[derive(Debug)]
struct SealedKeys(SealedStore);

/// Why keys could not be changed.
#[derive(Debug, thiserror::Error)]
enum ChangeError {
    #[error("{0}")]
    Refused(String),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// With the operating system's reason.
fn said(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

impl IssuerKeys for SealedKeys {
    fn revision(&self) -> u64 {
        self.0.own_revision(KEYS)
    }

    fn read(&self) -> Result<Option<Secret>, String> {
        self.0.own(KEYS).map_err(|error| said(&error))
    }

    fn change(&self, change: &mut dyn FnMut(Option<Secret>) -> Result<Option<Secret>, String>) -> Result<(), String> {
        let changed = self.0.change_own(KEYS, |sealed| change(sealed).map_err(ChangeError::Refused));
        changed.map_err(|error| said(&error))
    }
}
