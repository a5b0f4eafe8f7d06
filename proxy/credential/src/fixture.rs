//! What several tests need: a manual clock, recorded events, a scripted issuer.

#![allow(clippy::disallowed_methods, reason = "tests compare values")]

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use claviger_contract::outbound::OutboundFailure;
use claviger_contract::{
    Attested, Event, EventSink, ManualClock, Outbound, OutboundError, OutboundRequest, OutboundResponse, Proof,
    ProofDigest, Reach, Secret,
};
use claviger_policy::document::{Diagnostics, SourceFile, Table, parse};
use claviger_policy::{Attributes, Principal, SpiffeId};
use http::{HeaderMap, StatusCode};

use crate::{CredentialEnv, Lease, LeaseAnswer};

/// 2026-11-22T00:00:00Z in milliseconds.
pub(crate) const START_MS: i64 = 1_795_305_600_000;

/// A secret that no text may hold.
pub(crate) const CANARY: &str = "canary-3f9a1c77b2e4";

pub(crate) fn text(secret: &Secret) -> String {
    String::from_utf8(secret.expose().to_vec()).unwrap()
}

pub(crate) fn value(lease: &Lease) -> String {
    text(lease.field(None).unwrap())
}

/// Events as `kind credential[: detail]`.
#[derive(Debug, Default)]
pub(crate) struct Events(Mutex<Vec<Event>>);

impl EventSink for Events {
    fn emit(&self, event: Event) {
        self.0.lock().unwrap().push(event);
    }
}

impl Events {
    /// The kinds since the last call.
    pub(crate) fn take(&self) -> Vec<&'static str> {
        let events = std::mem::take(&mut *self.0.lock().unwrap());
        let kind = |event: &Event| match event {
            Event::Credential(event) => event.kind.code(),
            other => panic!("not of a credential: {other:?}"),
        };
        assert!(!format!("{events:?}").contains("canary"), "{events:?}");
        events.iter().map(kind).collect()
    }
}

impl Events {
    /// Kind and detail of those since the last call.
    pub(crate) fn told(&self) -> Vec<(&'static str, String)> {
        let events = std::mem::take(&mut *self.0.lock().unwrap());
        let tell = |event: Event| match event {
            Event::Credential(event) => (event.kind.code(), event.detail.as_deref().unwrap_or_default().to_owned()),
            other => panic!("not of a credential: {other:?}"),
        };
        events.into_iter().map(tell).collect()
    }
}

/// One answer of the scripted issuer.
#[derive(Debug)]
pub(crate) enum Answer {
    Fails(OutboundFailure),
    Says { status: u16, headers: HeaderMap, body: Vec<u8> },
}

impl Answer {
    pub(crate) fn json(status: u16, body: &str) -> Self {
        Self::Says { status, headers: HeaderMap::new(), body: body.as_bytes().to_vec() }
    }

    pub(crate) fn token(token: &str, expires_in: i64) -> Self {
        let body = format!(r#"{{"access_token":"{token}","token_type":"Bearer","expires_in":{expires_in}}}"#);
        Self::json(200, &body)
    }
}

/// A request as the issuer saw it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) url: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
    pub(crate) reach: Reach,
}

/// Gives the scripted answers in order, then says that it cannot be reached.
#[derive(Debug, Default)]
pub(crate) struct Issuer {
    answers: Mutex<VecDeque<Answer>>,
    pub(crate) seen: Mutex<Vec<Seen>>,
    /// Moves on while a call is under way.
    pub(crate) slow: Mutex<Option<(Arc<ManualClock>, i64)>>,
}

impl Issuer {
    pub(crate) fn will(&self, answers: impl IntoIterator<Item = Answer>) {
        self.answers.lock().unwrap().extend(answers);
    }

    pub(crate) fn calls(&self) -> usize {
        self.seen.lock().unwrap().len()
    }
}

#[async_trait]
impl Outbound for Issuer {
    async fn send(&self, reach: &Reach, request: OutboundRequest) -> Result<OutboundResponse, OutboundError> {
        let url = request.url.to_string();
        let body = request.body.as_ref().map(text).unwrap_or_default();
        self.seen.lock().unwrap().push(Seen { url: url.clone(), headers: request.headers, body, reach: reach.clone() });
        if let Some((clock, ms)) = &*self.slow.lock().unwrap() {
            clock.advance_ms(*ms);
        }
        let failed = |kind| OutboundError { endpoint: url.split('?').next().unwrap().to_owned(), kind };
        match self.answers.lock().unwrap().pop_front().unwrap_or(Answer::Fails(OutboundFailure::Connect)) {
            Answer::Fails(kind) => Err(failed(kind)),
            Answer::Says { body, .. } if body.len() > request.max_response => Err(failed(OutboundFailure::TooLarge)),
            Answer::Says { status, headers, body } => {
                Ok(OutboundResponse { status: StatusCode::from_u16(status).unwrap(), headers, body: Secret::new(body) })
            }
        }
    }
}

/// Everything around the credentials, within a folder of its own.
pub(crate) struct World {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) events: Arc<Events>,
    pub(crate) issuer: Arc<Issuer>,
}

impl World {
    pub(crate) fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            clock: Arc::new(ManualClock::at_ms(START_MS)),
            events: Arc::default(),
            issuer: Arc::default(),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn env(&self) -> CredentialEnv {
        CredentialEnv {
            state_dir: self.path().join("state"),
            outbound: self.issuer.clone(),
            clock: self.clock.clone(),
            events: self.events.clone(),
            tokens: Arc::new(claviger_contract::NoIssuer),
            renewer: Arc::new(crate::InProcess::new(
                self.issuer.clone(),
                self.clock.clone(),
                tokio::runtime::Handle::current(),
            )),
            runtime: tokio::runtime::Handle::current(),
            teams: Vec::new(),
        }
    }

    /// The root table of a configuration in this folder.
    pub(crate) fn document(&self, text: &str) -> Table {
        let mut out = Diagnostics::default();
        let file = SourceFile::new(self.path().join("claviger.toml").to_string_lossy(), text);
        parse(&file, &mut out).unwrap_or_else(|| panic!("{out:?}"))
    }

    /// Findings with the folder's name left out.
    pub(crate) fn found(&self, out: &Diagnostics) -> Vec<String> {
        let folder = format!("{}/", self.path().display());
        out.iter().map(|diagnostic| diagnostic.to_string().replace(&folder, "")).collect()
    }
}

pub(crate) fn caller(proof_ends: Option<i64>) -> Attested {
    caller_named("api", proof_ends)
}

pub(crate) fn caller_named(name: &str, proof_ends: Option<i64>) -> Attested {
    let id = SpiffeId::parse(&format!("spiffe://acme.internal/{name}")).unwrap();
    let principal = Principal { id, attributes: Attributes::default(), attested_by: "test".into() };
    let proof = Proof { digest: ProofDigest([7; 32]), expires_at: proof_ends, token: None };
    Attested { principal: Arc::new(principal), proof: Arc::new(proof) }
}

/// What the request gets in the end; the flag says whether it got it at once.
pub(crate) async fn settle(answer: LeaseAnswer) -> (bool, Result<Arc<Lease>, crate::CredentialError>) {
    match answer {
        LeaseAnswer::Ready(lease) => (true, Ok(lease)),
        LeaseAnswer::Wait(minting) => (false, minting.await),
    }
}
