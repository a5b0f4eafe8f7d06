//! `[[test]]`: requests that must be decided as the file says, or it does not load.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use http::Method;

use crate::document::{Diagnostics, Item, Located, Location, Table, Value, nearest};
use crate::rule::moment;
use crate::workload::Attested;
use crate::{
    AttributeValue, Attributes, Authority, BodyFacts, Context, Explanation, Fact, Policy, Principal, Reason, Scheme,
    SpiffeId, Target, Team,
};

/// The most tests of one team: each asks every rule.
const TEAM_TESTS_MAX: usize = 250;

/// One `[[test]]`.
#[derive(Clone, Debug)]
pub struct TestCase {
    key: String,
    location: Location,
    id: SpiffeId,
    attributes: Attributes,
    attested_by: Option<String>,
    source_ip: Option<IpAddr>,
    at: Option<i64>,
    facts: BodyFacts,
    request: Located<String>,
    expect: Located<Expect>,
}

/// How one test went.
#[derive(Clone, Debug)]
pub struct TestOutcome<'p> {
    /// The test.
    pub case: &'p TestCase,
    /// What came of it.
    pub result: TestResult,
}

/// What came of a test.
#[derive(Clone, Debug)]
pub enum TestResult {
    /// It was judged.
    Judged {
        /// Whether as expected.
        passed: bool,
        /// Why it was decided so.
        explanation: Box<Explanation>,
    },
    /// It could not be judged: a request that is none, a rule that is not there, a moment that is missing.
    Wrong {
        /// Where.
        location: Location,
        /// The dotted key.
        key: String,
        /// What is wrong.
        message: String,
        /// What to write instead.
        help: Option<String>,
    },
}

#[derive(Clone, Debug)]
enum Expect {
    Allow(String),
    Deny(Option<String>),
}

/// Takes all tests; `None` if one of them is wrong.
pub(super) fn take(root: &mut Table, teams: &[Team], out: &mut Diagnostics) -> Option<Vec<TestCase>> {
    let tables = root.table_list("test", out);
    let mut counts: BTreeMap<Arc<str>, usize> = BTreeMap::new();
    let mut take = |table: Table| {
        if let Some(team) = table.location().team() {
            let count = counts.entry(team.clone()).or_default();
            *count += 1;
            if *count > TEAM_TESTS_MAX {
                let message = format!("team `{team}` has more than {TEAM_TESTS_MAX} tests");
                if *count == TEAM_TESTS_MAX + 1 {
                    out.error(table.location(), table.key(), message);
                }
                return None;
            }
        }
        TestCase::take(table, teams, out)
    };
    let cases: Vec<Option<TestCase>> = tables.into_iter().map(&mut take).collect();
    cases.into_iter().collect()
}

/// Runs all tests; a failing one is an error at its place.
pub(super) fn report(policy: &Policy, out: &mut Diagnostics) {
    for TestOutcome { case, result } in policy.run_tests() {
        match result {
            TestResult::Judged { passed: true, .. } => {}
            TestResult::Judged { passed: false, explanation } => {
                let key = format!("{}.expect", case.key);
                if explanation.reason == Some(Reason::TeamFrozen) {
                    out.warning(&case.expect.location, key, "the test says nothing while its team is frozen");
                    continue;
                }
                let message = format!("the test fails: expected {}, got\n{explanation}", case.expected());
                let team = case.to_blame(policy, explanation.rule.as_ref().map(|rule| &*rule.name));
                out.error(&case.expect.location, key, message).blame(team);
            }
            TestResult::Wrong { location, key, message, help } => {
                let team = case.to_blame(policy, None);
                out.error(&location, key, message).blame(team).help = help;
            }
        }
    }
}

impl Policy {
    /// Runs the `[[test]]` blocks that the configuration has.
    pub fn run_tests(&self) -> impl Iterator<Item = TestOutcome<'_>> {
        self.data().declared.tests.iter().map(|case| TestOutcome { case, result: case.run(self) })
    }
}

impl Policy {
    /// The rules that may decide, those with `enforce = false` left out: `allow` or `deny`, name and place.
    pub fn deciding_rules(&self) -> impl Iterator<Item = (&'static str, &Arc<str>, &Location)> {
        let enforced = self.data().set.rules.iter().filter(|rule| rule.enforce);
        enforced.map(|rule| (rule.kind.as_str(), &rule.name, &rule.location))
    }
}

impl TestCase {
    /// Where it stands.
    pub fn location(&self) -> &Location {
        &self.location
    }

    /// Who asks.
    pub fn principal(&self) -> &SpiffeId {
        &self.id
    }

    /// `METHOD URL`, as written.
    pub fn request(&self) -> &str {
        &self.request.value
    }

    /// What is expected, in backticks.
    pub fn expected(&self) -> String {
        self.expect.value.text()
    }

    /// Whose files a failure is to blame on: a test of the platform that fails by what a team's rule says, or no
    /// longer says, is the team's matter.
    fn to_blame(&self, policy: &Policy, decided: Option<&str>) -> Option<Arc<str>> {
        if let Some(team) = self.location.team() {
            return Some(team.clone());
        }
        let expected = match &self.expect.value {
            Expect::Allow(name) | Expect::Deny(Some(name)) => Some(name.as_str()),
            Expect::Deny(None) => None,
        };
        let team = decided.into_iter().chain(expected).find_map(|rule| rule.split_once('/'))?.0;
        policy.data().teams.iter().map(Team::name).find(|name| ***name == *team).cloned()
    }

    fn take(mut table: Table, teams: &[Team], out: &mut Diagnostics) -> Option<Self> {
        let (key, location) = (table.key().to_owned(), table.location().clone());
        let team = location.team().and_then(|name| teams.iter().find(|team| team.name() == name));
        let id = table.required_string("as", out).and_then(|text| match SpiffeId::parse(&text.value) {
            Ok(id) if team.is_some_and(|team| !team.has(&id)) => {
                let name = location.team().map_or("", |name| name);
                let message = format!("`{}` is beyond the identities of team `{name}`", text.value);
                let help = team.map(|team| {
                    format!("they are {}: the platform says so at {}", team.identities_text(), team.location())
                });
                out.error(&text.location, format!("{key}.as"), message).help = help;
                None
            }
            Ok(id) => Some(id),
            Err(error) => {
                out.error(&text.location, format!("{key}.as"), error.to_string());
                None
            }
        });
        let attributes = take_values(&mut table, "attributes", out);
        let body = take_values(&mut table, "body", out);
        let attested_by = table.string("attested_by", out).map(|name| name.value);
        let source_ip = table.parsed("source_ip", out, |text| {
            text.parse::<IpAddr>().map_err(|_| format!("`{text}` is not an IP address"))
        });
        let at = table.take("at").and_then(|item| moment(item, out));
        let request = table.required_string("request", out);
        if !table.has("expect") {
            table.missing("expect", out);
        }
        let expect = table.parsed("expect", out, |text| parse_expect(text, location.team().map(|name| &**name)));
        table.finish(out);
        let mut facts = BodyFacts::default();
        for (name, value) in body? {
            facts.set(&format!("body.{name}"), Fact::Known(value));
        }
        Some(Self {
            key,
            location,
            id: id?,
            attributes: attributes?.into_iter().map(|(name, value)| (Arc::<str>::from(name), value)).collect(),
            attested_by,
            source_ip: source_ip.map(|ip| ip.value),
            at: at.map(|at| at.value),
            facts,
            request: request?,
            expect: expect?,
        })
    }

    fn run(&self, policy: &Policy) -> TestResult {
        match self.judge(policy) {
            Ok(explanation) => {
                let passed = self.expect.value.is_met(&explanation);
                TestResult::Judged { passed, explanation: Box::new(explanation) }
            }
            Err(wrong) => wrong,
        }
    }

    #[allow(clippy::result_large_err, reason = "made once for each test that is wrong")]
    fn judge(&self, policy: &Policy) -> Result<Explanation, TestResult> {
        let (method, target) = parse_request(policy, &self.request.value)
            .map_err(|message| wrong(&self.request.location, format!("{}.request", self.key), message, None))?;
        self.names_rule(policy)?;
        let attested = if self.attested_by.is_some() { Attested::Really } else { Attested::Assumed };
        let attested_by = Arc::from(self.attested_by.as_deref().unwrap_or_default());
        let principal = Arc::new(Principal { id: self.id.clone(), attributes: self.attributes.clone(), attested_by });
        let bound = policy.bind_as(&principal, attested);
        if self.at.is_none() && depends_on_time(policy, &bound, &target) {
            let help = "add `at`, as `at = \"2026-11-23T10:00:00+01:00\"`";
            let message = "the answer depends on the time, and the test has no `at`";
            return Err(wrong(&self.location, self.key.clone(), message.into(), Some(help.into())));
        }
        let context = Context { source_ip: self.source_ip, now: self.at.unwrap_or_default() };
        Ok(crate::explain::explain(policy, &bound, &target, &method, &context, Some(&self.facts)))
    }

    /// Whether the expected rule exists: a typing error should not read as a failing test.
    #[allow(clippy::result_large_err, reason = "made once for each test that is wrong")]
    fn names_rule(&self, policy: &Policy) -> Result<(), TestResult> {
        let (Expect::Allow(name) | Expect::Deny(Some(name))) = &self.expect.value else { return Ok(()) };
        let team = self.location.team();
        let seen = |rule: &&crate::rule::Rule| team.is_none() || rule.location.team() == team;
        let names = || policy.data().set.rules.iter().filter(seen).map(|rule| &*rule.name);
        // A rule that a frozen team had is no mistake of whoever expects it.
        let is_lost =
            |team: &Team| team.is_frozen() && name.split_once('/').is_some_and(|(of, _)| *of == **team.name());
        if names().any(|rule| rule == name) || policy.data().teams.iter().any(is_lost) {
            return Ok(());
        }
        let help = nearest(name, names()).map(|near| format!("did you mean `{near}`?"));
        let key = format!("{}.expect", self.key);
        Err(wrong(&self.expect.location, key, format!("there is no rule `{name}`"), help))
    }
}

fn wrong(location: &Location, key: String, message: String, help: Option<String>) -> TestResult {
    TestResult::Wrong { location: location.clone(), key, message, help }
}

/// Whether a rule of the target's service that concerns the caller has a time condition.
fn depends_on_time(policy: &Policy, bound: &crate::Bound, target: &Target) -> bool {
    crate::decide::service_of(policy, target).is_some_and(|service| {
        let rules = bound.enforced(service).iter().filter_map(|candidate| policy.data().rule_of(candidate.instance));
        rules.into_iter().any(crate::rule::Rule::depends_on_time)
    })
}

impl Expect {
    fn is_met(&self, explanation: &Explanation) -> bool {
        let rule = explanation.rule.as_ref().map(|rule| (rule.kind, &*rule.name));
        match self {
            Self::Allow(name) => explanation.allowed && rule == Some(("allow", name)),
            Self::Deny(None) => !explanation.allowed,
            Self::Deny(Some(name)) => !explanation.allowed && rule == Some(("deny", name)),
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Allow(name) => format!("`allow {name}`"),
            Self::Deny(None) => "`deny`".into(),
            Self::Deny(Some(name)) => format!("`deny {name}`"),
        }
    }
}

/// A team names its own rules, by their bare names.
fn parse_expect(text: &str, team: Option<&str>) -> Result<Expect, String> {
    let full = |name: &str| team.map_or_else(|| name.to_owned(), |team| format!("{team}/{name}"));
    match text.split_once(' ') {
        None if text == "deny" => Ok(Expect::Deny(None)),
        Some(("allow", name)) => Ok(Expect::Allow(full(name))),
        Some(("deny", name)) => Ok(Expect::Deny(Some(full(name)))),
        _ => Err(format!("`{text}` is no expectation; write `allow RULE`, `deny RULE` or `deny`")),
    }
}

/// `METHOD https://host/path`
fn parse_request(policy: &Policy, text: &str) -> Result<(Method, Target), String> {
    let wrong = || format!("`{text}` is no request; write `METHOD URL`, as `GET https://api.example.com/v1/models`");
    let (method, url) = text.split_once(' ').ok_or_else(wrong)?;
    let method: Method = method.parse().map_err(|_| wrong())?;
    let (scheme, rest) = match url.split_once("://").ok_or_else(wrong)? {
        ("https", rest) => (Scheme::Https, rest),
        ("http", rest) => (Scheme::Http, rest),
        _ => return Err(wrong()),
    };
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let authority = Authority::parse(authority, scheme.default_port()).map_err(|error| format!("`{text}`: {error}"))?;
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    let target = policy.canonicalize(scheme, authority, &path).map_err(|error| format!("`{text}`: {error}"))?;
    Ok((method, target))
}

fn take_values(table: &mut Table, name: &'static str, out: &mut Diagnostics) -> Option<Vec<(String, AttributeValue)>> {
    let Some(item) = table.take(name) else { return Some(Vec::new()) };
    let entries = item.into_table(out)?.into_entries();
    let values: Vec<Option<_>> =
        entries.into_iter().map(|(name, item)| take_value(item, out).map(|value| (name.value, value))).collect();
    values.into_iter().collect()
}

fn take_value(item: Item, out: &mut Diagnostics) -> Option<AttributeValue> {
    match item.value {
        Value::String(text) => Some(text.as_str().into()),
        Value::Integer(value) => Some(value.into()),
        Value::Boolean(value) => Some(value.into()),
        Value::Array(_) => {
            let texts = item.into_strings(out)?;
            Some(AttributeValue::Strings(texts.into_iter().map(|text| text.value.into()).collect()))
        }
        Value::Float(_) | Value::Datetime(_) | Value::Table(_) => {
            out.error(&item.location, item.key, "expected a string, an integer, a boolean, or a list of strings");
            None
        }
    }
}
