//! GitHub's token service: a job asks for tokens of its own with a right that the runner gave it.
//!
//! <https://docs.github.com/en/actions/reference/security/oidc>

use std::ffi::OsString;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use claviger_contract::outbound::{OutboundRequest, Reach};
use claviger_contract::{Clock, Outbound, Secret};
use claviger_wire::MachineProof;
use http::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderValue};
use rustls::sign::CertifiedKey;
use tokio::sync::Mutex;
use url::Url;

const URL: &str = "ACTIONS_ID_TOKEN_REQUEST_URL";
const RIGHT: &str = "ACTIONS_ID_TOKEN_REQUEST_TOKEN";

/// Both are there in jobs with `id-token: write`.
pub(super) const VARIABLES: [&str; 2] = [URL, RIGHT];

/// A token that ends sooner than this is renewed; GitHub's last for minutes.
const AHEAD_SECONDS: i64 = 60;

/// A token that says no end is asked for again after this.
const UNSAID_SECONDS: i64 = 60;

pub(super) struct GithubToken {
    url: Url,
    headers: HeaderMap,
    outbound: Arc<dyn Outbound>,
    clock: Arc<dyn Clock>,
    at_hand: Mutex<Option<AtHand>>,
}

struct AtHand {
    token: Arc<Secret>,
    ends: i64,
    renew_at: i64,
}

impl GithubToken {
    pub(super) fn new(
        audience: &str,
        environment: &dyn Fn(&str) -> Option<OsString>,
        outbound: Arc<dyn Outbound>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, String> {
        let variable = |name: &str| {
            let value = environment(name).and_then(|value| value.into_string().ok()).filter(|value| !value.is_empty());
            value.ok_or_else(|| format!("there is no `{name}`: give the job `permissions: id-token: write`"))
        };
        let mut url = Url::parse(&variable(URL)?).map_err(|error| format!("`{URL}` is no URL: {error}"))?;
        url.query_pairs_mut().append_pair("audience", audience);
        let mut right = HeaderValue::from_str(&format!("Bearer {}", variable(RIGHT)?))
            .map_err(|_| format!("`{RIGHT}` cannot stand in a header"))?;
        right.set_sensitive(true);
        let json = HeaderValue::from_static("application/json");
        let headers = HeaderMap::from_iter([(AUTHORIZATION, right), (ACCEPT, json)]);
        Ok(Self { url, headers, outbound, clock, at_hand: Mutex::default() })
    }

    async fn ask(&self) -> Result<AtHand, String> {
        let request = OutboundRequest {
            method: http::Method::GET,
            url: self.url.clone(),
            headers: self.headers.clone(),
            body: None,
            timeout: Duration::from_secs(15),
            max_response: 64 * 1024,
        };
        // Where it is, the runner says, which may be anywhere in a company's network.
        let everywhere = ["0.0.0.0/0", "::/0"].into_iter().filter_map(|network| network.parse().ok()).collect();
        let reach = Reach { allow_addresses: everywhere, ..Reach::default() };
        let answer = self.outbound.send(&reach, request).await.map_err(|error| error.to_string())?;
        let refused = || format!("GitHub's token service answered {} without a token", answer.status);
        let token = token_of(&answer.body).filter(|_| answer.status.is_success()).ok_or_else(refused)?;
        Ok(self.keep(token))
    }

    #[allow(clippy::disallowed_methods, reason = "read for its end; nothing of it is shown")]
    fn keep(&self, token: Secret) -> AtHand {
        let now = self.clock.now();
        let ends = claviger_identity::token_end(token.expose());
        let lasts = ends.map_or(UNSAID_SECONDS, |ends| (ends - now).max(0));
        let renew_at = now + lasts - AHEAD_SECONDS.min(lasts / 2);
        AtHand { token: Arc::new(token), ends: ends.unwrap_or(i64::MAX), renew_at }
    }
}

/// `{"value":"…"}`
#[allow(clippy::disallowed_methods, reason = "the answer is the token")]
fn token_of(body: &Secret) -> Option<Secret> {
    let answer: serde_json::Value = serde_json::from_slice(body.expose()).ok()?;
    let token = answer.get("value")?.as_str()?;
    claviger_identity::looks_like_token(token.as_bytes()).then(|| Secret::new(token.as_bytes().to_vec()))
}

#[async_trait]
impl MachineProof for GithubToken {
    async fn token(&self) -> Result<Option<Arc<Secret>>, String> {
        // Whoever comes while one asks waits: all of them need the answer.
        let mut at_hand = self.at_hand.lock().await;
        let now = self.clock.now();
        if let Some(token) = at_hand.as_ref().filter(|one| now < one.renew_at) {
            return Ok(Some(token.token.clone()));
        }
        match self.ask().await {
            Ok(fresh) => Ok(Some(at_hand.insert(fresh).token.clone())),
            // The last one serves to its end; it is asked again with the next request.
            Err(why) => match at_hand.as_ref().filter(|one| now < one.ends) {
                Some(last) => Ok(Some(last.token.clone())),
                None => Err(why),
            },
        }
    }

    fn certificate(&self) -> (u64, Option<Arc<CertifiedKey>>) {
        (0, None)
    }
}
