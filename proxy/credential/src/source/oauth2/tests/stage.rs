//! A credential with all that it needs around it, and an `[issuer]` that mints readable tokens.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use claviger_contract::{Attested, Secret, SubjectToken, SubjectTokenError, SubjectTokens, TokenAsk};
use claviger_policy::document::Diagnostics;

use crate::fixture::{START_MS, Seen, World, settle};
use crate::{CredentialEnv, CredentialError, Credentials, Lease, SealedStore};

/// Mints `minted.SUB.AUDIENCE.N`.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    asked: Mutex<Vec<String>>,
}

#[async_trait]
impl SubjectTokens for Tokens {
    fn issuer(&self) -> Option<&str> {
        Some("https://claviger.test")
    }

    async fn mint(&self, ask: TokenAsk<'_>) -> Result<SubjectToken, SubjectTokenError> {
        let mut asked = self.asked.lock().unwrap();
        let subject = ask.claims.get("sub").and_then(|sub| sub.as_str()).unwrap_or(ask.principal.id.as_str());
        let claims = serde_json::Value::Object(ask.claims.clone());
        asked.push(format!("{} {} {}s {claims}", ask.principal.id, ask.audience.join(","), ask.lifetime.as_secs()));
        let token = format!("minted.{}.{}.{}", subject.len(), ask.audience.join(",").len(), asked.len());
        let expires_at = START_MS / 1_000 + i64::try_from(ask.lifetime.as_secs()).unwrap();
        Ok(SubjectToken { token: Secret::from(token), expires_at })
    }
}

pub(super) struct Stage {
    pub(super) world: World,
    pub(super) tokens: Arc<Tokens>,
}

/// What loads, or what is said instead.
pub(super) type Loaded = Result<Credentials, Vec<String>>;

impl Stage {
    pub(super) fn new() -> Self {
        Self { world: World::new(), tokens: Arc::default() }
    }

    pub(super) fn seal(&self, name: &str, value: &str, hosts: &[&str]) {
        let sealed = SealedStore::open(&self.world.path().join("state"));
        let hosts = hosts.iter().map(|host| (*host).to_owned()).collect();
        sealed.set(name, Secret::from(value.to_owned()), hosts, None).unwrap();
    }

    pub(super) fn env(&self) -> CredentialEnv {
        CredentialEnv { tokens: self.tokens.clone(), ..self.world.env() }
    }

    /// `[credential.x]` with these keys, besides its kind and hosts.
    pub(super) fn load_in(&self, keys: &str, env: &CredentialEnv) -> Loaded {
        let text = format!("[credential.x]\nkind = \"oauth2\"\nhosts = [\"api.test\"]\n{keys}");
        let (mut out, mut root) = (Diagnostics::default(), self.world.document(&text));
        let credentials = Credentials::take(&mut root, Vec::new(), env, None, &mut out);
        root.finish(&mut out);
        if out.is_empty() { Ok(credentials) } else { Err(self.world.found(&out)) }
    }

    pub(super) fn load(&self, keys: &str) -> Credentials {
        self.load_in(keys, &self.env()).unwrap_or_else(|found| panic!("{found:#?}"))
    }

    /// What the calls so far were, in order.
    pub(super) fn seen(&self) -> Vec<Seen> {
        std::mem::take(&mut *self.world.issuer.seen.lock().unwrap())
    }

    /// What the issuer was asked so far.
    pub(super) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.tokens.asked.lock().unwrap())
    }
}

pub(super) async fn lease(credentials: &Credentials, caller: &Attested) -> Result<Arc<Lease>, CredentialError> {
    settle(credentials.lease_for("x", caller, true)).await.1
}

/// The fields of a form; each name once.
pub(super) fn form(seen: &Seen) -> BTreeMap<String, String> {
    let pairs: Vec<(String, String)> = url::form_urlencoded::parse(seen.body.as_bytes()).into_owned().collect();
    let fields: BTreeMap<_, _> = pairs.iter().cloned().collect();
    assert_eq!(fields.len(), pairs.len(), "each once: {}", seen.body);
    fields
}
