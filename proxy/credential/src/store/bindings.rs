//! `bindings` of a store whose values carry no hosts: which names may go where.

use claviger_policy::document::{Diagnostics, Table};

use crate::binding::BoundHost;

/// Names, or prefixes that end in `*`, and the hosts that their values may go to.
#[derive(Clone, Debug)]
pub(super) struct Bindings(Vec<(String, Vec<BoundHost>)>);

impl Bindings {
    /// Takes `bindings`; `None` if the store declares none, and then the credential's `hosts` decide.
    pub(super) fn take(table: &mut Table, out: &mut Diagnostics) -> Option<Self> {
        let mut bindings = Vec::new();
        for (name, item) in table.table("bindings", out)?.into_entries() {
            let key = item.key.clone();
            if name.value.trim_end_matches('*').contains('*') || name.value.ends_with("**") {
                out.error(&name.location, key.clone(), "`*` may only stand at the end, as in `OPENAI_*`");
            }
            let mut hosts = Vec::new();
            for text in item.into_strings(out).unwrap_or_default() {
                match BoundHost::parse(&text.value) {
                    Ok(host) => hosts.push(host),
                    Err(error) => {
                        out.error(&text.location, key.clone(), error.to_string());
                    }
                }
            }
            bindings.push((name.value, hosts));
        }
        // The exact name first, then the longest prefix.
        bindings.sort_by_key(|(name, _)| (name.ends_with('*'), std::cmp::Reverse(name.len())));
        Some(Self(bindings))
    }

    /// The hosts of a name; empty if none of the patterns names it, so that it may go nowhere.
    pub(super) fn hosts(&self, name: &str) -> Vec<BoundHost> {
        let found = self.0.iter().find(|(pattern, _)| match pattern.strip_suffix('*') {
            Some(prefix) => name.starts_with(prefix),
            None => pattern == name,
        });
        found.map(|(_, hosts)| hosts.clone()).unwrap_or_default()
    }

    /// As text, for the digest of a configuration.
    pub(super) fn texts(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(|(name, hosts)| format!("{name} = {}", crate::binding::list(hosts)))
    }
}
