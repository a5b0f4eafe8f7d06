//! A client that says exactly what it is told to, and what the proxy makes of it.

use claviger_tests::{PATIENCE, World};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// One TCP connection.
pub(crate) struct Raw(TcpStream);

impl Raw {
    pub(crate) async fn connect(address: &str) -> Self {
        Self(TcpStream::connect(address).await.unwrap())
    }

    /// Writes, and reads until the answer's body is whole or the connection ends.
    pub(crate) async fn exchange(&mut self, text: &str) -> String {
        self.0.write_all(text.as_bytes()).await.unwrap();
        self.read().await
    }

    pub(crate) async fn read(&mut self) -> String {
        let mut answer = Vec::new();
        let mut buffer = [0; 8192];
        loop {
            let size = tokio::time::timeout(PATIENCE, self.0.read(&mut buffer)).await.unwrap().unwrap_or(0);
            answer.extend_from_slice(&buffer[..size]);
            let text = String::from_utf8_lossy(&answer).into_owned();
            if size == 0 || is_whole(&text) {
                return text;
            }
        }
    }

    /// Reads to the end of the connection.
    pub(crate) async fn rest(&mut self) -> String {
        let mut rest = Vec::new();
        let _ = tokio::time::timeout(PATIENCE, self.0.read_to_end(&mut rest)).await.unwrap();
        String::from_utf8_lossy(&rest).into_owned()
    }
}

fn is_whole(answer: &str) -> bool {
    let Some((head, body)) = answer.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| {
        line.to_lowercase().strip_prefix("content-length:").map(|length| length.trim().parse::<usize>().unwrap())
    });
    length.is_some_and(|length| body.len() >= length)
}

/// One client request never becomes two upstream requests (DESIGN §8.3): framings that readers could
/// disagree on are refused, and nothing after them is read as a request.
#[tokio::test(flavor = "multi_thread")]
async fn promise_3_ambiguous_framing_is_refused() {
    let (world, origin) = World::with_keyed_origin().await;
    let proxy = world.start();
    let auth = format!("Authorization: Bearer {}", world.token("app"));
    let inner = format!("GET /api/v1/smuggled HTTP/1.1\r\nHost: x\r\n{auth}\r\n\r\n");
    let cases = [
        ("two lengths", format!("Content-Length: 0\r\nContent-Length: {}\r\n\r\n{inner}", inner.len())),
        ("a list of lengths", format!("Content-Length: 0, {}\r\n\r\n{inner}", inner.len())),
        ("a signed length", format!("Content-Length: +0\r\n\r\n{inner}")),
        ("an unknown coding", format!("Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n{inner}")),
        ("two codings", format!("Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n{inner}")),
        ("two coding headers", format!("Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n{inner}")),
        ("a vertical tab", format!("Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n{inner}")),
        ("a space before the colon", format!("Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n{inner}")),
        ("obsolete folding", format!("X: y\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n{inner}")),
        ("bare CR", format!("X: y\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{inner}")),
        ("two hosts", "Host: api.test\r\n\r\n".to_owned()),
    ];
    for (what, rest) in cases {
        let before = origin.seen().len();
        let mut connection = Raw::connect(proxy.address("gateway")).await;
        let answer = connection.exchange(&format!("POST /api/v1/outer HTTP/1.1\r\nHost: x\r\n{auth}\r\n{rest}")).await;
        assert!(!answer.starts_with("HTTP/1.1 2"), "{what}: {answer}");
        let sent = origin.seen().len() - before;
        assert_eq!(sent, 0, "{what}: {sent} requests went upstream");
    }
}

/// With both framings the length is dropped and the connection ends after the one request that the
/// chunks frame (RFC 9112 §6.3): what stands behind it is never read.
#[tokio::test(flavor = "multi_thread")]
async fn promise_3_chunks_win_over_a_length_and_nothing_follows() {
    let (world, origin) = World::with_keyed_origin().await;
    let proxy = world.start();
    let auth = format!("Authorization: Bearer {}", world.token("app"));
    let inner = format!("GET /api/v1/smuggled HTTP/1.1\r\nHost: x\r\n{auth}\r\n\r\n");
    for framing in
        ["Content-Length: 4\r\nTransfer-Encoding: chunked", "Transfer-Encoding: chunked\r\nContent-Length: 4"]
    {
        let before = origin.seen().len();
        let mut connection = Raw::connect(proxy.address("gateway")).await;
        let text = format!("POST /api/v1/outer HTTP/1.1\r\nHost: x\r\n{auth}\r\n{framing}\r\n\r\n0\r\n\r\n{inner}");
        let mut answers = connection.exchange(&text).await;
        answers.push_str(&connection.rest().await);
        assert_eq!(answers.matches("HTTP/1.1 ").count(), 1, "{answers}");
        let seen = origin.seen();
        assert_eq!(seen.len() - before, 1);
        let last = seen.last().unwrap();
        assert_eq!(last.uri.path(), "/v1/outer");
        assert!(last.header("transfer-encoding").is_none() || last.header("content-length").is_none());
    }
}

/// Pipelined requests are two requests: each is judged for itself.
#[tokio::test(flavor = "multi_thread")]
async fn pipelined_requests_are_judged_one_by_one() {
    let (world, origin) = World::with_keyed_origin().await;
    let proxy = world.start();
    let auth = format!("Authorization: Bearer {}", world.token("app"));
    let mut connection = Raw::connect(proxy.address("gateway")).await;
    let text = format!(
        "GET /api/v1/a HTTP/1.1\r\nHost: x\r\n{auth}\r\n\r\nDELETE /api/v1/b HTTP/1.1\r\nHost: x\r\n{auth}\r\nConnection: close\r\n\r\n"
    );
    let mut answers = connection.exchange(&text).await;
    answers.push_str(&connection.rest().await);
    assert!(answers.starts_with("HTTP/1.1 200 "), "{answers}");
    assert!(answers.contains("HTTP/1.1 403 "), "{answers}");
    assert_eq!(origin.only().uri.path(), "/v1/a");
}

/// What was authorised is what is sent (DESIGN §3): hosts and paths that could be read in two ways.
#[tokio::test(flavor = "multi_thread")]
async fn ambiguous_targets_are_refused() {
    let (world, origin) = World::with_keyed_origin().await;
    let proxy = world.start();
    let auth = format!("Authorization: Bearer {}", world.token("app"));
    for path in [
        "/api/v1/../v2/x",
        "/api/v1/%2e%2E/x",
        "/api/v1/.%2e/x",
        "/api/v1//x",
        "/api/v1/x\\y",
        "/api/v1/%5c..%5cx",
        "/api/v1/a;b/x",
        "/api/v1/%2fx",
        "/api/v1/%00",
        "/api/v1/%zz",
        "/api/v1/%c0%ae%c0%ae/x",
        "/api/v1/%",
        "//api/v1/x",
        "/api//v1/x",
    ] {
        let mut connection = Raw::connect(proxy.address("gateway")).await;
        let answer = connection.exchange(&format!("GET {path} HTTP/1.1\r\nHost: x\r\n{auth}\r\n\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 4"), "{path}: {answer}");
    }
    assert_eq!(origin.seen().len(), 0);
}
