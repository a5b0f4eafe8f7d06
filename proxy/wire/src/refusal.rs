//! Every way a request can fail, and the one table that turns it into what the client is told.
//!
//! The client gets a status, a stable code, a public text and the request id. The detail goes to the
//! ledger: it may name rules and hosts, which are the operator's business.

use bytes::Bytes;
use claviger_contract::event::{Alert, RequestId};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, PROXY_AUTHENTICATE, WWW_AUTHENTICATE};
use http::{Response, StatusCode};

use crate::request_id::REQUEST_ID;

/// Carries the code on every refusal, for whoever does not read the body; upstream's answers never have it.
pub(crate) const REFUSED: HeaderName = HeaderName::from_static("claviger-refused");

/// Where the answers' `doc_url` points; the code is its fragment.
const DOC_URL: &str = "https://github.com/claviger/claviger/blob/main/docs/errors.md";

/// Stable codes. A code is never renamed: clients, alerts and documents rest on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RefusalCode {
    /// The request is not one that this listener understands.
    BadRequest,
    /// The URL is ambiguous or malformed.
    BadTarget,
    /// Host, `:authority`, SNI and CONNECT do not agree.
    Misdirected,
    /// No service names the host.
    UnknownService,
    /// No proof of identity.
    NoIdentity,
    /// A proof that does not hold.
    InvalidIdentity,
    /// Policy says no.
    Denied,
    /// The session was started for other services.
    OutsideSession,
    /// An operator stopped the caller, the service or the credential.
    Suspended,
    /// A placeholder of another workload, or for another service.
    PlaceholderStolen,
    /// The body is larger than allowed, or than policy may read.
    BodyTooLarge,
    /// The body could not be read.
    BodyBroken,
    /// No credential could be obtained.
    CredentialUnavailable,
    /// The credential may not go there, or cannot be written into this request.
    CredentialRefused,
    /// The upstream's address is private or reserved.
    AddressRefused,
    /// The upstream cannot be reached.
    UpstreamUnreachable,
    /// The upstream's certificate does not hold.
    UpstreamUntrusted,
    /// The upstream broke the connection or spoke no HTTP.
    UpstreamBroken,
    /// The upstream took too long.
    UpstreamTimeout,
    /// The upstream compressed an answer that must be guarded.
    AnswerEncoded,
    /// Too much is going on at once.
    Overloaded,
    /// The ledger takes no records.
    LedgerUnavailable,
    /// A feature that Claviger does not pass.
    Unsupported,
    /// What the client got at its login does not hold here, or not any more.
    HandleInvalid,
    /// What the client shows was given to another workload at its login.
    HandleStolen,
    /// A login that Claviger does not answer.
    LoginRefused,
    /// The workload logs in all the time.
    LoginLimited,
    /// The operation would hand out a token, and no rule names it.
    TokenWithheld,
}

impl RefusalCode {
    /// Status, code and public text. One row each; no catch-all.
    fn row(self) -> (StatusCode, &'static str, &'static str) {
        use StatusCode as S;
        match self {
            Self::BadRequest => (S::BAD_REQUEST, "bad_request", "the proxy does not understand this request"),
            Self::BadTarget => (S::BAD_REQUEST, "bad_target", "the URL is ambiguous or malformed"),
            Self::Misdirected => (S::MISDIRECTED_REQUEST, "misdirected", "host, SNI and CONNECT name different hosts"),
            Self::UnknownService => (S::FORBIDDEN, "unknown_service", "no service is configured for this host"),
            Self::NoIdentity => (S::UNAUTHORIZED, "no_identity", "the workload must prove who it is"),
            Self::InvalidIdentity => (S::UNAUTHORIZED, "invalid_identity", "the proof of identity does not hold"),
            Self::Denied => (S::FORBIDDEN, "denied", "policy does not allow this request"),
            Self::OutsideSession => (S::FORBIDDEN, "outside_session", "the session was started for other services"),
            Self::Suspended => {
                (S::FORBIDDEN, "suspended", "an operator has suspended this workload, service or credential")
            }
            Self::PlaceholderStolen => {
                (S::FORBIDDEN, "placeholder_stolen", "this placeholder belongs to another workload or service")
            }
            Self::BodyTooLarge => (S::PAYLOAD_TOO_LARGE, "body_too_large", "the request body is too large"),
            Self::BodyBroken => (S::BAD_REQUEST, "body_broken", "the request body could not be read"),
            Self::CredentialUnavailable => {
                (S::SERVICE_UNAVAILABLE, "credential_unavailable", "no credential could be obtained for this request")
            }
            Self::CredentialRefused => {
                (S::FORBIDDEN, "credential_refused", "the credential cannot be used for this request")
            }
            Self::AddressRefused => (S::FORBIDDEN, "address_refused", "the upstream's address is not allowed"),
            Self::UpstreamUnreachable => (S::BAD_GATEWAY, "upstream_unreachable", "the upstream cannot be reached"),
            Self::UpstreamUntrusted => {
                (S::BAD_GATEWAY, "upstream_untrusted", "the upstream's certificate does not hold")
            }
            Self::UpstreamBroken => (S::BAD_GATEWAY, "upstream_broken", "the upstream broke the connection"),
            Self::UpstreamTimeout => (S::GATEWAY_TIMEOUT, "upstream_timeout", "the upstream took too long"),
            Self::AnswerEncoded => (S::BAD_GATEWAY, "answer_encoded", "the upstream's answer could not be checked"),
            Self::Overloaded => (S::SERVICE_UNAVAILABLE, "overloaded", "too many requests at once"),
            Self::LedgerUnavailable => (S::SERVICE_UNAVAILABLE, "ledger_unavailable", "the request cannot be recorded"),
            Self::Unsupported => (S::NOT_IMPLEMENTED, "unsupported", "the proxy does not pass this kind of request"),
            Self::HandleInvalid => (S::UNAUTHORIZED, "handle_invalid", "the token is not valid here: log in again"),
            Self::HandleStolen => (S::FORBIDDEN, "handle_stolen", "the token was given to another workload"),
            Self::LoginRefused => (S::BAD_REQUEST, "login_refused", "the proxy does not answer a login of this kind"),
            Self::LoginLimited => {
                (S::TOO_MANY_REQUESTS, "login_limited", "too many logins: keep the token until it ends")
            }
            Self::TokenWithheld => {
                (S::FORBIDDEN, "token_withheld", "the operation hands out a token, and no rule names it")
            }
        }
    }

    /// The stable word.
    pub fn as_str(self) -> &'static str {
        self.row().1
    }

    /// The HTTP status.
    pub fn status(self) -> StatusCode {
        self.row().0
    }
}

/// Why a request was not passed on.
#[derive(Debug, thiserror::Error)]
#[error("{}: {detail}", code.as_str())]
pub struct Refusal {
    /// What the client is told.
    pub code: RefusalCode,
    /// The finer reason, for the ledger: a code of policy, identity or credential.
    pub reason: &'static str,
    /// What the operator is told.
    pub detail: String,
    /// What somebody must look at.
    pub alert: Option<Box<Alert>>,
}

impl Refusal {
    /// A refusal whose reason is its code.
    pub(crate) fn new(code: RefusalCode, detail: impl Into<String>) -> Self {
        Self { code, reason: code.as_str(), detail: detail.into(), alert: None }
    }

    /// The refusal of something of another workload.
    pub(crate) fn stolen(self, owner: &str, service: &str, place: &str) -> Self {
        let alert = Alert {
            kind: RefusalCode::HandleStolen.as_str(),
            workload: owner.into(),
            service: Some(service.into()),
            place: place.into(),
        };
        Self { alert: Some(Box::new(alert)), ..self }
    }

    /// A refusal with a finer reason.
    pub(crate) fn because(code: RefusalCode, reason: &'static str, detail: impl Into<String>) -> Self {
        Self { code, reason, detail: detail.into(), alert: None }
    }
}

/// Which challenge a 401 carries: a proxy asks by other means than a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// 407 and `Proxy-Authenticate`.
    Proxy,
    /// 401 and `WWW-Authenticate`.
    Origin,
}

/// The answer that the client gets.
pub(crate) fn answer(code: RefusalCode, id: RequestId, challenge: Challenge) -> Response<Bytes> {
    const ASK: HeaderValue = HeaderValue::from_static("Basic realm=\"claviger\", Bearer realm=\"claviger\"");
    let (mut status, word, text) = code.row();
    // The texts are ours and hold nothing that JSON would escape.
    let body = format!(
        "{{\"error\":{{\"code\":\"{word}\",\"message\":\"{text}\",\"request_id\":\"{id}\",\"doc_url\":\"{DOC_URL}#{word}\"}}}}\n"
    );
    let asks = matches!(code, RefusalCode::NoIdentity | RefusalCode::InvalidIdentity);
    if asks && challenge == Challenge::Proxy {
        status = StatusCode::PROXY_AUTHENTICATION_REQUIRED;
    }
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(REFUSED, HeaderValue::from_static(word));
    if let Ok(id) = HeaderValue::from_str(&id.to_string()) {
        headers.insert(REQUEST_ID, id);
    }
    if asks {
        headers.insert(if challenge == Challenge::Proxy { PROXY_AUTHENTICATE } else { WWW_AUTHENTICATE }, ASK);
    }
    if code == RefusalCode::HandleInvalid {
        // RFC 6750 §3.1: by this clients know that they are to log in again.
        headers
            .insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"claviger\", error=\"invalid_token\""));
    }
    response
}

/// In whose words a refusal is put.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// Claviger's own.
    #[default]
    Claviger,
    /// RFC 6749 §5.2.
    OAuth2,
    /// Vault's and OpenBao's.
    Vault,
}

/// As [`answer`], in the words of what the client speaks. The header with the code is the same in all of them.
pub(crate) fn answer_in(dialect: Dialect, refusal: &Refusal, id: RequestId, challenge: Challenge) -> Response<Bytes> {
    let mut response = answer(refusal.code, id, challenge);
    let (_, word, text) = refusal.code.row();
    let body = match dialect {
        Dialect::Claviger => return response,
        Dialect::OAuth2 => {
            let (status, error) = in_oauth2(refusal);
            *response.status_mut() = status.unwrap_or(response.status());
            format!(
                "{{\"error\":\"{error}\",\"error_description\":\"{text} ({word}, request {id})\",\"error_uri\":\"{DOC_URL}#{word}\"}}\n"
            )
        }
        Dialect::Vault => {
            // A token that does not hold is forbidden to Vault, and its clients log in again upon that.
            if refusal.code == RefusalCode::HandleInvalid {
                *response.status_mut() = StatusCode::FORBIDDEN;
            }
            let denied = if response.status() == StatusCode::FORBIDDEN { "permission denied: " } else { "" };
            format!("{{\"errors\":[\"{denied}{text} (claviger: {word}, request {id})\"]}}\n")
        }
    };
    *response.body_mut() = Bytes::from(body);
    response
}

/// The status, where it is not the code's own, and the error of RFC 6749 §5.2.
fn in_oauth2(refusal: &Refusal) -> (Option<StatusCode>, &'static str) {
    use RefusalCode as R;
    let bad = Some(StatusCode::BAD_REQUEST);
    match refusal.code {
        R::NoIdentity | R::InvalidIdentity => (None, "invalid_client"),
        R::HandleInvalid | R::HandleStolen => (bad, "invalid_grant"),
        R::LoginRefused => (bad, refusal.reason),
        R::Denied
        | R::OutsideSession
        | R::Suspended
        | R::PlaceholderStolen
        | R::UnknownService
        | R::CredentialRefused
        | R::AddressRefused
        | R::TokenWithheld => (bad, "unauthorized_client"),
        R::BadRequest | R::BadTarget | R::Misdirected | R::BodyTooLarge | R::BodyBroken | R::Unsupported => {
            (None, "invalid_request")
        }
        R::CredentialUnavailable
        | R::Overloaded
        | R::LedgerUnavailable
        | R::LoginLimited
        | R::UpstreamUnreachable
        | R::UpstreamUntrusted
        | R::UpstreamBroken
        | R::UpstreamTimeout
        | R::AnswerEncoded => (None, "temporarily_unavailable"),
    }
}
