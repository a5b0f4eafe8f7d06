//! An upstream that takes some keys, as it is told, and remembers which key each request had.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use claviger_tests::origin::{full, handler};
use claviger_tests::{Origin, World};
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;

/// What the upstream knows.
#[derive(Clone, Default)]
pub(crate) struct Keyring(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    takes: Vec<String>,
    /// What it answers to its check call instead of the truth.
    check: Option<u16>,
    /// The keys of a trace in the order of its requests, with the answers.
    seen: HashMap<String, Vec<(String, u16)>>,
    /// Check calls: the key and the other headers.
    checked: Vec<(String, http::HeaderMap)>,
}

impl Keyring {
    /// An upstream for `api.test` that takes these keys as bearers, and reflects none of what it is sent.
    pub(crate) async fn start(world: &World, takes: &[&str]) -> (Self, Origin) {
        let keyring = Self::default();
        keyring.take(takes);
        let state = keyring.0.clone();
        let answer = handler(move |request: Request<Incoming>| {
            let state = state.clone();
            async move {
                let (head, body) = request.into_parts();
                let header =
                    |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
                let key = header("authorization").strip_prefix("Bearer ").unwrap_or_default().to_owned();
                let trace = header("traceparent").split('-').nth(1).unwrap_or_default().to_owned();
                let read = body.collect().await;
                let mut state = state.lock().unwrap();
                let mut status = if state.takes.contains(&key) { 200 } else { 401 };
                if head.uri.path() == "/v1/check" {
                    status = state.check.unwrap_or(status);
                    state.checked.push((key, head.headers.clone()));
                } else {
                    state.seen.entry(trace).or_default().push((key, status));
                }
                drop(state);
                let mut response = Response::new(full(if read.is_ok() { "ok" } else { "broken" }));
                *response.status_mut() = StatusCode::from_u16(status).unwrap();
                response
            }
        });
        let origin = Origin::start(&world.ca, &["api.test"], &["h2", "http/1.1"], answer).await;
        (keyring, origin)
    }

    /// From now on it takes these.
    pub(crate) fn take(&self, keys: &[&str]) {
        self.0.lock().unwrap().takes = keys.iter().map(|key| (*key).to_owned()).collect();
    }

    /// From now on it answers so to check calls; `None`: by the key.
    pub(crate) fn answer_checks(&self, status: Option<u16>) {
        self.0.lock().unwrap().check = status;
    }

    /// The keys of the check calls so far, with their headers.
    pub(crate) fn checked(&self) -> Vec<(String, http::HeaderMap)> {
        std::mem::take(&mut self.0.lock().unwrap().checked)
    }

    /// By trace: the keys and answers of its requests.
    pub(crate) fn seen(&self) -> HashMap<String, Vec<(String, u16)>> {
        self.0.lock().unwrap().seen.clone()
    }

    /// Whether some request had this key.
    pub(crate) fn has_seen(&self, key: &str) -> bool {
        self.0.lock().unwrap().seen.values().flatten().any(|(seen, _)| seen == key)
    }
}
