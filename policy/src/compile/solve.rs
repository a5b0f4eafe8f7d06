//! Finds a value that several tests accept.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use crate::AttributeValue;
use crate::value::{Literal, Truth, ValueTest, glob_intersection};

/// What is known about a set of constraints. Ordered from the least to the most likely to be met.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Solution<T> {
    /// Nothing can meet them.
    Impossible,
    /// No single value meets them; a list of values may, or a moment beyond those that were tried.
    Unlikely,
    /// None was found, which proves nothing.
    Unproven,
    /// This meets them.
    Found(T),
}

impl<T> Solution<T> {
    pub(crate) fn rank(&self) -> u8 {
        match self {
            Self::Impossible => 0,
            Self::Unlikely => 1,
            Self::Unproven => 2,
            Self::Found(_) => 3,
        }
    }

    /// The same verdict about something else; `None` if a value was found.
    pub(crate) fn failure<U>(&self) -> Option<Solution<U>> {
        match self {
            Self::Impossible => Some(Solution::Impossible),
            Self::Unlikely => Some(Solution::Unlikely),
            Self::Unproven => Some(Solution::Unproven),
            Self::Found(_) => None,
        }
    }
}

/// How many comparisons are made before nothing is proven: some ten milliseconds of them.
const STEPS_MAX: usize = 1_000_000;

/// Counts comparisons; `None` once there were too many.
struct Steps(usize);

impl Steps {
    fn take(&mut self, cost: usize) -> Option<()> {
        self.0 = self.0.checked_sub(cost)?;
        Some(())
    }
}

/// A value for which every test holds.
pub(crate) fn value(tests: &[&ValueTest]) -> Solution<AttributeValue> {
    let mut steps = Steps(STEPS_MAX);
    search(tests, &mut steps).unwrap_or(Solution::Unproven)
}

/// `None`: it would take too long.
fn search(tests: &[&ValueTest], steps: &mut Steps) -> Option<Solution<AttributeValue>> {
    let literals: Vec<&Literal> = tests.iter().flat_map(|test| in_literals(test)).collect();
    let holds = |value: &AttributeValue| tests.iter().all(|test| test.holds(value) == Truth::True);
    for value in tests.iter().flat_map(|test| around(test)) {
        steps.take(literals.len() + 1)?;
        if holds(&value) {
            return Some(Solution::Found(value));
        }
    }
    for (at, a) in literals.iter().enumerate() {
        for b in literals.iter().skip(at + 1) {
            steps.take(cost(a, b))?;
            let Some(value) = common(a, b) else { continue };
            steps.take(literals.len())?;
            if holds(&value) {
                return Some(Solution::Found(value));
            }
        }
    }
    // For tests that only exclude.
    let another = AttributeValue::from("another");
    if holds(&another) {
        return Some(Solution::Found(another));
    }
    let texts = literals.iter().any(|literal| matches!(literal, Literal::Text(_) | Literal::Glob(_)));
    if !texts {
        // The ends of every interval were tried.
        return Some(Solution::Impossible);
    }
    for (at, a) in tests.iter().enumerate() {
        for b in tests.iter().skip(at + 1) {
            if apart(a, b, steps)? {
                return Some(Solution::Unlikely);
            }
        }
    }
    Some(Solution::Unproven)
}

/// Whether no single value meets both.
fn apart(a: &ValueTest, b: &ValueTest, steps: &mut Steps) -> Option<bool> {
    let (Some(a), Some(b)) = (positive(a), positive(b)) else { return Some(false) };
    for a in a {
        for b in b {
            steps.take(cost(a, b))?;
            if common(a, b).is_some() {
                return Some(false);
            }
        }
    }
    Some(true)
}

/// What it takes to find what two literals have in common.
fn cost(a: &Literal, b: &Literal) -> usize {
    match (a, b) {
        (Literal::Glob(a), Literal::Glob(b)) => (a.len() + 1).saturating_mul(b.len() + 1),
        (Literal::Text(text) | Literal::Glob(text), _) | (_, Literal::Text(text) | Literal::Glob(text)) => {
            text.len() / 8 + 1
        }
        _ => 1,
    }
}

fn in_literals(test: &ValueTest) -> &[Literal] {
    match test {
        ValueTest::In { any, .. } => any,
        ValueTest::Compare(..) => &[],
    }
}

fn positive(test: &ValueTest) -> Option<&[Literal]> {
    match test {
        ValueTest::In { any, negated: false } => Some(any),
        ValueTest::In { .. } | ValueTest::Compare(..) => None,
    }
}

/// Values at the edges of what a test accepts.
fn around(test: &ValueTest) -> Vec<AttributeValue> {
    let near = |value: i64| [value, value.saturating_sub(1), value.saturating_add(1)].map(AttributeValue::Integer);
    match test {
        ValueTest::Compare(_, value) => near(*value).into(),
        ValueTest::In { any, .. } => any
            .iter()
            .flat_map(|literal| match literal {
                Literal::Text(text) => vec![(**text).into()],
                Literal::Glob(glob) => {
                    vec![glob.replace('*', "x").as_str().into(), glob.replace('*', "").as_str().into()]
                }
                Literal::Integer(value) => near(*value).into(),
                Literal::Boolean(_) => vec![true.into(), false.into()],
            })
            .collect(),
    }
}

/// A value that both literals match.
fn common(a: &Literal, b: &Literal) -> Option<AttributeValue> {
    match (a, b) {
        (Literal::Glob(a), Literal::Glob(b)) => glob_intersection(a, b).map(|text| text.as_str().into()),
        (Literal::Text(text), other) | (other, Literal::Text(text)) => {
            let value = AttributeValue::String(Arc::from(&**text));
            let test = ValueTest::In { any: Box::new([other.clone()]), negated: false };
            (test.holds(&value) == Truth::True).then_some(value)
        }
        (Literal::Integer(a), Literal::Integer(b)) => (a == b).then_some(AttributeValue::Integer(*a)),
        (Literal::Boolean(a), Literal::Boolean(b)) => (a == b).then_some(AttributeValue::Boolean(*a)),
        (Literal::Glob(_) | Literal::Integer(_) | Literal::Boolean(_), _) => None,
    }
}

/// An address in, or not in, each of the sets. Complete: a set that is not empty begins at the first
/// address of a range or behind the last one.
pub(crate) fn address(tests: &[(&[IpNet], bool)]) -> Option<IpAddr> {
    let zero = [IpAddr::from([0_u8; 4]), IpAddr::from([0_u8; 16])];
    let nets = tests.iter().flat_map(|(nets, _)| nets.iter());
    let edges = nets.flat_map(|net| [Some(net.network()), next(net.broadcast())]).flatten();
    let holds = |ip: &IpAddr| tests.iter().all(|(nets, negated)| nets.iter().any(|net| net.contains(ip)) != *negated);
    zero.into_iter().chain(edges).find(holds)
}

fn next(ip: IpAddr) -> Option<IpAddr> {
    Some(match ip {
        IpAddr::V4(ip) => IpAddr::V4(ip.to_bits().checked_add(1)?.into()),
        IpAddr::V6(ip) => IpAddr::V6(ip.to_bits().checked_add(1)?.into()),
    })
}
