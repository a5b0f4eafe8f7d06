//! `--sandbox`: the command out of reach of secrets, and of any way out but the proxy.
//!
//! There are three grades, and the session says which one it got if it is not the first:
//! - **namespaces** (Linux with user namespaces): secrets are covered by mounts; the command has a network of its own, in
//!   which the session's listeners are the only thing that answers. Whoever tries anything else is noticed (`witness.rs`).
//! - **Landlock** (Linux 6.7 and later, without user namespaces): TCP to the session's ports only, and files by rules.
//! - **none**: what stays readable is said (`readable.rs`).
//!
//! `hidden.toml` is the list of what is hidden. docs/sandbox.md says what all this holds off and what it does not.

mod dotenv;
pub(crate) mod hidden;
mod project;
mod readable;

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
mod plan;
#[cfg(target_os = "linux")]
mod relay;
#[cfg(target_os = "linux")]
pub(crate) mod stage;
#[cfg(not(target_os = "linux"))]
mod unsupported;
#[cfg(target_os = "linux")]
pub(crate) mod witness;

use std::path::PathBuf;

use clap::{Args, ValueEnum};

#[cfg(target_os = "linux")]
pub(crate) use linux::Sandbox;
#[cfg(not(target_os = "linux"))]
pub(crate) use unsupported::Sandbox;

/// Keeping the command away from secrets and from other ways out.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct SandboxArgs {
    /// Keep the command away from files with secrets, and from any way out but the proxy: as well as this machine can
    /// (auto), not without (require), or not at all (off)
    #[arg(long, value_name = "MODE", default_value = "auto")]
    pub(crate) sandbox: Mode,
    /// Leave this file, folder or socket within reach, though it is on the list of what is hidden
    #[arg(long, value_name = "PATH")]
    pub(crate) allow_read: Vec<PathBuf>,
    /// Hide this file or folder too
    #[arg(long, value_name = "PATH")]
    pub(crate) hide: Vec<PathBuf>,
    /// Make a server that the command runs on this port reachable at the same port of 127.0.0.1
    #[arg(long, value_name = "PORT")]
    pub(crate) publish: Vec<u16>,
    /// Let the command reach this port of the machine at the same port of its own localhost; with a host: of that host
    #[arg(long, value_name = "[HOST:]PORT", value_parser = local)]
    pub(crate) local: Vec<Local>,
}

/// `--sandbox`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// As well as this machine can
    #[default]
    Auto,
    /// Not without
    Require,
    /// Not at all
    Off,
}

/// `--local`: what the command finds at a port of its localhost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Local {
    /// Where it really is.
    pub(crate) host: String,
    /// There and here.
    pub(crate) port: u16,
}

fn local(text: &str) -> Result<Local, String> {
    let (host, port) = text.rsplit_once(':').unwrap_or(("127.0.0.1", text));
    let host = host.trim_start_matches('[').trim_end_matches(']');
    match port.parse() {
        Ok(port) if port != 0 && !host.is_empty() => Ok(Local { host: host.to_owned(), port }),
        _ => Err("write a port, or host:port".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::local;

    #[test]
    fn a_local_port_may_have_a_host() {
        for (text, expected) in [
            ("5432", Some(("127.0.0.1", 5432))),
            ("db.internal:5432", Some(("db.internal", 5432))),
            ("[::1]:6379", Some(("::1", 6379))),
            ("0", None),
            ("db.internal", None),
            (":1", None),
            ("70000", None),
        ] {
            let read = local(text).ok();
            assert_eq!(read.as_ref().map(|read| (read.host.as_str(), read.port)), expected, "{text}");
        }
    }
}
