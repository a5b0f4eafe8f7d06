//! Where a service takes its credential.

use std::borrow::Cow;

use claviger_policy::{Authority, HostPattern};
use http::request::Parts;

use super::slots::Slots;

/// All injections of a service, from `[service.NAME] inject`, with `strip` and `guard`.
///
/// One credential may serve several hosts in different ways, so what is emptied and filled hangs on the host.
#[derive(Clone, Debug)]
pub struct InjectionPlan {
    /// At every host that `at` does not name.
    pub(super) elsewhere: Slots,
    /// At the hosts that injections are limited to, the narrowest pattern first; for most services nothing.
    pub(super) at: Vec<(HostPattern, Slots)>,
    pub(super) body_limit: usize,
}

impl Default for InjectionPlan {
    /// No injection, guarded: for a service that takes no credential.
    fn default() -> Self {
        Self { elsewhere: Slots::none(true), at: Vec::new(), body_limit: 0 }
    }
}

impl InjectionPlan {
    /// Whether nothing is injected, at any host.
    pub fn is_empty(&self) -> bool {
        self.all().all(Slots::is_empty)
    }

    /// Whether a credential is wanted for requests to a host. If there are injections and all of them are limited to
    /// other hosts, none is: the request passes without.
    ///
    /// A service without any injection wants one, for a rule that gives it one is a mistake that
    /// [`inject`](super::inject) reports.
    pub fn injects_at(&self, host: &Authority) -> bool {
        !self.slots(host).is_empty() || self.is_empty()
    }

    /// The texts that clients write in place of the credential, and that are replaced; each once.
    pub fn placeholders(&self) -> Vec<Box<str>> {
        let of = |slots: &Slots| {
            let paths = slots.paths.iter().map(|slot| slot.placeholder.clone());
            paths.chain(slots.placeholders.iter().map(|placeholder| placeholder.text.clone())).collect::<Vec<_>>()
        };
        let mut all: Vec<Box<str>> = self.all().flat_map(of).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// How many bytes of a body must be read before [`inject`](super::inject), because a placeholder may stand in it;
    /// `None` if none may. A longer body is sent as it is, without what stands in it being replaced.
    pub fn body_limit(&self) -> Option<usize> {
        self.all().any(Slots::in_body).then_some(self.body_limit)
    }

    /// The fields of a credential that are injected, each once; `None` is its only or main one.
    pub fn fields(&self) -> Vec<Option<&str>> {
        let mut fields: Vec<Option<&str>> = self.all().flat_map(Slots::fields).collect();
        fields.sort_unstable();
        fields.dedup();
        fields
    }

    /// Whether the credential comes to stand in the URL: in its path, or in its query.
    pub fn in_url(&self) -> bool {
        self.all().any(Slots::in_url)
    }

    /// Whether answers go through the echo guard.
    pub fn guards(&self) -> bool {
        self.elsewhere.guard
    }

    /// What the client wrote where the credential goes at this host, in the order of the plan: the API-key slot that may
    /// hold its identity token. Last come the headers that `strip` names, for some clients show a key in another place
    /// than the service wants it. Placeholders and paths hold none, and neither does what `keep` leaves to the client.
    pub fn presented_tokens<'a>(
        &'a self,
        host: &Authority,
        head: &'a Parts,
    ) -> impl Iterator<Item = Cow<'a, [u8]>> + use<'a> {
        self.slots(host).presented_tokens(head)
    }

    /// What is emptied and filled at a host.
    pub(super) fn slots(&self, host: &Authority) -> &Slots {
        self.at.iter().find(|(pattern, _)| pattern.matches(host)).map_or(&self.elsewhere, |(_, slots)| slots)
    }

    fn all(&self) -> impl Iterator<Item = &Slots> {
        std::iter::once(&self.elsewhere).chain(self.at.iter().map(|(_, slots)| slots))
    }
}
