//! Outcomes of tests as text and as JSON.

use claviger_policy::document::Location;
use claviger_policy::{TestOutcome, TestResult};
use serde::Serialize;

use super::Outcome;
use super::coverage::{Coverage, Covered};
use crate::command::{Failure, plural};

pub(super) fn text(outcomes: &[TestOutcome<'_>], coverage: Option<&Coverage<'_>>) -> String {
    let mut lines = Vec::new();
    for TestOutcome { case, result } in outcomes {
        let outcome = Outcome::of(result);
        let word = if outcome == Outcome::Failed { "FAILED" } else { outcome.as_str() };
        lines.push(format!(
            "{word:<7} {} {} as {}: {}",
            case.location(),
            case.request(),
            case.principal(),
            case.expected()
        ));
        if outcome == Outcome::Failed {
            lines.push(indented(&why(result, &case.expected())));
        }
    }
    if let Some(coverage) = coverage {
        lines.extend(coverage.rules.iter().map(|Covered { rule, place, tests }| match tests {
            0 => format!("never   {place} {rule}: no test is decided by it"),
            tests => format!("covered {place} {rule}: {}", plural(*tests, "test")),
        }));
        let (covered, rules) = (coverage.covered(), coverage.rules.len());
        lines.push(format!("coverage: {covered} of {}, {}%", plural(rules, "rule"), coverage.percent()));
    }
    let Summary { passed, failed, skipped } = Summary::of(outcomes);
    lines.push(format!("{}: {passed} passed, {failed} failed, {skipped} skipped", plural(outcomes.len(), "test")));
    lines.join("\n")
}

fn why(result: &TestResult, expected: &str) -> String {
    match result {
        TestResult::Judged { explanation, .. } => format!("expected {expected}, got\n{explanation}"),
        TestResult::Wrong { location, key, message, help } => {
            let help = help.as_ref().map(|help| format!("\nhelp: {help}")).unwrap_or_default();
            format!("{location}: `{key}`: {message}{help}")
        }
    }
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}

#[derive(Serialize)]
struct Summary {
    passed: usize,
    failed: usize,
    skipped: usize,
}

impl Summary {
    fn of(outcomes: &[TestOutcome<'_>]) -> Self {
        let count = |wanted| outcomes.iter().filter(|one| Outcome::of(&one.result) == wanted).count();
        let [passed, failed, skipped] = [Outcome::Passed, Outcome::Failed, Outcome::Skipped].map(count);
        Self { passed, failed, skipped }
    }
}

#[derive(Serialize)]
struct Place<'a> {
    file: &'a str,
    line: usize,
    column: usize,
}

#[derive(Serialize)]
struct Test<'a> {
    #[serde(flatten)]
    place: Place<'a>,
    team: Option<&'a str>,
    #[serde(rename = "as")]
    principal: &'a str,
    request: &'a str,
    expect: String,
    outcome: &'static str,
    /// The rule that decided.
    rule: Option<String>,
    /// Of a test that failed: what came instead.
    message: Option<String>,
}

#[derive(Serialize)]
struct Rule<'a> {
    rule: &'a str,
    #[serde(flatten)]
    place: Place<'a>,
    tests: usize,
}

#[derive(Serialize)]
struct Covering<'a> {
    covered: usize,
    total: usize,
    percent: usize,
    rules: Vec<Rule<'a>>,
}

#[derive(Serialize)]
struct Document<'a> {
    tests: Vec<Test<'a>>,
    summary: Summary,
    #[serde(skip_serializing_if = "Option::is_none")]
    coverage: Option<Covering<'a>>,
}

pub(super) fn json(outcomes: &[TestOutcome<'_>], coverage: Option<&Coverage<'_>>) -> Result<String, Failure> {
    let coverage = coverage.map(|coverage| Covering {
        covered: coverage.covered(),
        total: coverage.rules.len(),
        percent: coverage.percent(),
        rules: coverage
            .rules
            .iter()
            .map(|one| Rule { rule: &one.rule, place: place(one.place), tests: one.tests })
            .collect(),
    });
    let document = Document { tests: outcomes.iter().map(test).collect(), summary: Summary::of(outcomes), coverage };
    serde_json::to_string_pretty(&document).map_err(|error| Failure::doing("print the outcome")(&error))
}

fn test<'a>(TestOutcome { case, result }: &'a TestOutcome<'_>) -> Test<'a> {
    let outcome = Outcome::of(result);
    let expected = case.expected();
    let rule = match result {
        TestResult::Judged { explanation, .. } => {
            explanation.rule.as_ref().map(|rule| format!("{} {}", rule.kind, rule.name))
        }
        TestResult::Wrong { .. } => None,
    };
    Test {
        place: place(case.location()),
        team: case.location().team().map(|team| &**team),
        principal: case.principal().as_str(),
        request: case.request(),
        outcome: outcome.as_str(),
        rule,
        message: (outcome == Outcome::Failed).then(|| why(result, &expected)),
        expect: expected.trim_matches('`').to_owned(),
    }
}

fn place(location: &Location) -> Place<'_> {
    Place { file: location.file(), line: location.line(), column: location.column() }
}
