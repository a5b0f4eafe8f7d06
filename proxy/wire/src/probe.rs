//! Asks a service whether it takes a credential, before a workload's request does.
//!
//! A probe is a request like any other: permission is a grant of a policy, here one that has this one rule; the lease's
//! binding is checked where it is injected; the upstream is reached as the service says, over the same guard and TLS.

use std::sync::Arc;
use std::time::Duration;

use claviger_contract::{Attested, Proof, ProofDigest};
use claviger_credential::{Credentials, LeaseAnswer, inject};
use claviger_policy::document::{self, Diagnostics, SourceFile};
use claviger_policy::{
    Attributes, Context, Decision, Grant, Inputs, Principal, ServiceRoute, SpiffeId, TrustDomain, compile,
};
use http::header::{ACCEPT, USER_AGENT};
use http::{HeaderValue, Request, StatusCode};

use crate::body::Sent;
use crate::exchange::while_moving;
use crate::generation::Service;
use crate::resolve::Resolver;
use crate::settings::{Check, Limits};
use crate::upstream::Pool;

/// For the whole probe.
const PATIENCE: Duration = Duration::from_secs(30);

/// Who a probe is, to the policy that is made for it; attested nowhere, and no identity of any trust domain in use.
const PROBE: &str = "spiffe://probe.invalid/probe";

/// What a service said to a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// 2xx: it takes it.
    Taken(StatusCode),
    /// 401 or 403, or the issuer refused to mint with it.
    Refused(String),
    /// Anything else says nothing about the credential.
    Undecided(String),
}

/// Sends the service's check call with the credential, once; follows nothing and reads no body. Call it within a
/// `LocalSet`.
///
/// `service` and `route` are one service's.
pub async fn probe(
    service: &Service,
    route: &ServiceRoute,
    check: &Check,
    credentials: &Credentials,
    credential: &str,
) -> Verdict {
    let asked = ask(service, route, check, credentials, credential);
    match tokio::time::timeout(PATIENCE, asked).await {
        Ok(Ok(status)) if status.is_success() => Verdict::Taken(status),
        Ok(Ok(status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN))) => {
            Verdict::Refused(format!("it answered {}", status.as_u16()))
        }
        Ok(Ok(status)) => Verdict::Undecided(format!("it answered {}", status.as_u16())),
        Ok(Err(verdict)) => verdict,
        Err(_) => Verdict::Undecided(format!("it gave no answer within {} s", PATIENCE.as_secs())),
    }
}

async fn ask(
    service: &Service,
    route: &ServiceRoute,
    check: &Check,
    credentials: &Credentials,
    credential: &str,
) -> Result<StatusCode, Verdict> {
    let undecided = |why: &dyn std::fmt::Display| Verdict::Undecided(why.to_string());
    let attested = attested().ok_or_else(|| undecided(&"the probe's own identity cannot be made"))?;
    let grant = grant(route, check, credentials, credential, &attested).map_err(|why| undecided(&why))?;
    let lease = match credentials.lease(credential, &grant, &attested, true) {
        LeaseAnswer::Ready(lease) => lease,
        LeaseAnswer::Wait(minting) => minting.await.map_err(|error| match error.code() {
            "issuer_refused" => Verdict::Refused(error.to_string()),
            _ => undecided(&error),
        })?,
    };
    let (mut head, ()) = Request::new(()).into_parts();
    // Some services answer nobody who does not say what they are.
    head.headers.insert(USER_AGENT, HeaderValue::from_static(concat!("claviger/", env!("CARGO_PKG_VERSION"))));
    head.headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
    head.headers.extend(check.headers.clone());
    let injected =
        inject(grant, Some(lease), &service.plan, Box::new(head), None).map_err(|error| undecided(&error))?;
    let pool = Pool::new(Resolver::new());
    let (limits, sent) = (Limits::default(), std::rc::Rc::new(Sent::default()));
    let sending = pool.send(service, &limits, injected, None, &sent);
    let answered = while_moving(sending, service.response_timeout, &sent).await;
    answered.map(|answered| answered.response.status()).map_err(|refusal| undecided(&refusal.detail))
}

fn attested() -> Option<Attested> {
    let id = SpiffeId::parse(PROBE).ok()?;
    let principal = Arc::new(Principal { id, attributes: Attributes::default(), attested_by: "probe".into() });
    Some(Attested { principal, proof: Arc::new(Proof { digest: ProofDigest([0; 32]), expires_at: None, token: None }) })
}

/// Permission for this one request, of a policy that has one service and one rule.
fn grant(
    route: &ServiceRoute,
    check: &Check,
    credentials: &Credentials,
    credential: &str,
    attested: &Attested,
) -> Result<Grant, String> {
    let host = route.primary().ok_or("its hosts are patterns, and the check needs one host")?.clone();
    let text = format!(
        "[workload.probe]\nspiffe = \"{PROBE}\"\n\
         [allow.probe]\nwho = \"probe\"\nto = \"{}\"\nops = \"*\"\nuse = \"{credential}\"\n",
        route.name()
    );
    let mut found = Diagnostics::default();
    let trust_domain = TrustDomain::parse("probe.invalid").map_err(|error| error.to_string())?;
    let inputs = Inputs {
        trust_domain,
        services: vec![route.clone()],
        credentials: credentials.facts(),
        generation: 0,
        teams: Vec::new(),
    };
    let root = document::parse(&SourceFile::new("probe", text), &mut found);
    let policy = root.and_then(|mut root| compile(&mut root, inputs, &mut found)).ok_or_else(|| {
        let first = found.iter().find(|one| one.severity == document::Severity::Error);
        first.map_or_else(|| "it cannot be asked".to_owned(), |first| first.message.clone())
    })?;
    let target = policy.canonicalize(route.scheme(), host, &check.path).map_err(|error| error.to_string())?;
    let bound = policy.bind(&attested.principal);
    let context = Context { source_ip: None, now: 0 };
    match policy.decide(&bound, target, check.method.clone(), &context) {
        Decision::Grant(grant) => Ok(grant),
        Decision::Denied(_) | Decision::Pending(_) => Err(format!("`{check}` is none of its paths")),
    }
}
