//! What a decision yields. Only this crate makes a [`Grant`], and only from a decision.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::policy::{Bound, Candidate, InstanceId, OperationId, Policy};
use crate::{AttributeValue, Context, Narrowing, Principal, Target};

/// The answer to one request.
#[derive(Debug)]
pub enum Decision {
    /// Allowed.
    Grant(Grant),
    /// Refused; nothing goes upstream.
    Denied(Denial),
    /// Facts of the body are needed first.
    Pending(Pending),
}

/// The proof that policy allowed one request; owns its canonical target.
///
/// Not `Clone`, and made nowhere but in a decision: whoever holds one may send that one request.
#[must_use = "a grant that is not used allows nothing"]
pub struct Grant {
    bound: Bound,
    basis: Basis,
    target: Target,
    method: http::Method,
    valid_until: Option<i64>,
    unenforced: Option<Unapplied>,
    body: Option<Bytes>,
    obligations: Obligations,
}

/// What a grant rests on.
#[derive(Clone, Copy)]
pub(crate) enum Basis {
    /// An allow, by one of its operations.
    Rule(InstanceId, OperationId),
    /// No allow: a denial for this service was waived.
    AsSent(usize),
}

/// What would have changed the answer, and did not.
pub(crate) enum Unapplied {
    Observed(Observed),
    Waived(Waived),
}

impl From<Candidate> for Basis {
    fn from(winner: Candidate) -> Self {
        Self::Rule(winner.instance, winner.operation)
    }
}

impl Grant {
    /// The only place that makes one; called by `decide` and by nothing else.
    pub(crate) fn issue(
        bound: Bound,
        basis: Basis,
        target: Target,
        method: http::Method,
        until: i64,
        unenforced: Option<Unapplied>,
        body: Option<Bytes>,
    ) -> Self {
        let valid_until = (until != i64::MAX).then_some(until);
        let narrow = match basis {
            Basis::Rule(instance, _) => bound.data().narrow(instance).cloned(),
            Basis::AsSent(_) => None,
        };
        let obligations = Obligations { narrow };
        Self { bound, basis, target, method, valid_until, unenforced, body, obligations }
    }

    /// Where the request goes: URI, Host, SNI and the verified name come from here.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// The method that was judged.
    pub fn method(&self) -> &http::Method {
        &self.method
    }

    /// The service's name.
    pub fn service(&self) -> &Arc<str> {
        match self.basis {
            Basis::Rule(instance, _) => self.bound.data().service_name(instance),
            Basis::AsSent(service) => self.bound.data().service_at(service),
        }
    }

    /// The name of the rule that allowed it; `None` if none did and the denial was [waived](Self::waived).
    pub fn rule(&self) -> Option<&Arc<str>> {
        match self.basis {
            Basis::Rule(instance, _) => Some(self.bound.data().rule_name(instance)),
            Basis::AsSent(_) => None,
        }
    }

    /// The path pattern of the operation that matched: what records show instead of the path.
    pub fn path_pattern(&self) -> Option<&Arc<str>> {
        match self.basis {
            Basis::Rule(_, operation) => Some(self.bound.data().operation_path(operation)),
            Basis::AsSent(_) => None,
        }
    }

    /// The operation of the rule that matched, as it was written.
    pub fn operation(&self) -> Option<&Arc<str>> {
        match self.basis {
            Basis::Rule(_, operation) => Some(self.bound.data().operation_text(operation)),
            Basis::AsSent(_) => None,
        }
    }

    /// What is to be injected: nothing, where no rule allowed it.
    pub fn credential(&self) -> &CredentialUse {
        match self.basis {
            Basis::Rule(instance, _) => self.bound.data().credential(instance),
            Basis::AsSent(_) => &CredentialUse::None,
        }
    }

    /// Whether the request passes with what the client put where the credential goes. Whoever does not ask
    /// treats it as `use = "none"`, which empties those places.
    pub fn is_as_sent(&self) -> bool {
        matches!(self.basis, Basis::AsSent(_))
    }

    /// The generation of the policy that decided.
    pub fn generation(&self) -> u64 {
        self.bound.generation()
    }

    /// The moment (seconds since the Unix epoch) from which the same request could get another answer,
    /// for a reason of time. Never late, possibly early; `None` if time plays no part.
    pub fn valid_until(&self) -> Option<i64> {
        self.valid_until
    }

    /// A rule with `enforce = false` that would have changed the answer.
    pub fn observed(&self) -> Option<&Observed> {
        match &self.unenforced {
            Some(Unapplied::Observed(observed)) => Some(observed),
            Some(Unapplied::Waived(_)) | None => None,
        }
    }

    /// The denial that was not applied, because the listener has `enforce = false`.
    pub fn waived(&self) -> Option<&Waived> {
        match &self.unenforced {
            Some(Unapplied::Waived(waived)) => Some(waived),
            Some(Unapplied::Observed(_)) | None => None,
        }
    }

    /// Who was allowed.
    pub fn principal(&self) -> &Arc<Principal> {
        self.bound.principal()
    }

    /// The body, if it was judged: exactly these bytes are to be sent.
    pub fn body(&self) -> Option<&Bytes> {
        self.body.as_ref()
    }

    /// Takes the judged body out, to send it.
    pub fn take_body(&mut self) -> Option<Bytes> {
        self.body.take()
    }

    /// What must be done besides, before and while the request is sent.
    pub fn obligations(&self) -> &Obligations {
        &self.obligations
    }
}

impl fmt::Debug for Grant {
    /// Without the body and the query: what a client sent is not for a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Grant {{ {} {:?} ", self.method, self.target)?;
        match self.rule() {
            Some(rule) => write!(f, "by `{rule}` with {} }}", self.credential()),
            None => f.write_str("by no rule, as it was sent }"),
        }
    }
}

/// Duties that come with a grant (down-scope; budget and approval are to come). One that fails refuses the request and
/// never falls through to another rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Obligations {
    /// How far the credential may reach: what is injected is minted for no more than this.
    pub narrow: Option<Arc<Narrowing>>,
}

/// Which credential a rule injects.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum CredentialUse {
    /// `use = "none"`: the injected slots are emptied, nothing is put in.
    None,
    /// The credential of this name (`[credential.NAME]`).
    Named(Arc<str>),
}

impl fmt::Display for CredentialUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("no credential"),
            Self::Named(name) => write!(f, "credential `{name}`"),
        }
    }
}

/// A rule with `enforce = false` that would have changed the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    /// The rule's name.
    pub rule: Arc<str>,
    /// What the answer would have been.
    pub effect: Effect,
}

/// What a rule that is only observed would have done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Allowed, perhaps with another credential.
    Allow,
    /// Denied.
    Deny,
    /// Tied with the rule that allowed, with another credential: denied as ambiguous.
    Ambiguous,
}

impl Effect {
    /// A stable code for the ledger.
    pub fn code(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::Ambiguous => "ambiguous",
        }
    }
}

/// A denial that was not applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waived {
    /// Why the request would have been refused.
    pub reason: Reason,
    /// The rule that would have refused it, or the first of those that tie.
    pub rule: Option<Arc<str>>,
}

/// A refusal.
#[derive(Debug)]
pub struct Denial {
    /// Why.
    pub reason: Reason,
    /// The rule that refused, or the first of those that tie.
    pub rule: Option<Arc<str>>,
    /// The service, if the host and path name one.
    pub service: Option<Arc<str>>,
    /// The target that was refused, for the ledger.
    pub target: Target,
    /// The method that was refused.
    pub method: http::Method,
    /// A rule with `enforce = false` that would have changed the answer.
    pub observed: Option<Observed>,
}

impl Denial {
    pub(crate) fn new(reason: Reason, target: Target, method: http::Method) -> Self {
        Self { reason, rule: None, service: None, target, method, observed: None }
    }
}

/// Why a request is refused. For the ledger; a client is told less.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// No rule allows it.
    NoRule,
    /// A deny rule matches.
    DeniedByRule,
    /// Two allows of equal priority want different credentials.
    Ambiguous,
    /// No service claims this scheme, host, port and path.
    UnknownService,
    /// The binding was made by another generation of the policy; bind again.
    StaleBinding,
    /// No rule allows it, and one that might have needed a fact of the body that could not be read.
    BodyFactUnavailable,
    /// The files of the caller's team are wrong, and none of them has been in force.
    TeamFrozen,
}

impl Reason {
    /// A stable code for the ledger and metrics.
    pub fn code(self) -> &'static str {
        match self {
            Self::NoRule => "no_rule",
            Self::DeniedByRule => "denied_by_rule",
            Self::Ambiguous => "ambiguous",
            Self::UnknownService => "unknown_service",
            Self::StaleBinding => "stale_binding",
            Self::BodyFactUnavailable => "body_fact_unavailable",
            Self::TeamFrozen => "team_frozen",
        }
    }

    /// The reason in words, for an operator.
    pub fn text(self) -> &'static str {
        match self {
            Self::NoRule => "no rule allows it",
            Self::DeniedByRule => "a deny rule matches",
            Self::Ambiguous => "two allows of equal priority want different credentials",
            Self::UnknownService => "no service claims the target",
            Self::StaleBinding => "the caller was bound to another generation of the policy",
            Self::TeamFrozen => "the files of the caller's team are wrong, and none of them has been in force",
            Self::BodyFactUnavailable => "no rule allows it without a fact of the body that could not be read",
        }
    }
}

/// A decision that waits for facts of the body.
///
/// Read at most [`limit`](Self::limit) bytes. If the body fits, give its bytes and their facts to
/// [`resolve`](Self::resolve); if it does not, [`resolve_unread`](Self::resolve_unread).
#[derive(Debug)]
#[must_use = "resolve it, or nothing is allowed"]
pub struct Pending {
    bound: Bound,
    target: Target,
    method: http::Method,
    context: Context,
    limit: usize,
    mode: Mode,
}

/// Whether a denial holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Enforced,
    /// Only ever from an [`Unenforced`](crate::Unenforced).
    Waiving,
}

/// What is asked again once the body is known.
pub(crate) struct Asking {
    pub(crate) bound: Bound,
    pub(crate) target: Target,
    pub(crate) method: http::Method,
    pub(crate) context: Context,
    pub(crate) mode: Mode,
}

impl Pending {
    pub(crate) fn new(asking: Asking, limit: usize) -> Self {
        let Asking { bound, target, method, context, mode } = asking;
        Self { bound, target, method, context, limit, mode }
    }

    pub(crate) fn into_parts(self) -> Asking {
        let Self { bound, target, method, context, mode, .. } = self;
        Asking { bound, target, method, context, mode }
    }

    /// For a decision that cannot be had.
    pub(crate) fn into_denial(self) -> Denial {
        Denial::new(Reason::BodyFactUnavailable, self.target, self.method)
    }

    /// How many bytes of the body may be read to find the facts.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// The canonical target, which stays the one of the grant.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// The names of the facts that rules for this request ask about, such as `body.model`; sorted.
    pub fn needs(&self) -> Vec<&str> {
        crate::decide::needs(&self.bound, &self.target, &self.method, &self.context)
    }

    /// Decides with the facts; the grant owns the bytes that were judged.
    ///
    /// `policy` is the running one: after a reload the principal is bound anew and the new rules hold;
    /// facts that only they ask about are unknown.
    // The denial carries the target for the ledger; it is moved once.
    #[allow(clippy::result_large_err, reason = "a denial is moved into the ledger record, boxing it would allocate")]
    pub fn resolve(self, policy: &Policy, facts: &BodyFacts, body: Bytes) -> Result<Grant, Denial> {
        crate::decide::resolve(self, policy, facts, Some(body))
    }

    /// Decides without a body that was too long or could not be read: all its facts are unknown, so
    /// that no allow which needs one matches, and every deny which needs one does.
    #[allow(clippy::result_large_err, reason = "as in `resolve`")]
    pub fn resolve_unread(self, policy: &Policy) -> Result<Grant, Denial> {
        crate::decide::resolve(self, policy, &BodyFacts::default(), None)
    }
}

/// What is known of one fact.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Fact {
    /// It has this value.
    Known(AttributeValue),
    /// It could not be read: an allow that asks for it does not match, a deny does.
    #[default]
    Unknown,
    /// The operation has no such fact (a model for `GET /v1/models`): the predicate is false.
    Inapplicable,
}

/// Facts of a body by name (`body.model`); what was not set is unknown.
#[derive(Clone, Debug, Default)]
pub struct BodyFacts(Vec<(Box<str>, Fact)>);

impl BodyFacts {
    /// Sets a fact; the last value of a name stays.
    pub fn set(&mut self, name: &str, fact: Fact) {
        match self.0.iter_mut().find(|(key, _)| key.as_ref() == name) {
            Some((_, value)) => *value = fact,
            None => self.0.push((name.into(), fact)),
        }
    }

    /// The fact of this name.
    pub fn get(&self, name: &str) -> &Fact {
        self.0.iter().find(|(key, _)| key.as_ref() == name).map_or(&Fact::Unknown, |(_, fact)| fact)
    }
}
