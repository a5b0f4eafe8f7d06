//! What the tests share: an environment, certificates, tokens.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use claviger_contract::outbound::OutboundFailure;
use claviger_contract::{
    Attested, ManualClock, Outbound, OutboundError, OutboundRequest, OutboundResponse, Reach, Secret,
};
use claviger_identity::{Attestors, Chain, ConnectionFacts, IdentityEnv, Outcome};
use claviger_policy::TrustDomain;
use claviger_policy::document::{Diagnostics, Located, SourceFile, parse};
use http::{HeaderMap, StatusCode};
use rustls::pki_types::CertificateDer;
use serde_json::{Value, json};
use tempfile::TempDir;

/// 2026-01-01T00:00:00Z in seconds.
pub(crate) const NOW: i64 = 1_767_225_600;

/// A folder with a configuration, and a clock and a network that the test holds.
pub(crate) struct World {
    pub(crate) folder: TempDir,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) outbound: Arc<FakeOutbound>,
    runtime: Option<tokio::runtime::Runtime>,
}

impl World {
    pub(crate) fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        Self {
            folder: tempfile::tempdir().unwrap(),
            clock: Arc::new(ManualClock::at_ms(NOW * 1_000)),
            outbound: Arc::default(),
            runtime: Some(runtime),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) -> &Self {
        std::fs::write(self.path(name), text).unwrap();
        self
    }

    pub(crate) fn env(&self) -> IdentityEnv {
        IdentityEnv {
            trust_domain: TrustDomain::parse("acme.internal").unwrap(),
            outbound: self.outbound.clone(),
            clock: self.clock.clone(),
            runtime: self.runtime.as_ref().unwrap().handle().clone(),
        }
    }

    pub(crate) fn take(&self, text: &str) -> (Attestors, Diagnostics) {
        let mut out = Diagnostics::default();
        let name = self.path("claviger.toml").display().to_string();
        let attestors = match parse(&SourceFile::new(name, text), &mut out) {
            Some(mut root) => {
                let attestors = Attestors::take(&mut root, &self.env(), &mut out);
                root.finish(&mut out);
                Some(attestors)
            }
            None => None,
        };
        (attestors.unwrap_or_else(|| panic!("{out:?}")), out)
    }

    pub(crate) fn attestors(&self, text: &str) -> Attestors {
        let (attestors, out) = self.take(text);
        assert!(!out.has_errors(), "{out:?}");
        attestors
    }

    pub(crate) fn run<F: Future>(&self, future: F) -> F::Output {
        self.runtime.as_ref().unwrap().block_on(future)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// A chain of all these attestors.
pub(crate) fn chain(attestors: &Attestors, names: &[&str]) -> Arc<Chain> {
    let mut out = Diagnostics::default();
    let location = parse(&SourceFile::new("c", ""), &mut out).unwrap().location().clone();
    let names: Vec<Located<String>> =
        names.iter().map(|name| Located { value: (*name).to_owned(), location: location.clone() }).collect();
    attestors.chain(&names, "listener.x.authenticate", &mut out).unwrap_or_else(|| panic!("{out:?}"))
}

/// What a chain says of a token on a connection without proof.
pub(crate) async fn attest_token(chain: &Chain, token: &str) -> Outcome {
    chain.attest(&chain.attest_connection(&ConnectionFacts::default()), Some(token.as_bytes())).await
}

/// What a chain says of certificates.
pub(crate) async fn attest_certificates(chain: &Chain, certificates: &[CertificateDer<'static>]) -> Outcome {
    chain
        .attest(&chain.attest_connection(&ConnectionFacts { certificates, unix_peer: None, peer_ip: None }), None)
        .await
}

/// The SPIFFE ID, or the code of the refusal.
pub(crate) fn told(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Attested(attested) => attested.principal.id.as_str().to_owned(),
        Outcome::Absent => "absent".to_owned(),
        Outcome::Refused(error) => error.code().to_owned(),
    }
}

pub(crate) fn attested(outcome: Outcome) -> Attested {
    match outcome {
        Outcome::Attested(attested) => attested,
        other => panic!("{other:?}"),
    }
}

/// A key that signs tokens with ES256.
pub(crate) struct TokenKey {
    pair: EcdsaKeyPair,
    pub(crate) kid: String,
}

impl TokenKey {
    pub(crate) fn new(kid: &str) -> Self {
        Self { pair: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap(), kid: kid.to_owned() }
    }

    pub(crate) fn jwk(&self) -> Value {
        let public = self.pair.public_key().as_ref();
        let (x, y) = public[1..].split_at(32);
        json!({
            "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": self.kid,
            "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y),
        })
    }

    pub(crate) fn jwk_for(&self, usage: &str) -> Value {
        let mut jwk = self.jwk();
        jwk["use"] = json!(usage);
        jwk
    }

    pub(crate) fn set(&self) -> String {
        json!({ "keys": [self.jwk()] }).to_string()
    }

    pub(crate) fn sign(&self, claims: &Value) -> String {
        self.sign_with(&json!({ "alg": "ES256", "kid": self.kid, "typ": "JWT" }), claims)
    }

    pub(crate) fn sign_with(&self, header: &Value, claims: &Value) -> String {
        self.sign_text(&header.to_string(), &claims.to_string())
    }

    pub(crate) fn sign_text(&self, header: &str, claims: &str) -> String {
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let signature = self.pair.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// The bytes of the public key that somebody might take for a secret.
    pub(crate) fn public_bytes(&self) -> Vec<u8> {
        AsDer::<aws_lc_rs::encoding::PublicKeyX509Der<'_>>::as_der(self.pair.public_key()).unwrap().as_ref().to_vec()
    }
}

/// A network of one answer per path, which counts its calls and can be held up.
#[derive(Debug, Default)]
pub(crate) struct FakeOutbound {
    answers: Mutex<std::collections::HashMap<String, VecDeque<Answer>>>,
    pub(crate) calls: AtomicUsize,
    pub(crate) gate: Mutex<Option<Arc<tokio::sync::Semaphore>>>,
    last: Mutex<Option<Arc<(Reach, OutboundRequest)>>>,
}

#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl FakeOutbound {
    /// From now on this is the answer to the URL; `None`: nothing answers.
    pub(crate) fn answer(&self, url: &str, answer: Option<Answer>) {
        self.answers.lock().unwrap().insert(url.to_owned(), answer.into_iter().collect());
    }

    pub(crate) fn json(&self, url: &str, body: impl Into<String>) {
        self.answer(url, Some(Answer { status: 200, headers: HeaderMap::new(), body: body.into() }));
    }

    /// The last call, and how it was to travel.
    pub(crate) fn last(&self) -> Arc<(Reach, OutboundRequest)> {
        self.last.lock().unwrap().clone().unwrap()
    }

    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl Outbound for FakeOutbound {
    async fn send(&self, reach: &Reach, request: OutboundRequest) -> Result<OutboundResponse, OutboundError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let gate = self.gate.lock().unwrap().clone();
        if let Some(gate) = gate {
            gate.acquire().await.unwrap().forget();
        }
        let request = Arc::new((reach.clone(), request));
        *self.last.lock().unwrap() = Some(request.clone());
        let request = &request.1;
        let answers = self.answers.lock().unwrap();
        match answers.get(request.url.as_str()).and_then(|answers| answers.front()) {
            Some(answer) => Ok(OutboundResponse {
                status: StatusCode::from_u16(answer.status).unwrap(),
                headers: answer.headers.clone(),
                body: Secret::from(answer.body.clone()),
            }),
            None => Err(OutboundError { endpoint: request.url.to_string(), kind: OutboundFailure::Connect }),
        }
    }
}

/// A file of the vectors.
pub(crate) fn vector(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors").join(path)
}
