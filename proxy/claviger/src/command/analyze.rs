//! `claviger analyze`: what is wrong with a configuration that loads.

mod sarif;
mod show;

use std::process::ExitCode;

use clap::{Args, ValueEnum};
use claviger_policy::analyze::{Code, Level, Reported};
use claviger_policy::document::{Diagnostics, Severity, nearest};

use crate::cli::ConfigArgs;
use crate::command::{Done, Failure, configuration, report};
use crate::{analyze, app, config, console};

/// What every finding means: the page that people read.
const PAGE: &str = include_str!("../../../../docs/findings.md");

/// Something was found that is at least as bad as `--fail-on` says.
pub(crate) const BELOW_THRESHOLD: u8 = 3;

#[derive(Debug, Args)]
pub(crate) struct AnalyzeArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// How to print the findings
    #[arg(long, short, value_enum, default_value_t)]
    pub(crate) output: Format,
    /// End with code 3 if anything is at least so bad
    #[arg(long, value_enum, default_value_t, value_name = "LEVEL")]
    pub(crate) fail_on: Threshold,
    /// Only findings with this code; may be repeated
    #[arg(long, value_name = "CODE")]
    pub(crate) code: Vec<String>,
    /// Report rules that expire within this time
    #[arg(long, default_value = "30d", value_name = "DURATION")]
    pub(crate) soon: String,
    /// Show what is suppressed too
    #[arg(long)]
    pub(crate) suppressed: bool,
    /// Say what a code means and what to do about it, and look at nothing
    #[arg(long, value_name = "CODE", conflicts_with_all = ["code", "suppressed", "output"])]
    pub(crate) explain: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    #[default]
    Text,
    /// For programs
    Json,
    /// SARIF 2.1.0, for code scanning
    Sarif,
}

/// From which level on findings fail the command.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Threshold {
    #[default]
    Error,
    Warning,
    Notice,
    /// Nothing does
    Never,
}

impl Threshold {
    fn level(self) -> Option<Level> {
        match self {
            Self::Error => Some(Level::Error),
            Self::Warning => Some(Level::Warning),
            Self::Notice => Some(Level::Notice),
            Self::Never => None,
        }
    }
}

pub(crate) fn run(args: &AnalyzeArgs) -> Done {
    if let Some(id) = &args.explain {
        console::out(&explain(find(id)?));
        return Ok(ExitCode::SUCCESS);
    }
    let codes = args.code.iter().map(|id| find(id)).collect::<Result<Vec<_>, _>>()?;
    let soon = claviger_policy::document::parse_duration(&args.soon).map_err(Failure::Call)?;
    let source = configuration(&args.config)?;
    let control = app::control_runtime()?;
    let env = app::idle_env(&control)?;
    let mut load = Diagnostics::default();
    let compiled = config::read(&source, &mut load)
        .and_then(|draft| draft.compile(&env, 1, app::no_interception, None, &mut load));
    if load.iter().any(|one| one.severity == Severity::Error) {
        report(&load)?;
    }
    let Some(compiled) = compiled else { return Err(Failure::Other("the configuration did not compile".into())) };
    let soon = i64::try_from(soon.as_secs()).unwrap_or(i64::MAX);
    let mut all = analyze::analyze(&compiled, &load, env.clock.now(), soon);
    all.retain(|reported| codes.is_empty() || codes.contains(&reported.finding.code));
    console::out(&match args.output {
        Format::Text => show::text(&source.path().display().to_string(), &all, args.suppressed),
        Format::Json => show::json(&all)?,
        Format::Sarif => sarif::sarif(&all)?,
    });
    let fails = |reported: &&Reported| {
        let level = reported.finding.level();
        reported.suppressed.is_none() && args.fail_on.level().is_some_and(|threshold| level >= threshold)
    };
    let failed = all.iter().any(|reported| fails(&reported));
    Ok(if failed { ExitCode::from(BELOW_THRESHOLD) } else { ExitCode::SUCCESS })
}

fn find(id: &str) -> Result<Code, Failure> {
    let upper = id.to_uppercase();
    Code::find(&upper).ok_or_else(|| {
        let near = nearest(&upper, Code::ALL.iter().map(|code| code.id()));
        let help = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
        Failure::Call(format!("`{id}` is no code of a finding{help}"))
    })
}

/// The section of the page.
fn explain(code: Code) -> String {
    let heading = format!("### {}", code.id());
    let section = PAGE.split_once(&heading).map_or("", |(_, rest)| rest);
    let end = section.find("\n#").unwrap_or(section.len());
    let section = section.get(..end).unwrap_or_default();
    format!("{}{}", code.id(), section.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_its_section() {
        for code in Code::ALL {
            let heading = format!("### {}: {} ({})\n", code.id(), code.title(), code.level());
            assert!(PAGE.contains(&heading), "docs/findings.md lacks:\n{heading}");
            let section = explain(*code);
            assert!(section.len() > heading.len() + 60, "{section}");
        }
        let sections = PAGE.lines().filter(|line| line.starts_with("### CLV")).count();
        assert_eq!(sections, Code::ALL.len());
    }
}
