//! Device authorization (RFC 8628): the browser is on another device.

use std::time::Duration;

use claviger_contract::Secret;
use http::StatusCode;
use serde::Deserialize;

use super::super::answer;
use super::super::endpoint::Which;
use super::super::form::Value;
use super::{Granted, Login, LoginError};
use crate::error::SourceError;
use crate::store::field::SecretText;

const GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";
/// Between two polls if the server does not say (RFC 8628 §3.2), and what `slow_down` adds (§3.5).
const INTERVAL: Duration = Duration::from_secs(5);
/// The longest interval, whatever a server says.
const INTERVAL_MAX: Duration = Duration::from_secs(60);
/// The longest life of a code, whatever a server says, in seconds.
const LIFE_MAX: u64 = 3_600;

/// What the user is shown, and what is polled with.
#[derive(Debug)]
pub struct DeviceCode {
    code: Secret,
    /// What the user types.
    pub user_code: String,
    /// Where the user types it.
    pub verification_url: url::Url,
    /// The same with the code in it, if the server has that.
    pub complete_url: Option<url::Url>,
    /// How long to wait before the next poll.
    pub interval: Duration,
    expires_at_ms: i64,
    scope: Option<String>,
}

/// What a poll said.
#[derive(Debug)]
pub enum Polled {
    /// Nobody has entered the code yet.
    Pending,
    /// It is done.
    Granted(Box<Granted>),
}

#[derive(Deserialize)]
struct Answer {
    device_code: SecretText,
    user_code: String,
    verification_uri: String,
    verification_uri_complete: Option<String>,
    expires_in: u64,
    interval: Option<u64>,
}

impl Login {
    /// Asks for a code to type in elsewhere.
    ///
    /// # Errors
    ///
    /// The configuration does not say where, or the server refuses.
    pub async fn begin_device(&self, scope: Option<&str>) -> Result<DeviceCode, LoginError> {
        let endpoint = self.endpoint(Which::DeviceAuthorization, "device_url").await?;
        let scope = self.scope(scope);
        let mut fields: Vec<_> = scope.map(|scope| ("scope", Value::Text(scope))).into_iter().collect();
        fields.extend(self.parameters().map(|(name, value)| (name, Value::Text(value))));
        // Required here, however the client proves itself (RFC 8628 §3.1).
        fields.push(("client_id", Value::Text(&self.client.id)));
        let asked_at_ms = self.client.clock.now_ms();
        let answer = self.client.post(&endpoint, fields, None).await?;
        if answer.status != StatusCode::OK {
            // Read as what it is: a refusal.
            let refused = answer::read(&endpoint.shown(), &answer, asked_at_ms);
            return Err(refused.err().unwrap_or(SourceError::Aborted).into());
        }
        #[allow(clippy::disallowed_methods, reason = "the answer is parsed; the device code leaves as a Secret")]
        let parsed = serde_json::from_slice(answer.body.expose()).ok().and_then(|answer| code(answer, asked_at_ms));
        let mut code = parsed.ok_or_else(|| SourceError::Answer {
            endpoint: endpoint.shown(),
            why: "it is not a JSON object with `device_code`, `user_code`, a `verification_uri` and `expires_in`",
        })?;
        code.scope = scope.map(str::to_owned);
        Ok(code)
    }

    /// Asks whether the user is done; call it after [`DeviceCode::interval`], which this may make longer.
    ///
    /// # Errors
    ///
    /// The login is over: refused, or expired.
    pub async fn poll(&self, code: &mut DeviceCode) -> Result<Polled, LoginError> {
        if self.client.clock.now_ms() >= code.expires_at_ms {
            return Err(LoginError::Expired);
        }
        let fields = vec![("grant_type", Value::Text(GRANT)), ("device_code", Value::Secret(&code.code))];
        let answered = match self.ask(fields).await {
            Ok(answered) => answered,
            // A server that does not answer is asked less often (RFC 8628 §3.5).
            Err(SourceError::Call(_)) => {
                code.interval = (code.interval * 2).min(INTERVAL_MAX);
                return Ok(Polled::Pending);
            }
            Err(error) => return Err(error.into()),
        };
        if answered.answer.status == StatusCode::OK {
            return Ok(Polled::Granted(Box::new(answered.granted(code.scope.as_deref())?)));
        }
        match answer::code(&answered.answer) {
            Some("authorization_pending") => Ok(Polled::Pending),
            Some("slow_down") => {
                code.interval = (code.interval + INTERVAL).min(INTERVAL_MAX);
                Ok(Polled::Pending)
            }
            Some("expired_token") => Err(LoginError::Expired),
            Some("access_denied") => Err(LoginError::Refused(Some("access_denied"))),
            _ => Err(answered.granted(None).err().unwrap_or(LoginError::Refused(None))),
        }
    }
}

fn code(answer: Answer, asked_at_ms: i64) -> Option<DeviceCode> {
    let is_short = |text: &str| (1..=64).contains(&text.len()) && text.chars().all(|c| !c.is_control());
    let web = |text: &str| url::Url::parse(text).ok().filter(|url| matches!(url.scheme(), "https" | "http"));
    let life_ms = i64::try_from(answer.expires_in.min(LIFE_MAX)).ok()? * 1_000;
    if !is_short(&answer.user_code) || answer.device_code.0.is_empty() {
        return None;
    }
    Some(DeviceCode {
        code: Secret::new(answer.device_code.0.as_bytes().to_vec()),
        user_code: answer.user_code,
        verification_url: web(&answer.verification_uri)?,
        complete_url: answer.verification_uri_complete.as_deref().and_then(web),
        interval: answer.interval.map_or(INTERVAL, Duration::from_secs).clamp(Duration::from_secs(1), INTERVAL_MAX),
        expires_at_ms: asked_at_ms.saturating_add(life_ms),
        scope: None,
    })
}
