//! `claviger preset`: the services that are known by name.

mod describe;
mod page;
mod show;
mod trial;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Subcommand, ValueEnum};
use claviger_policy::document::{SourceFile, nearest};
use claviger_wire::preset;
use serde_json::{Value, json};

use crate::command::{Done, Failure};
use crate::console;

#[derive(Debug, Args)]
pub(crate) struct PresetArgs {
    #[command(subcommand)]
    command: PresetCommand,
}

#[derive(Debug, Subcommand)]
enum PresetCommand {
    /// List them
    List(ListArgs),
    /// Show one: where its credential goes, what clients are told, what its named operations allow
    Show(show::ShowArgs),
    /// Check presets, also one of your own; with a secret, ask the service whether it takes it
    Test(trial::TrialArgs),
}

#[derive(Debug, Args)]
struct ListArgs {
    /// How to print them
    #[arg(long, short, value_enum, default_value_t)]
    output: ListOutput,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum ListOutput {
    /// For people
    #[default]
    Text,
    /// For programs
    Json,
    /// All that they say, as the page of the documentation
    Markdown,
}

pub(crate) fn run(args: &PresetArgs) -> Done {
    match &args.command {
        PresetCommand::List(args) => list(args.output),
        PresetCommand::Show(args) => show::run(args),
        PresetCommand::Test(args) => trial::run(args),
    }
}

fn list(output: ListOutput) -> Done {
    match output {
        ListOutput::Text => {
            let width = preset::names().map(str::len).max().unwrap_or_default();
            for preset in preset::all() {
                let about = preset.about();
                let hosts = match about.hosts.as_slice() {
                    [] => format!("your own: {}", about.example_hosts.join(", ")),
                    hosts => shortened(hosts),
                };
                console::out(&format!("{:width$}  {:36}  {hosts}", preset.name(), about.title));
            }
        }
        ListOutput::Json => {
            let one = |preset: preset::Preset| {
                let about = preset.about();
                json!({
                    "name": preset.name(), "title": about.title, "documentation": about.documentation, "hosts": about.hosts,
                    "example_hosts": about.example_hosts,
                    "operations": about.operations.into_iter().map(|(name, _)| name).collect::<Vec<_>>(),
                })
            };
            print(&json!({ "presets": preset::all().map(one).collect::<Vec<_>>() }))?;
        }
        ListOutput::Markdown => console::out_raw(&page::page().map_err(Failure::Other)?),
    }
    Ok(ExitCode::SUCCESS)
}

/// The first of many; `show` has them all.
fn shortened(hosts: &[String]) -> String {
    match hosts {
        [first, second, rest @ ..] if !rest.is_empty() => format!("{first}, {second}, and {} more", rest.len()),
        hosts => hosts.join(", "),
    }
}

fn print(value: &Value) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).map_err(|error| Failure::doing("print it")(&error))?;
    console::out(&text);
    Ok(())
}

/// A preset that a command is about: one of the product, or a file.
struct Wanted {
    name: String,
    file: Arc<SourceFile>,
}

impl Wanted {
    fn bundled(preset: preset::Preset) -> Self {
        Self { name: preset.name().to_owned(), file: preset.file() }
    }

    fn named(name: &str) -> Result<Self, Failure> {
        let help = || match nearest(name, preset::names()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "`claviger preset list` shows them all".to_owned(),
        };
        let preset = preset::find(name);
        preset.map(Self::bundled).ok_or_else(|| Failure::Call(format!("`{name}` is no preset\n  help: {}", help())))
    }

    /// A file is named as the service would be.
    fn of_file(path: &Path) -> Result<Self, Failure> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| Failure::Call(format!("failed to read `{}`: {error}", path.display())))?;
        let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        let name = if !stem.is_empty() && stem.chars().all(is_name) { stem } else { "preset".to_owned() };
        Ok(Self { name, file: SourceFile::new(path.display().to_string(), text) })
    }

    fn one(name: Option<&String>, file: Option<&PathBuf>) -> Result<Self, Failure> {
        match (name, file) {
            (Some(name), _) => Self::named(name),
            (None, Some(file)) => Self::of_file(file),
            (None, None) => Err(Failure::Call("name a preset, or a file by `--file`".to_owned())),
        }
    }

    /// As data.
    fn value(&self) -> Result<Value, Failure> {
        toml::from_str(self.file.text()).map_err(|error| Failure::Call(format!("`{}`: {error}", self.file.name())))
    }
}
