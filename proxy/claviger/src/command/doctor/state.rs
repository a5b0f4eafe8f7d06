//! Secrets and state: who else may read them, whether they can be read at all, and whether the record is whole.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use claviger_ledger::query;
use claviger_policy::document::{Diagnostic, Severity};

use super::check::{Check, Id};
use super::configuration::cited;
use super::scene::Scene;
use crate::command::plural;
use crate::state;

/// Beyond this a ledger is verified by its newest file only: a doctor is not to read for minutes.
const LEDGER_WHOLE_MAX: u64 = 256 << 20;

/// Less room than this on the disk of the state folder is a fault, or a warning.
const SPACE_ERROR: u64 = 16 << 20;
const SPACE_WARNING: u64 = 512 << 20;

/// A sealing key that is older is told.
const KEY_OLD_DAYS: i64 = 2 * 365;

/// All of this category.
pub(crate) fn checks(scene: &Scene<'_>) -> Vec<Check> {
    let mut all = Vec::new();
    if scene.blind {
        let (what, cause) = ("where the state is cannot be known", "the configuration that says it is not used");
        return vec![Check::warning(Id::StateFolder, what, cause, "put that right first, see above")];
    }
    if !scene.state_dir.exists() {
        let what = format!("`{}` is not there yet: nothing was sealed or recorded", scene.state_dir.display());
        all.push(Check::ok(Id::StateFolder, what));
        all.extend(secrets(scene));
        return all;
    }
    all.push(folder(scene));
    all.extend(key(scene));
    all.extend(sealed(scene));
    all.extend(secrets(scene));
    all.extend(database(scene));
    all.extend(ledger(scene));
    all.extend(space(&scene.state_dir));
    all
}

fn folder(scene: &Scene<'_>) -> Check {
    let path = scene.state_dir.display();
    let found = match std::fs::metadata(&scene.state_dir) {
        Ok(found) => found,
        Err(error) => {
            let what = format!("the state folder `{path}` cannot be looked at");
            return Check::error(Id::StateFolder, what, error.to_string(), "run this as the user of the proxy");
        }
    };
    let (mode, uid) = (found.mode() & 0o7777, rustix::process::geteuid().as_raw());
    let next = format!("`chmod 0700 {path}`");
    let what = format!("the state folder `{path}` is open to others (mode {mode:04o})");
    if mode & 0o002 != 0 {
        let cause = "everybody may put files into it: a ledger, a suspension, a certificate of their own";
        return Check::error(Id::StateFolder, what, cause, next);
    }
    if mode & 0o007 != 0 {
        return Check::error(Id::StateFolder, what, "everybody may read what is recorded in it", next);
    }
    if mode & 0o020 != 0 {
        return Check::warning(Id::StateFolder, what, "its group may put files into it", next);
    }
    if found.uid() != uid && uid != 0 {
        let what = format!("the state folder `{path}` belongs to another user (uid {})", found.uid());
        let next = format!("run this as that user: `sudo -u '#{}' claviger doctor`", found.uid());
        return Check::warning(Id::StateFolder, what, format!("this is uid {uid}"), next);
    }
    Check::ok(Id::StateFolder, format!("the state folder `{path}` is for its owner alone (mode {mode:04o})"))
}

fn key(scene: &Scene<'_>) -> Option<Check> {
    let path = scene.key_file.display();
    let found = match std::fs::metadata(&scene.key_file) {
        Ok(found) => found,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let sealed = scene.sealed.list().is_ok_and(|list| list.is_empty());
            if sealed {
                return None;
            }
            let what = format!("the sealing key `{path}` is missing");
            let next = "put it back from where you keep it; without it sealed values have to be set anew";
            return Some(Check::error(Id::StateKey, what, "there are sealed secrets that only it opens", next));
        }
        Err(error) => {
            let what = format!("the sealing key `{path}` cannot be looked at");
            return Some(Check::error(Id::StateKey, what, error.to_string(), "run this as the user of the proxy"));
        }
    };
    let mode = found.mode() & 0o7777;
    // As an orchestrator hands it over: root's, and readable by the pod's group.
    let is_handed_over = mode == 0o440 && found.uid() == 0;
    if mode & 0o077 != 0 && !is_handed_over {
        let what = format!("the sealing key `{path}` is open to others (mode {mode:04o})");
        let cause = "whoever reads it opens every sealed secret, so that the proxy refuses to use it";
        let next = format!("`chmod 0600 {path}`; if others were on this machine, rotate what is sealed");
        return Some(Check::error(Id::StateKey, what, cause, next));
    }
    let days = (scene.now() - found.mtime()).div_euclid(86_400).max(0);
    if days > KEY_OLD_DAYS {
        let what = format!("the sealing key is {days} days old");
        let next = "seal the values anew with a new key when it suits you; `claviger secret list` names them";
        return Some(Check::warning(Id::StateKey, what, format!("`{path}` was last written then"), next));
    }
    Some(Check::ok(Id::StateKey, format!("the sealing key is for its owner alone (mode {mode:04o}, {days} days old)")))
}

fn sealed(scene: &Scene<'_>) -> Option<Check> {
    match scene.sealed.list() {
        Ok(list) if list.is_empty() => None,
        Ok(list) => {
            let what = format!("the sealed store can be read: {}", plural(list.len(), "secret"));
            Some(Check::ok(Id::StateSealed, what))
        }
        Err(error) => {
            let next = "put the file or its key right; `claviger secret list` says the same";
            let what = "the sealed store cannot be read";
            Some(Check::error(Id::StateSealed, what, error.to_string(), next))
        }
    }
}

/// Whether every reference has a value, by what loading said of it. No value is shown, nor kept.
fn secrets(scene: &Scene<'_>) -> Vec<Check> {
    let references: Vec<_> = scene.leaves.iter().filter(|(_, leaf)| leaf.is == Some("reference")).collect();
    let place = |one: &Diagnostic| one.location.as_ref().map(ToString::to_string);
    let is_about = |one: &&Diagnostic| {
        let at = place(one);
        at.is_some() && references.iter().any(|(_, leaf)| leaf.location.as_ref().map(ToString::to_string) == at)
    };
    let mut all = Vec::new();
    for one in scene.found.iter().filter(is_about) {
        let next = one.help.clone().unwrap_or_else(|| "`claviger secret list` names what is there".to_owned());
        let key = one.key.clone();
        all.push(match one.severity {
            Severity::Error => {
                Check::error(Id::SecretsResolve, format!("`{key}` has no value"), cited(one), next).of(key)
            }
            Severity::Warning => {
                Check::warning(Id::SecretsFiles, format!("`{key}`: others may read the value"), cited(one), next)
                    .of(key)
            }
        });
    }
    if all.is_empty() && !references.is_empty() && scene.compiled.is_some() {
        all.push(Check::ok(Id::SecretsResolve, format!("{} has a value", each(references.len(), "secret reference"))));
    }
    all
}

fn each(count: usize, what: &str) -> String {
    if count == 1 { format!("the one {what}") } else { format!("each of {count} {what}s") }
}

/// What is suspended is kept there.
fn database(scene: &Scene<'_>) -> Option<Check> {
    let file = state::file(&scene.state_dir);
    let path = file.display();
    let found = std::fs::metadata(&file).ok()?;
    let mode = found.mode() & 0o7777;
    if mode & 0o002 != 0 {
        let what = format!("everybody may write `{path}`");
        let cause = "whoever does ends suspensions, or makes them";
        return Some(Check::error(Id::StateDatabase, what, cause, format!("`chmod 0600 {path}`")));
    }
    let mut head = [0; 16];
    let read = std::fs::File::open(&file).and_then(|mut file| std::io::Read::read_exact(&mut file, &mut head));
    // SQLite file format §1.3.
    let broken = match read {
        Ok(()) if head == *b"SQLite format 3\0" => {
            return Some(Check::ok(Id::StateDatabase, format!("`{path}` is there")));
        }
        // A process that has just begun has written nothing into it.
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            return Some(Check::ok(Id::StateDatabase, format!("`{path}` is there, and empty")));
        }
        Ok(()) => "it is no SQLite file".to_owned(),
        Err(error) => error.to_string(),
    };
    let next = "restore it, or move it away if nothing is to stay suspended: without it the proxy does not start";
    Some(Check::error(Id::StateDatabase, format!("`{path}` cannot be read"), broken, next))
}

fn ledger(scene: &Scene<'_>) -> Vec<Check> {
    let (mut all, mut records, mut lost, mut left) = (Vec::new(), 0, 0, LEDGER_WHOLE_MAX);
    let ledgers = scene.ledgers();
    for file in &ledgers {
        let size = size_of(file);
        if size > left {
            let what = format!("`{}` has {} MiB, and was not read as a whole", file.display(), size >> 20);
            let last = query::tail(file, 1).ok().and_then(|records| records.into_iter().next());
            let cause =
                last.map_or("its end cannot be read".to_owned(), |last| format!("it ends at record {}", last.seq()));
            let next = "`claviger ledger verify` reads all of it";
            all.push(Check::warning(Id::LedgerChain, what, cause, next));
            continue;
        }
        left -= size;
        match query::verify(file) {
            Ok(report) => (records, lost) = (records + report.records, lost + report.lost),
            Err(error) => {
                let next =
                    "keep the file as it is, and find out who changed it; `claviger ledger verify` says the same";
                all.push(Check::error(Id::LedgerChain, "the ledger's chain is broken", error.to_string(), next));
            }
        }
    }
    if all.is_empty() && !ledgers.is_empty() {
        let count = plural(usize::try_from(records).unwrap_or(usize::MAX), "record");
        all.push(Check::ok(Id::LedgerChain, format!("the ledger's chain is whole: {count}")));
    }
    if lost > 0 {
        let what = format!(
            "the ledger says that {} missing",
            if lost == 1 { "1 event is".to_owned() } else { format!("{lost} events are") }
        );
        let next = "look for a slow or full disk; `[ledger] ring` gives more room, `required = true` refuses instead";
        all.push(Check::warning(Id::LedgerLost, what, "the disk did not keep up with what happened", next));
    }
    all
}

/// A ledger with its full files, which lie beside it and begin as it does.
fn size_of(file: &Path) -> u64 {
    let stem = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let folder = file.parent().unwrap_or(Path::new("."));
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let ours = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(&stem));
    ours.filter_map(|entry| entry.metadata().ok()).map(|found| found.len()).sum()
}

fn space(folder: &Path) -> Option<Check> {
    let found = rustix::fs::statvfs(folder).ok()?;
    let free = found.f_bavail.saturating_mul(found.f_frsize);
    let what = format!("{} MiB are free on the disk of the state folder", free >> 20);
    let cause = "without room the ledger cannot be written, and with `required = true` nothing is sent";
    let next = "make room, or move the ledger with `[ledger] path`";
    Some(match free {
        0..SPACE_ERROR => Check::error(Id::StateSpace, what, cause, next),
        SPACE_ERROR..SPACE_WARNING => Check::warning(Id::StateSpace, what, cause, next),
        SPACE_WARNING.. => Check::ok(Id::StateSpace, what),
    })
}
