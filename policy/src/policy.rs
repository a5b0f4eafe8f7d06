//! The compiled policy and a principal's binding to it.

use std::sync::Arc;

use crate::target::{Authority, Scheme, Target, TargetError};
use crate::{Context, CredentialUse, Decision, Explanation, Principal, ServiceRoute};

/// An index into the compiled (rule, service) pairs.
pub(crate) type InstanceId = u32;
/// An index into the compiled operations.
pub(crate) type OperationId = u32;

/// A compiled policy of one generation. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Policy {
    pub(crate) data: Arc<Data>,
}

/// A principal's view of one policy: which rules can concern it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Bound(Arc<Binding>);

#[derive(Debug)]
pub(crate) struct Binding {
    pub(crate) data: Arc<Data>,
    pub(crate) principal: Arc<Principal>,
}

#[derive(Debug, Default)]
pub(crate) struct Data {
    pub(crate) generation: u64,
    pub(crate) services: Vec<ServiceRoute>,
    pub(crate) names: Vec<Arc<str>>,
    pub(crate) credentials: Vec<CredentialUse>,
}

impl Data {
    pub(crate) fn service_name(&self, _: InstanceId) -> &Arc<str> {
        empty()
    }
    pub(crate) fn rule_name(&self, _: InstanceId) -> &Arc<str> {
        empty()
    }
    pub(crate) fn operation_text(&self, _: OperationId) -> &Arc<str> {
        empty()
    }
    pub(crate) fn credential(&self, _: InstanceId) -> &CredentialUse {
        &CredentialUse::None
    }
}

fn empty() -> &'static Arc<str> {
    static EMPTY: std::sync::LazyLock<Arc<str>> = std::sync::LazyLock::new(|| "".into());
    &EMPTY
}

impl Bound {
    /// The generation of the policy that bound it.
    pub fn generation(&self) -> u64 {
        self.0.data.generation
    }

    /// Who was bound.
    pub fn principal(&self) -> &Arc<Principal> {
        &self.0.principal
    }

    pub(crate) fn data(&self) -> &Data {
        &self.0.data
    }
}

impl Policy {
    /// The number of this policy's generation.
    pub fn generation(&self) -> u64 {
        self.data.generation
    }

    /// All services.
    pub fn services(&self) -> impl Iterator<Item = &ServiceRoute> {
        self.data.services.iter()
    }

    /// The service of this name.
    pub fn service(&self, name: &str) -> Option<&ServiceRoute> {
        self.data.services.iter().find(|service| service.name().as_ref() == name)
    }

    /// The service that claims this host, port and path.
    pub fn service_for(&self, authority: &Authority, _path: &str) -> Option<&ServiceRoute> {
        self.data.services.iter().find(|service| service.hosts().iter().any(|host| host.matches(authority)))
    }

    /// Whether any service claims this host and port, for CONNECT.
    pub fn knows(&self, authority: &Authority) -> bool {
        self.service_for(authority, "/").is_some()
    }

    /// Canonicalises with the `path_mode` of the service that claims the host and path.
    pub fn canonicalize(
        &self,
        scheme: Scheme,
        authority: Authority,
        path_and_query: &str,
    ) -> Result<Target, TargetError> {
        Target::parse(scheme, authority, path_and_query, crate::PathMode::Strict)
    }

    /// Binds a principal: once per proof and generation, off the hot path.
    pub fn bind(&self, principal: &Arc<Principal>) -> Bound {
        Bound(Arc::new(Binding { data: self.data.clone(), principal: principal.clone() }))
    }

    /// Decides one request.
    pub fn decide(&self, bound: &Bound, target: Target, method: http::Method, context: &Context) -> Decision {
        crate::decide::decide(self, bound, target, method, context)
    }

    /// Says why a request is decided as it is. Off the hot path.
    pub fn explain(&self, bound: &Bound, target: &Target, method: &http::Method, context: &Context) -> Explanation {
        crate::explain::explain(self, bound, target, method, context)
    }
}
