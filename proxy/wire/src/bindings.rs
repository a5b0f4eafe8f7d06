//! Bindings at hand. Whoever takes turns with others on a connection, as behind a load balancer, is bound to the policy
//! once, and not for each turn.

use std::collections::HashMap;
use std::sync::Arc;

use claviger_policy::{Bound, Policy, Principal};

/// Principals whose bindings are kept, in each of two halves. So many take turns without one being bound anew, and as many
/// an attestor remembers: who is verified anew is another principal in memory.
const HALF_MAX: usize = 16_384;

/// The bindings of those who asked a data core last. Of what is not asked for, the older half goes first.
#[derive(Debug, Default)]
pub(crate) struct Bindings {
    /// The policy's, which the bindings keep alive.
    generation: u64,
    young: Half,
    old: Half,
}

/// By the address of the principal: no other can be there while the binding keeps it alive.
type Half = HashMap<usize, Bound, foldhash::fast::RandomState>;

impl Bindings {
    /// As [`Policy::bind`], once for each principal.
    pub(crate) fn bind(&mut self, policy: &Policy, principal: &Arc<Principal>) -> Bound {
        self.keep_only(policy);
        let address = Arc::as_ptr(principal).addr();
        if let Some(bound) = self.young.get(&address) {
            return bound.clone();
        }
        let bound = self.old.remove(&address).unwrap_or_else(|| policy.bind(principal));
        if self.young.len() >= HALF_MAX {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(address, bound.clone());
        bound
    }

    /// Forgets what was bound to the policy of another generation.
    pub(crate) fn keep_only(&mut self, policy: &Policy) {
        if self.generation != policy.generation() {
            *self = Self { generation: policy.generation(), ..Self::default() };
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
pub(crate) mod tests {
    use claviger_policy::document::{Diagnostics, SourceFile, parse};
    use claviger_policy::{Attributes, Inputs, SpiffeId, TrustDomain};

    use super::*;

    /// One that has no rules.
    pub(crate) fn policy(generation: u64) -> Policy {
        let mut out = Diagnostics::default();
        let text = "[workload.app]\nspiffe = \"spiffe://acme.test/**\"\n";
        let mut root = parse(&SourceFile::new("test.toml", text), &mut out).unwrap();
        let trust_domain = TrustDomain::parse("acme.test").unwrap();
        let (services, credentials, teams) = (Vec::new(), Vec::new(), Vec::new());
        let inputs = Inputs { trust_domain, services, credentials, teams, generation };
        claviger_policy::compile(&mut root, inputs, &mut out).unwrap()
    }

    pub(crate) fn principal(n: usize) -> Arc<Principal> {
        let id = SpiffeId::parse(&format!("spiffe://acme.test/{n}")).unwrap();
        Arc::new(Principal { id, attested_by: "test".into(), attributes: Attributes::default() })
    }

    #[test]
    fn each_is_bound_as_itself_to_the_policy_of_now_and_not_all_are_kept() {
        let (mut bindings, first) = (Bindings::default(), policy(1));
        let stays = principal(0);
        for n in 1..3 * HALF_MAX {
            // Not kept by anybody else: an address that is used again is another principal's.
            let bound = bindings.bind(&first, &principal(n));
            assert_eq!(bound.principal().id, principal(n).id);
            assert!(Arc::ptr_eq(bindings.bind(&first, &stays).principal(), &stays));
        }
        assert!(bindings.young.len() <= HALF_MAX && bindings.old.len() <= HALF_MAX);
        assert!(bindings.young.contains_key(&Arc::as_ptr(&stays).addr()), "who comes again and again is kept");
        let second = policy(2);
        assert_eq!(bindings.bind(&second, &stays).generation(), 2);
        assert_eq!((bindings.young.len(), bindings.old.len()), (1, 0));
    }
}
