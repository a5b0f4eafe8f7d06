//! Where the browser comes back to: a listener on 127.0.0.1 for one login (RFC 8252 §7.3).
//!
//! It reads one request line of each visitor, answers with a page without anything of the request in it, and hangs up.

use std::net::Ipv4Addr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::command::Failure;

const PATH: &str = "/callback";
/// As long a head as is read, in bytes; codes are far shorter.
const HEAD_MAX: usize = 16 * 1024;
/// A browser opens connections ahead and says nothing on them.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) struct Redirect {
    listener: TcpListener,
    port: u16,
}

/// Somebody who came to the right path.
pub(super) struct Visit {
    socket: TcpStream,
    pub(super) query: String,
}

impl Redirect {
    pub(super) async fn bind(port: u16) -> Result<Self, Failure> {
        let failed = |error: std::io::Error| Failure::doing("listen on 127.0.0.1 for the browser")(&error);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.map_err(failed)?;
        let port = listener.local_addr().map_err(failed)?.port();
        Ok(Self { listener, port })
    }

    /// By address: what `localhost` means is up to the machine (RFC 8252 §8.3).
    pub(super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}{PATH}", self.port)
    }

    /// The next visitor. One that says nothing holds up nobody.
    pub(super) async fn next(&self) -> Result<Visit, Failure> {
        let (tell, mut visits) = tokio::sync::mpsc::channel::<Visit>(1);
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                Some(visit) = visits.recv() => return Ok(visit),
            };
            let (socket, _) =
                accepted.map_err(|error| Failure::doing("listen on 127.0.0.1 for the browser")(&error))?;
            let tell = tell.clone();
            tokio::spawn(async move {
                if let Ok(Some(visit)) = tokio::time::timeout(PATIENCE, visit(socket)).await {
                    // Who comes after the login is over is told nothing.
                    let _ = tell.send(visit).await;
                }
            });
        }
    }
}

async fn visit(mut socket: TcpStream) -> Option<Visit> {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let mut part = [0; 2048];
        let read = socket.read(&mut part).await.ok().filter(|read| *read > 0)?;
        head.extend_from_slice(part.get(..read)?);
        if head.len() > HEAD_MAX {
            return None;
        }
    }
    match query(&head) {
        Some(query) => Some(Visit { socket, query }),
        None => {
            answer(&mut socket, "404 Not Found", "There is nothing here.").await;
            None
        }
    }
}

/// The query of `GET /callback?…`.
fn query(head: &[u8]) -> Option<String> {
    let line = head.split(|byte| *byte == b'\r').next()?;
    let mut words = std::str::from_utf8(line).ok()?.split(' ');
    let (method, target, version) = (words.next()?, words.next()?, words.next()?);
    let (path, query) = target.split_once('?')?;
    (method == "GET" && path == PATH && version.starts_with("HTTP/1.") && words.next().is_none())
        .then(|| query.to_owned())
}

impl Visit {
    /// What the user sees.
    pub(super) async fn answer(mut self, done: bool) {
        let (status, text) = match done {
            true => ("200 OK", "You are logged in, and may close this window."),
            false => ("400 Bad Request", "This login did not work; the terminal says why."),
        };
        answer(&mut self.socket, status, text).await;
    }
}

async fn answer(socket: &mut TcpStream, status: &str, text: &str) {
    let page = format!("<!doctype html><meta charset=utf-8><title>Claviger</title><p>{text}</p>\n");
    let answer = format!(
        "HTTP/1.1 {status}\r\ncontent-type: text/html; charset=utf-8\r\ncontent-length: {}\r\ncache-control: no-store\r\n\
         content-security-policy: default-src 'none'\r\nreferrer-policy: no-referrer\r\nconnection: close\r\n\r\n{page}",
        page.len()
    );
    // A browser that went away misses a page.
    let _ = tokio::time::timeout(PATIENCE, async {
        socket.write_all(answer.as_bytes()).await?;
        socket.shutdown().await
    })
    .await;
}

#[cfg(test)]
mod tests {
    use super::query;

    #[test]
    fn only_the_redirect_has_a_query() {
        for (head, expected) in [
            ("GET /callback?code=a&state=b HTTP/1.1\r\nhost: x\r\n\r\n", Some("code=a&state=b")),
            ("GET /callback? HTTP/1.0\r\n\r\n", Some("")),
            ("GET /callback HTTP/1.1\r\n\r\n", None),
            ("GET /favicon.ico?code=a HTTP/1.1\r\n\r\n", None),
            ("POST /callback?code=a HTTP/1.1\r\n\r\n", None),
            ("GET http://127.0.0.1/callback?code=a HTTP/1.1\r\n\r\n", None),
            ("GET /callback?code=a b HTTP/1.1\r\n\r\n", None),
            ("GET /callback?code=a HTTP/2.0\r\n\r\n", None),
            ("", None),
        ] {
            assert_eq!(query(head.as_bytes()).as_deref(), expected, "{head:?}");
        }
    }
}
