//! `claviger schema`: the JSON Schema of the configuration, for editors.

use std::process::ExitCode;

use clap::Args;

use crate::command::{Done, Failure};
use crate::config::schema::{FileKind, schema};
use crate::console;

#[derive(Debug, Args)]
pub(crate) struct SchemaArgs {
    /// What kind of file it is to be for
    #[arg(long = "for", value_name = "KIND", value_enum, default_value_t)]
    pub(crate) kind: FileKind,
}

pub(crate) fn run(args: &SchemaArgs) -> Done {
    let schema = schema(args.kind).map_err(Failure::Other)?;
    console::out(&serde_json::to_string_pretty(&schema).map_err(|error| Failure::doing("print the schema")(&error))?);
    Ok(ExitCode::SUCCESS)
}
