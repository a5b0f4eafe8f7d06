//! `hosts` of an injection, and what is emptied and filled at which host.

use std::sync::Arc;

use claviger_policy::HostPattern;
use claviger_policy::document::{Located, Table, nearest};
use http::HeaderName;

use super::super::InjectionPlan;
use super::super::slots::{NamedSlot, Slots};
use super::Reading;

/// The hosts that an injection is for; `None`: all of the service.
pub(super) type Scope = Option<Arc<[HostPattern]>>;

/// Whether there is a host in both.
pub(super) fn overlap(a: Option<&[HostPattern]>, b: Option<&[HostPattern]>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => a.iter().any(|a| b.iter().any(|b| a.covers(b) || b.covers(a))),
        (None, _) | (_, None) => true,
    }
}

/// Whether all hosts of a pattern are in the scope; of no pattern: whether the scope is not limited.
fn covers(scope: &Scope, pattern: Option<&HostPattern>) -> bool {
    scope.as_deref().is_none_or(|hosts| pattern.is_some_and(|pattern| hosts.iter().any(|host| host.covers(pattern))))
}

/// The parts that hold at a pattern.
fn at<'s, T: Clone>(
    parts: &'s [(Scope, T)],
    pattern: Option<&'s HostPattern>,
) -> impl Iterator<Item = &'s T> + use<'s, T> {
    parts.iter().filter(move |(scope, _)| covers(scope, pattern)).map(|(_, part)| part)
}

impl Reading<'_> {
    /// Takes `hosts` of an injection: some of the service's.
    pub(super) fn take_hosts(&mut self, table: &mut Table, key: &str) -> Scope {
        let written = table.strings("hosts", self.out)?;
        if written.is_empty() {
            let help = "leave `hosts` out for all hosts of the service";
            self.error(table.location(), key, "the list of hosts is empty, so that nothing is injected", help);
            return None;
        }
        let mut hosts = Vec::with_capacity(written.len());
        for text in written {
            hosts.extend(self.host(&text, key));
        }
        Some(hosts.into())
    }

    fn host(&mut self, text: &Located<String>, key: &str) -> Option<HostPattern> {
        let pattern = match HostPattern::parse(&text.value, self.scheme.default_port()) {
            Ok(pattern) => pattern,
            Err(error) => {
                let help = "write a host of the service, as `api.example.com`";
                self.error(&text.location, key, format!("`{}`: {error}", text.value), help);
                return None;
            }
        };
        if self.hosts.is_empty() || self.hosts.iter().any(|host| host.covers(&pattern)) {
            return Some(pattern);
        }
        let default_port = format!(":{}", self.scheme.default_port());
        let plain = |host: &HostPattern| host.to_string().trim_end_matches(&default_port).to_owned();
        let names: Vec<String> = self.hosts.iter().map(plain).collect();
        let help = match nearest(&text.value, names.iter().map(String::as_str)) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("it has `{}`; an injection can be for some of them", names.join("`, `")),
        };
        self.error(&text.location, key, format!("`{}` is no host of the service", text.value), help);
        None
    }

    /// The plan, unless something was wrong.
    pub(super) fn finish(mut self, guard: bool) -> Option<InjectionPlan> {
        self.refuse_idle_keeps();
        let scopes = self.headers.iter().map(|(scope, _)| scope);
        let scopes = scopes.chain(self.query.iter().chain(&self.cookies).map(|(scope, _)| scope));
        let scopes = scopes.chain(self.paths.iter().map(|(scope, _)| scope));
        let scopes = scopes.chain(self.placeholders.iter().map(|(scope, _)| scope));
        let scopes = scopes.chain(self.certificates.iter().map(|(scope, ())| scope));
        let scopes = scopes.chain(self.kept.iter().map(|(scope, _)| scope));
        let mut patterns: Vec<HostPattern> = scopes.flatten().flat_map(|hosts| hosts.iter().cloned()).collect();
        // A host without a star before all others, then the longest name: of patterns that hold a host, each holds the
        // ones before it, so that the first one that fits knows all parts that are for the host.
        patterns.sort_by(|a, b| {
            let length = |pattern: &HostPattern| pattern.host().as_str().len();
            a.is_wildcard().cmp(&b.is_wildcard()).then_with(|| length(b).cmp(&length(a))).then_with(|| a.cmp(b))
        });
        patterns.dedup();
        let elsewhere = self.slots(None, guard);
        let at = patterns.into_iter().map(|pattern| {
            let slots = self.slots(Some(&pattern), guard);
            (pattern, slots)
        });
        let at = at.collect();
        (!self.failed).then_some(InjectionPlan { elsewhere, at, body_limit: self.body_limit })
    }

    fn slots(&self, pattern: Option<&HostPattern>, guard: bool) -> Slots {
        let placeholders: Vec<_> = at(&self.placeholders, pattern).cloned().collect();
        let mut slots = Slots::none(guard);
        let all = self.headers.iter().map(|(_, slot)| &slot.name);
        let all = all.chain(self.placeholders.iter().flat_map(|(_, slot)| &slot.headers));
        for name in self.stripped.iter().chain(all) {
            let is_kept = at(&self.kept, pattern).any(|kept| kept.value == *name);
            let is_searched = placeholders.iter().any(|placeholder| placeholder.headers.contains(name));
            if !is_kept && !is_searched && !slots.removed.contains(name) {
                slots.removed.push(name.clone());
            }
        }
        slots.headers = at(&self.headers, pattern).cloned().collect();
        slots.query = named(&self.query, pattern, |a, b| a.eq_ignore_ascii_case(b));
        slots.cookies = named(&self.cookies, pattern, |a, b| a == b);
        slots.paths = at(&self.paths, pattern).cloned().collect();
        slots.placeholders = placeholders;
        slots.certificate = at(&self.certificates, pattern).next().is_some();
        slots
    }

    /// What nothing removes needs no leave to stay, and what `strip` names is never to pass.
    fn refuse_idle_keeps(&mut self) {
        let slots = self.headers.iter().map(|(_, slot)| &slot.name);
        let slots = slots.chain(self.placeholders.iter().flat_map(|(_, slot)| &slot.headers));
        let slots: Vec<HeaderName> = slots.cloned().collect();
        for (_, Located { value: name, location }) in self.kept.clone() {
            let message = match (self.stripped.contains(&name), slots.contains(&name)) {
                (true, _) => format!("`{name}` is stripped at every host, and cannot be kept at one"),
                (false, false) => format!("`{name}` passes as it is: no injection fills it at another host"),
                (false, true) => continue,
            };
            self.error(&location, "inject", message, "leave `keep` out");
        }
    }
}

/// Those that are filled here, and the others, which are emptied.
fn named(parts: &[(Scope, NamedSlot)], pattern: Option<&HostPattern>, same: fn(&str, &str) -> bool) -> Vec<NamedSlot> {
    let mut slots: Vec<NamedSlot> = at(parts, pattern).filter(|slot| slot.fill).cloned().collect();
    for (_, slot) in parts {
        if !slots.iter().any(|known| same(&known.name, &slot.name)) {
            slots.push(NamedSlot { fill: false, ..slot.clone() });
        }
    }
    slots
}
