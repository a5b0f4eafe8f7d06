//! Rules and requests as data, and an evaluator that was written from the words of the design. It shares no code with
//! the compiled policy: it asks all rules about each request.

#![allow(dead_code, reason = "each user takes its part")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::fmt::Write;

use claviger_policy::{AttributeValue, BodyFacts, Context, Fact};
use proptest::prelude::*;

use crate::load::{outcome, principal};

#[derive(Clone, Debug)]
pub(crate) struct Rule {
    pub(crate) deny: bool,
    /// Of four workloads; none: `*`.
    pub(crate) who: Vec<usize>,
    /// Of two services.
    pub(crate) to: usize,
    pub(crate) methods: Vec<&'static str>,
    pub(crate) path: Vec<&'static str>,
    pub(crate) when: Vec<When>,
    pub(crate) credential: usize,
    pub(crate) priority: i64,
    pub(crate) from: Option<i64>,
    pub(crate) until: Option<i64>,
}

#[derive(Clone, Debug)]
pub(crate) enum When {
    Ip { first_octet: u8, negated: bool },
    Attribute { value: &'static str, negated: bool },
    Body { limit: i64 },
}

#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) workload_path: &'static str,
    pub(crate) foreign: bool,
    pub(crate) attribute: Attribute,
    pub(crate) service: usize,
    pub(crate) method: &'static str,
    pub(crate) path: Vec<&'static str>,
    pub(crate) ip: Option<u8>,
    pub(crate) now: i64,
    pub(crate) body: Option<Option<i64>>,
}

pub(crate) const METHODS: [&str; 3] = ["GET", "POST", "BREW"];
pub(crate) const IDS: [&str; 4] = ["/a/**", "/a/*", "/b", "/**"];
/// The last workload also wants an attribute.
const MATCH: usize = 3;
pub(crate) const CREDENTIALS: [&str; 3] = ["none", "x", "y"];

/// What is attested of a caller.
#[derive(Clone, Debug)]
pub(crate) enum Attribute {
    None,
    One(&'static str),
    Many(Vec<&'static str>),
}

/// A rule with fewer than so many conditions.
pub(crate) fn rule(conditions: usize) -> impl Strategy<Value = Rule> {
    let when = prop_oneof![
        (10_u8..12, any::<bool>()).prop_map(|(first_octet, negated)| When::Ip { first_octet, negated }),
        (prop_oneof![Just("p"), Just("q")], any::<bool>())
            .prop_map(|(value, negated)| When::Attribute { value, negated }),
        (0_i64..3).prop_map(|limit| When::Body { limit }),
    ];
    let segment = prop_oneof![3 => Just("x"), 2 => Just("y"), 2 => Just("*"), 1 => Just("%78")];
    let path = (prop::collection::vec(segment, 1..4), any::<bool>()).prop_map(|(mut path, open)| {
        if open {
            path.push("**");
        }
        path
    });
    let time = || prop::option::weighted(0.2, 0_i64..10);
    (
        (prop::bool::weighted(0.25), prop::collection::vec(0_usize..4, 0..3), 0_usize..2),
        (prop::sample::subsequence(METHODS.to_vec(), 1..=3), path, prop::collection::vec(when, 0..conditions)),
        (0_usize..3, 0_i64..3, time(), time()),
    )
        .prop_map(|((deny, who, to), (methods, path, when), (credential, priority, from, until))| {
            let until = until.map(|until| from.unwrap_or(0) + 1 + until);
            Rule { deny, who, to, methods, path, when, credential, priority, from, until }
        })
}

fn attribute() -> impl Strategy<Value = Attribute> {
    let value = || prop_oneof![Just("p"), Just("q"), Just("r")];
    prop_oneof![
        Just(Attribute::None),
        value().prop_map(Attribute::One),
        prop::collection::vec(value(), 0..3).prop_map(Attribute::Many),
    ]
}

pub(crate) fn request() -> impl Strategy<Value = Request> {
    let segment = prop_oneof![4 => Just("x"), 3 => Just("y"), 1 => Just("z"), 1 => Just("%79")];
    (
        (prop_oneof![Just("/a/1"), Just("/a/1/2"), Just("/b"), Just("/c")], prop::bool::weighted(0.1)),
        attribute(),
        (0_usize..2, prop::sample::select(METHODS.to_vec()), prop::collection::vec(segment, 1..5)),
        (prop::option::of(10_u8..13), -1_i64..12, prop::option::of(prop::option::of(0_i64..4))),
    )
        .prop_map(|((workload_path, foreign), attribute, (service, method, path), (ip, now, body))| Request {
            workload_path,
            foreign,
            attribute,
            service,
            method,
            path,
            ip,
            now,
            body,
        })
}

pub(crate) fn config(rules: &[Rule]) -> String {
    let mut text = String::new();
    for service in 0..2 {
        writeln!(text, "[service.s{service}]\nhosts = [\"s{service}.test\"]").unwrap();
    }
    for credential in ["x", "y"] {
        writeln!(text, "[credential.{credential}]\nhosts = [\"s0.test\", \"s1.test\"]").unwrap();
    }
    for (at, id) in IDS.iter().enumerate() {
        writeln!(text, "[workload.w{at}]\nspiffe = \"spiffe://acme.internal{id}\"").unwrap();
        if at == MATCH {
            text.push_str("match = { kind = [\"p\", \"q\"] }\n");
        }
    }
    for (at, rule) in rules.iter().enumerate() {
        let who: Vec<String> = rule.who.iter().map(|who| format!("\"w{who}\"")).collect();
        let who = if who.is_empty() { "\"*\"".into() } else { format!("[{}]", who.join(", ")) };
        let when: Vec<String> = rule.when.iter().map(|when| format!("\"{}\"", shown(when))).collect();
        let kind = if rule.deny { "deny" } else { "allow" };
        writeln!(text, "[{kind}.r{at}]\nwho = {who}\nto = \"s{}\"", rule.to).unwrap();
        writeln!(text, "ops = [\"{} /{}\"]", rule.methods.join(","), rule.path.join("/")).unwrap();
        writeln!(text, "when = [{}]", when.join(", ")).unwrap();
        if !rule.deny {
            writeln!(text, "use = \"{}\"\npriority = {}", CREDENTIALS[rule.credential], rule.priority).unwrap();
        }
        for (key, second) in [("from", rule.from), ("until", rule.until)] {
            if let Some(second) = second {
                writeln!(text, "{key} = 1970-01-01T00:00:{second:02}Z").unwrap();
            }
        }
    }
    text
}

pub(crate) fn shown(when: &When) -> String {
    match when {
        When::Ip { first_octet, negated: false } => format!("source.ip in {first_octet}.0.0.0/8"),
        When::Ip { first_octet, negated: true } => format!("source.ip not in {first_octet}.0.0.0/8"),
        When::Attribute { value, negated: false } => format!("kind == '{value}'"),
        When::Attribute { value, negated: true } => format!("kind != '{value}'"),
        When::Body { limit } => format!("body.size < {limit}"),
    }
}

/// `None` is unknown.
type Maybe = Option<bool>;

/// Whether any of the caller's values is one of these.
fn any_of(attribute: &Attribute, wanted: &[&str]) -> Maybe {
    match attribute {
        Attribute::None => None,
        Attribute::One(value) => Some(wanted.contains(value)),
        Attribute::Many(values) => Some(values.iter().any(|value| wanted.contains(value))),
    }
}

fn naive_who(rule: &Rule, request: &Request) -> bool {
    if rule.who.is_empty() {
        return rule.deny || !request.foreign;
    }
    let is_workload = |who: &usize| -> Maybe {
        let id = match IDS[*who] {
            "/**" => true,
            "/a/**" => request.workload_path.starts_with("/a/"),
            "/a/*" => request.workload_path == "/a/1",
            id => request.workload_path == id,
        };
        if request.foreign || !id {
            Some(false)
        } else if *who == MATCH {
            any_of(&request.attribute, &["p", "q"])
        } else {
            Some(true)
        }
    };
    rule.who.iter().map(is_workload).any(|is| if rule.deny { is != Some(false) } else { is == Some(true) })
}

fn naive_holds(rule: &Rule, request: &Request) -> bool {
    let who = naive_who(rule, request);
    let when = rule.when.iter().map(|when| -> Maybe {
        match when {
            When::Ip { first_octet, negated } => request.ip.map(|ip| (ip == *first_octet) != *negated),
            When::Attribute { value, negated } => any_of(&request.attribute, &[*value]).map(|is| is != *negated),
            // The outer option: whether the operation has the fact at all.
            When::Body { limit } => match request.body {
                None => Some(false),
                Some(fact) => fact.map(|size| size < *limit),
            },
        }
    });
    let when: Vec<Maybe> = when.collect();
    let held = if rule.deny { !when.contains(&Some(false)) } else { when.iter().all(|when| *when == Some(true)) };
    who && held
        && rule.to == request.service
        && rule.methods.contains(&request.method)
        && naive_path(&rule.path, &request.path)
        && rule.from.is_none_or(|from| request.now >= from)
        && rule.until.is_none_or(|until| request.now < until)
}

pub(crate) fn naive_path(pattern: &[&str], path: &[&str]) -> bool {
    let plain = |segment: &str| segment.replace("%78", "x").replace("%79", "y");
    match (pattern, path) {
        (["**"], _) | ([], []) => true,
        (["*", pattern @ ..], [_, path @ ..]) => naive_path(pattern, path),
        ([wanted, pattern @ ..], [segment, path @ ..]) => plain(wanted) == plain(segment) && naive_path(pattern, path),
        _ => false,
    }
}

/// What the request gets: the credential, or whether it is denied by a rule or as ambiguous.
pub(crate) fn naive(rules: &[Rule], request: &Request) -> String {
    let matching: Vec<&Rule> = rules.iter().filter(|rule| naive_holds(rule, request)).collect();
    if matching.iter().any(|rule| rule.deny) {
        // A request that no rule allows, and that none would for any body, need not name the deny.
        return "denied".into();
    }
    let Some(highest) = matching.iter().map(|rule| rule.priority).max() else { return "denied".into() };
    let mut credentials: Vec<usize> =
        matching.iter().filter(|rule| rule.priority == highest).map(|rule| rule.credential).collect();
    credentials.sort_unstable();
    credentials.dedup();
    match credentials.as_slice() {
        [one] => CREDENTIALS[*one].into(),
        _ => "ambiguous".into(),
    }
}

pub(crate) fn compiled(policy: &claviger_policy::Policy, request: &Request) -> String {
    let domain = if request.foreign { "other.test" } else { "acme.internal" };
    let attribute = match &request.attribute {
        Attribute::None => None,
        Attribute::One(value) => Some(AttributeValue::from(*value)),
        Attribute::Many(values) => Some(AttributeValue::Strings(values.iter().map(|value| (*value).into()).collect())),
    };
    let attributes: Vec<(&str, AttributeValue)> = attribute.into_iter().map(|value| ("kind", value)).collect();
    let bound = policy.bind(&principal(&format!("spiffe://{domain}{}", request.workload_path), &attributes));
    let context = Context { source_ip: request.ip.map(|ip| [ip, 0, 0, 1].into()), now: request.now };
    let mut facts = BodyFacts::default();
    facts.set(
        "body.size",
        match request.body {
            None => Fact::Inapplicable,
            Some(None) => Fact::Unknown,
            Some(Some(size)) => Fact::Known(size.into()),
        },
    );
    let url = format!("{} https://s{}.test/{}", request.method, request.service, request.path.join("/"));
    let outcome = outcome(policy, &bound, &url, &context, Some(&facts));
    match outcome.split(' ').collect::<Vec<_>>().as_slice() {
        ["ambiguous", _] => "ambiguous".into(),
        [rule, credential] if rule.starts_with('r') => (*credential).into(),
        _ => "denied".into(),
    }
}
