//! Policy and credentials of one configuration, joined as the composition root does it.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use claviger_contract::outbound::OutboundFailure;
use claviger_contract::{
    Attested, Event, EventSink, Outbound, OutboundError, OutboundRequest, OutboundResponse, Proof, ProofDigest, Reach,
    Secret, SystemClock,
};
use claviger_credential::{CredentialEnv, Credentials};
use claviger_policy::document::{Diagnostics, SourceFile, parse};
use claviger_policy::{
    AttributeValue, Attributes, Authority, Bound, Context, Decision, Grant, Inputs, Policy, Principal, Scheme,
    ServiceRoute, SpiffeId, TrustDomain, compile,
};

/// A network in which there is one token endpoint.
#[derive(Debug)]
struct Nowhere;

#[async_trait]
impl Outbound for Nowhere {
    async fn send(&self, _: &Reach, request: OutboundRequest) -> Result<OutboundResponse, OutboundError> {
        if request.url.as_str() == "https://login.test/token" {
            let issued = "urn:ietf:params:oauth:token-type:access_token";
            let body = format!(
                r#"{{"access_token":"token-0123456789","token_type":"Bearer","issued_token_type":"{issued}","expires_in":3600}}"#
            );
            let (status, headers) = (http::StatusCode::OK, http::HeaderMap::new());
            return Ok(OutboundResponse { status, headers, body: Secret::from(body) });
        }
        Err(OutboundError { endpoint: request.url.to_string(), kind: OutboundFailure::Connect })
    }
}

impl EventSink for Nowhere {
    fn emit(&self, _: Event) {}
}

pub(crate) struct Joined {
    pub(crate) policy: Policy,
    pub(crate) credentials: Credentials,
    pub(crate) attested: Attested,
    bound: Bound,
}

impl Joined {
    pub(crate) fn load(state_dir: &Path, runtime: tokio::runtime::Handle, text: &str) -> Self {
        let mut out = Diagnostics::default();
        let mut root = parse(&SourceFile::new("claviger.toml", text), &mut out).unwrap_or_else(|| panic!("{out:?}"));
        let services: Vec<_> = root
            .named_tables("service", &mut out)
            .into_iter()
            .filter_map(|(name, mut table)| ServiceRoute::take(name, &mut table, &mut out))
            .collect();
        let env = CredentialEnv {
            state_dir: state_dir.to_owned(),
            outbound: Arc::new(Nowhere),
            clock: Arc::new(SystemClock),
            events: Arc::new(Nowhere),
            tokens: Arc::new(claviger_contract::NoIssuer),
            renewer: Arc::new(claviger_credential::InProcess::new(
                Arc::new(Nowhere),
                Arc::new(SystemClock),
                runtime.clone(),
            )),
            runtime,
            teams: Vec::new(),
        };
        let credentials = Credentials::take(&mut root, Vec::new(), &env, None, &mut out);
        let trust_domain = TrustDomain::parse("acme.test").unwrap();
        let inputs =
            Inputs { trust_domain, services, credentials: credentials.facts(), teams: Vec::new(), generation: 1 };
        let policy = compile(&mut root, inputs, &mut out).unwrap_or_else(|| panic!("{out:?}"));
        let id = SpiffeId::parse("spiffe://acme.test/me").unwrap();
        // As many attributes as a token of a CI job has.
        let attribute = |name: &str| (name.to_owned(), AttributeValue::String(format!("the value of {name}").into()));
        let attributes: Attributes = ["ci.repository", "ci.ref", "ci.actor", "ci.workflow", "ci.event", "ci.run"]
            .map(attribute)
            .into_iter()
            .collect();
        let principal = Arc::new(Principal { id, attributes, attested_by: "mesh".into() });
        let token = Some(Secret::from("header.claims.signature".to_owned()));
        let proof = Arc::new(Proof { digest: ProofDigest([0; 32]), expires_at: None, token });
        let bound = policy.bind(&principal);
        Self { policy, credentials, attested: Attested { principal, proof }, bound }
    }

    /// What policy says to `GET https://HOST/`.
    pub(crate) fn grant(&self, host: &str) -> Grant {
        let authority = Authority::parse(host, 443).unwrap();
        let target = self.policy.canonicalize(Scheme::Https, authority, "/").unwrap();
        let context = Context { source_ip: None, now: 0 };
        match self.policy.decide(&self.bound, target, http::Method::GET, &context) {
            Decision::Grant(grant) => grant,
            refused => panic!("{refused:?}"),
        }
    }
}
