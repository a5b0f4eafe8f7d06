//! `claviger config`: what a project's configuration is trusted with, and what is in force.

mod allow;
mod status;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use claviger_policy::document::Diagnostics;

use crate::cli::{ConfigArgs, Output};
use crate::command::{Done, Failure, report};
use crate::config::trust::Project;
use crate::config::{self, Effective, Files, Source, Texts};
use crate::console;

#[derive(Debug, Args)]
pub(crate) struct ConfigurationArgs {
    #[command(subcommand)]
    command: ConfigurationCommand,
}

#[derive(Debug, Subcommand)]
enum ConfigurationCommand {
    /// Trust a project's configuration as it is now: show what it asks for, then let it be used
    Allow(allow::AllowArgs),
    /// Trust a project's configuration no longer
    Deny(allow::DenyArgs),
    /// Say which configuration counts here, whether it may be used, and what changed since it was allowed
    Status(status::StatusArgs),
    /// Print the configuration as it holds: all files together, presets and defaults filled in, no secret
    Show(ShowArgs),
}

#[derive(Debug, Args)]
struct ShowArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// How to print it: as TOML that loads beside the main file, or for programs
    #[arg(long, short, value_enum, default_value_t)]
    output: Output,
}

pub(crate) fn run(args: &ConfigurationArgs) -> Done {
    match &args.command {
        ConfigurationCommand::Allow(args) => allow::allow(args),
        ConfigurationCommand::Deny(args) => allow::deny(args),
        ConfigurationCommand::Status(args) => status::status(args),
        ConfigurationCommand::Show(args) => show(args),
    }
}

fn show(args: &ShowArgs) -> Done {
    let source = crate::command::configuration(&args.config)?;
    let mut found = Diagnostics::default();
    let files = config::files_of(&source, &mut found);
    report(&found)?;
    let effective = files.as_ref().map(Effective::of).transpose().map_err(Failure::Other)?.flatten();
    let Some(effective) = effective else {
        return Err(Failure::Other("the configuration could not be read".to_owned()));
    };
    match args.output {
        Output::Text => console::out_raw(&effective.to_toml()),
        Output::Json => console::out(
            &serde_json::to_string_pretty(&effective.to_json())
                .map_err(|error| Failure::doing("print the configuration")(&error))?,
        ),
    }
    Ok(ExitCode::SUCCESS)
}

/// A project's configuration, read and not judged.
struct Unjudged {
    project: Project,
    texts: Texts,
    files: Option<Files>,
    /// What is wrong with the files as such.
    found: Diagnostics,
}

impl Unjudged {
    /// The file that is named, or the one of the project around the working folder.
    fn read(file: Option<&PathBuf>) -> Result<Self, Failure> {
        let source = match file {
            Some(file) => config::project_file(&whole(file)),
            None => config::in_project().ok_or_else(|| {
                Failure::Call(
                    "there is no `claviger.toml` in this folder, or above it in its repository; \
                     a configuration that is named with `--config` needs not be allowed"
                        .to_owned(),
                )
            })?,
        };
        Self::of(&source).ok_or_else(|| Failure::Call(format!("`{}` is not a project's", source.display())))
    }

    fn of(source: &Source) -> Option<Self> {
        let project = source.project()?.clone();
        let (mut texts, mut found) = (Texts::of(source), Diagnostics::default());
        let files = config::files(source.path(), &mut texts, &mut found);
        if let Some(Err(error)) = files.as_ref().map(|files| config::trust::note_named(&project, files, &mut texts)) {
            found.error_nowhere(error);
        }
        Some(Self { project, texts, files, found })
    }
}

/// A folder means the configuration in it.
fn whole(file: &Path) -> PathBuf {
    if file.is_dir() { file.join("claviger.toml") } else { file.to_owned() }
}
