//! `claviger health`: asks a running proxy how it is, for probes of images that have no shell and no curl.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use claviger_policy::document::Diagnostics;

use crate::cli::ConfigArgs;
use crate::command::{Done, Failure, configuration, report};
use crate::{config, console};
use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct HealthArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// The admin listener [default: `admin.bind` of the configuration]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) address: Option<SocketAddr>,
    /// Also whether it takes requests: not while it starts or drains, nor without a ledger
    #[arg(long)]
    pub(crate) ready: bool,
}

/// A probe that waits longer is no probe.
const PATIENCE: Duration = Duration::from_secs(3);

/// More than any answer of `/livez` and `/readyz` has.
const ANSWER_MAX: u64 = 4096;

pub(crate) fn run(args: &HealthArgs) -> Done {
    let address = match args.address {
        Some(address) => address,
        None => configured(args)?,
    };
    let path = if args.ready { "/readyz" } else { "/livez" };
    let (status, text) =
        ask(address, path).map_err(|error| Failure::doing(&format!("ask http://{address}{path}"))(&error))?;
    console::out(text.trim_end());
    Ok(if status == 200 { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn configured(args: &HealthArgs) -> Result<SocketAddr, Failure> {
    let mut found = Diagnostics::default();
    let draft = config::read(&configuration(&args.config)?, &mut found);
    if draft.is_none() {
        report(&found)?;
    }
    let bind = draft.and_then(|draft| draft.admin.bind).map(|bind| bind.value);
    bind.ok_or_else(|| {
        Failure::Call(
            "there is no `admin.bind` in the configuration\n  help: write `[admin]` and `bind = \"127.0.0.1:7071\"`, \
             or name the address with --address"
                .to_owned(),
        )
    })
}

/// The status and the body of one GET. HTTP/1.1 by hand: the one fixed request to our own endpoint needs no client
/// with a runtime, and a probe runs every few seconds.
fn ask(address: SocketAddr, path: &str) -> std::io::Result<(u16, String)> {
    let until = Instant::now() + PATIENCE;
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n").as_bytes())?;
    let (mut answer, mut buffer) = (Vec::new(), [0; 512]);
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(std::io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        let read = (&mut stream).take(512).read(&mut buffer)?;
        answer.extend_from_slice(buffer.get(..read).unwrap_or_default());
        if read == 0 || answer.len() as u64 > ANSWER_MAX {
            break;
        }
    }
    let text = String::from_utf8_lossy(&answer);
    let status = text.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)).and_then(|code| code.parse().ok());
    let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    match status {
        Some(status) => Ok((status, body.to_owned())),
        None => Err(std::io::Error::other("the answer is not HTTP: is this the admin listener?")),
    }
}
