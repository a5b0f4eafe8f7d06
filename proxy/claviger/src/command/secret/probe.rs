//! Asks the services that use a secret whether they take its new value, before it is put in force.

use claviger_contract::Secret;
use claviger_credential::{BoundHost, Candidate};
use claviger_policy::document::Diagnostics;
use claviger_wire::{Check, Verdict};

use super::place::Place;
use crate::command::Failure;
use crate::config::{self, Probing, Use};
use crate::{app, console};

/// What was found out about a new value that may be put in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Probed {
    /// A service takes it.
    Taken,
    /// Nobody was asked, or nobody said yes or no.
    Unknown,
}

/// What the caller wants of a probe.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    /// Ask at all.
    pub(super) ask: bool,
    /// Go on if it stays open whether the value works.
    pub(super) force: bool,
}

/// Sends the check call of each service that would use the value, with the value, to a host that it is bound to.
///
/// # Errors
///
/// A service refused it, or could not be asked and `force` is not set; or the value cannot be used at all. The message
/// says that nothing was changed.
pub(super) fn probe(
    place: &Place,
    name: &str,
    value: &Secret,
    hosts: Vec<BoundHost>,
    wanted: Wanted,
) -> Result<Probed, Failure> {
    let Some(source) = &place.source else {
        told(wanted, "no configuration says where the value is used");
        return Ok(Probed::Unknown);
    };
    let Some(draft) = config::read(source, &mut Diagnostics::default()) else {
        told(wanted, "the configuration cannot be read");
        return Ok(Probed::Unknown);
    };
    let control = app::control_runtime()?;
    let candidate = Candidate::new(&place.store_name, name, value, hosts);
    let probing = draft.with_candidate(candidate, &app::idle_env(&control)?);
    let uses = probing.uses(&place.store_name, name);
    if let Some(short) = uses.iter().find(|used| probing.is_too_short(used)) {
        return Err(Failure::Other(format!(
            "nothing was changed: the value is too short to be found in answers of service `{}`\n  help: use one of at \
             least 12 bytes; where it is known never to be reflected, write `guard = false`",
            short.service()
        )));
    }
    if !wanted.ask {
        return Ok(Probed::Unknown);
    }
    let asked: Vec<_> = uses.iter().filter_map(|used| Some((used, used.check()?))).collect();
    if asked.is_empty() {
        let why = match (uses.is_empty(), probing.found.has_errors()) {
            (false, _) => "no service that uses it has a `check`",
            (true, true) => "the configuration has errors; `claviger check` shows them",
            (true, false) => "no service of the configuration uses it",
        };
        told(wanted, why);
        return Ok(Probed::Unknown);
    }
    judge(ask_all(&probing, &asked)?, wanted)
}

type Answers<'a> = Vec<(&'a Use<'a>, &'a Check, Verdict)>;

fn ask_all<'a>(probing: &Probing, asked: &[(&'a Use<'a>, &'a Check)]) -> Result<Answers<'a>, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::doing("start a runtime")(&error))?;
    Ok(tokio::task::LocalSet::new().block_on(&runtime, async {
        let mut answers = Vec::with_capacity(asked.len());
        for (used, check) in asked {
            answers.push((*used, *check, probing.ask(used, check).await));
        }
        answers
    }))
}

/// A refusal by any service decides; then a yes by any.
fn judge(answers: Answers<'_>, wanted: Wanted) -> Result<Probed, Failure> {
    for (used, check, verdict) in &answers {
        if let Verdict::Refused(why) = verdict {
            return Err(Failure::Other(format!(
                "nothing was changed: service `{}` does not take the value (`{check}`: {why})\n  help: if the value is \
                 right and only not meant for this call, name another as `check`, or use `--no-probe`",
                used.service()
            )));
        }
    }
    let mut probed = Probed::Unknown;
    for (used, check, verdict) in &answers {
        if let Verdict::Taken(status) = verdict {
            console::out(&format!("service `{}` takes the value (`{check}`: {})", used.service(), status.as_u16()));
            probed = Probed::Taken;
        }
    }
    for (used, check, verdict) in &answers {
        let Verdict::Undecided(why) = verdict else { continue };
        let open = format!("whether service `{}` takes the value is not known (`{check}`: {why})", used.service());
        if probed == Probed::Unknown && !wanted.force {
            let help = "try again, or put it in force all the same with `--force`";
            return Err(Failure::Other(format!("nothing was changed: {open}\n  help: {help}")));
        }
        console::note(&open);
    }
    Ok(probed)
}

fn told(wanted: Wanted, why: &str) {
    if wanted.ask {
        console::out(&format!("not probed: {why}"));
    }
}
