//! Rules: `[allow.NAME]` and `[deny.NAME]`, parsed and linked to what they name.

mod link;
mod owner;
mod take;

use std::fmt;
use std::sync::Arc;

pub(crate) use link::{Linker, Scope};
pub(crate) use take::moment;

use crate::asked::Asked;
use crate::condition::{Condition, Timed};
use crate::document::Location;
use crate::pattern::Operation;
use crate::policy::OperationId;
use crate::value::Truth;
use crate::workload::{Attested, Workload};
use crate::{BodyFacts, Context, CredentialUse, Narrowing, Principal};

/// Whether a rule allows or denies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum RuleKind {
    Deny,
    Allow,
}

impl RuleKind {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Deny => "deny",
            Self::Allow => "allow",
        }
    }
}

/// Whom a rule concerns.
#[derive(Clone, Debug)]
pub(crate) enum Who {
    /// `*`
    Anyone,
    /// Indices of workloads.
    Workloads(Vec<usize>),
}

impl Who {
    /// The workloads that are named.
    pub(crate) fn workloads(&self) -> Option<&[usize]> {
        match self {
            Self::Anyone => None,
            Self::Workloads(workloads) => Some(workloads),
        }
    }
}

/// One rule, for all services that it names.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    pub(crate) kind: RuleKind,
    pub(crate) name: Arc<str>,
    pub(crate) location: Location,
    pub(crate) who: Who,
    /// Whether `to` is `*`: services that are added later are meant too.
    pub(crate) everywhere: bool,
    pub(crate) priority: i64,
    /// What binding settles.
    pub(crate) principal_conditions: Vec<Condition>,
    /// What each request settles.
    pub(crate) request_conditions: Vec<Condition>,
    /// What a body settles.
    pub(crate) body_conditions: Vec<Condition>,
    pub(crate) from: Option<i64>,
    pub(crate) until: Option<i64>,
    pub(crate) enforce: bool,
    pub(crate) why: Option<String>,
    pub(crate) body_limit: usize,
    /// What of this only the attestors can confirm.
    pub(crate) asked: Vec<Asked>,
}

/// A rule at one of its services.
#[derive(Clone, Debug)]
pub(crate) struct Instance {
    pub(crate) rule: usize,
    pub(crate) service: usize,
    pub(crate) credential: CredentialUse,
    /// How far that reaches under this rule.
    pub(crate) narrow: Option<Arc<Narrowing>>,
    pub(crate) operations: Vec<OperationId>,
    /// Whether another allow of the same priority may want another credential for the same request.
    pub(crate) contested: bool,
}

/// What an allow gives: two that give the same for one request do not tie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Gift<'a> {
    pub(crate) credential: &'a CredentialUse,
    pub(crate) narrow: Option<&'a Narrowing>,
}

impl Instance {
    pub(crate) fn gift(&self) -> Gift<'_> {
        Gift { credential: &self.credential, narrow: self.narrow.as_deref() }
    }
}

impl fmt::Display for Gift<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.credential {
            CredentialUse::None => f.write_str("no credential")?,
            CredentialUse::Named(name) => write!(f, "`{name}`")?,
        }
        self.narrow.map_or(Ok(()), |narrow| write!(f, " narrowed to `{narrow}`"))
    }
}

impl Rule {
    /// Whether the principal is one of `who`, and what the rule asks of it holds.
    pub(crate) fn concerns(&self, selected: &Selected<'_>) -> Truth {
        self.selects(selected).min(self.asks_of(selected.principal))
    }

    /// Whether the conditions on the principal hold, whoever it is.
    pub(crate) fn asks_of(&self, principal: &Principal) -> Truth {
        let conditions = self.principal_conditions.iter().map(|condition| condition.holds_for_principal(principal));
        conditions.fold(Truth::True, Truth::min)
    }

    pub(crate) fn selects(&self, selected: &Selected<'_>) -> Truth {
        match &self.who {
            // A deny of everyone means everyone: a foreign workload that some allow lets in is denied too.
            Who::Anyone => Truth::from(self.kind == RuleKind::Deny || selected.at_home),
            Who::Workloads(workloads) => {
                let truth = |at: &usize| selected.workloads.get(*at).copied().unwrap_or(Truth::False);
                workloads.iter().map(truth).max().unwrap_or(Truth::False)
            }
        }
    }

    /// Whether a three-valued truth makes the rule match: an allow must be known to hold, a deny holds
    /// unless it is known not to.
    pub(crate) fn matches(&self, truth: Truth) -> bool {
        match self.kind {
            RuleKind::Allow => truth == Truth::True,
            RuleKind::Deny => truth != Truth::False,
        }
    }

    /// `from`, `until` and the conditions that need no body.
    pub(crate) fn holds_for_request(&self, context: &Context) -> Timed {
        let mut all = self.window(context.now);
        for condition in &self.request_conditions {
            if all == Truth::False.into() {
                break;
            }
            all = all.and(condition.holds_for_request(context));
        }
        all
    }

    /// `from` and `until`.
    pub(crate) fn window(&self, now: i64) -> Timed {
        if self.until.is_some_and(|until| now >= until) {
            return Truth::False.into();
        }
        match self.from {
            Some(from) if now < from => Timed { truth: Truth::False, until: from },
            _ => Timed { truth: Truth::True, until: self.until.unwrap_or(i64::MAX) },
        }
    }

    /// The conditions on the body, whose length is known; `None`: it was not read.
    pub(crate) fn holds_for_body(&self, facts: &BodyFacts, length: Option<usize>) -> Truth {
        if self.body_conditions.is_empty() {
            return Truth::True;
        }
        if length.is_none_or(|length| length > self.body_limit) {
            return Truth::Unknown;
        }
        self.body_conditions.iter().map(|condition| condition.holds_for_body(facts)).min().unwrap_or(Truth::True)
    }

    /// How much there is to compare in its conditions: the bytes of what they name.
    pub(crate) fn conditions_size(&self) -> usize {
        let conditions = [&self.principal_conditions, &self.request_conditions, &self.body_conditions];
        conditions.into_iter().flatten().map(Condition::size).sum()
    }

    pub(crate) fn depends_on_time(&self) -> bool {
        self.from.is_some() || self.until.is_some() || self.request_conditions.iter().any(Condition::is_time)
    }

    /// Whether nothing is left to ask once principal and operation match.
    pub(crate) fn is_unconditional(&self) -> bool {
        self.from.is_none()
            && self.until.is_none()
            && self.request_conditions.is_empty()
            && self.body_conditions.is_empty()
    }
}

/// A principal and which workloads it is.
pub(crate) struct Selected<'a> {
    pub(crate) principal: &'a Principal,
    /// By workload.
    pub(crate) workloads: Vec<Truth>,
    /// Whether it is of this installation's trust domain.
    pub(crate) at_home: bool,
}

impl<'a> Selected<'a> {
    pub(crate) fn new(
        principal: &'a Principal,
        workloads: &[Workload],
        trust_domain: &str,
        attested: Attested,
    ) -> Self {
        Self {
            principal,
            workloads: workloads.iter().map(|workload| workload.selects(principal, attested)).collect(),
            at_home: principal.id.trust_domain() == trust_domain,
        }
    }
}

/// All rules, linked.
#[derive(Clone, Debug, Default)]
pub(crate) struct RuleSet {
    pub(crate) rules: Vec<Rule>,
    pub(crate) instances: Vec<Instance>,
    pub(crate) operations: Vec<Operation>,
}
