//! Placeholders that tell on a thief: each workload has its own, and each is for one service.
//!
//! What stands where a client's library wants a key is no secret, but it is taken along by whoever takes secrets along. So
//! it is made recognisable: behind the shape that the service's clients expect stand a [mark](MARK), a tag of the workload
//! and a tag of the service under it, both by HMAC of a key that only Claviger has. Nobody can make one, or tell of whom
//! one is, and Claviger needs no list of those that it gave out. One that comes from another identity, or on the way to
//! another service, was stolen.
//!
//! A request without the mark costs a search of its URL and of the headers that are long enough to hold one.

mod shape;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, LazyLock, OnceLock};

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use claviger_contract::Secret;
use claviger_contract::event::Alert;
use claviger_policy::{Policy, Principal};
use http::header::{AUTHORIZATION, CONTENT_LENGTH, HOST, HeaderName, HeaderValue, PROXY_AUTHORIZATION};
use http::request::Parts;
use memchr::memmem::Finder;

pub use self::shape::in_shape_of;
use self::shape::kept;
use crate::refusal::{Refusal, RefusalCode};

/// What every canary begins with. Short, and in no word: what follows is what counts.
pub(crate) const MARK: &str = "clvgr";
/// The letters of a tag: 50 bits, in base 32 (RFC 4648 §6, in lower case).
const TAG: usize = 10;
/// Mark and two tags.
pub const CANARY: usize = MARK.len() + 2 * TAG;
/// Bytes of the key.
const KEY: usize = 32;

type Tag = [u8; TAG];

/// The key that canaries are made with.
pub struct CanaryKey(hmac::Key);

impl fmt::Debug for CanaryKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CanaryKey(…)")
    }
}

impl CanaryKey {
    /// A fresh key, to be sealed.
    ///
    /// # Errors
    ///
    /// The system yields no randomness.
    pub fn generate() -> Result<Secret, String> {
        let mut bytes = vec![0; KEY];
        aws_lc_rs::rand::fill(&mut bytes).map_err(|_| "the system yields no randomness".to_owned())?;
        Ok(Secret::new(bytes))
    }

    /// From a key that was sealed.
    pub fn new(secret: &Secret) -> Self {
        #[allow(clippy::disallowed_methods, reason = "the key is handed to HMAC, which keeps its own state")]
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret.expose()))
    }

    /// The canary of a workload for a service; `None`: for any of them, where a client shows one text to several.
    pub fn canary(&self, workload: &str, service: Option<&str>) -> String {
        let mut text = String::with_capacity(CANARY);
        text.push_str(MARK);
        for tag in [self.of_workload(workload), self.of_service(workload, service)] {
            text.extend(tag.map(char::from));
        }
        text
    }

    fn of_workload(&self, workload: &str) -> Tag {
        self.tag(&["workload", workload])
    }

    fn of_service(&self, workload: &str, service: Option<&str>) -> Tag {
        match service {
            Some(service) => self.tag(&["service", workload, service]),
            None => self.tag(&["any", workload]),
        }
    }

    fn tag(&self, parts: &[&str]) -> Tag {
        const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
        let mut context = hmac::Context::with_key(&self.0);
        for part in parts {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part.as_bytes());
        }
        let digest = context.sign();
        let mut bits = digest.as_ref().iter().take(8).fold(0_u64, |bits, byte| (bits << 8) | u64::from(*byte));
        std::array::from_fn(|_| {
            let letter = LETTERS.get((bits >> 59) as usize).copied().unwrap_or(b'a');
            bits <<= 5;
            letter
        })
    }
}

/// Knows the canaries of one configuration.
pub struct Canaries {
    key: Arc<CanaryKey>,
    workloads: Vec<Arc<str>>,
    /// With the texts that clients of the service write in place of its credential.
    services: Vec<(Arc<str>, Vec<Box<str>>)>,
    /// The workloads by their tags; made when the first canary turns up.
    by_tag: OnceLock<HashMap<Tag, Known>>,
}

/// A workload, and the services by the tags that they have with it: made when one of its canaries turns up, so that many of
/// them in one request cost a look-up each.
struct Known {
    name: Arc<str>,
    services: OnceLock<HashMap<Tag, Option<Arc<str>>>>,
}

impl Known {
    fn new(name: &Arc<str>) -> Self {
        Self { name: name.clone(), services: OnceLock::new() }
    }
}

impl fmt::Debug for Canaries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Canaries").field("workloads", &self.workloads.len()).finish_non_exhaustive()
    }
}

/// One that turned up, and of whom it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Spotted {
    pub(crate) workload: Arc<str>,
    /// `None`: for any service.
    pub(crate) service: Option<Arc<str>>,
    /// Where in the request, in words.
    pub(crate) place: Arc<str>,
}

impl Spotted {
    /// For the record.
    pub(crate) fn alert(&self) -> Alert {
        Alert {
            kind: RefusalCode::PlaceholderStolen.as_str(),
            workload: self.workload.clone(),
            service: self.service.clone(),
            place: self.place.clone(),
        }
    }

    /// What is told of one that was stolen.
    pub(crate) fn refusal(&self) -> Refusal {
        let meant = self.service.as_ref().map_or_else(String::new, |service| format!(" for service `{service}`"));
        let Self { workload, place, .. } = self;
        let detail = format!("the placeholder of workload `{workload}`{meant} stood in {place}");
        Refusal::new(RefusalCode::PlaceholderStolen, detail)
    }

    /// Whether this caller may show it to this service.
    fn is_rightful(&self, policy: &Policy, principal: &Principal, service: &str) -> bool {
        policy.may_be_workload(principal, &self.workload)
            && self.service.as_ref().is_none_or(|meant| **meant == *service)
    }
}

impl Canaries {
    /// Those of a configuration. `services`: each with the [texts](claviger_credential::InjectionPlan::placeholders) that
    /// its injections replace.
    pub fn new(key: Arc<CanaryKey>, policy: &Policy, services: Vec<(Arc<str>, Vec<Box<str>>)>) -> Self {
        Self { key, workloads: policy.workloads().cloned().collect(), services, by_tag: OnceLock::new() }
    }

    /// Looks through a head. Those that are found are put back into the plain placeholder that they stand for: rules,
    /// injections and upstream know that one only.
    pub(crate) fn spot(&self, head: &mut Parts) -> Vec<Spotted> {
        let named = head.headers.get(HOST).and_then(|host| host.to_str().ok());
        let mut all = head.uri.host().or(named).map_or_else(Vec::new, |host| self.spot_in_host(host));
        self.in_url(head, &mut all);
        if head.headers.values().any(may_hold) {
            self.in_headers(head, &mut all);
        }
        all
    }

    /// In the name of a host: whoever serves the name is told by it, also where nothing is sent there.
    pub(crate) fn spot_in_host(&self, host: &str) -> Vec<Spotted> {
        let mut all = Vec::new();
        // Names are letters of either case to whoever is asked for them.
        if host.len() >= CANARY {
            self.plain(host.to_ascii_lowercase().as_bytes(), "the name of the host", &mut all);
        }
        all
    }

    fn in_url(&self, head: &mut Parts, all: &mut Vec<Spotted>) {
        let Some(written) = head.uri.path_and_query().filter(|written| find(written.as_str().as_bytes()).is_some())
        else {
            return;
        };
        let Some(plain) = self.plain(written.as_str().as_bytes(), "the URL", all) else { return };
        let mut parts = head.uri.clone().into_parts();
        parts.path_and_query = http::uri::PathAndQuery::from_maybe_shared(Bytes::from(plain)).ok();
        if let Ok(uri) = http::Uri::from_parts(parts) {
            head.uri = uri;
        }
    }

    fn in_headers(&self, head: &mut Parts, all: &mut Vec<Spotted>) {
        // A host is looked at by itself, and stays as it is; the proof is the proxy's own.
        let may = |name: &HeaderName| *name != PROXY_AUTHORIZATION && *name != HOST;
        for (name, value) in head.headers.iter_mut().filter(|(name, value)| may(name) && may_hold(value)) {
            let place = || format!("the header `{name}`");
            if let Some(basic) = basic(name, value) {
                self.plain(&basic, &place(), all);
            } else if let Some(plain) = self.plain(value.as_bytes(), &place(), all)
                && let Ok(plain) = HeaderValue::from_bytes(&plain)
            {
                *value = plain;
            }
        }
    }

    /// As [`spot`](Self::spot), in a body that is at hand; its length is written into the head.
    pub(crate) fn spot_in_body(&self, head: &mut Parts, body: Bytes, all: &mut Vec<Spotted>) -> Bytes {
        if find(&body).is_none() {
            return body;
        }
        match self.plain(&body, "the body", all) {
            Some(plain) => {
                if head.headers.contains_key(CONTENT_LENGTH) {
                    head.headers.insert(CONTENT_LENGTH, plain.len().into());
                }
                Bytes::from(plain)
            }
            None => body,
        }
    }

    /// The text with plain placeholders in the place of those that are known; `None` if there is none to replace.
    fn plain(&self, text: &[u8], place: &str, all: &mut Vec<Spotted>) -> Option<Vec<u8>> {
        let mut plain = Vec::new();
        let mut rest = text;
        while let Some(at) = find(rest) {
            let (before, found) = rest.split_at_checked(at).unwrap_or((rest, &[]));
            plain.extend_from_slice(before);
            let Some((canary, behind)) = found.split_at_checked(CANARY) else {
                rest = found;
                break;
            };
            match self.identify(canary) {
                Some((workload, service)) => {
                    self.put_back(&mut plain, canary, service.as_deref());
                    let spotted = Spotted { workload, service, place: place.into() };
                    if !all.contains(&spotted) {
                        all.push(spotted);
                    }
                    rest = behind;
                }
                // Not ours: a text like any other.
                None => {
                    let (mark, behind) = found.split_at_checked(MARK.len()).unwrap_or((found, &[]));
                    plain.extend_from_slice(mark);
                    rest = behind;
                }
            }
        }
        plain.extend_from_slice(rest);
        (plain != text).then_some(plain)
    }

    /// Puts the plain text behind what is written already, if a service has one that this is the shape of.
    fn put_back(&self, written: &mut Vec<u8>, canary: &[u8], service: Option<&str>) {
        let of_service = self.services.iter().filter(|(name, _)| service.is_none_or(|service| service == &**name));
        let texts = of_service.flat_map(|(_, texts)| texts);
        // One text's beginning may be the end of another's: the longest is meant.
        let fitting = texts.filter(|text| written.ends_with(kept(text).as_bytes()));
        match fitting.max_by_key(|text| kept(text).len()) {
            Some(text) => {
                written.truncate(written.len().saturating_sub(kept(text).len()));
                written.extend_from_slice(text.as_bytes());
            }
            None => written.extend_from_slice(canary),
        }
    }

    fn identify(&self, canary: &[u8]) -> Option<(Arc<str>, Option<Arc<str>>)> {
        let tags = canary.get(MARK.len()..)?;
        let (workload, service) = tags.split_first_chunk::<TAG>()?;
        let by_tag = self
            .by_tag
            .get_or_init(|| self.workloads.iter().map(|name| (self.key.of_workload(name), Known::new(name))).collect());
        let known = by_tag.get(workload)?;
        let services = known.services.get_or_init(|| {
            let any = (self.key.of_service(&known.name, None), None);
            let of = |(name, _): &(Arc<str>, _)| (self.key.of_service(&known.name, Some(name)), Some(name.clone()));
            self.services.iter().map(of).chain([any]).collect()
        });
        Some((known.name.clone(), services.get(service)?.clone()))
    }
}

/// The first of those that turned up which is not this caller's, or not for this service.
pub(crate) fn stolen<'a>(
    spotted: &'a [Spotted],
    policy: &Policy,
    principal: &Principal,
    service: &str,
) -> Option<&'a Spotted> {
    spotted.iter().find(|one| !one.is_rightful(policy, principal, service))
}

/// Whether a text ends as canaries do, whoever made it: it is no real key.
pub fn is_canary(text: &str) -> bool {
    let ending = text.len().checked_sub(CANARY).and_then(|start| text.get(start..));
    let tags = ending.and_then(|ending| ending.strip_prefix(MARK));
    tags.is_some_and(|tags| tags.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'2'..=b'7')))
}

/// Whether a header is long enough, and has the mark in it or may have it in another coding.
fn may_hold(value: &HeaderValue) -> bool {
    let bytes = value.as_bytes();
    bytes.len() >= CANARY && (find(bytes).is_some() || is_basic(bytes))
}

fn find(text: &[u8]) -> Option<usize> {
    static MARKS: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(MARK));
    MARKS.find(text)
}

fn is_basic(value: &[u8]) -> bool {
    value.get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"basic "))
}

/// User and password of a Basic header (RFC 7617).
pub(crate) fn basic(name: &HeaderName, value: &HeaderValue) -> Option<Vec<u8>> {
    let value = value.as_bytes();
    if *name != AUTHORIZATION || !is_basic(value) {
        return None;
    }
    STANDARD.decode(value.get(6..)?.trim_ascii()).ok()
}

#[cfg(test)]
mod tests;
