//! `kind = "jwt-svid"`: a JWT-SVID of a trust domain whose bundle is known (JWT-SVID §2 to §6).

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use claviger_contract::{Attested, Clock, Proof, ProofDigest, Secret};
use claviger_policy::document::{Diagnostics, Located, Table};
use claviger_policy::{Principal, SpiffeId, TrustDomain};
use serde_json::{Map, Value};

use super::jwt::{take_audience, take_times};
use super::{Attestor, Evidence};
use crate::token::algorithm::JWT_SVID;
use crate::token::claims::{Times, check_audience};
use crate::token::conditions::Conditions;
use crate::token::jws::{self, Profile};
use crate::token::key::KeyUse;
use crate::token::key_source::FileKeys;
use crate::token::names::Names;
use crate::token::verified::Verified;
use crate::{IdentityEnv, IdentityError, trust_domains};

/// How many verified tokens are remembered.
const VERIFIED_MAX: usize = 16_384;

#[derive(Debug)]
struct JwtSvid {
    name: Arc<str>,
    clock: Arc<dyn Clock>,
    audience: Vec<String>,
    times: Times,
    conditions: Conditions,
    bundles: Vec<(TrustDomain, FileKeys)>,
    verified: Verified<Remembered>,
}

#[derive(Clone, Debug)]
struct Remembered {
    attested: Attested,
    generation: u64,
}

pub(super) fn take(
    name: &Located<String>,
    table: &mut Table,
    env: &IdentityEnv,
    out: &mut Diagnostics,
) -> Option<Arc<dyn Attestor>> {
    let bundles = trust_domains::take_bundles(table, out, |path, location, key, out| {
        let keys = trust_domains::report(FileKeys::open(path, KeyUse::JwtSvid), location, key, out)?;
        if keys.file().get().is_empty() {
            out.warning(location, key, "no key in it is for JWT-SVIDs: nobody is trusted by it");
        }
        Some(keys)
    });
    let audience = take_audience(table, out);
    let times = take_times(table, out);
    let conditions = Conditions::take(table, &Names::default(), out);
    Some(Arc::new(JwtSvid {
        name: name.value.as_str().into(),
        clock: env.clock.clone(),
        audience: audience?,
        times,
        conditions,
        bundles: bundles?,
        verified: Verified::new(VERIFIED_MAX),
    }))
}

#[async_trait]
impl Attestor for JwtSvid {
    fn evidence(&self) -> Evidence {
        Evidence::Token
    }

    fn attribute_names(&self) -> Vec<Arc<str>> {
        self.conditions.attribute_names()
    }

    fn identities(&self) -> Vec<String> {
        self.bundles.iter().map(|(domain, _)| format!("spiffe://{domain}/**")).collect()
    }

    fn watched_files(&self) -> Vec<PathBuf> {
        self.bundles.iter().map(|(_, keys)| keys.file().path().to_owned()).collect()
    }

    fn look_at_files(&self) {
        self.bundles.iter().for_each(|(_, keys)| keys.look());
    }

    fn health(&self) -> Vec<String> {
        let empty = self
            .bundles
            .iter()
            .filter(|(_, keys)| keys.file().get().is_empty())
            .map(|(domain, _)| format!("the bundle of `{domain}` has no key: nobody is trusted by it"));
        self.bundles.iter().filter_map(|(_, keys)| keys.file().error()).chain(empty).collect()
    }

    fn epoch(&self) -> u64 {
        self.generation()
    }

    fn recall_token(&self, digest: &ProofDigest) -> Option<Attested> {
        let remembered = self.verified.get(&digest.0)?;
        let holds = remembered.attested.proof.expires_at.is_some_and(|ends| self.clock.now() < ends);
        (holds && remembered.generation == self.generation()).then_some(remembered.attested)
    }

    fn owns_token(&self, claims: &Map<String, Value>) -> bool {
        subject(claims).is_some_and(|id| self.keys_of(&id).is_some())
    }

    #[allow(clippy::disallowed_methods, reason = "the token is verified once more; nothing of it is shown")]
    fn still_holds(&self, attested: &Attested) -> bool {
        let Some(token) = &attested.proof.token else { return false };
        let Ok(parsed) = jws::parse(token.expose(), Profile::JwtSvid) else { return false };
        let Ok(claims) = parsed.claims() else { return false };
        subject(&claims).is_some_and(|id| {
            id == attested.principal.id
                && check_audience(&claims, &self.audience).is_ok()
                && self.conditions.unmet(&claims).is_none()
                && self.keys_of(&id).is_some_and(|keys| keys.verify(&parsed, JWT_SVID).is_ok())
        })
    }

    async fn attest_token(&self, token: &[u8], digest: ProofDigest) -> Result<Attested, IdentityError> {
        let parsed = jws::parse(token, Profile::JwtSvid)?;
        let claims = parsed.claims()?;
        let id = subject(&claims).ok_or(IdentityError::Malformed("`sub` is not a SPIFFE ID"))?;
        if id.path().is_empty() {
            return Err(IdentityError::Malformed("the SPIFFE ID of a workload has a path"));
        }
        let keys = self.keys_of(&id).ok_or(IdentityError::UnknownIssuer)?;
        let expires_at = self.times.check(&claims, self.clock.now())?;
        check_audience(&claims, &self.audience)?;
        // The sum of all: read before any of them is used.
        let generation = self.generation();
        keys.verify(&parsed, JWT_SVID)?;
        if let Some(claim) = self.conditions.unmet(&claims) {
            let detail = format!("claim `{claim}` has none of the values that `require` names").into();
            return Err(IdentityError::Refused { attestor: self.name.clone(), detail });
        }
        let attributes = self.conditions.attributes(&claims);
        let principal = Arc::new(Principal { id, attributes, attested_by: self.name.clone() });
        let secret = Some(Secret::new(token.to_vec()));
        let proof = Arc::new(Proof { digest, expires_at: Some(expires_at), token: secret });
        let attested = Attested { principal, proof };
        self.verified.insert(digest.0, Remembered { attested: attested.clone(), generation });
        Ok(attested)
    }
}

impl JwtSvid {
    fn keys_of(&self, id: &SpiffeId) -> Option<&FileKeys> {
        self.bundles.iter().find(|(domain, _)| domain.as_str() == id.trust_domain()).map(|(_, keys)| keys)
    }

    fn generation(&self) -> u64 {
        self.bundles.iter().fold(0, |sum, (_, keys)| sum.wrapping_add(keys.generation()))
    }
}

fn subject(claims: &Map<String, Value>) -> Option<SpiffeId> {
    SpiffeId::parse(claims.get("sub")?.as_str()?).ok()
}
