//! The hot path.

use bytes::Bytes;

use crate::policy::{Bound, Policy};
use crate::{BodyFacts, Context, Decision, Denial, Grant, Pending, Reason, Target};

pub(crate) fn decide(_: &Policy, _: &Bound, target: Target, method: http::Method, _: &Context) -> Decision {
    Decision::Denied(Denial { reason: Reason::NoRule, rule: None, service: None, target, method, observed: None })
}

#[allow(clippy::result_large_err, reason = "as in `Pending::resolve`")]
pub(crate) fn resolve(pending: Pending, _: &Policy, _: &BodyFacts, _: Option<Bytes>) -> Result<Grant, Denial> {
    let Pending { target, method, .. } = pending;
    Err(Denial { reason: Reason::NoRule, rule: None, service: None, target, method, observed: None })
}

pub(crate) fn needs(_: &Pending) -> Vec<&str> {
    Vec::new()
}
