//! `kind = "jwt"`: a token that the `[issuer]` mints for the caller's principal, and that the destination itself verifies.
//! No secret is stored anywhere.

use std::sync::Arc;

use async_trait::async_trait;
use claviger_contract::{SubjectTokens, TokenAsk};
use claviger_policy::document::{Diagnostics, Table};

use super::caller::Needs;
use super::subject::{Maker, Place, Says};
use super::{Ask, Mint, Minted, Source, SourceEnv, Taken, claims};
use crate::cache::Key;
use crate::digest::Digester;
use crate::error::SourceError;
use crate::lease::ONLY_FIELD;
use crate::reference::SecretReference;

/// How long a token lasts, if nothing is said.
const LIFETIME: std::time::Duration = std::time::Duration::from_secs(300);

#[derive(Debug)]
struct JwtSource {
    audience: Vec<String>,
    says: Says,
    tokens: Arc<dyn SubjectTokens>,
}

#[async_trait]
impl Source for JwtSource {
    /// By caller: its identity stands in the token.
    fn key(&self, ask: Ask<'_>) -> Key {
        Needs::Principal.key(ask)
    }

    async fn mint(&self, mint: Mint<'_>) -> Result<Minted, SourceError> {
        let principal = &mint.ask.ok_or(SourceError::Aborted)?.caller.principal;
        let claims = claims::fill(&self.says.claims, principal)?;
        let ask = TokenAsk { principal, audience: &self.audience, lifetime: self.says.lifetime, claims };
        let minted = self.tokens.mint(ask).await?;
        Ok(Minted { expires_at_ms: Some(minted.expires_at.saturating_mul(1_000)), ..Minted::of(minted.token) })
    }

    /// A key may have been taken back.
    fn is_renewable(&self) -> bool {
        true
    }

    fn secrets(&self) -> Vec<&SecretReference> {
        Vec::new()
    }
}

/// Takes `audience`, `lifetime` and `claims`.
pub(super) fn take(table: &mut Table, env: &SourceEnv<'_>, out: &mut Diagnostics) -> Option<Taken> {
    let tokens = &env.env.tokens;
    if !table.has("audience") {
        table.missing("audience", out).help("name who is to accept the token, as its verifier wants it");
    }
    let (is_written, place) = (table.has("audience"), table.place_of("lifetime").cloned());
    let says = Says::take(table, false, LIFETIME, Maker::Issuer, out)?;
    let audience = says.audiences(Place { issuer: None, token_url: "token_url" });
    let Some(issuer) = tokens.issuer() else {
        out.error(table.location(), table.key_of("kind"), "there is no `[issuer]` that would mint the tokens")
            .help("add `[issuer]` with the `url` at which verifiers find its keys");
        return None;
    };
    if let Some(max) = tokens.lifetime_max().filter(|max| says.lifetime > *max) {
        let place = place.unwrap_or_else(|| table.location().clone());
        let message = format!("tokens of `[issuer]` last {}s at most", max.as_secs());
        out.error(&place, table.key_of("lifetime"), message).help("shorten it, or raise `issuer.lifetime`");
        return None;
    }
    let digest = says.digest(Digester::new("source jwt").field("issuer", issuer)).finish();
    let source = JwtSource { audience, says, tokens: tokens.clone() };
    is_written.then(|| Taken {
        source: Arc::new(source),
        digest,
        fields: vec![ONLY_FIELD.into()],
        bound: None,
        seed: None,
    })
}
