//! `claviger secret rotate`: a new value beside the old one, until it is finished or taken back.

use clap::Args;
use claviger_credential::{Rotate, SealedEntry, StoreError};

use super::place::Place;
use super::probe::{Probed, Wanted, probe};
use super::{other, read_value, take_up};
use crate::admin::Change;
use crate::command::Failure;
use crate::console;

#[derive(Debug, Args)]
pub(crate) struct RotateArgs {
    /// The name
    pub(crate) name: String,
    /// End the rotation: drop the previous value
    #[arg(long, conflicts_with_all = ["abort", "at_once", "no_probe", "force"])]
    pub(crate) finish: bool,
    /// Take the rotation back: the previous value is in force again, and the new one is dropped
    #[arg(long, alias = "back", conflicts_with_all = ["at_once", "no_probe", "force"])]
    pub(crate) abort: bool,
    /// Keep no previous value: for one that leaked
    #[arg(long)]
    pub(crate) at_once: bool,
    /// Do not ask the services that use it whether they take the new value
    #[arg(long)]
    pub(crate) no_probe: bool,
    /// Put it in force also if it cannot be found out whether they take it
    #[arg(long, conflicts_with = "no_probe")]
    pub(crate) force: bool,
}

pub(super) fn rotate(place: &Place, name: &str, args: &RotateArgs) -> Result<(), Failure> {
    if args.finish {
        let (entry, dropped) = place.store.finish(name).map_err(explained)?;
        console::out(&format!(
            "finished the rotation of `{name}`: version {} stays, {dropped} is dropped",
            entry.version
        ));
        take_up(&place.socket, &place.store_name, name, Change::Finished);
        return Ok(());
    }
    if args.abort {
        let (entry, dropped) = place.store.take_back(name).map_err(explained)?;
        console::out(&format!("`{name}` is as before: version {} is in force, {dropped} is dropped", entry.version));
        take_up(&place.socket, &place.store_name, name, Change::TakenBack);
        return Ok(());
    }
    let before = place.store.entry(name).map_err(explained)?;
    // Before anybody types a value in vain; it is looked at again when the file is written.
    if let Some(previous) = before.previous.as_ref().filter(|_| !args.at_once) {
        let (name, version) = (name.to_owned(), previous.version.clone());
        return Err(explained(StoreError::RotationOpen { name, version }));
    }
    let value = read_value(name)?;
    let wanted = Wanted { ask: !args.no_probe, force: args.force };
    let probed = probe(place, name, &value, before.hosts, wanted)?;
    let how = Rotate { expected: Some(before.version), proven: probed == Probed::Taken, at_once: args.at_once };
    let entry = place.store.rotate(name, value, &how).map_err(explained)?;
    say(name, &entry);
    take_up(&place.socket, &place.store_name, name, Change::Rotated);
    Ok(())
}

fn say(name: &str, entry: &SealedEntry) {
    match &entry.previous {
        None => console::out(&format!("rotated `{name}` (version {}); no other value is kept", entry.version)),
        Some(previous) => {
            console::out(&format!(
                "rotated `{name}` (version {}); version {} is kept beside it",
                entry.version, previous.version
            ));
            console::out(&format!(
                "end it with `claviger secret rotate {name} --finish`, or take it back with `--abort`"
            ));
        }
    }
}

/// An error of the store, with what to do about it.
fn explained(error: StoreError) -> Failure {
    let help = match &error {
        StoreError::RotationOpen { name, .. } => format!(
            "end it with `claviger secret rotate {name} --finish`, or take it back with `--abort`; `--at-once` drops both \
             values for a new one"
        ),
        StoreError::Unchanged(_) => return Failure::Other(format!("nothing was changed: {error}")),
        StoreError::Overtaken(name) => format!("look at it with `claviger secret list`, then rotate `{name}` again"),
        _ => return other(error),
    };
    Failure::Other(format!("nothing was changed: {error}\n  help: {help}"))
}
