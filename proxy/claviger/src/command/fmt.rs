//! `claviger fmt`: configuration files in the usual form.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use claviger_policy::document::Diagnostics;
use similar::TextDiff;

use crate::cli::ConfigArgs;
use crate::command::{Done, Failure, configuration, report};
use crate::config::{self, Texts, format};
use crate::console;

#[derive(Debug, Args)]
pub(crate) struct FmtArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Write nothing; print what would change, and end with 1 if anything would
    #[arg(long)]
    diff: bool,
    /// Write nothing; name the files that would change, and end with 1 if there are any
    #[arg(long)]
    check: bool,
    /// The files, or `-` for stdin to stdout [default: every file of the configuration]
    #[arg(value_name = "FILES")]
    files: Vec<PathBuf>,
}

pub(crate) fn run(args: &FmtArgs) -> Done {
    if args.files.iter().any(|file| file.as_os_str() == "-") {
        return stdin(args);
    }
    let files = if args.files.is_empty() { files_of(&args.config)? } else { args.files.clone() };
    // All are read before any is written: one that is not TOML leaves the others alone too.
    let mut found = Diagnostics::default();
    let mut changed = Vec::new();
    for file in files {
        let name = file.display().to_string();
        let before = std::fs::read_to_string(&file)
            .map_err(|error| Failure::Call(format!("failed to read `{name}`: {error}")))?;
        if let Some(after) = format(&name, &before, &mut found).filter(|after| *after != before) {
            changed.push((file, before, after));
        }
    }
    report(&found)?;
    for (file, before, after) in &changed {
        let name = file.display().to_string();
        if args.diff {
            console::out_raw(&difference(&name, before, after));
        } else if args.check {
            console::out(&name);
        } else {
            replace(file, after).map_err(|error| Failure::Other(format!("failed to write `{name}`: {error}")))?;
            console::note(&format!("formatted `{name}`"));
        }
    }
    Ok(done(args, changed.is_empty()))
}

fn stdin(args: &FmtArgs) -> Done {
    if args.files.len() > 1 {
        return Err(Failure::Call("`-` stands alone".to_owned()));
    }
    let mut before = String::new();
    std::io::stdin().lock().read_to_string(&mut before).map_err(|error| Failure::doing("read stdin")(&error))?;
    let mut found = Diagnostics::default();
    let after = format("stdin", &before, &mut found);
    report(&found)?;
    let after = after.unwrap_or_default();
    if args.diff {
        console::out_raw(&difference("stdin", &before, &after));
    } else if !args.check {
        console::out_raw(&after);
    }
    Ok(done(args, before == after))
}

fn done(args: &FmtArgs, is_formatted: bool) -> ExitCode {
    if (args.diff || args.check) && !is_formatted { ExitCode::from(1) } else { ExitCode::SUCCESS }
}

fn difference(name: &str, before: &str, after: &str) -> String {
    let formatted = format!("{name} (formatted)");
    TextDiff::from_lines(before, after).unified_diff().header(name, &formatted).to_string()
}

/// Every file of the configuration. That it may be used is not asked: its form is no use of it.
fn files_of(args: &ConfigArgs) -> Result<Vec<PathBuf>, Failure> {
    let source = configuration(args)?;
    let mut found = Diagnostics::default();
    let files = config::files(source.path(), &mut Texts::of(&source), &mut found);
    let Some(files) = files.filter(|files| files.root.is_some()) else {
        report(&found)?;
        return Err(Failure::Other("the configuration could not be read".to_owned()));
    };
    Ok(files.iter().map(|file| file.path.clone()).collect())
}

/// Puts a new content into place at once, with the mode of the old one; a link stays a link.
fn replace(file: &Path, content: &str) -> std::io::Result<()> {
    let file = file.canonicalize()?;
    let folder = file.parent().unwrap_or(Path::new("/"));
    let mut new = tempfile::NamedTempFile::new_in(folder)?;
    new.write_all(content.as_bytes())?;
    new.as_file().set_permissions(file.metadata()?.permissions())?;
    new.as_file().sync_all()?;
    new.persist(&file).map_err(|error| error.error)?;
    Ok(())
}
