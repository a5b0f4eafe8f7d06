//! One upstream connection: sending on it, and ending it.

use std::rc::Rc;
use std::time::Duration;

use claviger_policy::Grant;
use http::header::HOST;
use http::{Request, Response, Uri, Version};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};

use super::{Key, Lent, Pool, STREAMS_MAX, Slot};
use crate::body::{Sent, SentBody};
use crate::driver::Driver;

/// How long the end of a connection may take, which may have the last bytes of a request to send.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(30);

/// An HTTP/1.1 connection, driven by whoever holds it.
pub(super) struct Wire {
    pub(super) sender: http1::SendRequest<SentBody>,
    pub(super) driver: Driver,
    pub(super) slot: Slot,
}

impl Wire {
    /// Whether it may take another request, as far as is known after it was driven.
    pub(super) fn is_ready(&self) -> bool {
        self.driver.is_alive() && self.sender.is_ready()
    }

    async fn send(
        &mut self,
        request: Request<SentBody>,
    ) -> Result<Response<Incoming>, TrySendError<Request<SentBody>>> {
        let sender = &mut self.sender;
        let mut answer = std::pin::pin!(self.driver.quietly(|| sender.try_send_request(request)));
        std::future::poll_fn(|cx| self.driver.poll_with(cx, |cx| answer.as_mut().poll(cx))).await
    }

    /// Goes on by itself: an answer that comes ahead of the request's end does not stop the upload, however its reader
    /// reads. It serves no other request.
    pub(super) fn apart(self) -> http1::SendRequest<SentBody> {
        let Self { sender, driver, slot } = self;
        if let Some(connection) = driver.into_future() {
            tokio::task::spawn_local(async move {
                let _slot = slot;
                // How it ended shows in the request that used it.
                let _ = connection.await;
            });
        }
        sender
    }

    /// Ends it as the protocols want it, once what was written is sent: TLS says goodbye.
    pub(super) fn close(self) {
        let Self { sender, driver, slot } = self;
        drop(sender);
        let Some(connection) = driver.into_future() else { return };
        tokio::task::spawn_local(async move {
            let _slot = slot;
            let _ = tokio::time::timeout(CLOSE_TIMEOUT, connection).await;
        });
    }
}

/// An h2 connection, and how many requests are on it.
pub(super) struct Shared {
    pub(super) sender: http2::SendRequest<SentBody>,
    pub(super) streams: Rc<()>,
}

impl Shared {
    pub(super) fn has_room(&self) -> bool {
        // One count is the pool's own.
        Rc::strong_count(&self.streams) <= STREAMS_MAX
    }
}

/// One that was taken for a request.
pub(super) enum Connection {
    Http1(Wire),
    Http2(http2::SendRequest<SentBody>, Rc<()>),
}

impl Connection {
    /// Gives the head the form of the connection's protocol. Where it goes is the grant's word.
    pub(super) fn shape(&self, request: &mut Request<SentBody>, grant: &Grant) {
        match self {
            Self::Http1(_) => {
                *request.version_mut() = Version::HTTP_11;
                if let Some(path) = request.uri().path_and_query().cloned() {
                    *request.uri_mut() = Uri::from(path);
                }
                request.headers_mut().insert(HOST, grant.target().host_value().clone());
            }
            Self::Http2(..) => {
                *request.version_mut() = Version::HTTP_2;
                request.headers_mut().remove(HOST);
                if request.uri().authority().is_none()
                    && let Some(path) = request.uri().path_and_query().cloned()
                {
                    let mut parts = grant.target().uri().clone().into_parts();
                    parts.path_and_query = Some(path);
                    if let Ok(uri) = Uri::from_parts(parts) {
                        *request.uri_mut() = uri;
                    }
                }
            }
        }
    }

    pub(super) async fn send(
        &mut self,
        request: Request<SentBody>,
    ) -> Result<Response<Incoming>, TrySendError<Request<SentBody>>> {
        match self {
            Self::Http1(wire) => wire.send(request).await,
            Self::Http2(sender, _) => sender.try_send_request(request).await,
        }
    }

    pub(super) fn lend(self, pool: &Rc<Pool>, key: Key, sent: &Rc<Sent>) -> Lent {
        let (wire, apart, stream) = match self {
            Self::Http1(wire) if !sent.ended.get() => (None, Some(wire.apart()), None),
            Self::Http1(wire) => (Some(wire), None, None),
            Self::Http2(_, stream) => (None, None, Some(stream)),
        };
        Lent { pool: pool.clone(), key, wire, sent: sent.clone(), _apart: apart, _stream: stream }
    }
}
