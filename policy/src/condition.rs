//! What a rule asks of the caller, the moment and the body.

mod parse;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

pub(crate) use parse::{Names, parse};

use crate::schedule::Schedule;
use crate::value::{Literal, Order, Truth, ValueTest};
use crate::{BodyFacts, Context, Principal};

/// One condition of a rule's `when`.
#[derive(Clone, Debug)]
pub(crate) struct Condition {
    /// As it was written, for explanations.
    pub(crate) text: Arc<str>,
    pub(crate) kind: Kind,
}

/// What a condition asks about.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    /// `source.ip in …`
    SourceIp { nets: Box<[IpNet]>, negated: bool },
    /// `time in …`
    Time { schedule: Arc<Schedule>, negated: bool },
    /// An attested attribute.
    Attribute { name: Arc<str>, test: ValueTest },
    /// A fact of the body; the name begins with `body.`.
    Body { name: Arc<str>, test: ValueTest },
}

/// The truth of something, and when time may change it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Timed {
    pub(crate) truth: Truth,
    /// Unix seconds; `i64::MAX` if never.
    pub(crate) until: i64,
}

impl Timed {
    pub(crate) const ALWAYS: Self = Self { truth: Truth::True, until: i64::MAX };

    /// Both. What is false for a reason that time does not change stays so.
    pub(crate) fn and(self, other: Self) -> Self {
        let never = |timed: Self| timed.truth == Truth::False && timed.until == i64::MAX;
        let until = if never(self) || never(other) { i64::MAX } else { self.until.min(other.until) };
        Self { truth: self.truth.min(other.truth), until }
    }
}

impl From<Truth> for Timed {
    fn from(truth: Truth) -> Self {
        Self { truth, until: i64::MAX }
    }
}

impl Condition {
    /// Whether it depends on the principal alone, so that binding settles it.
    pub(crate) fn is_static(&self) -> bool {
        matches!(self.kind, Kind::Attribute { .. })
    }

    /// The attribute that it asks for.
    pub(crate) fn attribute(&self) -> Option<&str> {
        match &self.kind {
            Kind::Attribute { name, .. } => Some(name),
            Kind::SourceIp { .. } | Kind::Time { .. } | Kind::Body { .. } => None,
        }
    }

    /// How much there is to compare in it.
    pub(crate) fn size(&self) -> usize {
        match &self.kind {
            Kind::SourceIp { nets, .. } => nets.len(),
            // Weeks of windows are gone through.
            Kind::Time { .. } => 100,
            Kind::Attribute { test, .. } | Kind::Body { test, .. } => test.size(),
        }
    }

    pub(crate) fn is_address(&self) -> bool {
        matches!(self.kind, Kind::SourceIp { .. })
    }

    pub(crate) fn is_body(&self) -> bool {
        matches!(self.kind, Kind::Body { .. })
    }

    pub(crate) fn is_time(&self) -> bool {
        matches!(self.kind, Kind::Time { .. })
    }

    /// The truth for a principal; [`Truth::True`] for what a principal does not settle.
    pub(crate) fn holds_for_principal(&self, principal: &Principal) -> Truth {
        match &self.kind {
            Kind::Attribute { name, test } => {
                principal.attributes.get(name).map_or(Truth::Unknown, |value| test.holds(value))
            }
            Kind::SourceIp { .. } | Kind::Time { .. } | Kind::Body { .. } => Truth::True,
        }
    }

    /// The truth for a request; [`Truth::True`] for what binding or the body settles.
    pub(crate) fn holds_for_request(&self, context: &Context) -> Timed {
        match &self.kind {
            Kind::SourceIp { nets, negated } => {
                let Some(ip) = context.source_ip else { return Truth::Unknown.into() };
                // A client of a dual-stack socket comes as `::ffff:10.0.0.1`.
                let ip: IpAddr = ip.to_canonical();
                Truth::from(nets.iter().any(|net| net.contains(&ip)) != *negated).into()
            }
            Kind::Time { schedule, negated } => match schedule.state(context.now) {
                Some(state) => Timed { truth: Truth::from(state.open != *negated), until: state.until },
                None => Truth::Unknown.into(),
            },
            Kind::Attribute { .. } | Kind::Body { .. } => Timed::ALWAYS,
        }
    }

    /// The truth for a body; [`Truth::True`] for what asks about no body.
    pub(crate) fn holds_for_body(&self, facts: &BodyFacts) -> Truth {
        match &self.kind {
            Kind::Body { name, test } => test.holds_for_fact(facts.get(name)),
            Kind::SourceIp { .. } | Kind::Time { .. } | Kind::Attribute { .. } => Truth::True,
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The test that `==` makes.
fn equals(literal: Literal, negated: bool) -> ValueTest {
    ValueTest::In { any: Box::new([literal]), negated }
}

const ORDERS: [(&str, Order); 4] =
    [("<=", Order::LessOrEqual), (">=", Order::GreaterOrEqual), ("<", Order::Less), (">", Order::Greater)];

#[cfg(test)]
mod tests;
