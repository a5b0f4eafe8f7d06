//! A token endpoint in front of the server's, which holds requests or answers back for as long as a test wants.

use std::sync::{Arc, Mutex};

use claviger_tests::origin::{full, handler};
use claviger_tests::peers::TestCa;
use claviger_tests::{Origin, PATIENCE};
use http::{Response, StatusCode};
use http_body_util::BodyExt;
use tokio::sync::watch;

/// What happens to the next calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hold {
    /// They pass.
    Nothing,
    /// The server does not see them yet.
    Requests,
    /// The server has answered, and nobody sees it yet.
    Answers,
    /// The server never sees them.
    Lose,
}

/// How far calls came so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Came {
    pub(crate) requests: usize,
    pub(crate) answers: usize,
}

pub(crate) struct Gate {
    origin: Origin,
    hold: watch::Sender<Hold>,
    came: watch::Sender<Came>,
    tokens: Arc<Mutex<Vec<String>>>,
}

impl Gate {
    /// Passes everything on to the same path of `server`.
    pub(crate) async fn start(ca: &TestCa, server: &str) -> Self {
        let (hold, came) = (watch::Sender::new(Hold::Nothing), watch::Sender::new(Came::default()));
        let tokens: Arc<Mutex<Vec<String>>> = Arc::default();
        let http = ca.http().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        let parts = (hold.clone(), came.clone(), tokens.clone(), http, server.to_owned());
        let handle = handler(move |request| {
            let (hold, came, tokens, http, server) = parts.clone();
            async move {
                let (head, body) = request.into_parts();
                let body = body.collect().await.unwrap().to_bytes();
                came.send_modify(|came| came.requests += 1);
                let mut held = hold.subscribe();
                let lost = *held.wait_for(|hold| *hold != Hold::Requests).await.unwrap() == Hold::Lose;
                if lost {
                    let mut lost = Response::new(full(""));
                    *lost.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
                    return lost;
                }
                let mut call = http.request(head.method, format!("{server}{}", head.uri.path())).body(body);
                for name in ["content-type", "accept", "authorization"] {
                    if let Some(value) = head.headers.get(name) {
                        call = call.header(name, value);
                    }
                }
                let answer = call.send().await.unwrap();
                let (status, kind) = (answer.status(), answer.headers().get("content-type").cloned());
                let body = answer.bytes().await.unwrap();
                keep(&tokens, &body);
                came.send_modify(|came| came.answers += 1);
                held.wait_for(|hold| *hold != Hold::Answers).await.unwrap();
                let mut answer = Response::new(full(body));
                *answer.status_mut() = status;
                answer.headers_mut().extend(kind.map(|kind| (http::header::CONTENT_TYPE, kind)));
                answer
            }
        });
        let origin = Origin::start(ca, &["127.0.0.1", "localhost"], &["http/1.1"], handle).await;
        Self { origin, hold, came, tokens }
    }

    /// `127.0.0.1:PORT`.
    pub(crate) fn host(&self) -> String {
        format!("127.0.0.1:{}", self.origin.port())
    }

    pub(crate) fn hold(&self, what: Hold) {
        self.hold.send_replace(what);
    }

    pub(crate) fn came(&self) -> Came {
        *self.came.borrow()
    }

    /// Waits until calls have come so far.
    pub(crate) async fn until(&self, far: impl Fn(&Came) -> bool) {
        let mut came = self.came.subscribe();
        tokio::time::timeout(PATIENCE, came.wait_for(far)).await.expect("nobody calls").unwrap();
    }

    /// Every token that the server gave out through here.
    pub(crate) fn tokens(&self) -> Vec<String> {
        self.tokens.lock().unwrap().clone()
    }
}

fn keep(tokens: &Mutex<Vec<String>>, body: &[u8]) {
    let Ok(answer) = serde_json::from_slice::<serde_json::Value>(body) else { return };
    for name in ["access_token", "refresh_token", "device_code"] {
        tokens.lock().unwrap().extend(answer[name].as_str().map(str::to_owned));
    }
}
