//! Clients under the real `claviger exec`, with a configuration that knows one service: the probe.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use claviger_ledger::{LedgerSettings, query, sessions};
use claviger_wire::InterceptionRoot;
use tempfile::TempDir;

use super::probe::{Probe, Seen};

/// A folder with the configuration, and the ledgers of its sessions.
pub(super) struct Ground {
    folder: TempDir,
    claviger: PathBuf,
}

impl Ground {
    /// Writes it, for a probe whose certificates are of this root.
    pub(super) fn make(probe: &Probe, root: &InterceptionRoot) -> Result<Self, String> {
        let folder =
            tempfile::Builder::new().prefix("claviger-doctor-").tempdir().map_err(|error| error.to_string())?;
        let claviger = std::env::current_exe().map_err(|error| error.to_string())?;
        let ground = Self { folder, claviger };
        let write = |file: &Path, text: &str| std::fs::write(file, text).map_err(|error| error.to_string());
        let text = include_str!("session.toml").replace("@ADDRESS@", &probe.address.to_string());
        write(&ground.folder.path().join("probe.pem"), &root.certificate_pem())?;
        write(&ground.configuration(), &text)?;
        Ok(ground)
    }

    fn configuration(&self) -> PathBuf {
        self.folder.path().join("claviger.toml")
    }

    /// What stands before a command that is to run in a session.
    pub(super) fn prefix(&self) -> Vec<OsString> {
        let words: [OsString; 6] = [
            self.claviger.clone().into(),
            "exec".into(),
            "--config".into(),
            self.configuration().into(),
            "--quiet".into(),
            "--".into(),
        ];
        words.into()
    }

    /// Begins a first session alone, in which nothing happens: it makes what all others share.
    pub(super) async fn try_out(&self, patience: Duration) -> Result<(), String> {
        let prefix = self.prefix();
        let (program, arguments) = prefix.split_first().ok_or("there is no program")?;
        let mut command = tokio::process::Command::new(program);
        command.args(arguments).arg(&self.claviger).arg("--version").stdin(Stdio::null()).kill_on_drop(true);
        let output = tokio::time::timeout(patience, command.output()).await;
        let output = output.map_err(|_| "a session does not begin in time")?.map_err(|error| error.to_string())?;
        let said = String::from_utf8_lossy(&output.stderr);
        if output.status.success() { Ok(()) } else { Err(said.lines().next().unwrap_or_default().to_owned()) }
    }

    /// How far the client came, by the probe and by what the sessions recorded.
    pub(super) fn seen(&self, probe: &Probe, client: &str) -> Seen {
        let mut seen = probe.seen(client);
        let host = format!("{}:", Probe::host_of(client));
        let own = LedgerSettings::new(&self.folder.path().join("state")).path;
        let records = sessions::all(&own).into_iter().flat_map(|file| query::tail(&file, 1_000).unwrap_or_default());
        for record in records {
            let detail = record.text("detail").unwrap_or_default();
            let is_its = detail.contains(&host) || record.text("host").is_some_and(|known| known.starts_with(&host));
            match (record.kind(), record.text("code")) {
                _ if !is_its => {}
                ("decided", _) => seen.connected = true,
                ("connection", Some("intercepted_tls_failed" | "intercepted_tls_timeout")) => {
                    (seen.connected, seen.tls) = (true, Some(detail.to_owned()));
                }
                ("connection", Some("bypassed")) => seen.around = true,
                _ => {}
            }
        }
        seen
    }
}
