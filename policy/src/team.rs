//! `[team.NAME]`: what the files of a team may say, and nothing beyond.
//!
//! A team's rules concern its own identities only, go to its services only, and inject its own credentials or those
//! of the platform that it was lent. Teams have no identity in common, so that no team can concern another.

use std::sync::Arc;

use crate::document::{Diagnostics, Located, Location, Table, nearest};
use crate::workload::IdPattern;
use crate::{ServiceRoute, SpiffeId, TrustDomain};

/// The most that `priority_max` can be; what a rule can have at most.
const PRIORITY: i64 = 1_000_000;

/// The bounds of one team, as policy sees them.
#[derive(Clone, Debug)]
pub struct Team {
    name: Arc<str>,
    location: Location,
    owner: Option<Arc<str>>,
    identities: Vec<IdPattern>,
    services: Vec<Arc<str>>,
    credentials: Vec<Located<String>>,
    priority_max: i64,
    frozen: bool,
    settled: bool,
}

impl Team {
    /// Takes `owner`, `identities`, `services`, `credentials` and `priority_max` from `[team.NAME]`.
    ///
    /// `services` are those that are right; `known` are the names of all, so that a broken one is reported once.
    pub fn take(
        name: &Located<String>,
        table: &mut Table,
        trust_domain: &TrustDomain,
        services: &[ServiceRoute],
        known: &[String],
        out: &mut Diagnostics,
    ) -> Option<Self> {
        let owner = table.string("owner", out).map(|owner| owner.value.into());
        let identities = take_identities(table, trust_domain, out);
        let services = take_services(table, services, known, out);
        let credentials = table.strings("credentials", out).unwrap_or_default();
        let priority_max = table.integer("priority_max", -PRIORITY..=PRIORITY, out).map_or(0, |max| max.value);
        Some(Self {
            name: name.value.as_str().into(),
            location: name.location.clone(),
            owner,
            identities: identities?,
            services: services?,
            credentials,
            priority_max,
            frozen: false,
            settled: false,
        })
    }

    /// Teams of one installation have no identity in common.
    pub fn are_apart(teams: &[Self], out: &mut Diagnostics) {
        for (at, team) in teams.iter().enumerate() {
            for other in teams.iter().take(at) {
                let mut pairs = team.identities.iter().flat_map(|mine| other.identities.iter().map(move |t| (mine, t)));
                if let Some(id) = pairs.find_map(|(mine, theirs)| mine.common(theirs)) {
                    let message =
                        format!("`{id}` would be of this team and of team `{}` ({})", other.name, other.location);
                    out.error(&team.location, format!("team.{}.identities", team.name), message)
                        .help("give each identity to one team, so that no team can concern another");
                }
            }
        }
    }

    /// The same team without what its files say: whoever is of it is denied.
    ///
    /// Its own denies are lost with its files, so that no allow of the platform may hold for it either.
    #[must_use]
    pub fn freeze(self) -> Self {
        Self { frozen: true, ..self }
    }

    /// The same team with files that have been in force: a tie of theirs is no error of the team now, since the
    /// platform's rules changed. Requests of both are denied as ambiguous.
    #[must_use]
    pub fn settle(self) -> Self {
        Self { settled: true, ..self }
    }

    /// Whether its files have been in force.
    pub fn is_settled(&self) -> bool {
        self.settled
    }

    /// `[team.NAME]`.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Where it stands.
    pub fn location(&self) -> &Location {
        &self.location
    }

    /// Whom to ask.
    pub fn owner(&self) -> Option<&Arc<str>> {
        self.owner.as_ref()
    }

    /// The names of the services that it may name.
    pub fn services(&self) -> &[Arc<str>] {
        &self.services
    }

    /// The platform's credentials that its rules may inject.
    pub fn credentials(&self) -> impl Iterator<Item = &str> {
        self.credentials.iter().map(|name| name.value.as_str())
    }

    /// Whether it has no files in force.
    pub fn is_frozen(&self) -> bool {
        self.frozen
    }

    /// Whether an identity is one of its.
    pub fn has(&self, id: &SpiffeId) -> bool {
        self.identities.iter().any(|pattern| pattern.matches(id))
    }

    pub(crate) fn identities(&self) -> &[IdPattern] {
        &self.identities
    }

    /// Whether every identity of a pattern is one of its: provably, by one of its own patterns.
    pub(crate) fn covers(&self, pattern: &IdPattern) -> bool {
        self.identities.iter().any(|mine| mine.covers(pattern))
    }

    pub(crate) fn may_use(&self, service: &str) -> bool {
        self.services.iter().any(|name| **name == *service)
    }

    pub(crate) fn priority_max(&self) -> i64 {
        self.priority_max
    }

    /// What it lends must be there.
    pub(crate) fn check_credentials(&self, known: &dyn Fn(&str) -> bool, all: &[&str], out: &mut Diagnostics) {
        for name in self.credentials.iter().filter(|name| !known(&name.value)) {
            let key = format!("team.{}.credentials", self.name);
            let found = out.error(&name.location, key, format!("there is no credential `{}`", name.value));
            match nearest(&name.value, all.iter().copied()) {
                Some(near) => found.help(format!("did you mean `{near}`?")),
                None => found.help(format!("define `[credential.{}]`; a team's own need not be listed", name.value)),
            };
        }
    }

    /// The identities, for messages.
    pub(crate) fn identities_text(&self) -> String {
        let all: Vec<String> = self.identities.iter().map(|pattern| format!("`{pattern}`")).collect();
        all.join(", ")
    }

    /// The services, for messages.
    pub(crate) fn services_text(&self) -> String {
        match self.services.as_slice() {
            [] => "it has none".to_owned(),
            all => all.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "),
        }
    }
}

fn take_identities(table: &mut Table, trust_domain: &TrustDomain, out: &mut Diagnostics) -> Option<Vec<IdPattern>> {
    let key = table.key_of("identities");
    if !table.has("identities") {
        table.missing("identities", out).help(format!("write `identities = [\"spiffe://{trust_domain}/TEAM/**\"]`"));
    }
    let place = table.location().clone();
    let texts = table.strings("identities", out)?;
    if texts.is_empty() {
        out.error(&place, key, "the list is empty, so that the team has nobody").help("name at least one SPIFFE ID");
        return None;
    }
    let parse = |text: &Located<String>| match IdPattern::parse(&text.value) {
        Ok(pattern) if pattern.domain() != trust_domain => {
            let message = format!("`{}` is of another trust domain than `{trust_domain}`", text.value);
            out.error(&text.location, key.clone(), message)
                .help("whom another domain vouches for is the platform's to let in");
            None
        }
        Ok(pattern) => Some(pattern),
        Err(message) => {
            out.error(&text.location, key.clone(), message);
            None
        }
    };
    let parsed: Vec<_> = texts.iter().map(parse).collect();
    parsed.into_iter().collect()
}

fn take_services(
    table: &mut Table,
    services: &[ServiceRoute],
    known: &[String],
    out: &mut Diagnostics,
) -> Option<Vec<Arc<str>>> {
    let key = table.key_of("services");
    if !table.has("services") {
        table.missing("services", out).help("list the services that the team's rules may name");
    }
    let mut right = true;
    let mut all = Vec::new();
    for name in table.strings("services", out)? {
        if let Some(service) = services.iter().find(|service| **service.name() == *name.value) {
            all.push(service.name().clone());
        } else if !known.contains(&name.value) {
            right = false;
            let found = out.error(&name.location, key.clone(), format!("there is no service `{}`", name.value));
            match nearest(&name.value, known.iter().map(String::as_str)) {
                Some(near) => found.help(format!("did you mean `{near}`?")),
                None => found.help(format!("define `[service.{}]`", name.value)),
            };
        }
    }
    right.then_some(all)
}
