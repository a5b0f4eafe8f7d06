//! A request's body as the client sends it. What nobody reads is discarded rather than cut off: a client
//! that is still sending when its answer comes would see a broken connection (HTTP/1.1) or a reset stream
//! (h2) instead of the answer, a refusal above all.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::{EXPECT, HeaderMap};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;

/// Reads on in the background when it is dropped before its end, for a limited time.
pub(crate) struct ClientBody {
    incoming: Option<Incoming>,
    /// The client sends nothing until it is asked to (RFC 9110 §10.1.1), and reading would ask it.
    waits: bool,
    /// How long what nobody wants may take.
    discard_for: Duration,
}

impl ClientBody {
    pub(crate) fn new(incoming: Incoming, headers: &HeaderMap, discard_for: Duration) -> Self {
        Self { incoming: Some(incoming), waits: headers.contains_key(EXPECT), discard_for }
    }
}

impl Body for ClientBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        self.waits = false;
        let Some(incoming) = &mut self.incoming else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(incoming).poll_frame(cx));
        if matches!(frame, Some(Err(_))) {
            self.incoming = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.as_ref().map_or_else(SizeHint::default, Incoming::size_hint)
    }
}

impl Drop for ClientBody {
    fn drop(&mut self) {
        let Some(mut incoming) = self.incoming.take().filter(|incoming| !self.waits && !incoming.is_end_stream())
        else {
            return;
        };
        let discard_for = self.discard_for;
        tokio::task::spawn_local(async move {
            let discard = async { while let Some(Ok(_)) = incoming.frame().await {} };
            // Whoever takes longer than this is cut off after all.
            let _ = tokio::time::timeout(discard_for, discard).await;
        });
    }
}
