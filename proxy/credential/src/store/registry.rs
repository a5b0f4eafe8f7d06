//! `[store.NAME]`, and the three stores that are there without one.

use std::collections::BTreeMap;
use std::sync::Arc;

use claviger_policy::document::{Diagnostics, Located, Table, nearest};

use super::candidate::WithCandidate;
use super::{Candidate, SecretHandle, SecretStore};
use crate::digest::Digest;
use crate::reference::SecretReference;
use crate::vault::{Around, Vault};
use crate::{CredentialEnv, TeamScope};

/// What stores need of the process around them.
pub(crate) struct StoreEnv<'a> {
    pub(crate) env: &'a CredentialEnv,
    /// A value that takes the place of the stored one.
    pub(crate) candidate: Option<Arc<Candidate>>,
    /// Those of the generation before: a server's login outlives a reload that leaves its table as it is.
    pub(crate) previous: Option<&'a Stores>,
}

/// A store and the digest of its settings.
#[derive(Clone, Debug)]
pub(super) struct Taken {
    store: Arc<dyn SecretStore>,
    digest: Digest,
    /// The server, if it is asked over a network.
    vault: Option<Arc<Vault>>,
}

impl Taken {
    pub(super) fn new(store: impl SecretStore + 'static, digest: Digest) -> Self {
        Self { store: Arc::new(store), digest, vault: None }
    }

    pub(super) fn of_server(store: impl SecretStore + 'static, vault: Arc<Vault>, digest: Digest) -> Self {
        Self { store: Arc::new(store), digest, vault: Some(vault) }
    }
}

type Take = fn(Option<&mut Table>, &StoreEnv<'_>, &mut Diagnostics) -> Taken;
type TakeRemote = fn(&mut Table, &Stores, &StoreEnv<'_>, &mut Diagnostics) -> Option<Taken>;

/// Every kind of store that is read in place. A built-in store of the same name exists without a table.
const KINDS: &[(&str, Take)] =
    &[("sealed", super::sealed::settings::take), ("env", super::env::take), ("file", super::file::take)];

/// Every kind of store that is asked over a network; what it logs in with stands in one of the others.
const REMOTE: &[(&str, TakeRemote)] = &[("vault", super::vault::take), ("openbao", super::vault::take)];

/// Kinds that are planned, so that their configuration is told apart from a misspelt one.
const PLANNED: &[&str] = &["aws-secrets-manager", "azure-key-vault", "gcp-secret-manager", "conjur"];

/// How a kind is taken.
#[derive(Clone, Copy)]
enum Kind {
    Local(Take),
    Remote(TakeRemote),
}

/// All stores of a configuration by name.
#[derive(Debug)]
pub(crate) struct Stores {
    all: BTreeMap<String, Taken>,
    /// Names of tables that are wrong, which is reported already.
    broken: Vec<String>,
    /// Names of those that are asked over a network.
    remote: Vec<String>,
    teams: Vec<TeamScope>,
}

impl Stores {
    /// Takes the root key `store`.
    pub(crate) fn take(root: &mut Table, env: &StoreEnv<'_>, out: &mut Diagnostics) -> Self {
        let (mut stores, mut remote) = (BTreeMap::new(), Vec::new());
        for (name, mut table) in root.named_tables("store", out) {
            match take_kind(&name, &mut table, out) {
                Some(Kind::Local(take)) => {
                    stores.insert(name.value, take(Some(&mut table), env, out));
                    table.finish(out);
                }
                Some(Kind::Remote(take)) => remote.push((name.value, table, take)),
                None => {}
            }
        }
        for (kind, take) in KINDS {
            stores.entry((*kind).to_owned()).or_insert_with(|| take(None, env, out));
        }
        let names = remote.iter().map(|(name, ..)| name.clone()).collect();
        let local = Self { all: stores, broken: Vec::new(), remote: names, teams: Vec::new() };
        let mut taken = Vec::new();
        for (name, mut table, take) in remote {
            if let Some(store) = take(&mut table, &local, env, out) {
                taken.push((name, store));
            }
            table.finish(out);
        }
        let Self { all: mut stores, remote, .. } = local;
        stores.extend(taken.into_iter().map(|(name, taken)| {
            let known = env.previous.and_then(|previous| previous.all.get(&name));
            let taken = known.filter(|known| known.digest == taken.digest).cloned().unwrap_or(taken);
            if let Some(vault) = &taken.vault {
                vault.adopt(Around::of(env.env));
            }
            (name, taken)
        }));
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
        Self { all: stores, broken, remote, teams: env.env.teams.clone() }
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

    /// Whether a store of this name is asked over a network.
    pub(crate) fn is_remote(&self, name: &str) -> bool {
        self.remote.iter().any(|remote| remote == name)
    }

    /// The server of a store of kind `vault`, with the digest of its settings. `Err`: there is none of that name, and the
    /// message says so, or `None` if the table is wrong, which is said already.
    pub(crate) fn vault(&self, name: &str) -> Result<(Arc<Vault>, Digest), Option<String>> {
        match self.all.get(name) {
            Some(Taken { vault: Some(vault), digest, .. }) => Ok((vault.clone(), *digest)),
            Some(_) => Err(Some(format!("the store `{name}` is not of kind `vault`"))),
            None if self.broken.iter().any(|broken| broken == name) => Err(None),
            None => Err(Some(format!("there is no store `{name}`"))),
        }
    }

    /// Where what is made at a path of a store may go, if its `bindings` cover the path.
    pub(crate) fn bound(&self, store: &str, path: &str) -> Option<Vec<crate::BoundHost>> {
        self.all.get(store)?.store.hosts(path).filter(|hosts| !hosts.is_empty())
    }

    /// What a handle's value depends on besides the value itself.
    pub(crate) fn digest_of(&self, handle: &SecretHandle) -> Vec<u8> {
        let store = self.all.get(handle.reference.store()).map(|taken| taken.digest).unwrap_or_default();
        [&store[..], handle.reference.to_string().as_bytes(), b"\0", handle.name.as_bytes()].concat()
    }
}

fn take_kind(name: &Located<String>, table: &mut Table, out: &mut Diagnostics) -> Option<Kind> {
    let kind = table.required_string("kind", out)?;
    let key = table.key_of("kind");
    if PLANNED.contains(&kind.value.as_str()) {
        out.error(&kind.location, key, format!("stores of kind `{}` are not supported yet", kind.value))
            .help("supported are `sealed`, `env`, `file` and `vault`");
        return None;
    }
    let local = KINDS.iter().map(|(word, take)| (*word, Kind::Local(*take)));
    let all = local.chain(REMOTE.iter().map(|(word, take)| (*word, Kind::Remote(*take))));
    let words = || KINDS.iter().map(|(word, _)| *word).chain(REMOTE.iter().map(|(word, _)| *word));
    let Some((found, take)) = all.into_iter().find(|(word, _)| *word == kind.value) else {
        let diagnostic = out.error(&kind.location, key, format!("`{}` is no kind of store", kind.value));
        match nearest(&kind.value, words().chain(PLANNED.iter().copied())) {
            Some(near) => diagnostic.help(format!("did you mean `{near}`?")),
            None => diagnostic.help("write one of `sealed`, `env`, `file`, `vault`, `openbao`"),
        };
        return None;
    };
    if KINDS.iter().any(|(word, _)| *word == name.value && *word != found) {
        out.error(
            &name.location,
            table.key(),
            format!("`{}` is the name of the built-in store of that kind", name.value),
        )
        .help("give the store another name");
        return None;
    }
    Some(take)
}
