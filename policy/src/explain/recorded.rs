//! Requests as the ledger remembers them: with `*` for each segment of the path that could have been a key.

use std::sync::Arc;

use http::Method;

use super::Explanation;
use crate::{Authority, Context, Policy, Principal, Scheme, Target, TargetError};

/// A request that was refused, rebuilt from its record.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// Who asked, with the attributes that were recorded.
    pub principal: Arc<Principal>,
    /// The method.
    pub method: Method,
    /// The host and its port.
    pub authority: Authority,
    /// The path; `*` is a segment that was not recorded.
    pub path: String,
    /// Where it came from, and when.
    pub context: Context,
}

impl Recorded {
    /// Whether a part of the path was not recorded.
    pub fn is_masked(&self) -> bool {
        self.path.split('/').any(|segment| segment == "*")
    }

    /// The target under a policy, which says what is spoken to the host. `*` stands in it as it is recorded: as a
    /// name that no rule has.
    ///
    /// # Errors
    /// The service refuses such paths.
    pub fn target(&self, policy: &Policy) -> Result<Target, TargetError> {
        let claimed = policy.service_for(&self.authority, &self.path).map(crate::ServiceRoute::scheme);
        let usual = if self.authority.port == Scheme::Http.default_port() { Scheme::Http } else { Scheme::Https };
        policy.canonicalize(claimed.unwrap_or(usual), self.authority.clone(), &self.path)
    }
}

impl Policy {
    /// Says what this policy decides about a recorded request, and why. A rule that names a segment which was not
    /// recorded counts as one that may match.
    ///
    /// # Errors
    /// The service that claims the path now refuses such paths.
    pub fn explain_recorded(&self, recorded: &Recorded) -> Result<Explanation, TargetError> {
        let target = recorded.target(self)?;
        let bound = self.bind(&recorded.principal);
        let mut explanation = super::explain(self, &bound, &target, &recorded.method, &recorded.context, None);
        if recorded.is_masked() {
            explanation.masked = true;
        }
        Ok(explanation)
    }
}
