//! The environment of a client process: how it finds the proxy, what it trusts, and what is taken away from it.
//!
//! Each family of clients has its own variables and files (`docs/clients.md`). What is made here is complete: the caller
//! sets what is in `set`, removes what is in `remove`, and everything else of its own environment stays.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::PathBuf;

use claviger_wire::ClientSettings;

/// The proxy that a client process is to use, and what is known of its services.
pub(crate) struct Endpoint {
    /// Host of the forward listener: `127.0.0.1`.
    pub(crate) host: String,
    /// Its port.
    pub(crate) port: u16,
    /// The session's proof: user and password of the proxy URL. Both are of characters that need no escape in a URL.
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
}

/// A service, as its clients see it.
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

/// Makes the environment, and the files that it names, in `endpoint.folder`. `inherited` is the caller's environment.
pub(crate) fn make(
    endpoint: &Endpoint,
    inherited: &dyn Fn(&str) -> Option<OsString>,
) -> Result<Environment, std::io::Error> {
    let _ = inherited;
    let mut made = Environment::default();
    let (user, password) = &endpoint.proof;
    let url = format!("http://{user}:{password}@{}:{}", endpoint.host, endpoint.port);
    for name in ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"] {
        made.set.insert(name.to_owned(), url.clone().into());
    }
    let bundle = endpoint.folder.join("bundle.pem");
    std::fs::write(&bundle, crate::interception::bundle(&endpoint.authority))?;
    for name in ["SSL_CERT_FILE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "GIT_SSL_CAINFO"] {
        made.set.insert(name.to_owned(), bundle.clone().into());
    }
    for service in &endpoint.services {
        for secret in service.client.secrets.iter().filter(|name| !endpoint.pass.contains(*name)) {
            match &service.client.placeholder {
                Some(placeholder) => drop(made.set.insert(secret.clone(), placeholder.into())),
                None => drop(made.remove.insert(secret.clone())),
            }
        }
    }
    Ok(made)
}
