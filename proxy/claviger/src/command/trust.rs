//! `claviger trust`: have this machine's own stores of certificates hold the interception authority, or no longer.
//!
//! For programs that are not started by `claviger exec`, which needs none of this. What is added is named by the
//! certificate's fingerprint, so that what is removed is what was added, also when the authority is another by then.

mod certificate;
mod java;
mod plan;
mod system;

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use claviger_policy::document::Diagnostics;
use serde_json::json;

use self::certificate::Certificate;
use self::plan::{Store, stores};
use crate::cli::{ConfigArgs, Output};
use crate::command::{Done, Failure, configuration, plural, report};
use crate::{config, console, interception};

#[derive(Debug, Args)]
pub(crate) struct TrustArgs {
    #[command(subcommand)]
    command: TrustCommand,
}

#[derive(Debug, Subcommand)]
enum TrustCommand {
    /// Add the authority's certificate to the system's store, and to Java's if that is asked for
    Install(ChangeArgs),
    /// Remove what `install` has added, whichever authority it was of
    Remove(ChangeArgs),
    /// Say which store holds the authority's certificate
    Status(StatusArgs),
}

/// Which stores, and of which machine.
#[derive(Clone, Debug, Default, Args)]
struct WhereArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// The certificate, instead of the one in the configuration's state folder
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// The system's store (the default)
    #[arg(long)]
    system: bool,
    /// The stores of the Java machines that are found
    #[arg(long)]
    java: bool,
    /// The stores of the system in this folder, for building images: nothing outside of it is changed
    #[arg(long, value_name = "FOLDER")]
    root: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct ChangeArgs {
    #[command(flatten)]
    at: WhereArgs,
    /// Say what would be changed, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

#[derive(Debug, Args)]
struct StatusArgs {
    #[command(flatten)]
    at: WhereArgs,
    /// How to print it
    #[arg(long, short, value_enum, default_value_t)]
    output: Output,
}

/// What it means to trust an authority.
const WARNING: &str = "\
Whoever has this authority's key can pretend to be any host to every program that uses these stores. The key lies
sealed in the state folder; keep its key file apart from it. Claviger limits what it signs by name constraints, which
not all clients heed. `claviger exec -- COMMAND` needs no change of this machine: prefer it where it is enough.";

pub(crate) fn run(args: &TrustArgs) -> Done {
    match &args.command {
        TrustCommand::Install(args) => install(args),
        TrustCommand::Remove(args) => remove(args),
        TrustCommand::Status(args) => status(args),
    }
}

/// The authority that is meant. It is never made here: under `sudo` another user's folders count, and a machine would
/// come to trust an authority that nobody uses.
fn authority(at: &WhereArgs) -> Result<Certificate, Failure> {
    let file = match &at.ca {
        Some(file) => file.clone(),
        None => {
            let mut found = Diagnostics::default();
            let draft = config::read(&configuration(&at.config)?, &mut found);
            if draft.is_none() {
                report(&found)?;
            }
            let folder = draft.map(|draft| draft.state_dir);
            interception::certificate_path(&folder.unwrap_or_else(config::default_state_dir))
        }
    };
    Certificate::read(&file).map_err(|why| {
        let help = "`claviger ca` makes the authority of a configuration; `--ca FILE` names a certificate";
        Failure::Other(format!(
            "failed to read the authority's certificate `{}`: {why}\n  help: {help}",
            file.display()
        ))
    })
}

fn install(args: &ChangeArgs) -> Done {
    let certificate = authority(&args.at)?;
    if certificate.is_expired() {
        let what =
            format!("the certificate has expired on {}, and nothing that it signs is accepted", certificate.until());
        return Err(Failure::Other(format!(
            "{what}\n  help: `claviger doctor --only authority` says how to make a new one"
        )));
    }
    let (stores, notes) = stores(&args.at.choice(), false);
    notes.iter().for_each(|note| console::note(note));
    if stores.is_empty() {
        return Err(Failure::Other("no store was found that could be changed".to_owned()));
    }
    let wanted: Vec<&Store> = stores.iter().filter(|store| !store.holds(&certificate)).collect();
    console::out(&format!("Authority    {}", certificate.subject()));
    console::out(&format!("SHA-256      {}", certificate.fingerprint()));
    console::out(&format!("valid until  {}", certificate.until()));
    for store in stores.iter().filter(|store| store.holds(&certificate)) {
        console::out(&format!("{} holds it already", store.name()));
    }
    if wanted.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    console::out("");
    console::out(WARNING);
    console::out("");
    let steps: Vec<_> = wanted.iter().flat_map(|store| store.to_install(&certificate)).collect();
    let changed = change(args, &wanted, &steps, |store| store.install(&certificate))?;
    Ok(changed)
}

fn remove(args: &ChangeArgs) -> Done {
    let (stores, notes) = stores(&args.at.choice(), true);
    notes.iter().for_each(|note| console::note(note));
    let wanted: Vec<&Store> = stores.iter().filter(|store| !store.ours().is_empty()).collect();
    if wanted.is_empty() {
        console::out("no store holds anything that `claviger trust install` has added");
        return Ok(ExitCode::SUCCESS);
    }
    let steps: Vec<_> = wanted.iter().flat_map(|store| store.to_remove()).collect();
    change(args, &wanted, &steps, Store::remove)
}

/// Says what will happen, asks, does it, and says what happened.
fn change(
    args: &ChangeArgs,
    stores: &[&Store],
    steps: &[String],
    act: impl Fn(&Store) -> Result<Vec<String>, String>,
) -> Done {
    let locked: Vec<_> = stores.iter().filter(|store| !store.is_writable()).collect();
    let verb = if args.dry_run { "Would do" } else { "To do" };
    console::out(&format!("{verb}, as root:"));
    steps.iter().for_each(|step| console::out(&format!("  {step}")));
    if args.dry_run {
        return Ok(ExitCode::SUCCESS);
    }
    if !locked.is_empty() {
        console::out("");
        console::out("This user may not change that. Type these commands, or have somebody type them who may:");
        steps.iter().for_each(|step| console::out(&format!("  sudo {step}")));
        return Ok(ExitCode::from(1));
    }
    if !args.yes && !consent()? {
        console::out("nothing was changed");
        return Ok(ExitCode::from(1));
    }
    let mut failed = Vec::new();
    for store in stores {
        match act(store) {
            Ok(changes) => changes.iter().for_each(|change| console::out(change)),
            Err(why) => failed.push(format!("{}: {why}", store.name())),
        }
    }
    match failed.first() {
        None => Ok(ExitCode::SUCCESS),
        Some(first) => Err(Failure::Other(format!(
            "failed to change {} of {}: {first}",
            failed.len(),
            plural(stores.len(), "store")
        ))),
    }
}

fn consent() -> Result<bool, Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::Call(
            "there is no terminal to ask on\n  help: say `--yes` if this is what you want".to_owned(),
        ));
    }
    console::out_raw("Go on? [y/N] ");
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).map_err(|error| Failure::doing("read the answer")(&error))?;
    let _ = std::io::stdout().flush();
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}

fn status(args: &StatusArgs) -> Done {
    let certificate = authority(&args.at).ok();
    let (stores, notes) = stores(&args.at.choice(), args.at.is_all());
    let rows: Vec<_> = stores.iter().map(|store| (store, store.standing(certificate.as_ref()))).collect();
    match args.output {
        Output::Text => {
            match &certificate {
                Some(certificate) => {
                    console::out(&format!(
                        "authority  {} (valid until {})",
                        certificate.fingerprint(),
                        certificate.until()
                    ));
                }
                None => console::out("authority  there is none yet: `claviger ca` makes it"),
            }
            for (store, standing) in &rows {
                console::out(&format!("{:<10} {}", standing.as_str(), store.name()));
                store.ours().iter().for_each(|entry| console::out(&format!("           holds {}", entry.describe())));
            }
            notes.iter().for_each(|note| console::out(&format!("           {note}")));
        }
        Output::Json => {
            let stores: Vec<_> = rows
                .iter()
                .map(|(store, standing)| {
                    let ours = store.ours();
                    let fingerprints: Vec<_> = ours.iter().map(|entry| entry.fingerprint.clone()).collect();
                    json!({
                        "kind": store.kind(), "path": store.path(), "status": standing.as_str(), "fingerprints": fingerprints,
                    })
                })
                .collect();
            let authority = certificate.as_ref().map(|certificate| {
                json!({ "sha256": certificate.fingerprint(), "valid_until": certificate.until(), "expired": certificate.is_expired() })
            });
            let all = json!({ "authority": authority, "stores": stores, "notes": notes });
            console::out(
                &serde_json::to_string_pretty(&all).map_err(|error| Failure::doing("print the status")(&error))?,
            );
        }
    }
    let is_good = !rows.is_empty() && rows.iter().all(|(_, standing)| *standing == plan::Standing::Installed);
    Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

impl WhereArgs {
    /// Neither is named.
    fn is_all(&self) -> bool {
        !self.system && !self.java
    }

    fn choice(&self) -> plan::Choice {
        plan::Choice { system: self.system, java: self.java, root: self.root.clone() }
    }
}
