//! `grant = "jwt_bearer"` (RFC 7523 §2.1): an assertion about the workload, or one that the client signs.

use async_trait::async_trait;
use claviger_policy::document::{Diagnostics, Table};

use super::{Grant, GrantEnv, TakenGrant};
use crate::digest::Digester;
use crate::error::SourceError;
use crate::reference::SecretReference;
use crate::source::Mint;
use crate::source::caller::Needs;
use crate::source::oauth2::answer::Token;
use crate::source::oauth2::assertion::Assertion;
use crate::source::oauth2::client::Client;
use crate::source::oauth2::form::Value;

const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

#[derive(Debug)]
struct JwtBearer {
    assertion: Assertion,
}

/// Takes `assertion`.
pub(super) fn take(table: &mut Table, env: &GrantEnv<'_>, out: &mut Diagnostics) -> Option<TakenGrant> {
    if !table.has("assertion") {
        table.missing("assertion", out).help("write `assertion = { from = \"minted\" }`, or `{ from = \"proof\" }`");
    }
    let assertion = table.table("assertion", out)?;
    if assertion.has("key") && !assertion.has("issuer") && !env.has_client {
        assertion.missing("issuer", out).help("say who signs; where there is a `client_id`, it is the client");
    }
    let assertion = Assertion::take(assertion, true, env.has_issuer, env.check, env.source, out)?;
    let digest = assertion.digest(env.source, Digester::new("grant jwt_bearer")).finish();
    Some(TakenGrant { grant: Box::new(JwtBearer { assertion }), digest })
}

#[async_trait]
impl Grant for JwtBearer {
    fn needs(&self) -> Needs {
        self.assertion.needs()
    }

    async fn obtain(&self, client: &Client, mint: Mint<'_>) -> Result<Token, SourceError> {
        let endpoint = client.token_endpoint().await?;
        let assertion = self.assertion.jwt(client, &endpoint, mint.ask).await?;
        let fields = [("grant_type", Value::Text(GRANT_TYPE)), ("assertion", Value::Secret(&assertion))];
        client.token(&fields, mint.ask).await
    }

    fn secrets(&self) -> Vec<&SecretReference> {
        self.assertion.secrets().into_iter().collect()
    }
}
