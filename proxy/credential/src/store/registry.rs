//! `[store.NAME]`, and the three stores that are there without one.

use std::collections::BTreeMap;
use std::sync::Arc;

use claviger_policy::document::{Diagnostics, Located, Table, nearest};

use super::candidate::WithCandidate;
use super::{Candidate, SecretHandle, SecretStore};
use crate::digest::Digest;
use crate::reference::SecretReference;
use crate::{CredentialEnv, TeamScope};

/// What stores need of the process around them.
pub(crate) struct StoreEnv<'a> {
    pub(crate) env: &'a CredentialEnv,
    /// A value that takes the place of the stored one.
    pub(crate) candidate: Option<Arc<Candidate>>,
}

/// A store and the digest of its settings.
pub(super) struct Taken {
    store: Arc<dyn SecretStore>,
    digest: Digest,
}

impl Taken {
    pub(super) fn new(store: impl SecretStore + 'static, digest: Digest) -> Self {
        Self { store: Arc::new(store), digest }
    }
}

type Take = fn(Option<&mut Table>, &StoreEnv<'_>, &mut Diagnostics) -> Taken;

/// Every kind of store. A built-in store of the same name exists without a table.
const KINDS: &[(&str, Take)] =
    &[("sealed", super::sealed::settings::take), ("env", super::env::take), ("file", super::file::take)];

/// Kinds that are planned, so that their configuration is told apart from a misspelt one.
const PLANNED: &[&str] =
    &["vault", "openbao", "aws-secrets-manager", "azure-key-vault", "gcp-secret-manager", "conjur"];

/// All stores of a configuration by name.
pub(crate) struct Stores {
    all: BTreeMap<String, Taken>,
    /// Names of tables that are wrong, which is reported already.
    broken: Vec<String>,
    teams: Vec<TeamScope>,
}

impl Stores {
    /// Takes the root key `store`.
    pub(crate) fn take(root: &mut Table, env: &StoreEnv<'_>, out: &mut Diagnostics) -> Self {
        let mut stores = BTreeMap::new();
        for (name, mut table) in root.named_tables("store", out) {
            let Some(take) = take_kind(&name, &mut table, out) else { continue };
            stores.insert(name.value, take(Some(&mut table), env, out));
            table.finish(out);
        }
        for (kind, take) in KINDS {
            stores.entry((*kind).to_owned()).or_insert_with(|| take(None, env, out));
        }
        if let Some(candidate) = &env.candidate
            && let Some(taken) = stores.get_mut(candidate.store())
        {
            taken.store = Arc::new(WithCandidate { store: taken.store.clone(), candidate: candidate.clone() });
        }
        let is_broken = |name: &&String| !stores.contains_key(*name);
        let broken: Vec<String> = root.names_of("store").iter().filter(is_broken).cloned().collect();
        for team in &env.env.teams {
            let is_known = |name: &str| stores.contains_key(name) || broken.iter().any(|broken| broken == name);
            team.check_stores(is_known, || stores.keys().map(String::as_str).collect(), out);
        }
        Self { all: stores, broken, teams: env.env.teams.clone() }
    }

    /// Parses a reference, finds its store and checks the name.
    pub(crate) fn find(&self, written: &Located<String>, key: &str, out: &mut Diagnostics) -> Option<SecretHandle> {
        let reference = match SecretReference::parse(&written.value) {
            Ok(reference) => reference,
            Err(error) => {
                out.error(&written.location, key, error.to_string()).help(
                    "seal the value with `claviger secret set NAME --for SERVICE` and write `secret://sealed/NAME`",
                );
                return None;
            }
        };
        // The one door for references, so that no source can forget to ask whose file it stands in.
        if let Some(team) = TeamScope::of(&written.location, &self.teams).ok()?
            && !team.check_secret(written, &reference, key, out)
        {
            return None;
        }
        let Some(Taken { store, .. }) = self.all.get(reference.store()) else {
            if self.broken.iter().any(|name| name == reference.store()) {
                return None;
            }
            let message = format!("there is no store `{}`", reference.store());
            let help = match nearest(reference.store(), self.all.keys().map(String::as_str)) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "`sealed`, `env` and `file` are there; others are defined as `[store.NAME]`".to_owned(),
            };
            out.error(&written.location, key, message).help(help);
            return None;
        };
        match store.resolve(reference.name(), &written.location) {
            Ok(name) => Some(SecretHandle { store: store.clone(), name, reference }),
            Err(error) => {
                out.error(&written.location, key, error.to_string());
                None
            }
        }
    }

    /// What a handle's value depends on besides the value itself.
    pub(crate) fn digest_of(&self, handle: &SecretHandle) -> Vec<u8> {
        let store = self.all.get(handle.reference.store()).map(|taken| taken.digest).unwrap_or_default();
        [&store[..], handle.reference.to_string().as_bytes(), b"\0", handle.name.as_bytes()].concat()
    }
}

fn take_kind(name: &Located<String>, table: &mut Table, out: &mut Diagnostics) -> Option<Take> {
    let kind = table.required_string("kind", out)?;
    let key = table.key_of("kind");
    if PLANNED.contains(&kind.value.as_str()) {
        out.error(&kind.location, key, format!("stores of kind `{}` are not supported yet", kind.value))
            .help("supported are `sealed`, `env` and `file`");
        return None;
    }
    let Some((found, take)) = KINDS.iter().find(|(word, _)| *word == kind.value) else {
        let diagnostic = out.error(&kind.location, key, format!("`{}` is no kind of store", kind.value));
        match nearest(&kind.value, KINDS.iter().map(|(word, _)| *word).chain(PLANNED.iter().copied())) {
            Some(near) => diagnostic.help(format!("did you mean `{near}`?")),
            None => diagnostic.help("write one of `sealed`, `env`, `file`"),
        };
        return None;
    };
    if KINDS.iter().any(|(word, _)| *word == name.value && word != found) {
        out.error(
            &name.location,
            table.key(),
            format!("`{}` is the name of the built-in store of that kind", name.value),
        )
        .help("give the store another name");
        return None;
    }
    Some(*take)
}
