//! What a sidecar proves itself by: files that something else renews.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use aws_lc_rs::digest::{SHA256, digest};
use claviger_contract::{Attested, ProofDigest, Secret, path};
use claviger_policy::document::{Diagnostics, Located, Table};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::Attestor;
use crate::IdentityError;
use crate::token::jws;
use crate::trust_domains::report;
use crate::watched::Watched;

/// A token in a file.
#[derive(Debug)]
pub(super) struct OwnToken {
    file: Watched<Read>,
    generation: AtomicU64,
}

#[derive(Debug)]
struct Read {
    text: Secret,
    digest: ProofDigest,
    /// What it says of its end, for people: whether it holds is the verifier's matter.
    ends: Option<i64>,
}

impl OwnToken {
    /// Reads the file that `token` names for the first time.
    pub(super) fn take(written: &Located<String>, table: &Table, out: &mut Diagnostics) -> Option<Self> {
        let opened = Watched::open(path::resolve(written), |text| {
            let text = text.trim_ascii();
            if !jws::looks_like_token(text) {
                return Err("it holds no token".to_owned());
            }
            let digest = crate::proof_digest(&digest(&SHA256, text));
            let ends = jws::peek_claims(text).and_then(|claims| claims.get("exp")?.as_i64());
            Ok(Read { text: Secret::new(text.to_vec()), digest, ends })
        });
        let file = report(opened, &written.location, &table.key_of("token"), out)?;
        Some(Self { file, generation: AtomicU64::new(0) })
    }

    pub(super) fn look(&self) {
        if self.file.look() {
            self.generation.fetch_add(1, Ordering::AcqRel);
        }
    }

    pub(super) fn error(&self) -> Option<String> {
        self.file.error()
    }

    /// That it has ended and nothing has renewed it.
    pub(super) fn end(&self, now: i64) -> Option<String> {
        let has_ended = self.file.get().ends.is_some_and(|ends| now >= ends);
        has_ended.then(|| format!("the token in `{}` has expired: nobody is known by it", self.file.path().display()))
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Whether it is of an issuer that the attestor judges.
    #[allow(clippy::disallowed_methods, reason = "a token is read for its issuer; nothing of it is shown")]
    pub(super) fn is_judged_by(&self, verify: &dyn Attestor) -> bool {
        jws::peek_claims(self.file.get().text.expose()).is_some_and(|claims| verify.owns_token(&claims))
    }

    #[allow(clippy::disallowed_methods, reason = "an attestor verifies the token, as it would a caller's")]
    pub(super) async fn attest(&self, verify: &dyn Attestor) -> Result<Attested, IdentityError> {
        let read = Arc::clone(&self.file.get());
        if let Some(attested) = verify.recall_token(&read.digest) {
            return Ok(attested);
        }
        verify.attest_token(read.text.expose(), read.digest).await
    }
}

/// A certificate chain and its key in two files, which are renewed one after the other.
#[derive(Debug)]
pub(super) struct OwnSvid {
    certificate: Watched<Vec<CertificateDer<'static>>>,
    key: Watched<PrivateKeyDer<'static>>,
    /// The last chain whose key was there too: what a sidecar cannot prove it does not pass on.
    chain: ArcSwap<Vec<CertificateDer<'static>>>,
    generation: AtomicU64,
}

impl OwnSvid {
    /// Takes `certificate` and `key`, and reads both for the first time.
    pub(super) fn take(table: &mut Table, out: &mut Diagnostics) -> Option<Self> {
        let (certificate, key) = (table.required_string("certificate", out), table.required_string("key", out));
        let (certificate, key) = (certificate?, key?);
        let place = certificate.location.clone();
        let open_chain = |file: PathBuf| Watched::open(file, read_chain);
        let chain = report(open_chain(path::resolve(&certificate)), &place, &table.key_of("certificate"), out);
        let opened = Watched::open(path::resolve(&key), read_key);
        let key = report(opened, &key.location, &table.key_of("key"), out);
        let (certificate, key) = (chain?, key?);
        if let Err(wrong) = check(&certificate.get(), &key.get()) {
            out.error(&place, table.key_of("key"), wrong).help("name the key of the certificate");
            return None;
        }
        let chain = ArcSwap::new(Arc::clone(&certificate.get()));
        Some(Self { certificate, key, chain, generation: AtomicU64::new(0) })
    }

    pub(super) fn look(&self) {
        let changed = [self.certificate.look(), self.key.look()];
        if changed.contains(&true) && check(&self.certificate.get(), &self.key.get()).is_ok() {
            self.chain.store(Arc::clone(&self.certificate.get()));
            self.generation.fetch_add(1, Ordering::AcqRel);
        }
    }

    pub(super) fn error(&self) -> Option<String> {
        let unpaired = || check(&self.certificate.get(), &self.key.get()).err().map(str::to_owned);
        self.certificate.error().or_else(|| self.key.error()).or_else(unpaired)
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// The chain in use, leaf first.
    pub(super) fn chain(&self) -> Arc<Vec<CertificateDer<'static>>> {
        self.chain.load_full()
    }
}

fn read_chain(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    match chain {
        Ok(chain) if !chain.is_empty() => Ok(chain),
        Ok(_) | Err(_) => Err("there is no certificate in PEM in it".to_owned()),
    }
}

/// What the parser says could hold a line of the key.
fn read_key(text: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_slice(text).map_err(|_| "there is no private key in PEM in it".to_owned())
}

/// Whether the key is that of the leaf.
fn check(chain: &[CertificateDer<'static>], key: &PrivateKeyDer<'static>) -> Result<(), &'static str> {
    CertifiedKey::from_der(chain.to_vec(), key.clone_key(), &default_provider())
        .map(|_| ())
        .map_err(|_| "the key is not the certificate's")
}
