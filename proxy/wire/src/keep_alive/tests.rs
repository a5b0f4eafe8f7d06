#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::cell::Cell;

use http_body_util::{BodyExt, Full};
use hyper::service::service_fn;
use tokio::io::DuplexStream;
use tokio::task::{JoinHandle, LocalSet};
use tokio::time::{sleep, timeout};

use super::*;

const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
const HEAD: &[u8] = b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n";

/// A connection to a service that answers with the body that it got, and with how many requests there were.
struct Client {
    stream: DuplexStream,
    /// Held by the service: once more while hyper serves the connection.
    alive: Rc<Cell<u32>>,
    drain: watch::Sender<bool>,
    kill: Rc<Notify>,
    served: JoinHandle<()>,
}

impl Client {
    /// `room` is how many bytes either side may have on the way.
    fn connect(room: usize) -> Self {
        let (stream, server) = tokio::io::duplex(room);
        let (alive, kill, (drain, draining)) = (Rc::new(Cell::new(0)), Rc::new(Notify::new()), watch::channel(false));
        let ends = Ends { header_timeout: HEADER_TIMEOUT, drain: draining, kill: kill.clone() };
        let count = alive.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            count.set(count.get() + 1);
            let number = count.get();
            Box::pin(async move {
                let body = request.into_body().collect().await.unwrap().to_bytes();
                let text = format!("{number}:{}", String::from_utf8_lossy(&body));
                Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(text))))
            })
        });
        let served = tokio::task::spawn_local(serve(server, Builder::new(), service, ends));
        Self { stream, alive, drain, kill, served }
    }

    /// Whether hyper has been taken away. The service and this test hold what is counted.
    fn rests(&self) -> bool {
        Rc::strong_count(&self.alive) == 2
    }

    async fn ask(&mut self, text: &[u8]) -> String {
        self.stream.write_all(text).await.unwrap();
        self.answer().await
    }

    /// The next answer's body.
    async fn answer(&mut self) -> String {
        let mut answer = String::new();
        loop {
            let mut byte = [0];
            assert_eq!(
                timeout(Duration::from_secs(5), self.stream.read(&mut byte)).await.unwrap().unwrap(),
                1,
                "{answer}"
            );
            answer.push(char::from(byte[0]));
            if let Some((head, body)) = answer.split_once("\r\n\r\n") {
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
                if body.len() == length.parse::<usize>().unwrap() {
                    return body.to_owned();
                }
            }
        }
    }

    /// How long until the connection ends, having said nothing more.
    async fn end(mut self) -> Duration {
        let begun = tokio::time::Instant::now();
        let mut rest = Vec::new();
        timeout(Duration::from_secs(100), self.stream.read_to_end(&mut rest)).await.unwrap().unwrap();
        assert!(rest.is_empty(), "{}", String::from_utf8_lossy(&rest));
        self.served.await.unwrap();
        begun.elapsed()
    }
}

fn request(body: &str) -> Vec<u8> {
    [HEAD, body.as_bytes()].concat()
}

async fn locally(test: impl Future<Output = ()>) {
    LocalSet::new().run_until(test).await;
}

#[tokio::test(start_paused = true)]
async fn requests_far_apart_are_served_and_nothing_is_kept_between() {
    locally(async {
        let mut client = Client::connect(4_096);
        for turn in 1..=3 {
            assert_eq!(client.ask(&request("ab")).await, format!("{turn}:ab"));
            assert!(!client.rests());
            sleep(3 * REST).await;
            assert!(client.rests());
            sleep(REST).await;
        }
        // Byte by byte, with rests before and in between where there could be one.
        for turn in 4..=5 {
            for byte in request("cd") {
                client.stream.write_all(&[byte]).await.unwrap();
                sleep(Duration::from_millis(300)).await;
            }
            assert_eq!(client.answer().await, format!("{turn}:cd"));
            sleep(Duration::from_secs(3)).await;
        }
        drop(client.stream);
        client.served.await.unwrap();
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_comes_in_one_piece_is_served_as_a_whole() {
    locally(async {
        let mut client = Client::connect(4_096);
        let mut text = [request("ab"), request("cd"), HEAD.to_vec()].concat();
        assert_eq!(client.ask(&text).await, "1:ab");
        assert_eq!(client.answer().await, "2:cd");
        // A body is waited for, not a head: that is no rest.
        sleep(10 * REST).await;
        assert!(!client.rests());
        assert_eq!(client.ask(b"ef").await, "3:ef");
        // The beginning of the next head has come with the request.
        text = [request("gh"), HEAD[..10].to_vec()].concat();
        assert_eq!(client.ask(&text).await, "4:gh");
        sleep(10 * REST).await;
        assert_eq!(client.ask(&[&HEAD[10..], b"ij"].concat()).await, "5:ij");
        sleep(10 * REST).await;
        assert!(client.rests());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_not_taken_is_not_lost() {
    locally(async {
        // Less room than an answer needs.
        let mut client = Client::connect(64);
        client.stream.write_all(&request("ab")).await.unwrap();
        sleep(10 * REST).await;
        assert!(!client.rests());
        assert_eq!(client.answer().await, "1:ab");
        sleep(3 * REST).await;
        assert!(client.rests());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_head_is_late_by_the_same_clock_whether_it_rests_or_not() {
    locally(async {
        for (begins, drips) in [("", 0), ("P", 0), ("PO", 1), ("POST", 3)] {
            let mut client = Client::connect(4_096);
            assert_eq!(client.ask(&request("ab")).await, "1:ab");
            let asked = tokio::time::Instant::now();
            sleep(Duration::from_secs(7)).await;
            client.stream.write_all(begins.as_bytes()).await.unwrap();
            for _ in 0..drips {
                sleep(Duration::from_secs(5)).await;
                client.stream.write_all(b"x").await.unwrap();
            }
            client.end().await;
            let took = asked.elapsed();
            assert!(took >= HEADER_TIMEOUT && took < HEADER_TIMEOUT + REST / 10, "{begins:?}, {drips}: {took:?}");
        }
        // Also the first.
        let took = Client::connect(4_096).end().await;
        assert!(took >= HEADER_TIMEOUT && took < HEADER_TIMEOUT + REST / 10, "{took:?}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_rests_ends_when_the_proxy_drains_or_it_is_killed() {
    locally(async {
        for (drains, after) in [(true, 0), (true, 5), (false, 0), (false, 5)] {
            let mut client = Client::connect(4_096);
            assert_eq!(client.ask(&request("ab")).await, "1:ab");
            sleep(after * REST).await;
            assert_eq!(client.rests(), after > 0);
            if drains {
                client.drain.send(true).unwrap();
            } else {
                client.kill.notify_waiters();
            }
            let took = client.end().await;
            assert!(took < Duration::from_millis(100), "{drains} {after}: {took:?}");
        }
    })
    .await;
}
