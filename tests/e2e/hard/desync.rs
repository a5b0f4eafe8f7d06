//! Upstreams that say more than they were asked, or leave without a word: the next request on the way is given its own
//! answer, or another connection, and nobody else's answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use claviger_tests::origin::acceptor;
use claviger_tests::{World, until};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::server::TlsStream;

use crate::wire::{Session, tcp};

const UNASKED: &str = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nstolen";

/// What an upstream does besides answering.
#[derive(Clone, Copy, Debug)]
enum Besides {
    Nothing,
    /// One more answer, in the same piece.
    AnswersTwice,
    /// The beginning of one more.
    BeginsAnother,
    /// One more answer, once it is told to.
    AnswersLater,
    /// The end of the stream, once it is told to.
    Leaves,
}

/// What came of it.
#[derive(Default)]
struct Counts {
    connections: AtomicUsize,
    /// Connections that Claviger has ended.
    ended: AtomicUsize,
    /// Of which the upstream has done what it was told to.
    done: AtomicUsize,
}

/// Answers each request with its method and path.
async fn upstream(world: &World, besides: Besides) -> (u16, Arc<Counts>, watch::Sender<bool>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let tls = acceptor(&world.ca.issue(&["api.test"]), &["http/1.1"]);
    let (counts, (tell, told)) = (Arc::<Counts>::default(), watch::channel(false));
    let all = counts.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // What is said is there, and does not wait for what was said before to be acknowledged.
            stream.set_nodelay(true).unwrap();
            let stream = tls.accept(stream).await.unwrap();
            // Only the first is ill.
            let besides = if all.connections.fetch_add(1, Ordering::SeqCst) == 0 { besides } else { Besides::Nothing };
            tokio::spawn(converse(stream, besides, all.clone(), told.clone()));
        }
    });
    (port, counts, tell)
}

async fn converse(
    mut stream: TlsStream<TcpStream>,
    besides: Besides,
    counts: Arc<Counts>,
    mut told: watch::Receiver<bool>,
) {
    let mut read = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&read).into_owned();
        let Some(end) = text.find("\r\n\r\n") else {
            tokio::select! {
                size = stream.read_buf(&mut read) => if size.unwrap_or(0) == 0 {
                    counts.ended.fetch_add(1, Ordering::SeqCst);
                    return;
                },
                _ = told.changed() => {
                    match besides {
                        Besides::AnswersLater => stream.write_all(UNASKED.as_bytes()).await.unwrap(),
                        Besides::Leaves => stream.shutdown().await.unwrap(),
                        Besides::Nothing | Besides::AnswersTwice | Besides::BeginsAnother => {}
                    }
                    counts.done.fetch_add(1, Ordering::SeqCst);
                }
            }
            continue;
        };
        let line = text.lines().next().unwrap().strip_suffix(" HTTP/1.1").unwrap();
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{line}", line.len());
        let more = match besides {
            Besides::AnswersTwice => UNASKED,
            Besides::BeginsAnother => &UNASKED[..9],
            Besides::Nothing | Besides::AnswersLater | Besides::Leaves => "",
        };
        stream.write_all((answer + more).as_bytes()).await.unwrap();
        read.drain(..end + 4);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn promise_3_nobody_is_given_an_answer_that_was_not_asked_for() {
    // `noticed`: whether Claviger has seen for itself that the connection is of no more use.
    for (besides, noticed, connections) in [
        (Besides::Nothing, false, 1),
        (Besides::AnswersTwice, false, 2),
        (Besides::BeginsAnother, false, 2),
        (Besides::AnswersLater, false, 2),
        (Besides::AnswersLater, true, 2),
        (Besides::Leaves, false, 2),
        (Besides::Leaves, true, 2),
    ] {
        let world = World::new();
        let (port, counts, tell) = upstream(&world, besides).await;
        world.seal("api", &world.canary, &["api.test"]);
        world.configure(&world.usual(port, ""));
        let proxy = world.start();
        // One connection: a second might come to another core, which has upstream connections of its own.
        let client = Session::over(tcp(proxy.address("gateway")).await, false, &proxy.gateway("")).await;
        let bearer = format!("Bearer {}", world.token("app"));
        let ask = async |method, path| client.call(method, path, &[("authorization", &bearer)]).await.unwrap();
        assert_eq!(ask("GET", "/api/v1/a").await, (200, "GET /v1/a".to_owned()), "{besides:?}");
        tell.send_replace(true);
        if let Besides::AnswersLater | Besides::Leaves = besides {
            until("it was said", async || counts.done.load(Ordering::SeqCst) == 1).await;
        }
        if noticed {
            until("Claviger has ended the connection", async || counts.ended.load(Ordering::SeqCst) == 1).await;
        }
        // One that may not be sent twice.
        assert_eq!(ask("POST", "/api/v1/b").await, (200, "POST /v1/b".to_owned()), "{besides:?}");
        assert_eq!(ask("GET", "/api/v1/c").await, (200, "GET /v1/c".to_owned()), "{besides:?}");
        assert_eq!(counts.connections.load(Ordering::SeqCst), connections, "{besides:?}");
        for record in proxy.records("finished", 3) {
            assert_eq!(record["code"], "ok", "{besides:?}: {record}");
        }
    }
}
