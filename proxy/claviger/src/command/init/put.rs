//! Puts a configuration into place: tried by the real loader first, never over another file, and then allowed.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use claviger_contract::Secret;
use claviger_credential::SealedStore;
use claviger_policy::document::{Diagnostics, Severity};

use super::proposal::Service;
use super::text::is_commented;
use crate::app;
use crate::command::Failure;
use crate::config::trust::{Decision, Record, note_named};
use crate::config::{self, Source, Texts};

/// What a key is while a configuration is tried that nobody has allowed yet.
const STAND_IN: &str = "claviger-init-stand-in-0123456789abcdef";

/// The hosts that the secret of a service is to be bound to: in clear text if its preset says so.
pub(super) fn bound(service: &Service<'_>) -> Result<Vec<String>, Failure> {
    let folder = scratch()?;
    let file = folder.path().join("claviger.toml");
    let hosts: Vec<String> = service.hosts.iter().map(|host| format!("\"{host}\"")).collect();
    let hosts = if hosts.is_empty() { String::new() } else { format!("hosts = [{}]\n", hosts.join(", ")) };
    let (name, preset) = (&service.name, service.preset.name);
    let text = format!("version = 1\ntrust_domain = \"x.test\"\n[service.{name}]\npreset = \"{preset}\"\n{hosts}");
    std::fs::write(&file, text).map_err(|error| Failure::doing("write a temporary file")(&error))?;
    let mut found = Diagnostics::default();
    let draft = config::read(&Source::named(&file), &mut found);
    draft.and_then(|draft| draft.service_hosts(name, &mut found)).ok_or_else(|| {
        let why = found.iter().next().map(ToString::to_string).unwrap_or_default();
        Failure::Other(format!("service `{name}` cannot be set up: {why}"))
    })
}

/// Compiles a configuration as a cold start would, with its tests, in a folder of its own where every secret is there.
pub(super) fn tried(text: &str, services: &[Service<'_>], bound: &[Vec<String>]) -> Result<(), Failure> {
    let folder = scratch()?;
    let file = folder.path().join("claviger.toml");
    // Before the first table: a key of the root.
    let tried = format!("state_dir = \"state\"\n{text}");
    std::fs::write(&file, tried).map_err(|error| Failure::doing("write a temporary file")(&error))?;
    let store = SealedStore::open(&folder.path().join("state"));
    for (service, hosts) in services.iter().zip(bound).filter(|(service, _)| !is_commented(service, services)) {
        let value = Secret::from(STAND_IN.to_owned());
        store.set(&service.secret, value, hosts.clone(), None).map_err(|error| Failure::with_causes(&error))?;
    }
    let mut found = compiled(&Source::named(&file))?;
    found.retain(|one| one.severity == Severity::Error);
    match found.iter().next() {
        None => Ok(()),
        // Nothing was written yet: what is wrong is the proposal, not a file of the user's.
        Some(error) => Err(Failure::Other(format!("the configuration that was to be written does not load: {error}"))),
    }
}

fn scratch() -> Result<tempfile::TempDir, Failure> {
    let folder = tempfile::Builder::new().prefix("claviger-init-").tempdir();
    folder.map_err(|error| Failure::doing("make a temporary folder")(&error))
}

fn compiled(source: &Source) -> Result<Diagnostics, Failure> {
    let control = app::control_runtime()?;
    let mut found = Diagnostics::default();
    config::compile_standing(source, &app::idle_env(&control)?, &mut found);
    Ok(found)
}

/// Writes a file that was not there: whole or not at all, and never over one that came in between.
pub(super) fn new_file(path: &Path, text: &str) -> Result<(), Failure> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let failed = |error: &std::io::Error| Failure::Other(format!("failed to write `{}`: {error}", path.display()));
    let written = || {
        let mut file = tempfile::Builder::new().prefix(".claviger.toml.").tempfile_in(folder)?;
        file.write_all(text.as_bytes())?;
        file.as_file().set_permissions(std::fs::Permissions::from_mode(0o644))?;
        file.as_file().sync_all()?;
        file.persist_noclobber(path).map_err(|error| error.error)?;
        std::fs::File::open(folder)?.sync_all()
    };
    written().map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => {
            Failure::Other(format!("`{}` is there by now, and stays as it is", path.display()))
        }
        _ => failed(&error),
    })
}

/// Allows the file as it was written, which is what whoever typed `init` said yes to.
pub(super) fn allowed(path: &Path, text: &str) -> Result<PathBuf, Failure> {
    let source = config::project_file(path);
    let project = source.project().cloned().ok_or_else(|| Failure::Other("it is no project's file".to_owned()))?;
    let (mut texts, mut found) = (Texts::of(&source), Diagnostics::default());
    let files = config::files(source.path(), &mut texts, &mut found);
    if let Some(files) = &files {
        note_named(&project, files, &mut texts).map_err(Failure::Other)?;
    }
    let mut read = texts.iter();
    if read.next().and_then(|one| one.text.as_deref()) != Some(text) || read.next().is_some() {
        let why = format!("`{}` was changed by somebody else as it was written, and is not allowed", path.display());
        return Err(Failure::Other(format!("{why}\n  help: read it, then type `claviger config allow`")));
    }
    let record = Record::new(project.canonical(), Decision::Allowed, &texts);
    record.and_then(|record| record.write()).map_err(|error| Failure::Other(error.to_string()))?;
    Ok(project.canonical().to_owned())
}

/// What the loader says of the file in its place.
pub(super) fn final_errors(path: &Path, is_named: bool) -> Result<Diagnostics, Failure> {
    let mut found = compiled(&if is_named { Source::named(path) } else { config::project_file(path) })?;
    found.retain(|one| one.severity == Severity::Error);
    Ok(found)
}
