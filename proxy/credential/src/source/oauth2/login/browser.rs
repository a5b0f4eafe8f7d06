//! Authorization code with PKCE (RFC 6749 §4.1, RFC 7636), for a client on this machine (RFC 8252 §7.3).

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use claviger_contract::Secret;

use super::super::endpoint::Which;
use super::super::form::Value;
use super::{Granted, Login, LoginError, random_text};

/// What a server may refuse an authorization with (RFC 6749 §4.1.2.1, OpenID Connect Core §3.1.2.6, RFC 8707 §2). A code
/// that is not among them could be anything.
const REFUSALS: &[&str] = &[
    "access_denied",
    "account_selection_required",
    "consent_required",
    "interaction_required",
    "invalid_request",
    "invalid_scope",
    "invalid_target",
    "login_required",
    "server_error",
    "temporarily_unavailable",
    "unauthorized_client",
    "unsupported_response_type",
];

/// A login that was begun in a browser.
#[derive(Debug)]
pub struct Asked {
    state: Secret,
    verifier: Secret,
    redirect: String,
    scope: Option<String>,
}

impl Login {
    /// Where the browser is to go, and what its answer is judged by. `redirect` is where it comes back to.
    ///
    /// # Errors
    ///
    /// The configuration does not say where to go.
    pub async fn begin(&self, redirect: &str, scope: Option<&str>) -> Result<(url::Url, Asked), LoginError> {
        let endpoint = self.endpoint(Which::Authorization, "authorization_url").await?;
        let (state, verifier) = (random_text()?, random_text()?);
        let scope = self.scope(scope);
        let mut url = endpoint.url;
        let mut query = url.query_pairs_mut();
        query.append_pair("response_type", "code").append_pair("client_id", &self.client.id);
        query.append_pair("redirect_uri", redirect).append_pair("state", &state);
        query.append_pair("code_challenge", &challenge(&verifier)).append_pair("code_challenge_method", "S256");
        query.extend_pairs(scope.map(|scope| ("scope", scope)));
        query.extend_pairs(self.parameters());
        drop(query);
        let asked = Asked {
            state: state.into(),
            verifier: verifier.into(),
            redirect: redirect.to_owned(),
            scope: scope.map(str::to_owned),
        };
        Ok((url, asked))
    }

    /// Redeems what the browser brought back: the query of the redirect.
    ///
    /// # Errors
    ///
    /// [`LoginError::NotOurs`] for an answer that anybody could have sent: the login goes on. Any other ends it.
    pub async fn redeem(&self, asked: &Asked, query: &str) -> Result<Granted, LoginError> {
        let code = self.code_of(asked, query)?;
        let fields = vec![
            ("grant_type", Value::Text("authorization_code")),
            ("code", Value::Secret(&code)),
            ("redirect_uri", Value::Text(&asked.redirect)),
            ("code_verifier", Value::Secret(&asked.verifier)),
        ];
        self.ask(fields).await?.granted(asked.scope.as_deref())
    }

    fn code_of(&self, asked: &Asked, query: &str) -> Result<Secret, LoginError> {
        let only = |wanted: &str| {
            let mut found = url::form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name == wanted);
            // What stands twice means something else to everybody.
            found.next().filter(|_| found.next().is_none()).map(|(_, value)| value.into_owned())
        };
        let state = only("state").ok_or(LoginError::NotOurs)?;
        #[allow(clippy::disallowed_methods, reason = "compared with what the browser brought back")]
        verify_slices_are_equal(asked.state.expose(), state.as_bytes()).map_err(|_| LoginError::NotOurs)?;
        self.check_issuer(only("iss").as_deref())?;
        if let Some(refusal) = only("error") {
            return Err(LoginError::Refused(REFUSALS.iter().copied().find(|known| *known == refusal)));
        }
        let code = only("code").filter(|code| !code.is_empty());
        code.map(Secret::from).ok_or(LoginError::Refused(None))
    }

    /// RFC 9207 §2.4: an answer that was meant for another server is not redeemed at this one.
    fn check_issuer(&self, said: Option<&str>) -> Result<(), LoginError> {
        match (&self.client.endpoints.issuer, said) {
            (Some(issuer), Some(said)) if issuer != said => Err(LoginError::OtherIssuer),
            _ => Ok(()),
        }
    }
}

/// RFC 7636 §4.2.
pub(super) fn challenge(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes()))
}
