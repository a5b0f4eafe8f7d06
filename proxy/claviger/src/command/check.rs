//! `claviger check`: everything that `run` would refuse, without serving.

use std::process::ExitCode;

use claviger_policy::document::{Diagnostics, Severity};
use serde::Serialize;

use crate::app;
use crate::cli::{ConfigArgs, Output};
use crate::command::{Done, Failure, configuration, plural};
use crate::{config, console};
use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// How to print the findings
    #[arg(long, short, value_enum, default_value_t)]
    pub(crate) output: Output,
    /// Warnings fail the check too
    #[arg(long)]
    pub(crate) strict: bool,
}

pub(crate) fn run(args: &CheckArgs) -> Done {
    let path = configuration(&args.config)?;
    let control = app::control_runtime()?;
    let mut found = Diagnostics::default();
    let compiled = match config::read(&path, &mut found) {
        Some(draft) => draft.compile(&app::idle_env(&control)?, 1, app::no_interception, None, &mut found),
        None => None,
    };
    found.sort();
    let count = |severity| found.iter().filter(|one| one.severity == severity).count();
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    match args.output {
        Output::Json => console::out(&json(&found)?),
        Output::Text => {
            console::diagnostics(&found);
            if errors == 0
                && let Some(compiled) = &compiled
            {
                let generation = &compiled.generation;
                console::out(&format!(
                    "{}: ok, {}, {}, {}",
                    path.display(),
                    plural(generation.listeners.len(), "listener"),
                    plural(generation.services.len(), "service"),
                    plural(warnings, "warning"),
                ));
            }
        }
    }
    Ok(if errors > 0 {
        ExitCode::from(2)
    } else if warnings > 0 && args.strict {
        ExitCode::from(1)
    } else {
        ExitCode::SUCCESS
    })
}

#[derive(Serialize)]
struct Finding<'a> {
    severity: &'static str,
    file: Option<&'a str>,
    line: Option<usize>,
    column: Option<usize>,
    key: &'a str,
    message: &'a str,
    help: Option<&'a str>,
}

fn json(found: &Diagnostics) -> Result<String, Failure> {
    let findings: Vec<Finding<'_>> = found
        .iter()
        .map(|one| Finding {
            severity: match one.severity {
                Severity::Error => "error",
                Severity::Warning => "warning",
            },
            file: one.location.as_ref().map(|place| place.file()),
            line: one.location.as_ref().map(|place| place.line()),
            column: one.location.as_ref().map(|place| place.column()),
            key: &one.key,
            message: &one.message,
            help: one.help.as_deref(),
        })
        .collect();
    serde_json::to_string_pretty(&findings).map_err(|error| Failure::doing("print the findings")(&error))
}
