//! All `[attestor.NAME]` tables of a configuration.

use std::path::PathBuf;
use std::sync::{Arc, Weak};

use claviger_contract::{Clock, Outbound};
use claviger_policy::TrustDomain;
use claviger_policy::document::{Diagnostics, Located, Location, Severity, Table, nearest};

use crate::attestor::{Attestor, REGISTRY, Take, locality};
use crate::chain::Chain;
use crate::watched::LOOK_EVERY;

/// What attestors need of the process around them.
#[derive(Clone, Debug)]
pub struct IdentityEnv {
    /// The trust domain of this configuration.
    pub trust_domain: TrustDomain,
    /// Makes the calls for key sets.
    pub outbound: Arc<dyn Outbound>,
    /// The wall clock.
    pub clock: Arc<dyn Clock>,
    /// Where background refresh and file watching run.
    pub runtime: tokio::runtime::Handle,
}

/// What one attestor can yield.
#[derive(Clone, Debug)]
pub struct Profile {
    /// Its name.
    pub name: Arc<str>,
    /// Where it stands.
    pub location: Option<Location>,
    /// SPIFFE IDs, at least, as patterns.
    pub identities: Vec<String>,
    /// The names of attributes.
    pub attributes: Vec<Arc<str>>,
    /// The attestor that it asks in turn.
    pub verifier: Option<Arc<str>>,
}

/// All attestors of a configuration, by name.
#[derive(Debug)]
pub struct Attestors {
    env: IdentityEnv,
    all: Vec<(Arc<str>, Arc<dyn Attestor>)>,
    places: Vec<(Arc<str>, Location)>,
    /// Names of tables that are wrong, which is reported already.
    broken: Vec<String>,
    /// Whether there was no error in any table.
    is_complete: bool,
}

impl Attestors {
    /// Takes the root key `attestor`. Reads the files that it names; makes no call and starts nothing.
    pub fn take(root: &mut Table, env: &IdentityEnv, out: &mut Diagnostics) -> Self {
        let mut all: Vec<(Arc<str>, Arc<dyn Attestor>)> = Vec::new();
        let before = errors(out);
        let (mut neighbours, mut places) = (Vec::new(), Vec::new());
        for (name, mut table) in root.named_tables("attestor", out) {
            places.push((name.value.as_str().into(), name.location.clone()));
            match find_kind(&mut table, out) {
                Some(Kind::Own(take)) => {
                    let taken = take(&name, &mut table, env, out);
                    all.extend(taken.map(|attestor| (name.value.as_str().into(), attestor)));
                    table.finish(out);
                }
                // It names another one, wherever that stands in the file.
                Some(Kind::Locality) => neighbours.push((name, table)),
                None => {}
            }
        }
        // What is wrong with one of these is reported already.
        let is_neighbour = |name: &&String| neighbours.iter().any(|(known, _)| known.value == **name);
        let others: Vec<String> =
            root.names_of("attestor").iter().filter(|name| !is_neighbour(name)).cloned().collect();
        let is_known = |name: &str| others.iter().any(|known| known == name);
        let mut taken: Vec<(Arc<str>, Arc<dyn Attestor>)> = Vec::new();
        for (name, mut table) in neighbours {
            let attestor = locality::take(&name, &mut table, &all, is_known, env, out);
            taken.extend(attestor.map(|attestor| (name.value.as_str().into(), attestor)));
            table.finish(out);
        }
        all.extend(taken);
        let is_broken = |name: &&String| !all.iter().any(|(known, _)| **known == ***name);
        let broken = root.names_of("attestor").iter().filter(is_broken).cloned().collect();
        Self { all, places, env: env.clone(), broken, is_complete: errors(out) == before }
    }

    /// The attestors that a listener's `authenticate` names, in order. `key` is the listener's dotted key, for
    /// messages. `None` if there was an error.
    pub fn chain(&self, names: &[Located<String>], key: &str, out: &mut Diagnostics) -> Option<Arc<Chain>> {
        let mut chain: Vec<(&str, Arc<dyn Attestor>)> = Vec::new();
        for name in names {
            match self.all.iter().find(|(known, _)| **known == *name.value) {
                Some((known, _)) if chain.iter().any(|(before, _)| *before == &**known) => {
                    out.error(&name.location, key, format!("`{}` is there twice", name.value));
                }
                Some((known, attestor)) => {
                    let same = |(_, before): &&(&str, Arc<dyn Attestor>)| {
                        before.issuer().is_some() && before.issuer() == attestor.issuer()
                    };
                    if let Some((before, _)) = chain.iter().find(same) {
                        let wrong = format!("`{known}` is never asked: `{before}` judges all tokens of the issuer");
                        out.error(&name.location, key, wrong).help("give each a listener of its own, or leave one out");
                    }
                    chain.push((known, attestor.clone()));
                }
                None if self.broken.contains(&name.value) => {}
                None => self.unknown(&name.value, &name.location, key, out),
            }
        }
        let is_whole = chain.len() == names.len();
        let attestors = chain.into_iter().map(|(_, attestor)| attestor).collect();
        is_whole.then(|| Arc::new(Chain::new(self.env.clock.clone(), attestors)))
    }

    /// Whether every table was right, so that what is not known here is nowhere.
    pub fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// Says that there is no attestor of a name.
    pub fn unknown(&self, name: &str, location: &Location, key: &str, out: &mut Diagnostics) {
        let error = out.error(location, key, format!("there is no attestor `{name}`"));
        match nearest(name, self.all.iter().map(|(name, _)| &**name)) {
            Some(near) => error.help(format!("did you mean `{near}`?")),
            None => error.help(format!("define `[attestor.{name}]`")),
        };
    }

    /// Starts background work (file watching, fetching keys), which ends when the attestors are dropped. Call it once
    /// the generation is accepted, with the generation before: keys that it has fetched carry over where the settings
    /// are equal, so that a reload during an issuer's outage takes nothing away.
    pub fn start(&self, previous: Option<&Self>) {
        for (name, attestor) in &self.all {
            let Some(keys) = attestor.remote_keys() else { continue };
            let before = previous.and_then(|previous| previous.all.iter().find(|(known, _)| known == name));
            if let Some(before) = before.and_then(|(_, attestor)| attestor.remote_keys()) {
                keys.adopt(before);
            }
            keys.start();
        }
        let watching: Vec<Weak<dyn Attestor>> = self
            .all
            .iter()
            .filter(|(_, attestor)| attestor.reads_files())
            .map(|(_, attestor)| Arc::downgrade(attestor))
            .collect();
        if !watching.is_empty() {
            self.env.runtime.spawn(watch(watching));
        }
    }

    /// Reads changed files now instead of at the next look, as after a signal to reload.
    pub fn look_at_files(&self) {
        self.all.iter().for_each(|(_, attestor)| attestor.look_at_files());
    }

    /// Files that the configuration is loaded again for when they change.
    pub fn watched_files(&self) -> Vec<PathBuf> {
        self.all.iter().flat_map(|(_, attestor)| attestor.watched_files()).collect()
    }

    /// What each attestor can yield, in the order of the file.
    pub fn profiles(&self) -> Vec<Profile> {
        let profile = |(name, attestor): &(Arc<str>, Arc<dyn Attestor>)| Profile {
            name: name.clone(),
            location: self.places.iter().find(|(known, _)| known == name).map(|(_, place)| place.clone()),
            identities: attestor.identities(),
            attributes: attestor.attribute_names(),
            verifier: attestor.verifier().cloned(),
        };
        self.all.iter().map(profile).collect()
    }

    /// The names of the attributes that each attestor can yield.
    pub fn attribute_names(&self) -> Vec<(Arc<str>, Vec<Arc<str>>)> {
        self.all.iter().map(|(name, attestor)| (name.clone(), attestor.attribute_names())).collect()
    }

    /// What is wrong right now, by attestor: a file that broke after it was loaded, an issuer out of reach.
    pub fn health(&self) -> Vec<(Arc<str>, String)> {
        self.all.iter().flat_map(|(name, it)| it.health().into_iter().map(move |what| (name.clone(), what))).collect()
    }
}

fn errors(out: &Diagnostics) -> usize {
    out.iter().filter(|one| one.severity == Severity::Error).count()
}

/// Who reads the rest of a table.
enum Kind {
    Own(Take),
    /// Rests on another attestor.
    Locality,
}

const LOCALITY: &str = "locality";

/// Takes `kind` and finds who reads the rest of the table.
fn find_kind(table: &mut Table, out: &mut Diagnostics) -> Option<Kind> {
    let kind = table.required_string("kind", out)?;
    if let Some((_, take)) = REGISTRY.iter().find(|(known, _)| *known == kind.value) {
        return Some(Kind::Own(*take));
    }
    if kind.value == LOCALITY {
        return Some(Kind::Locality);
    }
    let key = table.key_of("kind");
    let all = || REGISTRY.iter().map(|(known, _)| *known).chain([LOCALITY]);
    let help = match nearest(&kind.value, all()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("write one of {}", all().collect::<Vec<_>>().join(", ")),
    };
    out.error(&kind.location, key, format!("there is no kind of attestor `{}`", kind.value)).help(help);
    None
}

/// Looks at files until all attestors are gone.
async fn watch(attestors: Vec<Weak<dyn Attestor>>) {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let alive: Vec<Arc<dyn Attestor>> = attestors.iter().filter_map(Weak::upgrade).collect();
        if alive.is_empty() {
            return;
        }
        // Reading files blocks. A look that panicked is made again.
        let look = move || alive.iter().for_each(|attestor| attestor.look_at_files());
        let _ = tokio::task::spawn_blocking(look).await;
    }
}
