//! Configuration files of wget, npm and curl: what the user's own says, but for secrets and for what would lead around
//! the proxy, and then ours.

use std::io;
use std::path::{Path, PathBuf};

use super::family::Values;
use super::{Endpoint, Environment, Inherited};

/// A configuration file that is larger than that is none.
const BYTES_MAX: u64 = 1024 * 1024;

/// Settings of `wgetrc` that do not go on: where it connects, what it trusts, and secrets.
const WGET_OWN: [&str; 17] = [
    "cacertificate",
    "cadirectory",
    "certificate",
    "checkcertificate",
    "ftppassword",
    "ftpproxy",
    "header",
    "httppassword",
    "httppasswd",
    "httpproxy",
    "httpsproxy",
    "noproxy",
    "password",
    "privatekey",
    "proxypassword",
    "proxyuser",
    "useproxy",
];

/// wget: `WGETRC` replaces `~/.wgetrc`, and is the only way to name a certificate.
pub(super) fn wget(
    endpoint: &Endpoint,
    values: &Values,
    inherited: Inherited<'_>,
    made: &mut Environment,
) -> io::Result<()> {
    let own = path(inherited, "WGETRC").or_else(|| in_home(inherited, ".wgetrc"));
    let mut text = kept(own.as_deref(), |line| {
        // `ca_certificate`, `ca-certificate` and `CACertificate` are one.
        let name: String =
            line.split('=').next().unwrap_or_default().chars().filter(char::is_ascii_alphanumeric).collect();
        !WGET_OWN.contains(&name.to_ascii_lowercase().as_str())
    });
    text.push_str(&format!("ca_certificate = {}\nuse_proxy = on\n", values.bundle.display()));
    for scheme in ["http", "https"] {
        text.push_str(&format!("{scheme}_proxy = {}\n", values.proxy));
    }
    text.push_str(&format!("no_proxy = {}\n", values.direct));
    made.set("WGETRC", endpoint.write("wgetrc", text)?);
    Ok(())
}

/// Settings of `.npmrc` that do not go on. Those of a registry (`//host/:_authToken`) are judged by what follows the
/// last colon.
const NPM_OWN: [&str; 16] = [
    "_auth",
    "_authtoken",
    "_password",
    "ca",
    "ca[]",
    "cafile",
    "cert",
    "certfile",
    "http-proxy",
    "https-proxy",
    "key",
    "keyfile",
    "noproxy",
    "otp",
    "proxy",
    "strict-ssl",
];

/// npm: its user configuration holds the tokens of registries. Where the session has a registry among its services, its
/// token is the placeholder: `npm publish` asks for one before it sends anything.
pub(super) fn npm(endpoint: &Endpoint, inherited: Inherited<'_>, made: &mut Environment) -> io::Result<()> {
    let own = path(inherited, "npm_config_userconfig").or_else(|| path(inherited, "NPM_CONFIG_USERCONFIG"));
    let own = own.or_else(|| in_home(inherited, ".npmrc"));
    let mut text = if endpoint.pass.contains("npm_config_userconfig") {
        kept(own.as_deref(), |_| true)
    } else {
        kept(own.as_deref(), |line| {
            let name = line.split('=').next().unwrap_or_default().trim();
            let name = if name.starts_with("//") { name.rsplit(':').next().unwrap_or_default() } else { name };
            !NPM_OWN.contains(&name.to_ascii_lowercase().as_str())
        })
    };
    for service in &endpoint.services {
        let Some(placeholder) = &service.client.placeholder else { continue };
        if ["NPM_TOKEN", "NODE_AUTH_TOKEN"].iter().any(|name| service.client.secrets.iter().any(|known| known == name))
        {
            for host in service.hosts.iter().filter(|host| !host.contains('*')) {
                text.push_str(&format!("//{host}/:_authToken={placeholder}\n"));
            }
        }
    }
    made.set("npm_config_userconfig", endpoint.write("npmrc", text)?);
    Ok(())
}

/// Options of `.curlrc` that do not go on, long and short.
const CURL_OWN: [&str; 28] = [
    "-E",
    "-H",
    "-K",
    "-U",
    "-b",
    "-k",
    "-n",
    "-u",
    "-x",
    "cacert",
    "capath",
    "cert",
    "config",
    "connect-to",
    "cookie",
    "header",
    "insecure",
    "key",
    "netrc",
    "netrc-file",
    "netrc-optional",
    "noproxy",
    "oauth2-bearer",
    "pass",
    "preproxy",
    "proxy",
    "resolve",
    "user",
];

/// curl: a user's `.curlrc` goes before the environment. Without one there is nothing to do.
pub(super) fn curl(endpoint: &Endpoint, inherited: Inherited<'_>, made: &mut Environment) -> io::Result<()> {
    let places = [
        path(inherited, "CURL_HOME").map(|folder| folder.join(".curlrc")),
        path(inherited, "XDG_CONFIG_HOME").map(|folder| folder.join("curlrc")),
        in_home(inherited, ".config/curlrc"),
        in_home(inherited, ".curlrc"),
    ];
    let Some(own) = places.into_iter().flatten().find(|place| place.is_file()) else { return Ok(()) };
    let text = kept(Some(&own), |line| {
        let short = line.strip_prefix('-').is_some_and(|rest| !rest.starts_with('-'));
        let name = if short {
            line.get(..2).unwrap_or(line)
        } else {
            line.trim_start_matches('-').split([' ', '\t', '=', ':']).next().unwrap_or_default()
        };
        let secret = name.starts_with("proxy-") || name.starts_with("socks");
        !secret && !CURL_OWN.contains(&name)
    });
    let file = endpoint.write("curl/.curlrc", text)?;
    if let Some(folder) = file.parent() {
        made.set("CURL_HOME", folder);
    }
    Ok(())
}

/// The lines of a file that are to be kept; nothing, if there is none.
fn kept(file: Option<&Path>, keep: impl Fn(&str) -> bool) -> String {
    let bytes = file.and_then(|file| crate::os::read_regular(file, BYTES_MAX).ok()).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    text.lines().filter(|line| keep(line.trim())).flat_map(|line| [line, "\n"]).collect()
}

fn path(inherited: Inherited<'_>, name: &str) -> Option<PathBuf> {
    inherited(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

fn in_home(inherited: Inherited<'_>, name: &str) -> Option<PathBuf> {
    path(inherited, "HOME").map(|home| home.join(name))
}
