//! All `[attestor.NAME]` tables of a configuration.

use std::path::PathBuf;
use std::sync::Arc;

use claviger_contract::{Clock, Outbound};
use claviger_policy::TrustDomain;
use claviger_policy::document::{Diagnostics, Located, Table, nearest};

use crate::attestor::{Attestor, REGISTRY};
use crate::chain::Chain;

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

/// All attestors of a configuration, by name.
#[derive(Debug, Default)]
pub struct Attestors {
    all: Vec<(Arc<str>, Arc<dyn Attestor>)>,
}

impl Attestors {
    /// Takes the root key `attestor`. Reads the files that it names; makes no call and starts nothing.
    pub fn take(root: &mut Table, env: &IdentityEnv, out: &mut Diagnostics) -> Self {
        let _ = (env, REGISTRY);
        for (_, _table) in root.named_tables("attestor", out) {}
        Self::default()
    }

    /// The attestors that a listener's `authenticate` names, in order. `key` is the listener's dotted key, for
    /// messages. `None` if there was an error.
    pub fn chain(&self, names: &[Located<String>], key: &str, out: &mut Diagnostics) -> Option<Arc<Chain>> {
        let mut chain = Vec::new();
        for name in names {
            match self.all.iter().find(|(known, _)| **known == *name.value) {
                Some((known, attestor)) => chain.push((known.clone(), attestor.clone())),
                None => {
                    let error = out.error(&name.location, key, format!("there is no attestor `{}`", name.value));
                    if let Some(near) = nearest(&name.value, self.all.iter().map(|(name, _)| &**name)) {
                        error.help(format!("did you mean `{near}`?"));
                    }
                }
            }
        }
        (chain.len() == names.len()).then(|| Arc::new(Chain::new(chain)))
    }

    /// Starts background work (file watching, key refresh). Call it once the generation is accepted, with the
    /// generation before, whose fetched key sets carry over where the settings are equal.
    pub fn start(&self, previous: Option<&Self>) {
        for (name, attestor) in &self.all {
            let before = previous.and_then(|p| p.all.iter().find(|(n, _)| n == name)).map(|(_, attestor)| attestor);
            attestor.clone().start(before);
        }
    }

    /// Files that attestors re-read by themselves when they change (no reload is needed for them).
    pub fn watched_files(&self) -> Vec<PathBuf> {
        self.all.iter().flat_map(|(_, attestor)| attestor.watched_files()).collect()
    }

    /// The names of the attributes that each attestor can yield.
    pub fn attribute_names(&self) -> Vec<(Arc<str>, Vec<Arc<str>>)> {
        self.all.iter().map(|(name, attestor)| (name.clone(), attestor.attribute_names())).collect()
    }

    /// What is wrong right now, by attestor: a file that broke after it was loaded, an issuer out of reach.
    pub fn health(&self) -> Vec<(Arc<str>, String)> {
        self.all.iter().flat_map(|(name, a)| a.health().into_iter().map(move |what| (name.clone(), what))).collect()
    }
}
