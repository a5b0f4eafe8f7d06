//! What an operator has suspended, as the data cores look at it: one atomic load while nothing is.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use claviger_contract::{Attested, Suspendable, Suspension};
use claviger_policy::{CredentialUse, Grant, IdPattern, SpiffeId};
use tokio::sync::watch;

/// The suspensions in force. The control plane publishes; each data core reads, and is woken by a change.
#[derive(Debug)]
pub struct Suspended {
    /// Whether there is any: all that a request pays for while there is none.
    any: AtomicBool,
    index: ArcSwap<Index>,
    changed: watch::Sender<()>,
}

/// Suspensions by what they concern.
#[derive(Debug, Default)]
struct Index {
    all: Vec<Arc<Suspension>>,
    ids: HashMap<SpiffeId, Arc<Suspension>>,
    patterns: Vec<(IdPattern, Arc<Suspension>)>,
    credentials: HashMap<Arc<str>, Arc<Suspension>>,
    services: HashMap<Arc<str>, Arc<Suspension>>,
}

/// What a request would use.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Using<'a> {
    pub(crate) principal: &'a SpiffeId,
    pub(crate) service: Option<&'a str>,
    pub(crate) credential: Option<&'a str>,
}

impl<'a> Using<'a> {
    /// What is known before policy is asked; a tunnel has no service.
    pub(crate) fn caller(attested: &'a Attested, service: Option<&'a str>) -> Self {
        Self { principal: &attested.principal.id, service, credential: None }
    }

    /// What a request that policy allowed will use.
    pub(crate) fn granted(grant: &'a Grant) -> Self {
        let credential = match grant.credential() {
            CredentialUse::Named(name) => Some(&**name),
            CredentialUse::None => None,
        };
        Self { principal: &grant.principal().id, service: Some(grant.service()), credential }
    }
}

impl Suspended {
    /// Nothing is suspended.
    pub fn nothing() -> Arc<Self> {
        Arc::new(Self { any: AtomicBool::new(false), index: ArcSwap::default(), changed: watch::channel(()).0 })
    }

    /// Puts exactly these in force, and has every data core look through what is under way at once.
    ///
    /// A name of a principal that is neither a SPIFFE ID nor a pattern concerns nobody: who writes the state checks it.
    pub fn publish(&self, suspensions: Vec<Suspension>) {
        let index = Index::new(suspensions);
        let any = !index.all.is_empty();
        if !any {
            self.any.store(false, Ordering::Release);
        }
        self.index.store(Arc::new(index));
        if any {
            // After the index: whoever sees this sees what is suspended.
            self.any.store(true, Ordering::Release);
        }
        self.changed.send_replace(());
    }

    /// Those in force, in the order in which they were published.
    pub fn list(&self) -> Vec<Arc<Suspension>> {
        self.index.load().all.clone()
    }

    /// Whether a principal is suspended, by its ID or a pattern.
    pub fn stops(&self, principal: &SpiffeId, now_ms: i64) -> bool {
        self.find(Using { principal, service: None, credential: None }, || now_ms).is_some()
    }

    /// What of this is suspended; the time is asked for only if anything is.
    pub(crate) fn find(&self, using: Using<'_>, now_ms: impl FnOnce() -> i64) -> Option<Arc<Suspension>> {
        if !self.any.load(Ordering::Acquire) {
            return None;
        }
        self.index.load().find(using, now_ms())
    }

    /// Wakes with every change from now on.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }
}

impl Index {
    fn new(suspensions: Vec<Suspension>) -> Self {
        let mut index = Self::default();
        for suspension in suspensions {
            let suspension = Arc::new(suspension);
            index.all.push(suspension.clone());
            match suspension.kind {
                Suspendable::Credential => drop(index.credentials.insert(suspension.name.clone(), suspension)),
                Suspendable::Service => drop(index.services.insert(suspension.name.clone(), suspension)),
                Suspendable::Principal => match (SpiffeId::parse(&suspension.name), IdPattern::parse(&suspension.name))
                {
                    (Ok(id), _) => drop(index.ids.insert(id, suspension)),
                    (Err(_), Ok(pattern)) => index.patterns.push((pattern, suspension)),
                    (Err(_), Err(_)) => {}
                },
            }
        }
        index
    }

    fn find(&self, using: Using<'_>, now_ms: i64) -> Option<Arc<Suspension>> {
        let of_patterns = || {
            let matching = self.patterns.iter().filter(|(pattern, _)| pattern.matches(using.principal));
            matching.map(|(_, suspension)| suspension).find(|suspension| suspension.holds_at(now_ms))
        };
        let holds = |suspension: &&Arc<Suspension>| suspension.holds_at(now_ms);
        let of_id = self.ids.get(using.principal).filter(holds);
        let of_service = || using.service.and_then(|name| self.services.get(name)).filter(holds);
        let of_credential = || using.credential.and_then(|name| self.credentials.get(name)).filter(holds);
        of_id.or_else(of_patterns).or_else(of_service).or_else(of_credential).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::{Suspended, Using};
    use claviger_contract::{Suspendable, Suspension};
    use claviger_policy::SpiffeId;

    fn suspension(kind: Suspendable, name: &str, until_ms: Option<i64>) -> Suspension {
        Suspension { kind, name: name.into(), reason: None, actor: "a".into(), since_ms: 0, until_ms }
    }

    fn check(suspended: &[(Suspendable, &str, Option<i64>)], now_ms: i64, found: Option<&str>) {
        let board = Suspended::nothing();
        board.publish(suspended.iter().map(|(kind, name, until)| suspension(*kind, name, *until)).collect());
        let principal = SpiffeId::parse("spiffe://acme.test/payments/api").unwrap();
        let using = Using { principal: &principal, service: Some("billing"), credential: Some("payments/crm") };
        let answer = board.find(using, || now_ms);
        assert_eq!(answer.as_ref().map(|one| &*one.name), found, "{suspended:?} at {now_ms}");
    }

    #[test]
    fn what_a_request_uses_is_found_and_nothing_else() {
        use Suspendable::{Credential, Principal, Service};
        let id = "spiffe://acme.test/payments/api";
        check(&[], 0, None);
        check(&[(Principal, id, None)], 0, Some(id));
        for pattern in ["spiffe://acme.test/payments/**", "spiffe://acme.test/*/api", "spiffe://acme.test/**"] {
            check(&[(Principal, pattern, None)], 0, Some(pattern));
        }
        for near in [
            "spiffe://acme.test/payments/api2",
            "spiffe://acme.test/payments",
            "spiffe://acme.test/payment/**",
            "spiffe://acme.test/*",
            "spiffe://acme.tests/payments/**",
            "payments/api",
        ] {
            check(&[(Principal, near, None)], 0, None);
        }
        check(&[(Service, "billing", None)], 0, Some("billing"));
        check(&[(Service, "billings", None), (Service, "payments/crm", None)], 0, None);
        check(&[(Credential, "payments/crm", None)], 0, Some("payments/crm"));
        check(&[(Credential, "crm", None), (Credential, "billing", None)], 0, None);
    }

    #[test]
    fn one_that_has_ended_does_not_hide_one_that_holds() {
        use Suspendable::{Principal, Service};
        let (id, all) = ("spiffe://acme.test/payments/api", "spiffe://acme.test/**");
        check(&[(Service, "billing", Some(10))], 9, Some("billing"));
        check(&[(Service, "billing", Some(10))], 10, None);
        check(&[(Principal, id, Some(10)), (Principal, all, None)], 10, Some(all));
        check(&[(Principal, all, Some(10)), (Service, "billing", None)], 10, Some("billing"));
        let both = [(Principal, "spiffe://acme.test/payments/**", Some(10)), (Principal, all, Some(20))];
        check(&both, 15, Some(all));
    }

    #[test]
    fn the_last_resume_frees_everything_again() {
        let board = Suspended::nothing();
        board.publish(vec![suspension(Suspendable::Service, "billing", None)]);
        assert_eq!(board.list().len(), 1);
        board.publish(Vec::new());
        let principal = SpiffeId::parse("spiffe://acme.test/a").unwrap();
        let using = Using { principal: &principal, service: Some("billing"), credential: None };
        assert!(board.find(using, || unreachable!("nothing is suspended")).is_none());
    }
}
