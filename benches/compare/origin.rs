//! What makes the upstream's events and large answers: a process of its own, behind the upstream's TLS.

use std::convert::Infallible;
use std::process::Command;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustix::time::{ClockId, clock_gettime};
use tokio::net::TcpListener;
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::door::Problem;
use crate::scene::free_port;
use crate::server::Server;

/// From one event to the next of a stream. Longer than a delayed acknowledgement: a proxy without `TCP_NODELAY` would put
/// several events into one write, and seem cheap.
const PERIOD: Duration = Duration::from_millis(100);

/// What stands before an event's time.
pub(crate) const AT: &str = "\"at\":";

/// Starts it as a process; its port.
pub(crate) fn launch() -> Result<(Server, u16), Problem> {
    let port = free_port();
    let server = Server::spawn(|_| {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["origin", &port.to_string()]);
        command
    })?;
    Ok((server.listening(([127, 0, 0, 1], port).into())?, port))
}

/// Serves `/v1/events`, streams without end, and `/v1/mebibyte` at this port of loopback.
pub(crate) async fn serve(port: u16) {
    let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        tokio::spawn(async move {
            let service =
                service_fn(|request: Request<Incoming>| async move { Ok::<_, Infallible>(answer(request).await) });
            // A client that leaves ends it.
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(request: Request<Incoming>) -> Response<UnsyncBoxBody<Bytes, Infallible>> {
    if request.uri().path() == "/v1/events" {
        let events = StreamBody::new(Events(interval(PERIOD)).into_stream());
        let answer =
            Response::builder().header("content-type", "text/event-stream").header("cache-control", "no-cache");
        return answer.body(events.boxed_unsync()).unwrap();
    }
    // An answer that overtakes its request would end the connection.
    let _ = request.into_body().collect().await;
    Response::new(Full::new(crate::door::mebibyte()).boxed_unsync())
}

/// The machine's clock, which all processes share, in nanoseconds.
pub(crate) fn now() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    u64::try_from(now.tv_sec).unwrap() * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap()
}

struct Events(Interval);

impl Events {
    fn into_stream(mut self) -> impl futures_util::Stream<Item = Result<Frame<Bytes>, Infallible>> {
        self.0.set_missed_tick_behavior(MissedTickBehavior::Delay);
        futures_util::stream::unfold(self, |mut events| async move {
            events.0.tick().await;
            let at = now();
            let event = format!(
                "data: {{{AT}{at},\"object\":\"chat.completion.chunk\",\"choices\":[{{\"delta\":{{\"content\":\" fox\"}}}}]}}\n\n"
            );
            Some((Ok(Frame::data(Bytes::from(event))), events))
        })
    }
}
