//! `claviger canary`: the placeholders of a workload, for wherever `exec` does not put them.

use std::process::ExitCode;

use clap::Args;
use claviger_policy::document::{Diagnostics, nearest};
use serde_json::json;

use crate::cli::{ConfigArgs, Output};
use crate::command::{Done, Failure, configuration, report_platform};
use crate::{app, canary, config, console};

#[derive(Debug, Args)]
pub(crate) struct CanaryArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// The workload, by its name in the configuration
    pub(crate) workload: String,
    /// Only for this service
    #[arg(long, value_name = "NAME")]
    pub(crate) service: Option<String>,
    /// How to print them
    #[arg(long, short, value_enum, default_value_t)]
    pub(crate) output: Output,
}

pub(crate) fn run(args: &CanaryArgs) -> Done {
    let source = configuration(&args.config)?;
    let mut found = Diagnostics::default();
    let draft = config::read(&source, &mut found);
    let places = draft.map(|draft| (draft.state_dir.clone(), draft.clients().1));
    let control = app::control_runtime()?;
    found = Diagnostics::default();
    let compiled = config::compile_standing(&source, &app::idle_env(&control)?, &mut found);
    report_platform(&found)?;
    let (Some(compiled), Some((state_dir, clients))) = (compiled, places) else {
        return Err(Failure::Other("the configuration could not be read".to_owned()));
    };
    let generation = compiled.generation;
    let workloads: Vec<&str> = generation.policy.workloads().map(|name| &**name).collect();
    known("workload", &args.workload, &workloads)?;
    let mut names: Vec<&str> = generation.services.keys().map(|name| &**name).collect();
    names.sort_unstable();
    if let Some(service) = &args.service {
        known("service", service, &names)?;
        names.retain(|name| *name == service.as_str());
    }
    let key = canary::load_or_create(&state_dir).map_err(Failure::Other)?;
    let rows: Vec<_> = names
        .into_iter()
        .map(|name| {
            let client = clients.iter().find(|client| client.name == *name).map(|service| &service.client);
            // What an injection replaces goes before what clients are merely shown.
            let texts = generation.services.get(name).map(|service| service.plan.placeholders()).unwrap_or_default();
            let plain = texts.first().map(|text| &**text).or(client.and_then(|client| client.placeholder.as_deref()));
            let variables = client.map(|client| client.secrets.clone()).unwrap_or_default();
            (name, canary::placeholder(&key, &args.workload, name, plain), variables)
        })
        .collect();
    match args.output {
        Output::Text => {
            for (service, placeholder, _) in &rows {
                console::out(&format!("{service:<24} {placeholder}"));
            }
        }
        Output::Json => {
            let row = |(service, placeholder, variables): &(&str, String, Vec<String>)| json!({ "service": service, "placeholder": placeholder, "variables": variables });
            let all: Vec<_> = rows.iter().map(row).collect();
            console::out(&json!({ "workload": args.workload, "placeholders": all }).to_string());
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn known(what: &str, name: &str, all: &[&str]) -> Result<(), Failure> {
    if all.contains(&name) {
        return Ok(());
    }
    let near = nearest(name, all.iter().copied()).map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
    Err(Failure::Call(format!("there is no {what} `{name}`{near}")))
}
