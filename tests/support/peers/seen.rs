//! What a server saw of its clients, from its own access log.

use std::{fs, time::Duration};

use serde::{Deserialize, Deserializer};
use tokio::time::{Instant, sleep};

use super::{
    TestCa,
    server::{Endpoint, Server},
};

const WAIT_SECONDS_MAX: u64 = 60;
const POLL_EVERY: Duration = Duration::from_millis(5);

/// Probes begin with this; they are no requests of a client.
pub(super) const PROBE: &str = "/.ready";

/// A request as the server saw it, and how it ended.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Seen {
    /// `GET`, `POST`, …
    pub method: String,
    /// Path and query.
    pub uri: String,
    /// `HTTP/1.1`, or `HTTP/2` (which nginx calls `HTTP/2.0`).
    pub protocol: String,
    /// The `Host` header.
    pub host: String,
    /// The answer's status.
    pub status: u16,
    /// The user of basic auth; empty where the server does not say.
    #[serde(default)]
    pub user: String,
    /// The whole `Authorization` header; empty when there was none. Likewise those below.
    #[serde(deserialize_with = "or_empty")]
    pub authorization: String,
    /// `x-api-key`.
    #[serde(deserialize_with = "or_empty")]
    pub x_api_key: String,
    /// `Proxy-Authorization`.
    #[serde(deserialize_with = "or_empty")]
    pub proxy_authorization: String,
    /// `Cookie`.
    #[serde(deserialize_with = "or_empty")]
    pub cookie: String,
}

/// nginx writes nothing for a header that is absent, Envoy `null` or a dash.
fn or_empty<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let written = Option::<String>::deserialize(deserializer)?;
    Ok(written.filter(|text| text != "-").unwrap_or_default())
}

/// A server that tells what it saw.
pub trait Sees {
    /// Where it listens.
    fn endpoint(&self) -> &Endpoint;

    /// The requests that it has finished, in order.
    fn seen(&self) -> Vec<Seen>;

    /// The requests that it has finished, once there are this many. Then one more is sent to it directly, and what came
    /// before that is returned: a server that saw more than it should have says so.
    fn seen_in_all(&self, ca: &TestCa, count: usize) -> impl Future<Output = Vec<Seen>> {
        async move {
            self.until(|seen| seen.len() >= count).await;
            let last = format!("/last-{}", self.seen().len());
            let http = ca.http().resolve(&self.endpoint().name, self.endpoint().addr).build().unwrap();
            http.get(self.endpoint().url(&last)).send().await.unwrap();
            let mut seen = self.until(|seen| seen.iter().any(|request| request.uri == last)).await;
            seen.retain(|request| request.uri != last);
            seen
        }
    }

    /// What it has finished, once that holds.
    fn until(&self, holds: impl Fn(&[Seen]) -> bool) -> impl Future<Output = Vec<Seen>> {
        async move {
            let deadline = Instant::now() + Duration::from_secs(WAIT_SECONDS_MAX);
            loop {
                let seen = self.seen();
                if holds(&seen) {
                    return seen;
                }
                assert!(Instant::now() < deadline, "the server saw only {seen:#?}");
                sleep(POLL_EVERY).await;
            }
        }
    }
}

/// The lines of an access log that are whole.
pub(super) fn read(server: &Server) -> Vec<Seen> {
    let log = fs::read_to_string(server.dir().join("access.log")).unwrap();
    let whole = log.rfind('\n').map_or("", |end| &log[..end]);
    let all = whole.lines().map(|line| serde_json::from_str::<Seen>(line).expect(line));
    all.filter(|request| !request.uri.starts_with(PROBE)).collect()
}
