//! `kind = "x509-svid"`: a client certificate of a trust domain whose bundle is known.
//!
//! Each trust domain has a root store of its own; they are never merged, and each judges its own names only
//! (SPIFFE Federation §4.2).

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use aws_lc_rs::digest::{Context, SHA256};
use claviger_contract::{Attested, Clock, Proof, ProofDigest, path};
use claviger_policy::document::{Diagnostics, Located, Table};
use claviger_policy::{AttributeValue, Principal, TrustDomain};
use rustls::pki_types::CertificateDer;
use webpki::CertRevocationList;

use super::{Attestor, Evidence, Verdict};
use crate::svid::bundle::Bundle;
use crate::svid::certificate::Leaf;
use crate::svid::{path as svid_path, revocation};
use crate::token::verified::Verified;
use crate::trust_domains;
use crate::watched::Watched;
use crate::{IdentityEnv, IdentityError};

/// How many verified chains are remembered. It spares the second validation after each handshake.
const VERIFIED_MAX: usize = 4_096;
const SERIAL: &str = "x509.serial";
const NOT_AFTER: &str = "x509.not_after";

#[derive(Debug)]
struct X509Svid {
    name: Arc<str>,
    clock: Arc<dyn Clock>,
    bundles: Vec<(TrustDomain, Watched<Bundle>)>,
    lists: Vec<Watched<Vec<CertRevocationList<'static>>>>,
    epoch: AtomicU64,
    verified: Verified<Remembered>,
}

#[derive(Clone, Debug)]
struct Remembered {
    attested: Attested,
    epoch: u64,
}

pub(super) fn take(
    name: &Located<String>,
    table: &mut Table,
    env: &IdentityEnv,
    out: &mut Diagnostics,
) -> Option<Arc<dyn Attestor>> {
    let bundles = trust_domains::take_bundles(table, out, |path, location, key, out| {
        let bundle = trust_domains::report(Watched::open(path, Bundle::parse), location, key, out)?;
        if bundle.get().is_empty() {
            let ignored = bundle.get().ignored().first().map(|why| format!(" ({why})")).unwrap_or_default();
            out.warning(location, key, format!("no certificate in it may sign{ignored}: nobody is trusted by it"));
        }
        Some(bundle)
    });
    let key = table.key_of("crls");
    let lists: Option<Vec<_>> = table
        .strings("crls", out)
        .unwrap_or_default()
        .iter()
        .map(|file| {
            let opened = Watched::open(path::resolve(file), revocation::parse);
            trust_domains::report(opened, &file.location, &key, out)
        })
        .collect();
    Some(Arc::new(X509Svid {
        name: name.value.as_str().into(),
        clock: env.clock.clone(),
        bundles: bundles?,
        lists: lists?,
        epoch: AtomicU64::new(0),
        verified: Verified::new(VERIFIED_MAX),
    }))
}

#[async_trait]
impl Attestor for X509Svid {
    fn evidence(&self) -> Evidence {
        Evidence::Certificate
    }

    fn attribute_names(&self) -> Vec<Arc<str>> {
        vec![SERIAL.into(), NOT_AFTER.into()]
    }

    fn identities(&self) -> Vec<String> {
        self.bundles.iter().map(|(domain, _)| format!("spiffe://{domain}/**")).collect()
    }

    fn watched_files(&self) -> Vec<PathBuf> {
        let bundles = self.bundles.iter().map(|(_, bundle)| bundle.path());
        bundles.chain(self.lists.iter().map(Watched::path)).map(PathBuf::from).collect()
    }

    fn look_at_files(&self) {
        // Every file is looked at: no short circuit.
        let bundles = self.bundles.iter().filter(|(_, bundle)| bundle.look()).count();
        let lists = self.lists.iter().filter(|lists| lists.look()).count();
        if bundles + lists > 0 {
            self.epoch.fetch_add(1, Ordering::AcqRel);
        }
    }

    fn health(&self) -> Vec<String> {
        let broken = self.bundles.iter().filter_map(|(_, bundle)| bundle.error());
        let empty = self
            .bundles
            .iter()
            .filter(|(_, bundle)| bundle.get().is_empty())
            .map(|(domain, _)| format!("the bundle of `{domain}` has no authority: nobody is trusted by it"));
        broken.chain(self.lists.iter().filter_map(Watched::error)).chain(empty).collect()
    }

    fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    fn attest_certificates(&self, chain: &[CertificateDer<'static>]) -> Verdict {
        if let Err(error) = svid_path::check_size(chain) {
            return Verdict::Refused(error);
        }
        let now = self.clock.now();
        // Read before the bundles: a swap in between makes the result old, never an old result new.
        let epoch = self.epoch();
        let digest = digest(chain);
        let remembered = self.verified.get(&digest.0).filter(|remembered| remembered.epoch == epoch);
        if let Some(Remembered { attested, .. }) = remembered
            && attested.proof.expires_at.is_some_and(|ends| now < ends)
        {
            return Verdict::Attested(attested);
        }
        let leaf = match chain.first().map(|leaf| Leaf::check(leaf)) {
            None => return Verdict::Absent,
            Some(Err(unmet)) => return Verdict::Refused(IdentityError::Malformed(unmet)),
            Some(Ok(leaf)) => leaf,
        };
        let own = self.bundles.iter().find(|(domain, _)| domain.as_str() == leaf.id.trust_domain());
        let Some((_, bundle)) = own else { return Verdict::Absent };
        let attested = self.validate(leaf, chain, &bundle.get(), digest, now);
        if let Ok(attested) = &attested {
            self.verified.insert(digest.0, Remembered { attested: attested.clone(), epoch });
        }
        attested.into()
    }
}

impl X509Svid {
    fn validate(
        &self,
        leaf: Leaf,
        chain: &[CertificateDer<'static>],
        bundle: &Bundle,
        digest: ProofDigest,
        now: i64,
    ) -> Result<Attested, IdentityError> {
        if bundle.is_empty() {
            return Err(IdentityError::Untrusted("the bundle of the trust domain has no authority"));
        }
        let lists: Vec<_> = self.lists.iter().map(|lists| Arc::clone(&lists.get())).collect();
        let lists: Vec<&CertRevocationList<'_>> = lists.iter().flat_map(|lists| lists.iter()).collect();
        let last_second = svid_path::validate(&leaf, chain, bundle, &lists, now)?;
        let attributes: [(&str, AttributeValue); 2] =
            [(SERIAL, leaf.serial.as_str().into()), (NOT_AFTER, leaf.not_after.into())];
        let principal =
            Principal { id: leaf.id, attributes: attributes.into_iter().collect(), attested_by: self.name.clone() };
        // notAfter is the last second in which a certificate holds (RFC 5280 §4.1.2.5); a proof ends at its end.
        let expires_at = Some(last_second.saturating_add(1));
        Ok(Attested { principal: Arc::new(principal), proof: Arc::new(Proof { digest, expires_at, token: None }) })
    }
}

/// Of the whole chain: another chain of one leaf may be judged otherwise.
fn digest(chain: &[CertificateDer<'_>]) -> ProofDigest {
    let mut context = Context::new(&SHA256);
    for certificate in chain {
        context.update(&certificate.len().to_be_bytes());
        context.update(certificate);
    }
    crate::proof_digest(&context.finish())
}
