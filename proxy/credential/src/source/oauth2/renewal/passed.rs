//! A renewal as it is passed to another process of this program, and what that one answers: frames of bytes, the first
//! of them JSON without a secret. They go through a socket between the two, never through arguments or a file.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use claviger_contract::outbound::OutboundFailure;
use claviger_contract::{ClientCertificate, OutboundRequest, OutboundResponse, Reach, Secret};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{Outcome, Place, Renewal};
use crate::store::sealed::{GrantLock, SealedStore};

#[derive(Serialize, Deserialize)]
struct Said {
    url: String,
    headers: Vec<String>,
    timeout_ms: u64,
    max_response: usize,
    allow_addresses: Vec<String>,
    has_ca: bool,
    certificate: Option<[u8; 32]>,
    folder: PathBuf,
    key_file: PathBuf,
    name: String,
    attempt: String,
    asked: String,
    former: bool,
}

#[derive(Serialize, Deserialize)]
enum Told {
    Sealed,
    Answered { status: u16, retry_after: Option<String> },
    Failed(u8),
    Unsealed(String),
}

/// In an order that only this program, which speaks to itself, relies on.
const FAILURES: &[OutboundFailure] = &[
    OutboundFailure::AddressRefused,
    OutboundFailure::Cleartext,
    OutboundFailure::Connect,
    OutboundFailure::Tls,
    OutboundFailure::Timeout,
    OutboundFailure::TooLarge,
    OutboundFailure::Broken,
];

/// Frames: each four bytes of length and its bytes. Never grows beyond its room, so that no copy is left behind.
struct Frames(Zeroizing<Vec<u8>>);

impl Frames {
    fn of(parts: &[&[u8]]) -> Self {
        let mut all = Zeroizing::new(Vec::with_capacity(parts.iter().map(|part| part.len() + 4).sum()));
        for part in parts {
            // What is passed is bounded far below: a form, a certificate, an answer of 64 KiB.
            all.extend_from_slice(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
            all.extend_from_slice(part);
        }
        Self(all)
    }

    fn parts(mut rest: &[u8]) -> Option<Vec<&[u8]>> {
        let mut parts = Vec::new();
        while !rest.is_empty() {
            let (length, after) = rest.split_first_chunk::<4>()?;
            let (part, after) = after.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
            parts.push(part);
            rest = after;
        }
        Some(parts)
    }
}

impl Renewal {
    /// For another process; the lock is passed as an open file.
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let Self { reach, request, place, .. } = self;
        let (folder, key_file) = place.store.places();
        let said = Said {
            url: request.url.to_string(),
            headers: request.headers.keys().map(ToString::to_string).collect(),
            timeout_ms: u64::try_from(request.timeout.as_millis()).unwrap_or(u64::MAX),
            max_response: request.max_response,
            allow_addresses: reach.allow_addresses.iter().map(ToString::to_string).collect(),
            has_ca: reach.ca_pem.is_some(),
            certificate: reach.client_certificate.as_ref().map(|certificate| certificate.digest),
            folder,
            key_file,
            name: place.name.clone(),
            attempt: place.attempt.clone(),
            asked: place.asked.clone(),
            former: place.former,
        };
        let said = serde_json::to_vec(&said).unwrap_or_default();
        #[allow(clippy::disallowed_methods, reason = "passed to the process that sends it")]
        let body = request.body.as_ref().map(Secret::expose).unwrap_or_default();
        let mut parts: Vec<&[u8]> = vec![&said, body];
        parts.extend(request.headers.keys().filter_map(|name| request.headers.get(name)).map(HeaderValue::as_bytes));
        parts.extend(reach.ca_pem.as_deref());
        if let Some(certificate) = &reach.client_certificate {
            #[allow(clippy::disallowed_methods, reason = "passed to the process that shows it")]
            parts.extend([&*certificate.chain_pem, certificate.key_pem.expose()]);
        }
        Frames::of(&parts).0
    }

    /// What [`to_bytes`](Self::to_bytes) wrote, with the file that is the lock; `None` if it is something else.
    pub fn from_bytes(bytes: &[u8], lock: File) -> Option<Self> {
        let mut parts = Frames::parts(bytes)?.into_iter();
        let said: Said = serde_json::from_slice(parts.next()?).ok()?;
        let body = Some(Secret::new(parts.next()?.to_vec()));
        let mut headers = HeaderMap::new();
        for name in &said.headers {
            let mut value = HeaderValue::from_bytes(parts.next()?).ok()?;
            value.set_sensitive(true);
            headers.insert(name.parse::<HeaderName>().ok()?, value);
        }
        let ca_pem = if said.has_ca { Some(Arc::from(parts.next()?)) } else { None };
        let client_certificate = match said.certificate {
            None => None,
            Some(digest) => {
                let (chain_pem, key_pem) = (parts.next()?.to_vec(), Secret::new(parts.next()?.to_vec()));
                Some(Arc::new(ClientCertificate { chain_pem, key_pem, digest }))
            }
        };
        let allow_addresses = said.allow_addresses.iter().map(|one| one.parse().ok()).collect::<Option<_>>()?;
        let request = OutboundRequest {
            method: Method::POST,
            url: url::Url::parse(&said.url).ok()?,
            headers,
            body,
            timeout: Duration::from_millis(said.timeout_ms),
            max_response: said.max_response,
        };
        let store = SealedStore::open_at(said.folder, said.key_file);
        let place = Place { store, name: said.name, attempt: said.attempt, asked: said.asked, former: said.former };
        let reach = Reach { allow_addresses, ca_pem, client_certificate };
        Some(Self { reach, request, place, lock: GrantLock(lock) })
    }
}

impl Outcome {
    /// For the process that asked.
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let (told, body) = match self {
            Self::Sealed => (Told::Sealed, None),
            Self::Answered(answer) => {
                let retry_after = answer.headers.get(http::header::RETRY_AFTER);
                let retry_after = retry_after.and_then(|value| value.to_str().ok()).map(str::to_owned);
                (Told::Answered { status: answer.status.as_u16(), retry_after }, Some(&answer.body))
            }
            Self::Failed(failure) => {
                let at = FAILURES.iter().position(|known| known == failure).and_then(|at| u8::try_from(at).ok());
                (Told::Failed(at.unwrap_or(u8::MAX)), None)
            }
            Self::Unsealed(why) => (Told::Unsealed(why.clone()), None),
        };
        let told = serde_json::to_vec(&told).unwrap_or_default();
        #[allow(clippy::disallowed_methods, reason = "passed to the process that asked, which reads the error in it")]
        let body = body.map(Secret::expose).unwrap_or_default();
        Frames::of(&[&told, body]).0
    }

    /// What [`to_bytes`](Self::to_bytes) wrote; `None` if it is something else.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let parts = Frames::parts(bytes)?;
        let [told, body] = parts.as_slice() else { return None };
        Some(match serde_json::from_slice(told).ok()? {
            Told::Sealed => Self::Sealed,
            Told::Answered { status, retry_after } => {
                let retry_after = retry_after.and_then(|value| HeaderValue::from_str(&value).ok());
                let headers = retry_after.map(|value| (http::header::RETRY_AFTER, value)).into_iter().collect();
                let status = StatusCode::from_u16(status).ok()?;
                Self::Answered(OutboundResponse { status, headers, body: Secret::new(body.to_vec()) })
            }
            Told::Failed(at) => Self::Failed(*FAILURES.get(usize::from(at))?),
            Told::Unsealed(why) => Self::Unsealed(why),
        })
    }
}
