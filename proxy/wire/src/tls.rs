//! A TLS stream that leaves the session alone while there is nothing to read.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsStream;

use crate::io::Stream;

/// Says whether a read could yield something, without reading.
pub(crate) trait Readable {
    /// Ready if a read may yield something, or if that cannot be told; otherwise the task is woken when one may.
    fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<()>;
}

impl<R: Readable> Readable for Box<R> {
    fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        (**self).poll_readable(cx)
    }
}

impl Readable for TcpStream {
    fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // What is wrong with it shows when it is read.
        self.poll_read_ready(cx).map(drop)
    }
}

impl Readable for Stream {
    fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Tcp(stream) => stream.poll_readable(cx),
            Self::Unix(stream) => stream.poll_read_ready(cx).map(drop),
            Self::Prefixed(prefix, stream) if prefix.is_empty() => stream.poll_readable(cx),
            Self::Tls(stream) => stream.poll_readable(cx),
            Self::Upgraded(_) | Self::Prefixed(..) => Poll::Ready(()),
        }
    }
}

/// An established session over a stream.
///
/// HTTP asks its connection for more whenever it is polled, which is several times in each exchange, and mostly there is
/// nothing: a look at the socket's readiness then saves the way through the session's reader and its errors.
#[derive(Debug)]
pub(crate) struct Tls<IO>(TlsStream<IO>);

impl<IO> Tls<IO> {
    pub(crate) fn new(stream: impl Into<TlsStream<IO>>) -> Self {
        Self(stream.into())
    }

    /// What the handshake agreed on.
    pub(crate) fn session(&self) -> &rustls::CommonState {
        self.0.get_ref().1
    }
}

impl<IO: Readable> Readable for Tls<IO> {
    fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let (stream, session) = self.0.get_mut();
        // It wants to read: what it had read before was taken. The end, once it was seen, is its own to tell.
        if session.wants_read() { stream.poll_readable(cx) } else { Poll::Ready(()) }
    }
}

impl<IO: AsyncRead + AsyncWrite + Readable + Unpin> AsyncRead for Tls<IO> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.poll_readable(cx).is_pending() {
            return Poll::Pending;
        }
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Tls<IO> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
