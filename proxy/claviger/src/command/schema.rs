//! `claviger schema`: the JSON Schema of the configuration, for editors.

use std::process::ExitCode;

use clap::Args;

use crate::command::{Done, Failure};
use crate::config::schema::{FileKind, schema};
use crate::console;

#[derive(Debug, Args)]
pub(crate) struct SchemaArgs {
    /// For files that the configuration includes, where nothing is required
    #[arg(long)]
    pub(crate) included: bool,
}

pub(crate) fn run(args: &SchemaArgs) -> Done {
    let kind = if args.included { FileKind::Included } else { FileKind::Main };
    let schema = schema(kind).map_err(Failure::Other)?;
    console::out(&serde_json::to_string_pretty(&schema).map_err(|error| Failure::doing("print the schema")(&error))?);
    Ok(ExitCode::SUCCESS)
}
