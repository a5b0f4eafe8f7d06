//! `kind = "jwt"`: a token of one issuer (RFC 7519; OpenID Connect, Kubernetes, CI systems).

mod settings;

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use claviger_contract::{Attested, Clock, Proof, ProofDigest, Secret};
use claviger_policy::Principal;
use serde_json::{Map, Value};

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
    conditions: Conditions,
    keys: KeySource,
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

    fn watched_files(&self) -> Vec<PathBuf> {
        match &self.keys {
            KeySource::File(keys) => vec![keys.file().path().to_owned()],
            KeySource::Remote(_) => Vec::new(),
        }
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

        let refused = |detail: String| IdentityError::Refused { attestor: self.name.clone(), detail: detail.into() };
        if let Some(claim) = self.conditions.unmet(&claims) {
            return Err(refused(format!("claim `{claim}` has none of the values that `require` names")));
        }
        let id = self.identity.expand(|claim| claim.text_of(&claims)).map_err(refused)?;
        let attributes = self.conditions.attributes(&claims);
        let principal = Arc::new(Principal { id, attributes, attested_by: self.name.clone() });
        let secret = Some(Secret::new(token.to_vec()));
        let proof = Arc::new(Proof { digest, expires_at: Some(expires_at), token: secret });
        let attested = Attested { principal, proof };
        self.verified.insert(digest.0, Remembered { attested: attested.clone(), generation });
        Ok(attested)
    }
}
