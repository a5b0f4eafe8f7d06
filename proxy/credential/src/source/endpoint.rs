//! `kind = "endpoint"`: a short-lived token that an HTTPS endpoint answers as text.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use claviger_contract::{Clock, Outbound, OutboundRequest, Reach};
use claviger_policy::document::{Diagnostics, Table};
use http::{HeaderMap, Method};

use super::{Mint, Minted, Source, SourceEnv, Taken};
use crate::digest::Digester;
use crate::error::SourceError;
use crate::lease::ONLY_FIELD;
use crate::reference::SecretReference;

#[derive(Debug)]
struct EndpointSource {
    url: url::Url,
    lifetime: Duration,
    reach: Reach,
    outbound: Arc<dyn Outbound>,
    clock: Arc<dyn Clock>,
}

#[async_trait]
impl Source for EndpointSource {
    async fn mint(&self, _: Mint<'_>) -> Result<Minted, SourceError> {
        // From before the call, so that the token ends early rather than late.
        let asked_at_ms = self.clock.now_ms();
        let request = OutboundRequest {
            method: Method::GET,
            url: self.url.clone(),
            headers: HeaderMap::new(),
            body: None,
            timeout: Duration::from_secs(10),
            max_response: 16 * 1024,
        };
        let answer = self.outbound.send(&self.reach, request).await?;
        if answer.status != http::StatusCode::OK {
            let (endpoint, status) = (self.url.host_str().unwrap_or_default().to_owned(), answer.status.as_u16());
            return Err(SourceError::Refused { endpoint, status, code: None, retry_after: None });
        }
        let lifetime_ms = i64::try_from(self.lifetime.as_millis()).unwrap_or(i64::MAX);
        Ok(Minted { expires_at_ms: Some(asked_at_ms.saturating_add(lifetime_ms)), ..Minted::of(answer.body) })
    }

    /// A 401 is worth another mint.
    fn is_renewable(&self) -> bool {
        true
    }

    /// None of its own.
    fn secrets(&self) -> Vec<&SecretReference> {
        Vec::new()
    }
}

/// Takes `url`, `lifetime` (default 5 minutes), `allow_addresses` and `ca`.
pub(super) fn take(table: &mut Table, env: &SourceEnv<'_>, out: &mut Diagnostics) -> Option<Taken> {
    if !table.has("url") {
        table.missing("url", out);
    }
    let url = table.parsed("url", out, |text| match url::Url::parse(text) {
        Ok(url) if url.scheme() == "https" => Ok(url),
        Ok(_) | Err(_) => Err(format!("`{text}` is not an https:// URL")),
    });
    let lifetime = table.duration("lifetime", out).map_or(Duration::from_secs(300), |at| at.value);
    let reach = Reach::take(table, out);
    let url = url?.value;
    // All that decides over the value: a reload that changes none of it keeps the lease.
    let digest = Digester::new("source endpoint")
        .field("url", url.as_str())
        .field("lifetime", lifetime.as_millis().to_be_bytes())
        .fields("allow_addresses", &reach.allow_addresses)
        .field("ca", reach.ca_pem.as_deref().unwrap_or_default())
        .finish();
    let (outbound, clock) = (env.env.outbound.clone(), env.env.clock.clone());
    let source = Arc::new(EndpointSource { url, lifetime, reach, outbound, clock });
    Some(Taken { source, digest, fields: vec![ONLY_FIELD.into()], bound: None, seed: None })
}

#[cfg(test)]
mod tests {
    use crate::Credentials;
    use crate::fixture::{Answer, World, caller, settle, value};
    use claviger_policy::document::Diagnostics;

    #[tokio::test]
    async fn the_answer_is_the_token() {
        let world = World::new();
        let text = "[credential.x]\nkind = \"endpoint\"\nurl = \"https://tokens.test/x\"\nhosts = [\"api.test\"]\n";
        let mut out = Diagnostics::default();
        let mut root = world.document(text);
        let credentials = Credentials::take(&mut root, Vec::new(), &world.env(), None, &mut out);
        root.finish(&mut out);
        assert!(out.is_empty(), "{:?}", world.found(&out));
        world.issuer.will([Answer::json(200, "token-0123456789")]);
        let (_, lease) = settle(credentials.lease_for("x", &caller(None), true)).await;
        assert_eq!(value(&lease.unwrap()), "token-0123456789");
        assert_eq!(world.events.take(), ["minted"]);
    }
}
