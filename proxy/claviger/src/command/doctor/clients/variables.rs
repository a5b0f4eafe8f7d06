//! What this shell exports: where the proxy is, what does not go there, whom to trust, and secrets.

use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use claviger_policy::HostPattern;
use claviger_wire::{is_canary, preset};

use super::super::check::{Check, Id};
use super::super::scene::Scene;
use crate::command::plural;
use crate::environment::{FAMILIES, Holds};
use crate::os;

/// The variables by which clients find a proxy for https:// URLs. Which client reads which: docs/clients.md.
pub(super) const PROXY: [&str; 4] = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];

/// Variables that name a file of certificates, of all families of clients.
fn ca_files() -> impl Iterator<Item = &'static str> {
    let variables = FAMILIES.iter().flat_map(|family| family.variables);
    let names = variables.filter(|one| matches!(one.holds, Holds::Bundle | Holds::BundleIfInherited | Holds::Additive));
    names.map(|one| one.name)
}

/// One that names folders.
const CA_FOLDER: &str = "SSL_CERT_DIR";

/// A proxy is near.
const CONNECT: Duration = Duration::from_secs(3);

/// A shorter value is no secret of a service.
const SECRET_MIN: usize = 12;

/// No bundle of certificates is larger.
const BUNDLE_MAX: u64 = 64 << 20;

/// Reads a variable.
pub(super) type Variable<'v> = dyn Fn(&str) -> Option<String> + 'v;

/// All that concerns the environment alone.
pub(super) fn checks(scene: &Scene<'_>, variable: &Variable<'_>) -> Vec<Check> {
    let set = |name: &str| variable(name).filter(|value| !value.is_empty());
    let mut all = proxy(scene, &set);
    all.extend(no_proxy(scene, &set));
    all.extend(authorities(&set));
    all.extend(secrets(scene, &set));
    all
}

/// Host and port of a proxy URL; a user and a password in it are nobody's business.
pub(super) fn address_of(url: &str) -> Option<(String, u16)> {
    let full = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
    let url = url::Url::parse(&full).ok()?;
    Some((url.host_str()?.trim_matches(['[', ']']).to_owned(), url.port_or_known_default().unwrap_or(1080)))
}

fn proxy(scene: &Scene<'_>, variable: &Variable<'_>) -> Vec<Check> {
    let set: Vec<_> = PROXY.into_iter().filter_map(|name| Some((name, variable(name)?))).collect();
    let forward = scene.forward_addresses();
    if set.is_empty() {
        return match forward.first() {
            None => Vec::new(),
            Some(address) => {
                let what = "HTTPS_PROXY is not set in this shell";
                let at = if address.ends_with(":0") { String::new() } else { format!(" at {address}") };
                let cause = format!("programs that are started here do not find the forward listener{at}");
                let next = "start them by `claviger exec -- CMD`, or export HTTPS_PROXY and https_proxy";
                vec![Check::warning(Id::EnvironmentProxy, what, cause, next)]
            }
        };
    }
    let mut all: Vec<Check> = Vec::new();
    for (name, value) in &set {
        let Some((host, port)) = address_of(value) else {
            let next = "write it as `http://HOST:PORT`";
            all.push(
                Check::error(Id::EnvironmentProxy, format!("{name} is no URL of a proxy"), "it cannot be read", next)
                    .of(*name),
            );
            continue;
        };
        if let Err(why) = reach(&host, port) {
            let what = format!("{name} names {host}:{port}, where nobody listens");
            let next = "start the proxy that is meant, or `unset` the variable";
            all.push(Check::error(Id::EnvironmentProxy, what, why, next).of(*name));
        }
    }
    if all.is_empty() {
        let is_ours = |value: &str| {
            let address = address_of(value);
            address.is_some_and(|(_, port)| forward.iter().any(|ours| ours.ends_with(&format!(":{port}"))))
        };
        let names = set.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
        all.push(match set.iter().find(|(_, value)| !forward.is_empty() && !is_ours(value)) {
            None => Check::ok(Id::EnvironmentProxy, format!("the proxy of {names} answers")),
            Some((name, value)) => {
                let (host, port) = address_of(value).unwrap_or_default();
                let what = format!("{name} names {host}:{port}, which is no listener of this configuration");
                let cause = format!("the configuration has {}", forward.join(", "));
                let next = "name one of these, or start programs by `claviger exec -- CMD`";
                Check::warning(Id::EnvironmentProxy, what, cause, next)
            }
        });
        let (upper, lower) = (variable("HTTPS_PROXY"), variable("https_proxy"));
        if upper.is_some() != lower.is_some() && variable("ALL_PROXY").or_else(|| variable("all_proxy")).is_none() {
            let missing = if lower.is_none() { "https_proxy" } else { "HTTPS_PROXY" };
            let cause = if lower.is_none() {
                "wget and grpc read only the lower case"
            } else {
                "some clients read only the upper case"
            };
            let what = format!("{missing} is not set, and its twin is");
            all.push(Check::warning(Id::EnvironmentProxy, what, cause, "export both, with one value").of(missing));
        }
    }
    all
}

/// Opens a connection and says nothing. A proxy elsewhere than on this machine is not asked: that would leave it.
fn reach(host: &str, port: u16) -> Result<(), String> {
    let is_here = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    if !is_here {
        return Ok(());
    }
    let mut last = "it has no address".to_owned();
    for address in (host, port).to_socket_addrs().map_err(|error| error.to_string())? {
        match TcpStream::connect_timeout(&address, CONNECT) {
            Ok(_) => return Ok(()),
            Err(error) => last = error.to_string(),
        }
    }
    Err(last)
}

/// What is excepted from the proxy must not be a service.
fn no_proxy(scene: &Scene<'_>, variable: &Variable<'_>) -> Vec<Check> {
    let any_proxy = PROXY.iter().any(|name| variable(name).is_some());
    let hosts = scene.leaves.iter().filter(|(key, _)| key.starts_with("service.") && key.ends_with(".hosts"));
    let hosts: Vec<(String, String)> = hosts
        .filter_map(|(key, leaf)| Some((key.trim_end_matches(".hosts").to_owned(), leaf.text()?)))
        .filter(|(_, host)| HostPattern::parse(host, 443).is_ok())
        .collect();
    let mut all = Vec::new();
    for name in ["NO_PROXY", "no_proxy"] {
        let Some(value) = variable(name) else { continue };
        let hidden = hosts.iter().find_map(|(service, host)| {
            Some((service, host, value.split(',').map(str::trim).find(|entry| hides(entry, host))?))
        });
        match hidden {
            Some((service, host, entry)) => {
                let what = format!("{name} excepts `{host}` of {service} from the proxy");
                let cause = format!(
                    "its entry `{entry}` covers that host, so that clients go there directly, without a credential"
                );
                let next = format!("take `{entry}` out of {name}, or start programs by `claviger exec -- CMD`");
                all.push(Check::error(Id::EnvironmentNoProxy, what, cause, next).of(name));
            }
            None if any_proxy => {
                all.push(Check::ok(Id::EnvironmentNoProxy, format!("{name} excepts no service")).of(name))
            }
            None => {}
        }
    }
    all
}

/// Whether an entry of `NO_PROXY` covers a host, as most clients read it: `*`, a name with all below it, with or
/// without a leading dot or `*.`, with or without a port.
fn hides(entry: &str, host: &str) -> bool {
    let bare = |text: &str| match text.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name.to_owned(),
        _ => text.to_owned(),
    };
    let entry = bare(&entry.to_ascii_lowercase());
    let host = bare(&host.to_ascii_lowercase());
    let host = host.trim_start_matches("*.");
    if entry == "*" {
        return true;
    }
    let name = entry.trim_start_matches("*.").trim_start_matches('.');
    !name.is_empty() && (host == name || host.ends_with(&format!(".{name}")))
}

/// A variable that names no certificates breaks every TLS connection of the clients that read it.
fn authorities(variable: &Variable<'_>) -> Vec<Check> {
    let mut all = Vec::new();
    let mut good = Vec::new();
    for name in ca_files() {
        let Some(file) = variable(name) else { continue };
        let wrong = match os::read_regular(file.as_ref(), BUNDLE_MAX) {
            Ok(bytes) if bytes.windows(27).any(|part| part == b"-----BEGIN CERTIFICATE-----") => {
                good.push(name);
                continue;
            }
            Ok(_) => "there is no certificate in it".to_owned(),
            Err(error) => error.to_string(),
        };
        let what = format!("{name} names `{file}`, which is no file of certificates");
        let next = format!("`unset {name}`, or start programs by `claviger exec -- CMD`, which sets it anew");
        all.push(Check::error(Id::EnvironmentCa, what, wrong, next).of(name));
    }
    if let Some(folders) = variable(CA_FOLDER)
        && !std::env::split_paths(&folders).any(|folder| folder.is_dir())
    {
        let what = format!("{CA_FOLDER} names `{folders}`, which is no folder");
        let next = format!("`unset {CA_FOLDER}`");
        all.push(Check::error(Id::EnvironmentCa, what, "it is not there", next).of(CA_FOLDER));
    }
    if all.is_empty() && !good.is_empty() {
        all.push(Check::ok(Id::EnvironmentCa, format!("{} can be read: certificates", good.join(", "))));
    }
    all
}

/// Real secrets that programs would inherit from this shell, by their names.
fn secrets(scene: &Scene<'_>, variable: &Variable<'_>) -> Vec<Check> {
    if scene.compiled.is_none() {
        return Vec::new();
    }
    let mut names: Vec<String> = Vec::new();
    for preset in preset::all() {
        let client = preset.about().client;
        let placeholder = client.placeholder.as_deref();
        for name in client.secrets {
            let real = variable(&name)
                .is_some_and(|value| Some(&*value) != placeholder && !is_canary(&value) && value.len() >= SECRET_MIN);
            if real && !names.contains(&name) {
                names.push(name);
            }
        }
    }
    if names.is_empty() {
        return vec![Check::ok(Id::EnvironmentSecrets, "no secret that a preset knows is in this shell's environment")];
    }
    let what = format!("{} of this shell may hold real secrets: {}", plural(names.len(), "variable"), names.join(", "));
    let next = "seal them (`claviger init` does it with your consent), then take them out of your shell's start files";
    vec![Check::warning(Id::EnvironmentSecrets, what, "every program that is started here can read them", next)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_proxy_is_read_as_clients_do() {
        for (entry, host, hidden) in [
            ("*", "api.test", true),
            ("api.test", "api.test", true),
            ("API.test", "api.test:8443", true),
            ("api.test:443", "api.test", true),
            (".test", "api.test", true),
            ("test", "api.test", true),
            ("*.test", "api.test", true),
            (".api.test", "*.api.test", true),
            ("pi.test", "api.test", false),
            ("api.test.example", "api.test", false),
            ("", "api.test", false),
            (".", "api.test", false),
            ("127.0.0.1", "api.test", false),
        ] {
            assert_eq!(hides(entry, host), hidden, "{entry} {host}");
        }
    }

    #[test]
    fn proxy_urls_tell_an_address_and_no_password() {
        for (url, expected) in [
            ("http://user:secret@127.0.0.1:7070", Some(("127.0.0.1", 7070))),
            ("127.0.0.1:7070", Some(("127.0.0.1", 7070))),
            ("https://proxy.test/", Some(("proxy.test", 443))),
            ("http://[::1]:1", Some(("::1", 1))),
            ("socks5://h", Some(("h", 1080))),
            ("http://", None),
            ("http://h:99999", None),
        ] {
            assert_eq!(address_of(url), expected.map(|(host, port)| (host.to_owned(), port)), "{url}");
        }
    }
}
