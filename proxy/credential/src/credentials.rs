//! All credentials of one configuration.

mod narrowed;

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use claviger_contract::{Attested, Clock, EventSink, Outbound, Secretless, SubjectTokens};
use claviger_policy::document::{Diagnostics, Located, Table};
use claviger_policy::{CredentialFacts, Grant, HostPattern, Scheme, SpiffeId};
use http::StatusCode;

use self::narrowed::Narrowed;
use crate::binding::BoundHost;
use crate::cache::{Keeper, LeaseState, Reread, Revocations};
use crate::digest::Digest;
use crate::guard;
use crate::lease::ONLY_FIELD;
use crate::reference::SecretReference;
use crate::settings::{self, CredentialSettings};
use crate::source::SourceEnv;
use crate::store::{Candidate, StoreEnv, Stores};
use crate::{CredentialError, Lease, LeaseAnswer, Login, Renewer, TeamScope};

/// What credentials need of the process around them.
#[derive(Clone, Debug)]
pub struct CredentialEnv {
    /// Holds `sealed/` and `keys/`.
    pub state_dir: PathBuf,
    /// Control calls.
    pub outbound: Arc<dyn Outbound>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Takes what happens to credentials.
    pub events: Arc<dyn EventSink>,
    /// Mints tokens for principals, for sources that exchange them.
    pub tokens: Arc<dyn SubjectTokens>,
    /// Sends refresh tokens, and seals what comes back.
    pub renewer: Arc<dyn Renewer>,
    /// The control runtime: mints and refreshes run there.
    pub runtime: tokio::runtime::Handle,
    /// What the files of teams may reach; a team that is not here may reach nothing.
    pub teams: Vec<TeamScope>,
}

/// `[service.NAME] secret = "secret://…"`: a static credential named after the service.
#[derive(Clone, Debug)]
pub struct ServiceSecret {
    /// The service's name.
    pub service: Located<String>,
    /// The reference.
    pub reference: Located<String>,
    /// The service's hosts.
    pub hosts: Vec<HostPattern>,
    /// What is spoken to the service.
    pub scheme: Scheme,
}

/// All credentials of one configuration, with their caches.
#[derive(Debug)]
pub struct Credentials {
    keepers: Arc<HashMap<Arc<str>, Entry>>,
    /// What is being ended at its issuer; one for all generations.
    revocations: Arc<Revocations>,
    /// For the next generation: logins outlive a reload.
    stores: Stores,
}

/// A credential in the inventory.
#[derive(Clone, Debug)]
pub struct Inventoried {
    /// `[credential.NAME]`.
    pub name: Arc<str>,
    /// Whose files it stands in, if a team's.
    pub team: Option<Arc<str>>,
    /// `static`, `oauth2`, ….
    pub kind: &'static str,
    /// Where it may go.
    pub hosts: Vec<String>,
    /// The secrets that are behind it.
    pub references: Vec<SecretReference>,
    /// Whether any is.
    pub secretless: Secretless,
    /// How its leases stand.
    pub state: LeaseState,
}

#[derive(Debug)]
struct Entry {
    keeper: Arc<Keeper>,
    digest: Digest,
    facts: CredentialFacts,
    kind: &'static str,
    hosts: Vec<BoundHost>,
    fields: Vec<Arc<str>>,
    /// Those whose value, as it was at load, is too short for answers to be searched for it.
    short: Vec<Arc<str>>,
    /// Whether no store says where the value may go, which then only the configuration does.
    is_unbound: bool,
    /// As rules narrow it.
    narrowed: ArcSwap<Narrowed>,
    /// Those of the generation before, if the credential says what it said then.
    former: Arc<Narrowed>,
}

/// How often stores are asked whether a value changed.
const TICK: Duration = Duration::from_secs(1);

impl Credentials {
    /// Takes the root keys `store` and `credential`. Whatever is wrong is in `out`; the credentials that
    /// are right are in the result all the same, so that others can be checked against them.
    ///
    /// Secrets of local stores are read here, so that a missing one is found before a request needs it;
    /// they are read again within about a second of a change. A credential whose configuration is that of
    /// `previous` keeps its leases.
    pub fn take(
        root: &mut Table,
        shorthands: Vec<ServiceSecret>,
        env: &CredentialEnv,
        previous: Option<&Credentials>,
        out: &mut Diagnostics,
    ) -> Self {
        Self::take_all(root, shorthands, env, previous, None, out)
    }

    /// As [`take`](Self::take), with a value in the place of the stored one: for a probe of it.
    pub fn take_with(
        root: &mut Table,
        shorthands: Vec<ServiceSecret>,
        env: &CredentialEnv,
        candidate: Candidate,
        out: &mut Diagnostics,
    ) -> Self {
        Self::take_all(root, shorthands, env, None, Some(Arc::new(candidate)), out)
    }

    fn take_all(
        root: &mut Table,
        shorthands: Vec<ServiceSecret>,
        env: &CredentialEnv,
        previous: Option<&Credentials>,
        candidate: Option<Arc<Candidate>>,
        out: &mut Diagnostics,
    ) -> Self {
        let previous_stores = previous.map(|previous| &previous.stores);
        let stores = Stores::take(root, &StoreEnv { env, candidate, previous: previous_stores }, out);
        let settings = settings::take(root, shorthands, &SourceEnv { stores: &stores, env }, out);
        let revocations = previous.map_or_else(
            || Revocations::new(env.clock.clone(), env.events.clone(), env.runtime.clone()),
            |previous| previous.revocations.clone(),
        );
        let entries = settings.into_iter().map(|settings| {
            let entry = Entry::new(settings, env, previous, &revocations);
            (entry.keeper.name.clone(), entry)
        });
        let keepers = Arc::new(entries.collect::<HashMap<_, _>>());
        if !keepers.is_empty() {
            let keepers = Arc::downgrade(&keepers);
            env.runtime.spawn(async move {
                let mut ticks = tokio::time::interval(TICK);
                ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
                loop {
                    ticks.tick().await;
                    let Some(keepers) = keepers.upgrade() else { return };
                    keepers.values().flat_map(Entry::all_keepers).for_each(|keeper| keeper.tick());
                }
            });
        }
        Self { keepers, revocations, stores }
    }

    /// These are in force now, in the place of `previous`, and `used` are those that some rule names. What was minted for
    /// a credential that is gone, is another one now, or is named by no rule any more, is let go and ended at its issuer.
    pub fn supersede(&self, previous: &Self, used: &HashSet<&str>) {
        for (name, former) in previous.keepers.iter() {
            let kept = self.keepers.get(name).filter(|entry| Arc::ptr_eq(&entry.keeper.cache, &former.keeper.cache));
            match kept {
                Some(_) if used.contains(&**name) => {}
                Some(entry) => entry.keeper.retire(&"no rule uses the credential any more".into()),
                None => former.keeper.retire(&"the credential was removed or configured anew".into()),
            }
            let kept: Vec<_> = kept.into_iter().flat_map(Entry::all_keepers).collect();
            for former in former.all_keepers().skip(1) {
                if !kept.iter().any(|keeper| Arc::ptr_eq(&keeper.cache, &former.cache)) {
                    former.retire(&"no rule narrows the credential so any more".into());
                }
            }
        }
    }

    /// The process stops: what issuers can end is ended, also what is on its way from one. Takes `limit` at most; what was
    /// not ended by then is recorded, and ends at its expiry.
    pub async fn close(&self, limit: Duration) {
        let begun = tokio::time::Instant::now();
        let why: Arc<str> = "the proxy stops".into();
        let on_their_way: Vec<_> =
            self.keepers.values().flat_map(Entry::all_keepers).flat_map(|keeper| keeper.close(&why)).collect();
        let landed = async {
            for mut landing in on_their_way {
                // A mint whose task is gone has landed too.
                let _ = landing.wait_for(Option::is_some).await;
            }
        };
        let _ = tokio::time::timeout(limit, landed).await;
        self.revocations.close(limit.saturating_sub(begun.elapsed())).await;
    }

    /// What policy knows of the credentials, by name.
    pub fn facts(&self) -> Vec<CredentialFacts> {
        let mut facts: Vec<_> = self.keepers.values().map(|entry| entry.facts.clone()).collect();
        facts.sort_by(|a, b| a.name.value.cmp(&b.name.value));
        facts
    }

    /// All of them, in the order of their names, as whoever looks after them wants to know them.
    pub fn inventory(&self) -> Vec<Inventoried> {
        let of = |entry: &Entry| Inventoried {
            name: entry.keeper.name.clone(),
            team: entry.facts.name.location.team().cloned(),
            kind: entry.kind,
            hosts: entry.hosts.iter().map(ToString::to_string).collect(),
            references: entry.keeper.source.secrets().into_iter().cloned().collect(),
            secretless: entry.keeper.source.secretless(),
            state: entry.keeper.state(),
        };
        let mut all: Vec<_> = self.keepers.values().map(of).collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    /// The credentials that read `secret://STORE/NAME`, whichever field of it, in the order of their names.
    pub fn reading(&self, store: &str, name: &str) -> Vec<Arc<str>> {
        let is_it = |secret: &&SecretReference| (secret.store(), secret.name()) == (store, name);
        let reads = |entry: &&Entry| entry.keeper.source.secrets().iter().any(is_it);
        let mut names: Vec<_> = self.keepers.values().filter(reads).map(|entry| entry.keeper.name.clone()).collect();
        names.sort();
        names
    }

    /// Every secret that is read, each once.
    pub fn references(&self) -> Vec<SecretReference> {
        let mut all: Vec<SecretReference> = Vec::new();
        for secret in self.keepers.values().flat_map(|entry| entry.keeper.source.secrets()) {
            if !all.contains(secret) {
                all.push(secret.clone());
            }
        }
        all
    }

    /// How somebody logs in for a credential; `None` if there is none of that name that is had by a login.
    pub fn login(&self, name: &str) -> Option<Login> {
        self.keepers.get(name)?.keeper.source.login()
    }

    /// The credentials of which no store says where their value may go, with the references that they read.
    pub fn unbound(&self) -> Vec<(Arc<str>, Vec<String>)> {
        let unbound = self.keepers.values().filter(|entry| entry.is_unbound);
        let mut all: Vec<_> = unbound
            .map(|entry| {
                let references = entry.keeper.source.secrets().iter().map(ToString::to_string).collect();
                (entry.keeper.name.clone(), references)
            })
            .collect();
        all.sort();
        all
    }

    /// The names of a credential's fields: what `from = "…"` of an injection may say.
    pub fn fields(&self, name: &str) -> Option<&[Arc<str>]> {
        self.keepers.get(name).map(|entry| entry.fields.as_slice())
    }

    /// Whether a credential has what an injection asks for: the field of that name, or for `None` its only or main one.
    pub fn has_field(&self, name: &str, field: Option<&str>) -> bool {
        self.fields(name).is_some_and(|fields| match field {
            None if fields.len() == 1 => true,
            _ => fields.iter().any(|known| **known == *field.unwrap_or(ONLY_FIELD)),
        })
    }

    /// Whether the value of a field is too short for answers to be searched for it, which a guarded service refuses.
    pub fn is_too_short(&self, name: &str, field: Option<&str>) -> bool {
        self.keepers.get(name).is_some_and(|entry| match (field, entry.fields.as_slice()) {
            (None, [only]) => entry.short.contains(only),
            _ => entry.short.iter().any(|short| **short == *field.unwrap_or(ONLY_FIELD)),
        })
    }

    /// A lease of the credential that the grant names: at once, without waiting or allocating, if a good
    /// one is held; else it is minted once for all who wait.
    ///
    /// `replayable`: whether the request could be sent once more after a 401. Only such a one tries a rotated value
    /// that nobody has seen upstream take.
    pub fn lease(&self, name: &str, grant: &Grant, attested: &Attested, replayable: bool) -> LeaseAnswer {
        // The binding is checked against the grant's target where the lease is injected.
        match grant.obligations().narrow.as_ref() {
            None => self.lease_for(name, attested, replayable),
            narrow => match self.keepers.get(name).and_then(|entry| entry.keeper_for(narrow)) {
                Some(keeper) => keeper.lease(attested, replayable),
                // Never the whole in the place of a part.
                None => {
                    let error = CredentialError::NotNarrowed(name.into());
                    LeaseAnswer::Wait(Box::pin(std::future::ready(Err(error))))
                }
            },
        }
    }

    /// The source of a credential, for its own tests.
    #[cfg(test)]
    pub(crate) fn source(&self, name: &str) -> Arc<dyn crate::source::Source> {
        self.keepers[name].keeper.source.clone()
    }

    pub(crate) fn lease_for(&self, name: &str, attested: &Attested, replayable: bool) -> LeaseAnswer {
        match self.keepers.get(name) {
            Some(entry) => entry.keeper.lease(attested, replayable),
            None => {
                let error = CredentialError::Unknown(name.into());
                LeaseAnswer::Wait(Box::pin(std::future::ready(Err(error))))
            }
        }
    }

    /// Upstream refused the value (401). If it is renewable and still the current one, the next request
    /// mints anew; at most once in 30 seconds.
    pub fn invalidate(&self, lease: &Arc<Lease>) {
        if let Some(entry) = self.keepers.get(&lease.stamp.name) {
            // Versions are random: only the one that has it knows it.
            entry.all_keepers().for_each(|keeper| keeper.invalidate(lease));
        }
    }

    /// An operator suspended the credential: its leases are dropped and wiped. What is asked for after that is minted
    /// anew, so that whoever suspends also refuses the requests. A name that there is not is ignored.
    pub fn drop_leases(&self, name: &str, why: &Arc<str>) {
        if let Some(entry) = self.keepers.get(name) {
            entry.all_keepers().for_each(|keeper| keeper.drop_leases(why));
        }
    }

    /// An operator suspended some callers: leases that are theirs alone are dropped and wiped, and what was made for them
    /// is ended at its issuer. What everybody shares stays.
    pub fn drop_leases_of(&self, is_meant: &dyn Fn(&SpiffeId) -> bool, why: &Arc<str>) {
        self.keepers.values().flat_map(Entry::all_keepers).for_each(|keeper| keeper.drop_leases_of(is_meant, why));
    }

    /// Whether upstream may refuse a value of the credential and take another that is to be had: then a small body is
    /// kept for the time of an exchange.
    pub fn may_be_exchanged(&self, name: &str) -> bool {
        self.keepers.get(name).is_some_and(|entry| entry.keeper.source.is_renewable() || entry.keeper.is_rotating())
    }

    /// Reads a credential's value again now, instead of within a second: somebody knows that it has changed.
    ///
    /// # Errors
    ///
    /// It cannot be read; a lease that is held serves on, unless the secret was removed.
    pub async fn reread(&self, name: &str) -> Result<Reread, CredentialError> {
        match self.keepers.get(name) {
            Some(entry) => entry.keeper.reread().await,
            None => Err(CredentialError::Unknown(name.into())),
        }
    }

    /// Upstream refused a value (401) while a [rotation](Lease::is_rotating) is open: the other one, if it is worth a try.
    pub fn other(&self, refused: &Lease) -> Option<Arc<Lease>> {
        self.keepers.get(&refused.stamp.name)?.keeper.other(refused)
    }

    /// What upstream said to a value while a rotation is open. It decides which of the two serves from now on.
    /// `replayed`: the request was sent once more, and this is the value that it was sent with then.
    pub fn answered(&self, lease: &Lease, replayed: bool, status: StatusCode) {
        if let Some(entry) = self.keepers.get(&lease.stamp.name).filter(|_| lease.rotating) {
            entry.keeper.answered(lease, replayed, status);
        }
    }
}

impl Entry {
    fn new(
        settings: CredentialSettings,
        env: &CredentialEnv,
        previous: Option<&Credentials>,
        revocations: &Arc<Revocations>,
    ) -> Self {
        let CredentialSettings { name, kind, taken, configured, hosts, serve_until, digest } = settings;
        let before = previous.and_then(|previous| previous.keepers.get(name.value.as_str()));
        let keeper = Arc::new(Keeper {
            name: name.value.as_str().into(),
            source: taken.source,
            hosts: configured,
            serve_until_ms: serve_until.map(|limit| i64::try_from(limit.as_millis()).unwrap_or(i64::MAX)),
            revocations: revocations.clone(),
            cache: before
                .filter(|entry| entry.digest == digest)
                .map_or_else(Arc::default, |entry| entry.keeper.cache.clone()),
            clock: env.clock.clone(),
            events: env.events.clone(),
            runtime: env.runtime.clone(),
        });
        let former = narrowed::former(before.filter(|entry| entry.digest == digest));
        let is_unbound = taken.bound.is_none() && taken.seed.is_some();
        let is_short = |(name, value): &(Arc<str>, _)| (!guard::can_guard(value)).then(|| name.clone());
        let minted = taken.seed.iter().flat_map(|(minted, _)| &minted.fields);
        let short = minted.filter_map(is_short).collect();
        if let Some((minted, revision)) = taken.seed
            && !keeper.holds(revision)
            && let Ok(leased) = keeper.make_lease(minted, None)
        {
            keeper.seed(leased, revision);
        }
        let facts = CredentialFacts { name, hosts: hosts.iter().map(|host| host.pattern().clone()).collect() };
        let narrowed = ArcSwap::default();
        Self { keeper, digest, facts, kind, hosts, fields: taken.fields, short, is_unbound, narrowed, former }
    }
}

#[cfg(test)]
mod tests;
