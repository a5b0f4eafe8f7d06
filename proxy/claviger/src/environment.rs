//! The environment of a client process: how it finds the proxy, what it trusts, and what is taken away from it.
//!
//! Each family of clients has its own variables and files (`docs/clients.md`). What is made here is complete: the caller
//! sets what is in `set`, removes what is in `remove`, and everything else of its own environment stays.
//!
//! Most of it is a table (`family.rs`). Code stands only where a client wants a file, or a value that goes on with what
//! the caller already had: `java.rs`, `node.rs`, `python.rs`, `chained.rs` (wget, npm, curl), `git.rs`.

mod base_url;
mod chained;
mod family;
mod git;
mod java;
mod node;
mod python;
mod reach;
mod roots;
mod withheld;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use claviger_wire::{ClientSettings, preset};

pub(crate) use family::{FAMILIES, Holds};

/// The proxy that a client process is to use, and what is known of its services.
pub(crate) struct Endpoint {
    /// Host of the forward listener: `127.0.0.1`.
    pub(crate) host: String,
    /// Its port.
    pub(crate) port: u16,
    /// The session's proof: user and password of the proxy URL; both empty where none is asked for. They are of characters
    /// that need no escape in a URL.
    pub(crate) proof: (String, String),
    /// The certificate, as PEM, that signs what the proxy shows for intercepted hosts.
    pub(crate) authority: String,
    /// A folder of this session alone (0700) in which files for clients are written.
    pub(crate) folder: PathBuf,
    /// The services that the session may use.
    pub(crate) services: Vec<ClientService>,
    /// The base URL of a gateway listener of the same session, for clients that neither take a proxy nor a CA:
    /// `http://127.0.0.1:PORT`. A service's own base is `GATEWAY/NAME`.
    pub(crate) gateway: Option<String>,
    /// Names of variables that stay although they hold secrets.
    pub(crate) pass: BTreeSet<String>,
    /// Names of variables from which the configuration itself reads secrets (`secret://env/NAME`): removed, whatever
    /// they are called.
    pub(crate) withheld: BTreeSet<String>,
}

/// A service, as its clients see it.
#[derive(Debug)]
pub(crate) struct ClientService {
    /// Its name in the configuration.
    pub(crate) name: String,
    /// Its hosts, as written.
    pub(crate) hosts: Vec<String>,
    /// What its clients want to be told.
    pub(crate) client: ClientSettings,
}

/// What differs from the environment of the caller.
#[derive(Debug, Default)]
pub(crate) struct Environment {
    /// Set, whether or not they were there.
    pub(crate) set: BTreeMap<String, OsString>,
    /// Removed.
    pub(crate) remove: BTreeSet<String>,
}

impl Environment {
    fn set(&mut self, name: &str, value: impl Into<OsString>) {
        self.remove.remove(name);
        self.set.insert(name.to_owned(), value.into());
    }

    fn remove(&mut self, name: &str) {
        self.set.remove(name);
        self.remove.insert(name.to_owned());
    }
}

/// The caller's environment, one variable at a time.
type Inherited<'a> = &'a dyn Fn(&str) -> Option<OsString>;

impl Endpoint {
    /// `http://user:password@host:port`
    fn url(&self) -> String {
        let (user, password) = &self.proof;
        match user.is_empty() {
            true => format!("http://{}:{}", self.host, self.port),
            false => format!("http://{user}:{password}@{}:{}", self.host, self.port),
        }
    }

    /// Writes a file of the session that only its user reads, and says where it is.
    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> io::Result<PathBuf> {
        let path = self.folder.join(name);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let mut file = std::fs::File::options().write(true).create(true).truncate(true).mode(0o600).open(&path)?;
        io::Write::write_all(&mut file, bytes.as_ref())?;
        Ok(path)
    }
}

/// Makes the environment, and the files that it names, in `endpoint.folder`. `inherited` is the caller's environment.
pub(crate) fn make(endpoint: &Endpoint, inherited: Inherited<'_>) -> Result<Environment, io::Error> {
    let mut made = Environment::default();
    let roots = roots::Roots::of(&endpoint.authority, inherited);
    let values = family::Values {
        proxy: endpoint.url(),
        direct: reach::no_proxy(&endpoint.services, inherited),
        bundle: endpoint.write("bundle.pem", roots.bundle())?,
        additive: endpoint.write("authority.pem", roots.additive())?,
    };
    for variable in FAMILIES.iter().flat_map(|family| family.variables) {
        variable.apply(&values, inherited, &mut made);
    }
    chained::wget(endpoint, &values, inherited, &mut made)?;
    chained::npm(endpoint, inherited, &mut made)?;
    chained::curl(endpoint, inherited, &mut made)?;
    git::configure(endpoint, &values, inherited, &mut made);
    java::options(endpoint, &roots, inherited, &mut made)?;
    node::bootstrap(endpoint, inherited, &mut made)?;
    python::bootstrap(endpoint, inherited, &mut made)?;
    let presets: Vec<_> = preset::all().map(|preset| preset.about()).collect();
    base_url::point(endpoint, &presets, inherited, &mut made);
    // Last: a secret goes, whatever was set above.
    withheld::withhold(endpoint, &presets, inherited, &mut made);
    Ok(made)
}

#[cfg(test)]
mod tests;
