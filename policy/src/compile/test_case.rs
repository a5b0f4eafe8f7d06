//! `[[test]]`: requests that must be decided as the file says, or it does not load.

use std::net::IpAddr;
use std::sync::Arc;

use http::Method;

use crate::document::{Diagnostics, Item, Located, Location, Table, Value, nearest};
use crate::rule::moment;
use crate::workload::Attested;
use crate::{
    AttributeValue, Attributes, Authority, BodyFacts, Context, Explanation, Fact, Policy, Principal, Scheme, SpiffeId,
    Target,
};

/// One `[[test]]`.
pub(super) struct Case {
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

enum Expect {
    Allow(String),
    Deny(Option<String>),
}

/// Takes all tests; `None` if one of them is wrong.
pub(super) fn take(root: &mut Table, out: &mut Diagnostics) -> Option<Vec<Case>> {
    let tables = root.table_list("test", out);
    let cases: Vec<Option<Case>> = tables.into_iter().map(|table| Case::take(table, out)).collect();
    cases.into_iter().collect()
}

/// Runs all tests; a failing one is an error at its place.
pub(super) fn run(policy: &Policy, cases: Vec<Case>, out: &mut Diagnostics) {
    for case in cases {
        case.run(policy, out);
    }
}

impl Case {
    fn take(mut table: Table, out: &mut Diagnostics) -> Option<Self> {
        let (key, location) = (table.key().to_owned(), table.location().clone());
        let id = table.required_string("as", out).and_then(|text| match SpiffeId::parse(&text.value) {
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
        let expect = table.parsed("expect", out, parse_expect);
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

    fn run(self, policy: &Policy, out: &mut Diagnostics) {
        let (method, target) = match parse_request(policy, &self.request.value) {
            Ok(parsed) => parsed,
            Err(message) => {
                out.error(&self.request.location, format!("{}.request", self.key), message);
                return;
            }
        };
        if !self.names_rule(policy, out) {
            return;
        }
        let attested = if self.attested_by.is_some() { Attested::Really } else { Attested::Assumed };
        let attested_by = Arc::from(self.attested_by.as_deref().unwrap_or_default());
        let principal = Arc::new(Principal { id: self.id, attributes: self.attributes, attested_by });
        let bound = policy.bind_as(&principal, attested);
        if self.at.is_none() && depends_on_time(policy, &bound, &target) {
            out.error(&self.location, self.key, "the answer depends on the time, and the test has no `at`")
                .help("add `at`, as `at = \"2026-11-23T10:00:00+01:00\"`");
            return;
        }
        let context = Context { source_ip: self.source_ip, now: self.at.unwrap_or_default() };
        let explanation = crate::explain::explain(policy, &bound, &target, &method, &context, Some(&self.facts));
        if !self.expect.value.is_met(&explanation) {
            let message = format!("the test fails: expected {}, got\n{explanation}", self.expect.value.text());
            out.error(&self.expect.location, format!("{}.expect", self.key), message);
        }
    }

    /// Whether the expected rule exists: a typing error should not read as a failing test.
    fn names_rule(&self, policy: &Policy, out: &mut Diagnostics) -> bool {
        let (Expect::Allow(name) | Expect::Deny(Some(name))) = &self.expect.value else { return true };
        let names = || policy.data().set.rules.iter().map(|rule| &*rule.name);
        if names().any(|rule| rule == name) {
            return true;
        }
        let found =
            out.error(&self.expect.location, format!("{}.expect", self.key), format!("there is no rule `{name}`"));
        if let Some(near) = nearest(name, names()) {
            found.help(format!("did you mean `{near}`?"));
        }
        false
    }
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

fn parse_expect(text: &str) -> Result<Expect, String> {
    match text.split_once(' ') {
        None if text == "deny" => Ok(Expect::Deny(None)),
        Some(("allow", name)) => Ok(Expect::Allow(name.into())),
        Some(("deny", name)) => Ok(Expect::Deny(Some(name.into()))),
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
