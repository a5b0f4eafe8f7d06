//! HTTP/1.1 connections, most of which wait for a request most of the time. hyper keeps its buffers for as long as a
//! connection lives, 16 KiB and more; so a connection that has waited for a while is taken apart, and only its stream is
//! kept until the client says something. How long a client may take for a head counts from the same moment either way.

use std::convert::Infallible;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::rt::{Sleep, Timer};
use hyper::server::conn::http1::Builder;
use hyper::service::Service;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::sync::{Notify, watch};

use crate::connection::drained;

/// How long a connection waits for a request before it is taken apart. Building it up again costs about as much as a
/// request, so that clients who pause for shorter are not to pay for it.
const REST: Duration = Duration::from_millis(2_500);

/// What ends a connection besides its client.
pub(crate) struct Ends {
    /// How long a head may take, from the end of the exchange before.
    pub(crate) header_timeout: Duration,
    /// The proxy drains: what is under way may end.
    pub(crate) drain: watch::Receiver<bool>,
    /// It ends at once.
    pub(crate) kill: Rc<Notify>,
}

/// What is left of a connection that waits for a request.
struct Resting<I> {
    stream: I,
    /// The beginning of a head, of which no more came.
    first: Bytes,
    /// Until when the head may come.
    until: Instant,
}

/// Serves HTTP/1.1 until the client is done, the proxy drains, or a head is late.
pub(crate) async fn serve<I, S, B>(mut stream: I, builder: Builder, service: S, mut ends: Ends)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone,
    B: Body + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let (mut first, mut until) = (Bytes::new(), None);
    loop {
        // Boxed: it is not kept while the connection rests.
        let busy = Box::pin(serve_while_busy(stream, first, until, &builder, service.clone(), &mut ends));
        let Some(resting) = busy.await else { return };
        (stream, first, until) = (resting.stream, resting.first, Some(resting.until));
        if first.is_empty() {
            first = tokio::select! {
                byte = next_byte(&mut stream, resting.until) => byte,
                () = drained(&mut ends.drain) => Bytes::new(),
                () = ends.kill.notified() => return,
            };
        }
        if first.is_empty() {
            // The client may be gone already, or about to hear of it.
            let _ = stream.shutdown().await;
            return;
        }
    }
}

/// Serves until the connection ends (`None`) or may rest. `since_before` is until when a head may come that was waited for
/// already: having begun, it does not rest again.
async fn serve_while_busy<I, S, B>(
    stream: I,
    first: Bytes,
    since_before: Option<Instant>,
    builder: &Builder,
    service: S,
    ends: &mut Ends,
) -> Option<Resting<I>>
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
    B: Body + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let (header_timeout, kill) = (ends.header_timeout, &ends.kill);
    let progress = Arc::<Progress>::default();
    let mut served = builder
        .clone()
        .timer(HeadTimer::new(progress.clone(), since_before))
        .header_read_timeout(header_timeout)
        .serve_connection(TokioIo::new(Noting::new(stream, progress.clone(), first)), service)
        .with_upgrades();
    let until = tokio::select! {
        biased;
        _ = &mut served => return None,
        () = kill.notified() => return None,
        until = rested(&progress, header_timeout, |until| since_before != Some(until)) => until?,
        () = drained(&mut ends.drain) => {
            Pin::new(&mut served).graceful_shutdown();
            tokio::select! {
                _ = served => {}
                () = kill.notified() => {}
                _ = rested(&progress, header_timeout, |_| false) => {}
            }
            return None;
        }
    };
    let parts = served.into_parts()?;
    let (stream, ahead) = parts.io.into_inner().into_parts();
    // hyper asks for more only when it has read what was read ahead. Copied: hyper's own, also where nothing is in it,
    // would keep the whole buffer.
    let first = Bytes::copy_from_slice(if ahead.is_empty() { &parts.read_buf } else { &ahead });
    Some(Resting { stream, first, until })
}

/// What hyper does with a connection, as its stream and its timer see it. One thread looks at it at a time.
#[derive(Debug, Default)]
struct Progress {
    /// Bytes were handed to the stream that it may still hold.
    unflushed: AtomicBool,
    /// Until when the head may come that hyper waits for; `None`: it waits for none. hyper waits only when the exchange
    /// before is over, both its request and its answer.
    head_until: Mutex<Option<Instant>>,
}

impl Progress {
    /// Until when a head may come, if one is waited for.
    fn head_until(&self) -> Option<Instant> {
        *self.head_until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether nothing is on its way to the client.
    fn is_flushed(&self) -> bool {
        !self.unflushed.load(Ordering::Relaxed)
    }

    fn wait(&self, until: Option<Instant>) {
        *self.head_until.lock().unwrap_or_else(PoisonError::into_inner) = until;
    }
}

/// hyper's timer of one connection, which it starts when it begins to wait for a head, and drops when the head is there.
/// Only notes that: whoever serves the connection looks at the time, so that no timer is set and unset for each request.
#[derive(Debug)]
struct HeadTimer {
    progress: Arc<Progress>,
    /// A head that was waited for already: it may come until then, whatever hyper counts from.
    since_before: Mutex<Option<Instant>>,
}

impl HeadTimer {
    fn new(progress: Arc<Progress>, since_before: Option<Instant>) -> Self {
        Self { progress, since_before: Mutex::new(since_before) }
    }
}

impl Timer for HeadTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(self.now() + duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        let before = self.since_before.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.progress.wait(Some(before.map_or(deadline, |before| before.min(deadline))));
        Box::pin(HeadWait(self.progress.clone()))
    }

    fn now(&self) -> Instant {
        tokio::time::Instant::now().into()
    }

    fn reset(&self, _: &mut Pin<Box<dyn Sleep>>, deadline: Instant) {
        self.progress.wait(Some(deadline));
    }
}

/// Lives as long as a head is waited for.
#[derive(Debug)]
struct HeadWait(Arc<Progress>);

impl Future for HeadWait {
    type Output = ();

    /// Never ready: a head that is late is the matter of whoever serves the connection.
    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}

impl Sleep for HeadWait {}

impl Drop for HeadWait {
    fn drop(&mut self) {
        self.0.wait(None);
    }
}

/// A client's stream, which notes whether all that was written is gone.
#[derive(Debug)]
pub(crate) struct Noting<I> {
    stream: I,
    progress: Arc<Progress>,
    /// Read while nobody else looked; comes before the rest.
    first: Bytes,
}

impl<I> Noting<I> {
    /// `first` are bytes that were read ahead.
    fn new(stream: I, progress: Arc<Progress>, first: Bytes) -> Self {
        Self { stream, progress, first }
    }

    /// The stream, and what was read of it and not asked for.
    pub(crate) fn into_parts(self) -> (I, Bytes) {
        (self.stream, self.first)
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Noting<I> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.first.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buf);
        }
        let length = self.first.len().min(buf.remaining());
        buf.put_slice(&self.first.split_to(length));
        if self.first.is_empty() {
            self.first = Bytes::new();
            // What stands behind it is there most of the time; an error comes again when it is asked for.
            if buf.remaining() > 0 {
                let _ = Pin::new(&mut self.stream).poll_read(cx, buf);
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Noting<I> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.progress.unflushed.store(true, Ordering::Relaxed);
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.progress.unflushed.store(true, Ordering::Relaxed);
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// hyper flushes the stream only when it has written all that it holds itself.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        if matches!(flushed, Poll::Ready(Ok(()))) {
            self.progress.unflushed.store(false, Ordering::Relaxed);
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Resolves when a head has been waited for so long that the connection may rest, with the time until which it may still
/// come; with `None`, when that is over.
async fn rested(progress: &Progress, header_timeout: Duration, may_rest: impl Fn(Instant) -> bool) -> Option<Instant> {
    let rest = REST.min(header_timeout);
    let mut sleep = std::pin::pin!(tokio::time::sleep(rest));
    loop {
        sleep.as_mut().await;
        let now = Instant::from(tokio::time::Instant::now());
        let mut next = now + rest;
        if let Some(until) = progress.head_until() {
            if until <= now {
                return None;
            }
            let rests_at = until.checked_sub(header_timeout).map_or(now, |since| since + rest);
            if rests_at > now {
                next = rests_at;
            } else if progress.is_flushed() && may_rest(until) {
                return Some(until);
            }
            next = next.min(until);
        }
        sleep.as_mut().reset(next.into());
    }
}

/// Waits for the client's next byte; empty at the end of the stream, or when it breaks or says nothing for too long.
async fn next_byte<I: AsyncRead + Unpin>(stream: &mut I, until: Instant) -> Bytes {
    let mut byte = [0];
    match tokio::time::timeout_at(until.into(), stream.read(&mut byte)).await {
        Ok(Ok(1)) => Bytes::copy_from_slice(&byte),
        Ok(Ok(_) | Err(_)) | Err(_) => Bytes::new(),
    }
}

#[cfg(test)]
mod tests;
