//! `claviger test`: runs the `[[test]]` blocks, and says which rules they cover.

mod coverage;
mod show;

use std::process::ExitCode;

use clap::Args;
use claviger_policy::document::{Diagnostics, Severity};
use claviger_policy::{Policy, Reason, TestOutcome, TestResult};

use self::coverage::Coverage;
use crate::cli::{ConfigArgs, Output};
use crate::command::{Done, Failure, configuration, report};
use crate::{app, config, console};

/// The rules that tests cover are fewer than `--min-coverage` wants.
const TOO_LITTLE_COVERAGE: u8 = 3;

#[derive(Debug, Args)]
pub(crate) struct TestArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// How to print the outcome
    #[arg(long, short, value_enum, default_value_t)]
    pub(crate) output: Output,
    /// Say which rules decided a test, and which never did
    #[arg(long)]
    pub(crate) coverage: bool,
    /// End with code 3 if fewer than this percentage of the rules decided a test
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(..=100))]
    pub(crate) min_coverage: Option<u8>,
    /// Only what stands in the files of this team
    #[arg(long, value_name = "TEAM")]
    pub(crate) team: Option<String>,
}

/// How one test went, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Passed,
    Failed,
    /// Its team is frozen: nothing that it says can be judged.
    Skipped,
}

impl Outcome {
    fn of(result: &TestResult) -> Self {
        match result {
            TestResult::Judged { passed: true, .. } => Self::Passed,
            TestResult::Judged { explanation, .. } if explanation.reason == Some(Reason::TeamFrozen) => Self::Skipped,
            TestResult::Judged { .. } | TestResult::Wrong { .. } => Self::Failed,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }
}

pub(crate) fn run(args: &TestArgs) -> Done {
    let source = configuration(&args.config)?;
    let control = app::control_runtime()?;
    let env = app::idle_env(&control)?;
    let mut load = Diagnostics::default();
    let compiled = config::read(&source, &mut load).and_then(|mut draft| {
        draft.untested = true;
        draft.compile(&env, 1, app::no_interception, None, &mut load)
    });
    if load.iter().any(|one| one.severity == Severity::Error) {
        report(&load)?;
    }
    let Some(compiled) = compiled else { return Err(Failure::Other("the configuration did not compile".into())) };
    let policy = &compiled.generation.policy;
    let team = args.team.as_deref();
    if let Some(name) = team
        && !policy.teams().iter().any(|team| **team.name() == *name)
    {
        return Err(Failure::Call(format!("there is no team `{name}`")));
    }
    let outcomes = outcomes(policy, team);
    let coverage = (args.coverage || args.min_coverage.is_some()).then(|| Coverage::new(policy, &outcomes, team));
    console::out(&match args.output {
        Output::Text => show::text(&outcomes, coverage.as_ref()),
        Output::Json => show::json(&outcomes, coverage.as_ref())?,
    });
    if outcomes.iter().any(|outcome| Outcome::of(&outcome.result) == Outcome::Failed) {
        return Ok(ExitCode::FAILURE);
    }
    let is_little = |least| coverage.is_some_and(|coverage| coverage.percent() < usize::from(least));
    Ok(if args.min_coverage.is_some_and(is_little) { ExitCode::from(TOO_LITTLE_COVERAGE) } else { ExitCode::SUCCESS })
}

fn outcomes<'p>(policy: &'p Policy, team: Option<&str>) -> Vec<TestOutcome<'p>> {
    let wanted = |outcome: &TestOutcome<'_>| match team {
        None => true,
        Some(team) => outcome.case.location().team().is_some_and(|of| **of == *team),
    };
    policy.run_tests().filter(wanted).collect()
}
