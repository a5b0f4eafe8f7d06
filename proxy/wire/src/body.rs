//! Bodies on their way: bounded, timed, counted, and guarded against echoes. Never buffered whole.

mod idle;

use std::cell::Cell;
use std::collections::VecDeque;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use claviger_credential::{EchoGuard, EchoScanner};
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use self::idle::Idle;
use crate::client_body::ClientBody;
use crate::trail::Ending;
use crate::upstream::Lent;
use crate::watch::Over;

/// Why a body ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BodyError {
    #[error("the peer broke the connection")]
    Broken,
    #[error("the body is larger than allowed")]
    TooLarge,
    #[error("no byte came for too long")]
    Idle,
    #[error("policy no longer allows this stream")]
    Revoked,
    #[error("an operator suspended what this stream uses")]
    Suspended,
}

impl BodyError {
    /// The code in the `finished` record.
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::Broken => "broken",
            Self::TooLarge => "body_too_large",
            Self::Idle => "idle_timeout",
            Self::Revoked => "revoked",
            Self::Suspended => "suspended",
        }
    }
}

impl From<Over> for BodyError {
    fn from(over: Over) -> Self {
        match over {
            Over::Revoked => Self::Revoked,
            Over::Suspended(_) => Self::Suspended,
            Over::Silent(_) => Self::Idle,
        }
    }
}

/// What a request's body became, seen from its record.
#[derive(Debug, Default)]
pub(crate) struct Sent {
    /// Bytes that went upstream.
    pub(crate) bytes: Cell<u64>,
    /// Whether all of it went, so that the connection may serve another request.
    pub(crate) ended: Cell<bool>,
    /// Why it ended early, if it did.
    pub(crate) error: Cell<Option<BodyError>>,
}

/// A request's body towards upstream.
pub(crate) enum SentBody {
    /// None, or one that was read already.
    Full(Option<Bytes>),
    /// Straight from the client.
    Streaming(Box<Streaming>),
}

/// The parts of [`SentBody::Streaming`].
pub(crate) struct Streaming {
    incoming: ClientBody,
    left: u64,
    sent: Rc<Sent>,
    idle: Idle,
}

impl SentBody {
    /// Passes a client's body on, up to `max` bytes.
    pub(crate) fn streaming(incoming: ClientBody, max: Option<u64>, idle: Duration, sent: Rc<Sent>) -> Self {
        if incoming.is_end_stream() {
            return Self::none(&sent);
        }
        Self::Streaming(Box::new(Streaming { incoming, left: max.unwrap_or(u64::MAX), sent, idle: Idle::new(idle) }))
    }

    /// No body.
    pub(crate) fn none(sent: &Sent) -> Self {
        sent.ended.set(true);
        Self::Full(None)
    }

    /// A body that is known whole.
    pub(crate) fn full(bytes: Bytes, sent: &Sent) -> Self {
        sent.bytes.set(bytes.len() as u64);
        sent.ended.set(true);
        Self::Full(Some(bytes).filter(|bytes| !bytes.is_empty()))
    }
}

impl Streaming {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        loop {
            match Pin::new(&mut self.incoming).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    self.idle.moved();
                    // Trailers of a request are dropped: a server might merge them into the headers,
                    // where policy and injection have not seen them.
                    let Ok(data) = frame.into_data() else { continue };
                    let size = data.len() as u64;
                    let Some(left) = self.left.checked_sub(size) else {
                        return Poll::Ready(Some(Err(BodyError::TooLarge)));
                    };
                    self.left = left;
                    self.sent.ended.set(self.incoming.is_end_stream());
                    self.sent.bytes.set(self.sent.bytes.get() + size);
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Poll::Ready(Some(Err(_))) => return Poll::Ready(Some(Err(BodyError::Broken))),
                Poll::Ready(None) => {
                    self.sent.ended.set(true);
                    return Poll::Ready(None);
                }
                Poll::Pending => {
                    if let Err(error) = ready!(self.idle.poll(cx)) {
                        return Poll::Ready(Some(Err(error)));
                    }
                }
            }
        }
    }
}

impl Body for SentBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Self::Full(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Streaming(streaming) => {
                let frame = ready!(streaming.poll(cx));
                if let Some(Err(error)) = &frame {
                    streaming.sent.error.set(Some(*error));
                }
                Poll::Ready(frame)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Full(bytes) => bytes.is_none(),
            Self::Streaming(streaming) => streaming.incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Full(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::Streaming(streaming) => streaming.incoming.size_hint(),
        }
    }
}

/// An answer's body towards the client.
pub(crate) enum AnswerBody {
    /// Claviger's own words.
    Full(Option<Bytes>),
    /// Upstream's, passing through.
    Passing(Box<Passing>),
}

impl From<Bytes> for AnswerBody {
    fn from(bytes: Bytes) -> Self {
        Self::Full(Some(bytes).filter(|bytes| !bytes.is_empty()))
    }
}

/// The parts of [`AnswerBody::Passing`].
pub(crate) struct Passing {
    incoming: Incoming,
    echo: Option<(Arc<EchoGuard>, EchoScanner)>,
    ready: VecDeque<Bytes>,
    trailers: Option<HeaderMap>,
    ended: bool,
    /// Bytes that are still to be given out, if known.
    left: Option<u64>,
    idle: Idle,
    ending: Ending,
    /// Goes back to its pool when the body ended well.
    lent: Option<Lent>,
}

impl Passing {
    /// Passes upstream's body on; what `guard` knows is masked.
    pub(crate) fn new(
        incoming: Incoming,
        guard: Option<Arc<EchoGuard>>,
        idle: Duration,
        ending: Ending,
        lent: Lent,
    ) -> Self {
        ending.answering();
        let mut passing = Self {
            left: incoming.size_hint().exact(),
            echo: guard.map(|guard| {
                let scanner = guard.scanner();
                (guard, scanner)
            }),
            incoming,
            ready: VecDeque::new(),
            trailers: None,
            ended: false,
            idle: Idle::new(idle),
            ending,
            lent: Some(lent),
        };
        if passing.incoming.is_end_stream() {
            passing.end();
        }
        passing
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        loop {
            if let Some(data) = self.ready.pop_front() {
                let size = data.len() as u64;
                self.left = self.left.map(|left| left.saturating_sub(size));
                self.ending.received(size);
                return Poll::Ready(Some(Ok(Frame::data(data))));
            }
            if self.ended {
                return Poll::Ready(self.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))));
            }
            if let Err(over) = self.ending.still_allowed(cx.waker()) {
                return Poll::Ready(Some(Err(over)));
            }
            let frame = match &mut self.lent {
                Some(lent) => lent.poll_frame(&mut self.incoming, cx),
                None => Pin::new(&mut self.incoming).poll_frame(cx),
            };
            match frame {
                Poll::Ready(Some(Ok(frame))) => self.take(frame),
                Poll::Ready(Some(Err(_))) => return Poll::Ready(Some(Err(BodyError::Broken))),
                Poll::Ready(None) => self.end(),
                Poll::Pending => {
                    if let Err(error) = ready!(self.idle.poll(cx)) {
                        return Poll::Ready(Some(Err(error)));
                    }
                }
            }
        }
    }

    fn take(&mut self, frame: Frame<Bytes>) {
        self.idle.moved();
        match frame.into_data() {
            Ok(data) => {
                match &mut self.echo {
                    None => self.ready.push_back(data),
                    Some((_, scanner)) => scanner.push(data, &mut self.ready),
                }
                if self.incoming.is_end_stream() {
                    self.end();
                }
            }
            Err(frame) => {
                if let Ok(mut trailers) = frame.into_trailers() {
                    if let Some((guard, _)) = &self.echo {
                        self.ending.masked(mask_headers(guard, &mut trailers));
                    }
                    self.trailers = Some(trailers);
                }
                self.end();
            }
        }
    }

    /// Upstream has said all: what was withheld is released, and its connection goes back.
    fn end(&mut self) {
        if self.ended {
            return;
        }
        self.ended = true;
        if let Some((_, scanner)) = &mut self.echo {
            scanner.finish(&mut self.ready);
            self.ending.masked(scanner.masked());
        }
        if let Some(lent) = self.lent.take() {
            lent.give_back();
        }
        self.ending.ended_well();
    }

    fn fail(&mut self, error: BodyError) {
        self.ended = true;
        self.lent = None;
        if let Some((_, scanner)) = &self.echo {
            self.ending.masked(scanner.masked());
        }
        self.ending.failed(error.code());
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Self::Full(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Passing(passing) => {
                let frame = ready!(passing.poll(cx));
                if let Some(Err(error)) = &frame {
                    passing.fail(*error);
                }
                Poll::Ready(frame)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Full(bytes) => bytes.is_none(),
            Self::Passing(passing) => passing.ended && passing.ready.is_empty() && passing.trailers.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Full(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::Passing(passing) => passing.left.map_or_else(SizeHint::default, SizeHint::with_exact),
        }
    }
}

/// Masks the injected value in all header values; says how often it stood there.
pub(crate) fn mask_headers(guard: &EchoGuard, headers: &mut HeaderMap) -> u32 {
    let mut masked = 0;
    for value in headers.values_mut() {
        if let Some(clean) = guard.mask_header(value) {
            *value = clean;
            masked += 1;
        }
    }
    masked
}
