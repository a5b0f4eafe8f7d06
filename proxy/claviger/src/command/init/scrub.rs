//! `claviger init --scrub`: values in `.env` files that are sealed by now give way to placeholders.

use std::io::Write;
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use claviger_contract::Secret;
use claviger_credential::{SealedEntry, SealedStore};
use claviger_policy::document::Diagnostics;
use serde::Serialize;

use super::dotenv::{self, Entry, Reading};
use super::git::{self, History};
use super::known::Presets;
use super::look::{SMALL_MAX, is_dotenv, read, shown};
use super::{InitArgs, store, value, walk};
use crate::cli::Output;
use crate::command::{Done, Failure, plural, report};
use crate::{config, console};

/// What becomes of a file.
#[derive(Debug, Serialize)]
struct Scrubbed {
    file: String,
    replaced: Vec<Replaced>,
    refused: Vec<Refused>,
    /// Values that are no keys, as far as anybody knows.
    left: usize,
    /// Of a file that held a key.
    git: History,
}

#[derive(Debug, Serialize)]
struct Replaced {
    line: usize,
    variable: String,
    /// Under which name the value is sealed.
    secret: String,
    with: String,
}

#[derive(Debug, Serialize)]
struct Refused {
    line: usize,
    variable: String,
    why: String,
}

pub(super) fn run(args: &InitArgs) -> Done {
    let store = store_of(args)?;
    let presets = Presets::bundled();
    let mut all = Vec::new();
    for file in files(args)? {
        let scrubbed = scrub(&file, &store, &presets, args.dry_run)?;
        if !(scrubbed.replaced.is_empty() && scrubbed.refused.is_empty()) {
            all.push(scrubbed);
        }
    }
    match args.output {
        Output::Json => {
            let json = serde_json::json!({ "dry_run": args.dry_run, "files": all });
            console::out(&json.to_string());
        }
        Output::Text => show(&all, args.dry_run),
    }
    let is_clean = all.iter().all(|file| file.refused.is_empty());
    Ok(if is_clean { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// The sealed store of the configuration that counts here, or the one that a configuration would use.
fn store_of(args: &InitArgs) -> Result<SealedStore, Failure> {
    let Ok(source) = config::discover(args.config.config.as_ref()) else { return Ok(store::open()) };
    let mut found = Diagnostics::default();
    let draft = config::read(&source, &mut found);
    let store = draft.and_then(|draft| draft.sealed_store("sealed", &mut found));
    match store {
        Some(store) => Ok(store),
        None => {
            report(&found)?;
            Err(Failure::Other("the configuration could not be read".to_owned()))
        }
    }
}

/// Those that were named, or all of the project.
fn files(args: &InitArgs) -> Result<Vec<PathBuf>, Failure> {
    if let Some(missing) = args.files.iter().find(|file| !file.is_file()) {
        return Err(Failure::Call(format!("`{}` is not a file", missing.display())));
    }
    if !args.files.is_empty() {
        return Ok(args.files.clone());
    }
    let here = std::env::current_dir().map_err(|error| Failure::doing("find the working folder")(&error))?;
    let is_one = |file: &PathBuf| file.file_name().and_then(|name| name.to_str()).is_some_and(is_dotenv);
    Ok(walk::files(&here).files.into_iter().filter(is_one).collect())
}

fn scrub(file: &Path, store: &SealedStore, presets: &Presets, is_dry: bool) -> Result<Scrubbed, Failure> {
    let text = read(file, SMALL_MAX)
        .ok_or_else(|| Failure::Other(format!("failed to read `{}`: it is too large, or not yours", shown(file))))?;
    let entries = dotenv::parse(&text, file.file_name().is_some_and(|name| name == ".envrc"));
    let values: Vec<&Secret> = entries.iter().filter_map(secret_of).collect();
    let mut held = store.holding(&values).map_err(store::failed)?.into_iter();
    let (mut replaced, mut refused, mut left) = (Vec::new(), Vec::new(), 0);
    let mut changes: Vec<(Range<usize>, String)> = Vec::new();
    for entry in &entries {
        let held = secret_of(entry).and_then(|_| held.next().flatten());
        let (line, variable) = (entry.line, entry.name.clone());
        match judge(entry, held, presets) {
            Verdict::Replace(secret, with) => {
                changes.push((entry.span.clone(), with.clone()));
                replaced.push(Replaced { line, variable, secret, with });
            }
            Verdict::Refuse(why) => refused.push(Refused { line, variable, why }),
            Verdict::Leave => left += 1,
        }
    }
    let git = if replaced.is_empty() { History::None } else { git::history(file) };
    if !is_dry && !changes.is_empty() {
        let with: Vec<(Range<usize>, &str)> =
            changes.iter().map(|(span, with)| (span.clone(), with.as_str())).collect();
        let new = zeroize::Zeroizing::new(dotenv::replace(&text, &with));
        exchange(file, &text, &new)?;
    }
    Ok(Scrubbed { file: shown(file), replaced, refused, left, git })
}

/// A value that all readers read.
fn secret_of(entry: &Entry) -> Option<&Secret> {
    match &entry.reading {
        Reading::Value(value) if !value.is_empty() => Some(value),
        Reading::Value(_) | Reading::Made | Reading::Unclear(_) => None,
    }
}

enum Verdict {
    /// It is sealed under this name: put this in its place.
    Replace(String, String),
    Refuse(String),
    /// It is no key that anybody knows.
    Leave,
}

fn judge(entry: &Entry, held: Option<SealedEntry>, presets: &Presets) -> Verdict {
    let value = match &entry.reading {
        Reading::Value(value) => value,
        Reading::Made => return Verdict::Leave,
        Reading::Unclear(why) => {
            let is_asked = presets.of_variable(&entry.name, None).is_some();
            return if is_asked { Verdict::Refuse((*why).to_owned()) } else { Verdict::Leave };
        }
    };
    // What it looks like says whose it is, then what it is called.
    let preset = presets.of_value(value).map(|(known, _)| known).or(presets.of_variable(&entry.name, Some(value)));
    if let Some(held) = held {
        let placeholder = preset.and_then(|known| known.client.placeholder.clone()).unwrap_or_default();
        let with = if fits(&placeholder, entry.quote) { placeholder } else { String::new() };
        return Verdict::Replace(held.name, with);
    }
    let is_nothing = value.is_empty() || value::is_dummy(value) || presets.is_placeholder(value);
    match preset.filter(|_| !is_nothing) {
        Some(known) => {
            let service = known.name;
            Verdict::Refuse(format!("it is not sealed; seal it first: `claviger secret set {service} --for {service}`"))
        }
        None => Verdict::Leave,
    }
}

/// Whether all readers would read this text as it is, between these quotes.
fn fits(text: &str, quote: Option<u8>) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.~+/=:@,".contains(c);
    let is_quotable = |c: char| is_plain(c) || c == ' ' || c == '#';
    text.chars().all(|c| if quote.is_some() { is_quotable(c) } else { is_plain(c) })
}

/// Puts the new content in the old one's place at once, with its mode and owner. No copy of the old one is left.
fn exchange(file: &Path, old: &[u8], new: &[u8]) -> Result<(), Failure> {
    let failed = |error: &std::io::Error| Failure::Other(format!("failed to write `{}`: {error}", shown(file)));
    let file = file.canonicalize().map_err(|error| failed(&error))?;
    let metadata = file.metadata().map_err(|error| failed(&error))?;
    if metadata.nlink() > 1 {
        let why = format!("`{}` has other names (hard links), under which the keys would stay", shown(&file));
        return Err(Failure::Other(format!("{why}\n  help: remove the others, or make this file a copy of its own")));
    }
    let folder = file.parent().unwrap_or(Path::new("/"));
    let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let written = || {
        // 0600 from its first moment: it may hold other secrets.
        let mut temporary = tempfile::Builder::new().prefix(&format!("{name}.")).suffix(".tmp").tempfile_in(folder)?;
        temporary.write_all(new)?;
        let ours = temporary.as_file().metadata()?;
        if (ours.uid(), ours.gid()) != (metadata.uid(), metadata.gid()) {
            std::os::unix::fs::fchown(temporary.as_file(), Some(metadata.uid()), Some(metadata.gid()))?;
        }
        temporary.as_file().set_permissions(metadata.permissions())?;
        temporary.as_file().sync_all()?;
        if read(&file, SMALL_MAX).is_none_or(|now| now.as_slice() != old) {
            return Err(std::io::Error::other("somebody else changed it in the meantime; nothing was changed"));
        }
        temporary.persist(&file).map_err(|error| error.error)?;
        std::fs::File::open(folder)?.sync_all()
    };
    written().map_err(|error| failed(&error))
}

fn show(all: &[Scrubbed], is_dry: bool) {
    if all.is_empty() {
        console::out("no .env file here holds a key that is known");
        return;
    }
    for Scrubbed { file, replaced, refused, left, git } in all {
        for Replaced { line, variable, secret, with } in replaced {
            let with = if with.is_empty() { "nothing" } else { "a placeholder" };
            let verb = if is_dry { "would be replaced" } else { "was replaced" };
            console::out(&format!("{file}:{line} {variable} {verb} by {with}; it is sealed as `{secret}`"));
        }
        for Refused { line, variable, why } in refused {
            console::out(&format!("{file}:{line} {variable} stays: {why}"));
        }
        if *left > 0 {
            console::out(&format!("{file}: {} that no preset knows stayed as they are", plural(*left, "value")));
        }
        warn(file, *git, replaced);
    }
    if is_dry {
        console::out("nothing was changed: this was --dry-run");
    } else if all.iter().any(|file| !file.replaced.is_empty()) {
        console::out(
            "no copy of what stood there was kept; the keys are in the sealed store, and nowhere else by this",
        );
        console::out("start programs that need them by `claviger exec -- PROGRAM`");
    }
}

fn warn(file: &str, git: History, replaced: &[Replaced]) {
    let rotate = |what: &str| {
        let mut names: Vec<&str> = replaced.iter().map(|one| one.secret.as_str()).collect();
        names.dedup();
        let commands: Vec<String> = names.iter().map(|name| format!("`claviger secret rotate {name}`")).collect();
        console::note(&format!(
            "{what}, so the keys that stood there are no secrets any more: {}",
            commands.join(", ")
        ));
    };
    match git {
        History::None => {}
        History::Tracked => rotate(&format!(
            "{file} is tracked by git, and its history keeps what was committed (`git rm --cached {file}` stops that)"
        )),
        History::Past => rotate(&format!("{file} was committed once, and git's history keeps it")),
        History::Unknown => {
            console::note(&format!(
                "whether {file} was ever committed to git could not be found out; if so, rotate its keys"
            ));
        }
    }
}
