//! Containment, one dimension at a time: whether everything that one rule accepts, another accepts too.
//!
//! Sound, not complete: `true` is proven, `false` means that it was not shown.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use crate::AttributeValue;
use crate::condition::{Condition, Kind};
use crate::rule::{Rule, RuleKind};
use crate::value::{Literal, Truth, ValueTest, glob_matches};

/// How a rule takes its conditions: an allow wants them true, a deny holds unless one is false.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    True,
    NotFalse,
}

impl From<RuleKind> for Reading {
    fn from(kind: RuleKind) -> Self {
        match kind {
            RuleKind::Allow => Self::True,
            RuleKind::Deny => Self::NotFalse,
        }
    }
}

/// A kind of value, by which a test may have an opinion or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ValueKind {
    Text,
    Integer,
    Boolean,
}

pub(super) const VALUE_KINDS: [ValueKind; 3] = [ValueKind::Text, ValueKind::Integer, ValueKind::Boolean];

/// Whether a test can be true or false of values of a kind; of others it is unknown.
pub(super) fn has_opinion(test: &ValueTest, kind: ValueKind) -> bool {
    match test {
        ValueTest::Compare(..) => kind == ValueKind::Integer,
        ValueTest::In { any, .. } => any.iter().any(|literal| kind_of(literal) == kind),
    }
}

fn kind_of(literal: &Literal) -> ValueKind {
    match literal {
        Literal::Text(_) | Literal::Glob(_) => ValueKind::Text,
        Literal::Integer(_) => ValueKind::Integer,
        Literal::Boolean(_) => ValueKind::Boolean,
    }
}

/// Whether `then` is accepted of every value (also an unknown one) of which all of `given` are.
pub(super) fn value(given: &[&ValueTest], read: Reading, then: &ValueTest, wanted: Reading) -> bool {
    // An unknown value is accepted by a deny, and by no allow.
    if given.is_empty() || (read, wanted) == (Reading::NotFalse, Reading::True) {
        return false;
    }
    VALUE_KINDS.iter().all(|kind| {
        let bearing: Vec<&ValueTest> = given.iter().copied().filter(|test| has_opinion(test, *kind)).collect();
        // A test without an opinion is unknown: an allow is out, a deny does not mind.
        if read == Reading::True && bearing.len() < given.len() {
            return true;
        }
        if !has_opinion(then, *kind) {
            return wanted == Reading::NotFalse;
        }
        match kind {
            ValueKind::Text => text(&bearing, then),
            ValueKind::Integer | ValueKind::Boolean => {
                let mut tried = samples(bearing.iter().copied().chain([then]), *kind);
                tried.all(|value| bearing.iter().any(|test| test.holds(&value) == Truth::False) || holds(then, &value))
            }
        }
    })
}

fn holds(test: &ValueTest, value: &AttributeValue) -> bool {
    test.holds(value) == Truth::True
}

/// For texts and lists of them.
fn text(given: &[&ValueTest], then: &ValueTest) -> bool {
    let ValueTest::In { any: wanted, negated } = then else { return false };
    let excluded = |literal: &Literal| {
        given.iter().any(|test| matches!(test, ValueTest::In { any, negated: true } if covered(literal, any)))
    };
    if *negated {
        // No element matches what no element may match.
        return wanted.iter().filter(|literal| kind_of(literal) == ValueKind::Text).all(excluded);
    }
    given.iter().any(|test| match test {
        ValueTest::In { any, negated: false } => any
            .iter()
            .filter(|literal| kind_of(literal) == ValueKind::Text)
            .all(|literal| covered(literal, wanted) || excluded(literal)),
        ValueTest::In { negated: true, .. } | ValueTest::Compare(..) => false,
    })
}

/// Whether every text that `literal` matches is matched by one of `by`.
pub(super) fn covered(literal: &Literal, by: &[Literal]) -> bool {
    by.iter().any(|other| match (literal, other) {
        // The `*` of an inner glob can only be matched by one of the outer: whatever it stands for, is matched too.
        (Literal::Text(text) | Literal::Glob(text), Literal::Glob(glob)) => glob_matches(glob, text),
        (Literal::Text(text), Literal::Text(other)) => text == other,
        (Literal::Glob(_), Literal::Text(_)) | (Literal::Integer(_) | Literal::Boolean(_), _) => false,
        (Literal::Text(_) | Literal::Glob(_), Literal::Integer(_) | Literal::Boolean(_)) => false,
    })
}

/// One value of each range in which no test changes.
pub(super) fn samples<'t>(
    tests: impl Iterator<Item = &'t ValueTest>,
    kind: ValueKind,
) -> impl Iterator<Item = AttributeValue> {
    let mut integers = Vec::new();
    if kind == ValueKind::Integer {
        integers.extend([i64::MIN, i64::MAX]);
        for test in tests {
            let edges: Vec<i64> = match test {
                ValueTest::Compare(_, value) => vec![*value],
                ValueTest::In { any, .. } => any
                    .iter()
                    .filter_map(|literal| if let Literal::Integer(value) = literal { Some(*value) } else { None })
                    .collect(),
            };
            integers.extend(edges.iter().flat_map(|edge| [edge.saturating_sub(1), *edge, edge.saturating_add(1)]));
        }
    }
    let booleans: &[bool] = if kind == ValueKind::Boolean { &[false, true] } else { &[] };
    integers.into_iter().map(AttributeValue::Integer).chain(booleans.iter().map(|flag| AttributeValue::Boolean(*flag)))
}

/// Whether the conditions of `outer` on the request and its time hold wherever those of `inner` do.
pub(super) fn request(outer: &Rule, inner: &Rule) -> bool {
    window(outer, inner)
        && outer.request_conditions.iter().all(|wanted| match &wanted.kind {
            Kind::SourceIp { nets, negated } => addresses((nets, *negated), outer.kind, inner),
            Kind::Time { .. } => inner.request_conditions.iter().any(|given| moments(wanted, given)),
            Kind::Attribute { .. } | Kind::Body { .. } => true,
        })
}

fn window(outer: &Rule, inner: &Rule) -> bool {
    let starts = outer.from.is_none_or(|from| inner.from.is_some_and(|inner| from <= inner));
    starts && outer.until.is_none_or(|until| inner.until.is_some_and(|inner| inner <= until))
}

type Nets<'a> = (&'a [IpNet], bool);

pub(super) fn nets_of(rule: &Rule) -> Vec<Nets<'_>> {
    let conditions = rule.request_conditions.iter();
    conditions
        .filter_map(|condition| match &condition.kind {
            Kind::SourceIp { nets, negated } => Some((nets.as_ref(), *negated)),
            Kind::Time { .. } | Kind::Attribute { .. } | Kind::Body { .. } => None,
        })
        .collect()
}

fn addresses(wanted: Nets<'_>, kind: RuleKind, inner: &Rule) -> bool {
    let given = nets_of(inner);
    // Without a condition of its own the inner rule holds also where the address is unknown.
    if given.is_empty() && kind == RuleKind::Allow {
        return false;
    }
    let has = |(nets, negated): &Nets<'_>, ip: &IpAddr| nets.iter().any(|net| net.contains(ip)) != *negated;
    edges(given.iter().chain([&wanted])).all(|ip| !given.iter().all(|nets| has(nets, &ip)) || has(&wanted, &ip))
}

/// One address of each range in which no set begins or ends.
fn edges<'n>(sets: impl Iterator<Item = &'n Nets<'n>>) -> impl Iterator<Item = IpAddr> {
    let mut all = vec![IpAddr::from([0_u8; 4]), IpAddr::from([0_u8; 16])];
    for net in sets.flat_map(|(nets, _)| nets.iter()) {
        all.push(net.network());
        all.extend(match net.broadcast() {
            IpAddr::V4(ip) => ip.to_bits().checked_add(1).map(|bits| IpAddr::V4(bits.into())),
            IpAddr::V6(ip) => ip.to_bits().checked_add(1).map(|bits| IpAddr::V6(bits.into())),
        });
    }
    all.into_iter()
}

/// Whether a condition on the time holds wherever another does.
fn moments(wanted: &Condition, given: &Condition) -> bool {
    let (Kind::Time { schedule: outer, negated }, Kind::Time { schedule: inner, negated: given }) =
        (&wanted.kind, &given.kind)
    else {
        return false;
    };
    match (negated, given) {
        (false, false) => outer.contains(inner),
        (true, true) => inner.contains(outer),
        (true, false) | (false, true) => false,
    }
}

/// Tests by the name of what they ask about.
pub(super) type Named<'t> = (&'t Arc<str>, &'t ValueTest);

/// Whether every one of `wanted` is accepted wherever all of `given` are.
pub(super) fn tests<'t>(
    mut wanted: impl Iterator<Item = Named<'t>>,
    given: &[Named<'_>],
    read: Reading,
    accept: Reading,
) -> bool {
    wanted.all(|(name, test)| {
        let same: Vec<&ValueTest> = given.iter().filter(|(other, _)| *other == name).map(|(_, test)| *test).collect();
        value(&same, read, test, accept)
    })
}

/// The tests of a rule's conditions on the principal, or on the body.
pub(super) fn named(conditions: &[Condition]) -> impl Iterator<Item = Named<'_>> {
    conditions.iter().filter_map(|condition| match &condition.kind {
        Kind::Attribute { name, test } | Kind::Body { name, test } => Some((name, test)),
        Kind::SourceIp { .. } | Kind::Time { .. } => None,
    })
}

/// Whether the conditions of `outer` on the body hold wherever those of `inner` do.
pub(super) fn body(outer: &Rule, inner: &Rule) -> bool {
    if outer.body_conditions.is_empty() {
        return true;
    }
    // A body over a rule's limit is unknown to it.
    let limits = match (outer.kind, inner.kind) {
        (RuleKind::Allow, _) => outer.body_limit >= inner.body_limit,
        (RuleKind::Deny, RuleKind::Allow) => true,
        (RuleKind::Deny, RuleKind::Deny) => outer.body_limit <= inner.body_limit,
    };
    let given: Vec<Named<'_>> = named(&inner.body_conditions).collect();
    limits && tests(named(&outer.body_conditions), &given, inner.kind.into(), outer.kind.into())
}
