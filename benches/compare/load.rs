//! A closed loop over keep-alive connections. An error or another status than 200 ends the run: a
//! figure over failures would mean nothing.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

const CONNECTIONS: usize = 32;

/// Asks for `path` until the time is over; the latencies in microseconds.
pub(crate) fn run(address: SocketAddr, path: &str, authorization: Option<&str>, time: Duration) -> Vec<u64> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let until = Instant::now() + time;
        let mut loops = tokio::task::JoinSet::new();
        for _ in 0..CONNECTIONS {
            loops.spawn(connection(address, path.to_owned(), authorization.map(str::to_owned), until));
        }
        loops.join_all().await.concat()
    })
}

async fn connection(address: SocketAddr, path: String, authorization: Option<String>, until: Instant) -> Vec<u64> {
    let stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let mut latencies = Vec::new();
    while Instant::now() < until {
        let mut request = Request::get(&path).header("host", "bench.test");
        if let Some(authorization) = &authorization {
            request = request.header("authorization", authorization);
        }
        let start = Instant::now();
        let response = sender.send_request(request.body(Empty::<Bytes>::new()).unwrap()).await.unwrap();
        assert_eq!(response.status(), 200);
        response.into_body().collect().await.unwrap();
        latencies.push(u64::try_from(start.elapsed().as_micros()).unwrap());
        sender.ready().await.unwrap();
    }
    latencies
}
