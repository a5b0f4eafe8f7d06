//! `--print-env` without `--detach`: the environment for clients of a Claviger that runs already.
//!
//! They show what the listener asks for: nothing, where it takes its neighbours' word (`locality`), or the token that this
//! environment has. What a listener asks for and no environment can hold, is said.

use std::ffi::OsString;
use std::fs::DirBuilder;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use claviger_policy::document::Diagnostics;
use claviger_wire::{ListenerSettings, Mode};
use serde_json::Value;

use super::ExecArgs;
use super::print_env::{self, Format};
use super::serve::USER;
use crate::admin::client::Client;
use crate::command::{Failure, configuration, report};
use crate::config;
use crate::environment::{self, ClientService, Endpoint};
use crate::{console, interception, machine};

/// Kinds of attestors that take a token.
const BY_TOKEN: [&str; 5] = ["jwt", "jwt-svid", "kubernetes", "github-actions", "gitlab-ci"];

/// A forward listener of a configuration, with the kinds of its attestors.
pub(crate) struct Door {
    pub(crate) settings: ListenerSettings,
    pub(crate) kinds: Vec<String>,
}

/// Prints the environment for the running process of the configuration.
pub(super) fn print(args: &ExecArgs, format: Format) -> Result<u8, Failure> {
    let source = configuration(&args.config)?;
    let mut found = Diagnostics::default();
    let Some(draft) = config::read(&source, &mut found).filter(|_| !found.has_errors()) else {
        return Err(report(&found).err().unwrap_or_else(|| Failure::Call("the configuration is wrong".to_owned())));
    };
    let (socket, state_dir) = (draft.admin.socket.clone(), draft.state_dir.clone());
    let (doors, mut services) = draft.clients();
    if let Some(name) = args.services.iter().find(|name| !services.iter().any(|service| service.name == **name)) {
        return Err(Failure::Call(format!("there is no service `{name}`, which `--service` names")));
    }
    services.retain(|service| args.services.is_empty() || args.services.contains(&service.name));
    let status = Client::at(&socket).get("/v1/status").map_err(|error| {
        Failure::Other(format!("{error}\n  help: start it by `claviger run`, or add --detach for a session of its own"))
    })?;
    let token = machine::token(&|name| std::env::var_os(name)).map_err(Failure::Other)?;
    let (address, proof) = choose(&doors, &status, token.as_deref().map(String::as_str))
        .map_err(|why| Failure::Other(format!("{why}\n  help: add --detach for a session of its own")))?;
    let endpoint = endpoint(args, &state_dir, address, proof, services)?;
    let inherited = |name: &str| -> Option<OsString> { std::env::var_os(name) };
    let made = environment::make(&endpoint, &inherited)
        .map_err(|error| Failure::doing("write the files for clients")(&error))?;
    let (out, err) = print_env::text(format, &made, &endpoint.proof.1);
    console::err_raw(&err);
    console::out_raw(&out);
    Ok(0)
}

/// Where clients go, and what they show there; else why there is no such place.
fn choose(doors: &[Door], status: &Value, token: Option<&str>) -> Result<(SocketAddr, Option<String>), String> {
    let mut whys = Vec::new();
    for Door { settings, kinds } in doors {
        let name = &settings.name;
        let runs = status.get("listeners").and_then(Value::as_array).into_iter().flatten();
        let bind = runs.filter(|one| one.get("name").and_then(Value::as_str) == Some(&**name));
        let Some(bind) = bind.filter_map(|one| one.get("bind")?.as_str()).next() else {
            whys.push(format!("listener `{name}` does not run"));
            continue;
        };
        let Ok(mut address) = bind.parse::<SocketAddr>() else {
            whys.push(format!("listener `{name}` is a Unix socket, which HTTPS_PROXY cannot name"));
            continue;
        };
        if address.ip().is_unspecified() {
            address.set_ip(IpAddr::V4(Ipv4Addr::LOCALHOST));
        }
        if settings.tls.is_some() {
            whys.push(format!(
                "listener `{name}` speaks TLS, which few clients do with a proxy: use `claviger exec --gateway`"
            ));
            continue;
        }
        let takes = |wanted: &[&str]| kinds.iter().any(|kind| wanted.contains(&kind.as_str()));
        match token.filter(|_| takes(&BY_TOKEN)) {
            Some(token) => return Ok((address, Some(token.to_owned()))),
            None if takes(&["locality"]) => return Ok((address, None)),
            None if takes(&BY_TOKEN) => {
                whys.push(format!("listener `{name}` asks for a token: set CLAVIGER_TOKEN or CLAVIGER_TOKEN_FILE"));
            }
            None => whys.push(format!("listener `{name}` asks for a proof that no environment can hold")),
        }
    }
    if whys.is_empty() {
        whys.push("the configuration has no forward listener".to_owned());
    }
    Err(whys.join("\n  "))
}

/// The files for clients lie in the state folder, for its user alone: they go on with what its own files say.
fn endpoint(
    args: &ExecArgs,
    state_dir: &Path,
    address: SocketAddr,
    token: Option<String>,
    services: Vec<ClientService>,
) -> Result<Endpoint, Failure> {
    let certificate = interception::certificate_path(state_dir);
    let authority = std::fs::read_to_string(&certificate)
        .map_err(|error| Failure::Other(format!("failed to read `{}`: {error}", certificate.display())))?;
    // Clients run anywhere.
    let made = std::path::absolute(state_dir.join("clients"))
        .and_then(|folder| DirBuilder::new().recursive(true).mode(0o700).create(&folder).map(|()| folder));
    let folder = made.map_err(|error| Failure::doing("make the folder for clients")(&error))?;
    let user = if token.is_some() { USER } else { "" };
    Ok(Endpoint {
        host: address.ip().to_string(),
        port: address.port(),
        proof: (user.to_owned(), token.unwrap_or_default()),
        authority,
        folder,
        services,
        gateway: None,
        pass: args.pass_env.iter().cloned().collect(),
        withheld: Default::default(),
    })
}

impl Door {
    /// Of a listener that takes what proxies take.
    pub(crate) fn of(settings: ListenerSettings, kind: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let kinds = settings.authenticate.iter().filter_map(|name| kind(&name.value)).collect();
        (settings.mode == Mode::Forward).then_some(Self { settings, kinds })
    }
}
