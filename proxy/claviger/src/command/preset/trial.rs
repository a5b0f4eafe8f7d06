//! `claviger preset test`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use claviger_policy::document::{Diagnostics, Severity};
use claviger_wire::{Verdict, preset};

use super::Wanted;
use crate::cli::ConfigArgs;
use crate::command::{Done, Failure, plural};
use crate::config::preset::{Tried, try_out};
use crate::{app, config, console};

/// The service did not take the secret.
const REFUSED: u8 = 3;

#[derive(Debug, Args)]
pub(super) struct TrialArgs {
    /// The presets; without one, all
    names: Vec<String>,
    /// One of your own, in a file
    #[arg(long, value_name = "FILE", conflicts_with = "names")]
    file: Vec<PathBuf>,
    /// Ask the service by the preset's `check` whether it takes this secret; `FIELD=secret://…` for each of several fields
    #[arg(long, value_name = "secret://…")]
    secret: Vec<String>,
    /// Your own host, where the preset has none, or another
    #[arg(long, value_name = "HOST")]
    host: Vec<String>,
    #[command(flatten)]
    config: ConfigArgs,
}

pub(super) fn run(args: &TrialArgs) -> Done {
    let wanted: Vec<Wanted> = match (args.names.as_slice(), args.file.as_slice()) {
        ([], []) => preset::all().map(Wanted::bundled).collect(),
        (names, []) => names.iter().map(|name| Wanted::named(name)).collect::<Result<_, _>>()?,
        (_, files) => files.iter().map(|file| Wanted::of_file(file)).collect::<Result<_, _>>()?,
    };
    if wanted.len() != 1 && !(args.secret.is_empty() && args.host.is_empty()) {
        return Err(Failure::Call("`--secret` and `--host` are for one preset".to_owned()));
    }
    let (mut errors, mut right) = (0, None);
    for one in &wanted {
        let mut found = Diagnostics::default();
        let tried = try_out(&one.file, &one.name, &args.host, &mut found);
        console::diagnostics(&found);
        errors += found.iter().filter(|one| one.severity == Severity::Error).count();
        if let Some(tried) = tried.filter(|_| !found.has_errors()) {
            console::out(&format!("{}: ok", one.name));
            right = Some(tried);
        }
    }
    match right {
        _ if errors > 0 => Err(Failure::Call(format!("{} in presets", plural(errors, "error")))),
        Some(tried) if !args.secret.is_empty() => ask(tried, args),
        Some(_) | None => Ok(ExitCode::SUCCESS),
    }
}

fn ask(tried: Tried, args: &TrialArgs) -> Done {
    let secrets: Vec<_> = args.secret.iter().map(|text| field_and_reference(text)).collect();
    if let Some((_, wrong)) = secrets.iter().find(|(_, reference)| !reference.starts_with("secret://")) {
        // It may be the secret itself.
        let what = if wrong.is_empty() { "an empty text" } else { "a text that is not shown" };
        let help = "a secret is named and not written: `--secret secret://env/NAME`";
        return Err(Failure::Call(format!("{what} is no reference\n  help: {help}")));
    }
    let Some(check) = tried.check().map(ToString::to_string) else {
        return Err(Failure::Other("the preset has no `check`: no call shows whether a secret works".to_owned()));
    };
    // Its stores, where there is one; a reference to the environment needs none.
    let source = config::discover(args.config.config.as_ref());
    let source = if args.config.config.is_some() { Some(source.map_err(Failure::call)?) } else { source.ok() };
    let control = app::control_runtime()?;
    let env = app::idle_env(&control)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::doing("start a runtime")(&error))?;
    let mut found = Diagnostics::default();
    let asked = tried.ask(&secrets, source.as_ref(), &env, &mut found);
    let verdict = tokio::task::LocalSet::new().block_on(&runtime, asked);
    let Some(verdict) = verdict else {
        console::diagnostics(&found);
        return Err(Failure::Call("the secret cannot be used".to_owned()));
    };
    match verdict {
        Verdict::Taken(status) => {
            console::out(&format!("{check}: {}, the service takes the secret", status.as_u16()));
            Ok(ExitCode::SUCCESS)
        }
        Verdict::Refused(why) => {
            console::out(&format!("{check}: the service does not take the secret: {why}"));
            Ok(ExitCode::from(REFUSED))
        }
        Verdict::Undecided(why) => {
            Err(Failure::Other(format!("{check}: whether the service takes the secret is not known: {why}")))
        }
    }
}

/// `api=secret://…`, or a reference alone.
fn field_and_reference(text: &str) -> (Option<String>, String) {
    match text.split_once('=') {
        Some((field, reference)) if !field.contains(':') => (Some(field.to_owned()), reference.to_owned()),
        Some(_) | None => (None, text.to_owned()),
    }
}
