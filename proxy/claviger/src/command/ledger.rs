//! `claviger ledger`: reads and verifies the record of what happened.

pub(crate) mod choose;
mod observed;
mod requests;
mod touched;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use claviger_ledger::query::{self, Record, Select, VerifyReport};
use claviger_ledger::{Head, LedgerError, sessions};
use claviger_policy::document::Diagnostics;

use crate::cli::{ConfigArgs, Output};
use crate::command::{Done, Failure, configuration, plural, report};
use crate::{app, config, console};
use clap::{Args, Subcommand};

use self::choose::{ChooseArgs, WindowArgs};
use self::requests::Format;

#[derive(Debug, Args)]
pub(crate) struct LedgerArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// The ledger's file or folder, instead of the configuration's
    #[arg(long, value_name = "PATH", global = true)]
    pub(crate) path: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) action: LedgerAction,
}

#[derive(Debug, Subcommand)]
pub(crate) enum LedgerAction {
    /// Print the last records
    Tail {
        /// How many
        #[arg(long, short = 'n', default_value_t = 20)]
        lines: usize,
        /// Go on with new ones
        #[arg(long, short)]
        follow: bool,
        /// How to print them
        #[arg(long, short, value_enum, default_value_t)]
        output: Output,
    },
    /// Check that no record was changed, removed or reordered
    Verify {
        /// A record that must be there, as `SEQ:HASH`; may be repeated
        #[arg(long, value_name = "SEQ:HASH")]
        anchor: Vec<Head>,
        /// How to print the result
        #[arg(long, short, value_enum, default_value_t)]
        output: Output,
    },
    /// Print requests by who made them, where they went and how they were decided
    Query {
        #[command(flatten)]
        choose: ChooseArgs,
        /// Only the newest
        #[arg(long, value_name = "COUNT")]
        limit: Option<usize>,
        /// How to print them
        #[arg(long, short, value_enum, default_value_t)]
        output: Format,
    },
    /// List what a principal touched: hosts, operations, credentials with their versions, volumes
    Touched {
        /// A SPIFFE ID, or a pattern, as `spiffe://acme.test/payments/**`
        #[arg(value_name = "SPIFFE_ID")]
        principal: String,
        #[command(flatten)]
        window: WindowArgs,
        /// How to print the list
        #[arg(long, short, value_enum, default_value_t)]
        output: Output,
    },
    /// Report what `enforce = false` let pass or left undone
    Observed {
        #[command(flatten)]
        window: WindowArgs,
        /// How to print the report
        #[arg(long, short, value_enum, default_value_t)]
        output: Output,
    },
}

pub(crate) fn run(args: &LedgerArgs) -> Done {
    let path = path(args)?;
    match &args.action {
        LedgerAction::Tail { lines, follow, output } => {
            // One that is followed is followed from its own last record on.
            let records = match follow {
                true => query::tail(&path, *lines),
                false => query::tail_with_sessions(&path, *lines),
            };
            let records = records.map_err(other)?;
            for record in &records {
                print(record, *output);
            }
            if *follow {
                let last = records.last().map_or(0, Record::seq);
                return follow_from(&path, last, *output);
            }
            Ok(ExitCode::SUCCESS)
        }
        LedgerAction::Query { choose, limit, output } => requests::run(&path, &choose.select()?, *limit, *output),
        LedgerAction::Touched { principal, window, output } => {
            let (window, matches) = (window.window()?, choose::principals(principal)?);
            let select = Select { window, principal: Some(matches), ..Select::default() };
            touched::run(&path, principal, &select, *output)
        }
        LedgerAction::Observed { window, output } => {
            let select = Select { window: window.window()?, ..Select::default() };
            let compiled = compiled(args);
            observed::run(&path, &select, compiled.as_ref().map(|compiled| &compiled.generation.policy), *output)
        }
        LedgerAction::Verify { anchor, output } => match verify(&path, anchor) {
            Ok(verified) => {
                match output {
                    Output::Text => console::out(&summary(&verified)),
                    Output::Json => console::out(&json(&verified).to_string()),
                }
                Ok(ExitCode::SUCCESS)
            }
            Err(error) => {
                if matches!(output, Output::Json) {
                    let error = error.to_string();
                    console::out(&serde_json::json!({ "ok": false, "error": error }).to_string());
                }
                Err(other(error))
            }
        },
    }
}

/// Prints new records until it is interrupted.
fn follow_from(path: &Path, last: u64, output: Output) -> Done {
    let mut following = query::follow(path, last);
    loop {
        match following.poll().map_err(other)? {
            Some(record) => print(&record, output),
            // The file is looked at again a few times a second.
            None => std::thread::park_timeout(std::time::Duration::from_millis(200)),
        }
    }
}

/// The ledger, and each of the sessions beside it, which have chains of their own.
fn verify(path: &Path, anchor: &[Head]) -> Result<VerifyReport, query::VerifyError> {
    let sessions = sessions::all(path);
    let own = query::verify_anchored(path, anchor);
    if sessions.is_empty() || !anchor.is_empty() {
        return own;
    }
    let mut all = match own {
        // Where nothing but sessions has run, there is nothing else.
        Err(query::VerifyError::Read(LedgerError::NotFound { .. })) => None,
        own => Some(own?),
    };
    for session in sessions {
        let one = query::verify_anchored(&session, &[])?;
        all = Some(match all {
            None => VerifyReport { head: None, ..one },
            Some(all) => all.and(one),
        });
    }
    all.map_or_else(|| query::verify_anchored(path, anchor), Ok)
}

fn summary(verified: &VerifyReport) -> String {
    let mut text = format!(
        "ok: {} in {}, {} allowed, {} denied, {} open",
        plural(usize::try_from(verified.records).unwrap_or(usize::MAX), "record"),
        plural(usize::try_from(verified.files).unwrap_or(usize::MAX), "file"),
        verified.allowed,
        verified.denied,
        verified.open.len(),
    );
    if verified.lost > 0 {
        text.push_str(&format!(", {} lost", verified.lost));
    }
    if let Some(head) = &verified.head {
        text.push_str(&format!("\nhead: {head}"));
    }
    text
}

fn json(verified: &VerifyReport) -> serde_json::Value {
    serde_json::json!({
        "ok": true,
        "files": verified.files,
        "records": verified.records,
        "allowed": verified.allowed,
        "denied": verified.denied,
        "finished": verified.finished,
        "lost": verified.lost,
        "open": verified.open.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "head": verified.head.as_ref().map(ToString::to_string),
    })
}

fn print(record: &Record, output: Output) {
    match output {
        Output::Text => console::out(&record.to_string()),
        Output::Json => console::out(record.as_json()),
    }
}

/// The configuration, for the names of rules; `None` if there is none that loads, which other commands report.
fn compiled(args: &LedgerArgs) -> Option<config::Compiled> {
    let source = configuration(&args.config).ok()?;
    let env = app::idle_env(&app::control_runtime().ok()?).ok()?;
    let mut found = Diagnostics::default();
    config::read(&source, &mut found)?.compile(&env, 1, app::no_interception, None, &mut found)
}

fn path(args: &LedgerArgs) -> Result<PathBuf, Failure> {
    if let Some(path) = &args.path {
        return Ok(path.clone());
    }
    let path = configuration(&args.config)?;
    let mut found = Diagnostics::default();
    let draft = config::read(&path, &mut found);
    report(&found)?;
    draft
        .and_then(|draft| draft.ledger_file())
        .ok_or_else(|| Failure::Other("the ledger has no file to read".to_owned()))
}

fn other(error: impl std::error::Error) -> Failure {
    Failure::with_causes(&error)
}
