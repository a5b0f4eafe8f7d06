//! `kind = "jwt"`: a token of one issuer (RFC 7519; OpenID Connect, Kubernetes, CI systems).

mod preset;
mod settings;
mod tenant;

pub use preset::complete_attestor;

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use claviger_contract::{Attested, Clock, Proof, ProofDigest, Secret};
use claviger_policy::Principal;
use serde_json::{Map, Value};

use self::preset::Subject;
use super::{Attestor, Evidence};
use crate::IdentityError;
use crate::token::algorithm::Algorithm;
use crate::token::claims::{ClaimPath, Times, check_audience};
use crate::token::conditions::Conditions;
use crate::token::jws::{self, Profile};
use crate::token::key_source::KeySource;
use crate::token::remote::RemoteKeys;
use crate::token::template::Template;
use crate::token::verified::Verified;

pub(super) use preset::{github_actions, gitlab_ci, kubernetes};
pub(super) use settings::{take, take_audience, take_times};

/// How many verified tokens are remembered.
const VERIFIED_MAX: usize = 16_384;

#[derive(Debug)]
struct Jwt {
    name: Arc<str>,
    clock: Arc<dyn Clock>,
    issuer: String,
    audience: Vec<String>,
    algorithms: Vec<Algorithm>,
    times: Times,
    identity: Template<ClaimPath>,
    subject: Option<Subject>,
    is_of_pods: bool,
    conditions: Conditions,
    keys: KeySource,
    /// Who may serve the keys: read once, so that a change is a matter of a reload.
    ca_file: Option<PathBuf>,
    verified: Verified<Remembered>,
}

#[derive(Clone, Debug)]
struct Remembered {
    attested: Attested,
    generation: u64,
}

#[async_trait]
impl Attestor for Jwt {
    fn evidence(&self) -> Evidence {
        Evidence::Token
    }

    fn attribute_names(&self) -> Vec<Arc<str>> {
        self.conditions.attribute_names()
    }

    fn identities(&self) -> Vec<String> {
        vec![self.identity.pattern()]
    }

    fn watched_files(&self) -> Vec<PathBuf> {
        let keys = match &self.keys {
            KeySource::File(keys) => Some(keys.file().path().to_owned()),
            KeySource::Remote(_) => None,
        };
        keys.into_iter().chain(self.ca_file.clone()).collect()
    }

    fn look_at_files(&self) {
        if let KeySource::File(keys) = &self.keys {
            keys.look();
        }
    }

    fn remote_keys(&self) -> Option<&Arc<RemoteKeys>> {
        match &self.keys {
            KeySource::File(_) => None,
            KeySource::Remote(keys) => Some(keys),
        }
    }

    fn health(&self) -> Vec<String> {
        match &self.keys {
            KeySource::File(keys) => keys.file().error().into_iter().collect(),
            KeySource::Remote(keys) => keys.error().iter().map(ToString::to_string).collect(),
        }
    }

    fn epoch(&self) -> u64 {
        self.keys.generation()
    }

    fn recall_token(&self, digest: &ProofDigest) -> Option<Attested> {
        let remembered = self.verified.get(&digest.0)?;
        let holds = remembered.attested.proof.expires_at.is_some_and(|ends| self.clock.now() < ends);
        (holds && remembered.generation == self.keys.generation()).then_some(remembered.attested)
    }

    fn owns_token(&self, claims: &Map<String, Value>) -> bool {
        claims.get("iss").and_then(Value::as_str) == Some(self.issuer.as_str())
    }

    fn issuer(&self) -> Option<&str> {
        Some(&self.issuer)
    }

    fn is_of_pods(&self) -> bool {
        self.is_of_pods
    }

    #[allow(clippy::disallowed_methods, reason = "the token is verified once more; nothing of it is shown")]
    fn still_holds(&self, attested: &Attested) -> bool {
        let Some(token) = &attested.proof.token else { return false };
        let Ok(parsed) = jws::parse(token.expose(), Profile::Jwt) else { return false };
        let Ok(claims) = parsed.claims() else { return false };
        self.owns_token(&claims)
            && check_audience(&claims, &self.audience).is_ok()
            && self.judge(&claims).is_ok_and(|principal| principal.id == attested.principal.id)
            && self.keys.may_hold(&parsed, &self.algorithms)
    }

    async fn attest_token(&self, token: &[u8], digest: ProofDigest) -> Result<Attested, IdentityError> {
        let parsed = jws::parse(token, Profile::Jwt)?;
        let claims = parsed.claims()?;
        if !self.owns_token(&claims) {
            return Err(IdentityError::UnknownIssuer);
        }
        // What needs no key comes first: an expired token never makes anybody fetch keys.
        let expires_at = self.times.check(&claims, self.clock.now())?;
        check_audience(&claims, &self.audience)?;
        let generation = self.keys.verify(&parsed, &self.algorithms).await?;

        let principal = Arc::new(self.judge(&claims)?);
        let secret = Some(Secret::new(token.to_vec()));
        let proof = Arc::new(Proof { digest, expires_at: Some(expires_at), token: secret });
        let attested = Attested { principal, proof };
        self.verified.insert(digest.0, Remembered { attested: attested.clone(), generation });
        Ok(attested)
    }
}

impl Jwt {
    /// Who the claims of a genuine token make.
    fn judge(&self, claims: &Map<String, Value>) -> Result<Principal, IdentityError> {
        if self.subject.as_ref().is_some_and(|subject| !subject.agrees(claims)) {
            return Err(IdentityError::Malformed("`sub` is not what the other claims say"));
        }
        let refused = |detail: String| IdentityError::Refused { attestor: self.name.clone(), detail: detail.into() };
        if let Some(claim) = self.conditions.unmet(claims) {
            return Err(refused(format!("claim `{claim}` has none of the values that `require` names")));
        }
        let id = self.identity.expand(|claim| claim.text_of(claims)).map_err(refused)?;
        Ok(Principal { id, attributes: self.conditions.attributes(claims), attested_by: self.name.clone() })
    }
}
