//! `claviger config allow` and `deny`.

use std::io::{BufRead, IsTerminal};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::Unjudged;
use crate::command::{Done, Failure, plural, report};
use crate::config::trust::{Decision, Record, is_ours};
use crate::config::{Effective, Leaf};
use crate::console;

#[derive(Debug, Args)]
pub(super) struct AllowArgs {
    /// The file, or its folder [default: the project around the working folder]
    file: Option<PathBuf>,
    /// Do not ask; needed where no terminal is
    #[arg(long, short)]
    yes: bool,
}

#[derive(Debug, Args)]
pub(super) struct DenyArgs {
    /// The file, or its folder [default: the project around the working folder]
    file: Option<PathBuf>,
}

/// What a configuration asks for: a line of `allow`, and the types of values that belong there.
const ASKED: [(&str, &[&str]); 6] = [
    ("it listens at", &["bind", "socket", "unix"]),
    ("it sends requests to", &["host", "authority"]),
    ("it calls", &["url"]),
    ("it uses the secrets", &["reference"]),
    ("it believes", &["file"]),
    ("it keeps or reads files in", &["path"]),
];

pub(super) fn allow(args: &AllowArgs) -> Done {
    let unjudged = Unjudged::read(args.file.as_ref())?;
    // What cannot be read cannot be shown, and so not be allowed either.
    report(&unjudged.found)?;
    let effective = unjudged.files.as_ref().map(Effective::of).transpose().map_err(Failure::Other)?.flatten();
    let Some(effective) = effective else {
        return Err(Failure::Other("the configuration could not be read".to_owned()));
    };
    refuse_foreign(&unjudged)?;
    console::out(&summary(&unjudged, &effective.written()));
    if !args.yes && !confirmed()? {
        return Err(Failure::Other("nothing was allowed".to_owned()));
    }
    let project = &unjudged.project;
    let record = Record::new(project.canonical(), Decision::Allowed, &unjudged.texts).map_err(other)?;
    record.write().map_err(other)?;
    console::out(&format!("allowed `{}`, as it is now", project.canonical().display()));
    Ok(ExitCode::SUCCESS)
}

pub(super) fn deny(args: &DenyArgs) -> Done {
    let project = Unjudged::read(args.file.as_ref())?.project;
    let record = Record::new(project.canonical(), Decision::Denied, &crate::config::Texts::default()).map_err(other)?;
    record.write().map_err(other)?;
    console::out(&format!(
        "denied `{}`; a process that runs with it goes on as it is, and will not reload it",
        project.canonical().display()
    ));
    Ok(ExitCode::SUCCESS)
}

/// What others can write they could have written between your look and your word.
fn refuse_foreign(unjudged: &Unjudged) -> Result<(), Failure> {
    for text in unjudged.texts.iter() {
        let metadata = text
            .path
            .metadata()
            .map_err(|error| Failure::Other(format!("failed to read `{}`: {error}", text.path.display())))?;
        if !is_ours(&metadata) {
            let path = text.path.display();
            let mode = metadata.mode() & 0o777;
            return Err(Failure::Other(if mode & 0o022 == 0 {
                format!("`{path}` is not yours, so that its owner could change it; make a copy that is")
            } else {
                format!("`{path}` may be written by others than its owner (mode {mode:04o}); run `chmod go-w {path}`")
            }));
        }
    }
    Ok(())
}

fn summary(unjudged: &Unjudged, written: &[(String, Leaf)]) -> String {
    let project = &unjudged.project;
    let mut text = format!("{}\n", project.canonical().display());
    for (what, types) in ASKED {
        let of_types = |leaf: &Leaf| leaf.is.is_some_and(|is| types.contains(&is));
        let values =
            written.iter().filter(|(_, leaf)| of_types(leaf)).filter_map(|(key, leaf)| Some((key, leaf.text()?)));
        let mut lines: Vec<String> =
            values.map(|(key, value)| format!("    {}  ({})\n", line(&value), line(key))).collect();
        lines.dedup();
        if !lines.is_empty() {
            text.push_str(&format!("  {what}\n{}", lines.concat()));
        }
    }
    let files: Vec<_> = unjudged.texts.iter().collect();
    text.push_str(&format!("  it is made of {}\n", plural(files.len(), "file")));
    for file in files {
        let hash = file.sha256.get(..16).unwrap_or_default();
        text.push_str(&format!("    {}  (sha256 {hash}…)\n", line(&project.name_of(&file.path))));
    }
    text
}

/// A word of the project's that stays on its line.
fn line(text: &str) -> String {
    console::visible(text).replace('\n', "\\n")
}

fn confirmed() -> Result<bool, Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::Call(
            "nobody can be asked here; if you have read it, type `claviger config allow --yes`".to_owned(),
        ));
    }
    console::out_raw("May it be used? [y/N] ");
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).map_err(|error| Failure::doing("read the answer")(&error))?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

fn other(error: impl std::error::Error) -> Failure {
    Failure::Other(error.to_string())
}
