//! One type for every kind of client stream, so that a connection is served by one monomorphic path.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

/// A client's or upstream's byte stream below TLS.
#[derive(Debug)]
pub(crate) enum Stream {
    /// TCP.
    Tcp(TcpStream),
    /// A Unix socket.
    Unix(UnixStream),
    /// What is left of an HTTP connection after CONNECT, when bytes had been read ahead or it was h2.
    Upgraded(hyper_util::rt::TokioIo<hyper::upgrade::Upgraded>),
    /// Bytes that were read ahead stand before the rest.
    Prefixed(bytes::Bytes, Box<Stream>),
    /// TLS over a client's stream, inside which another TLS was begun (TLS to the proxy).
    Tls(Box<crate::tls::Tls<Stream>>),
}

macro_rules! each {
    ($self:expr, $io:ident => $call:expr) => {
        match $self.get_mut() {
            Stream::Tcp(io) => {
                let $io = Pin::new(io);
                $call
            }
            Stream::Unix(io) => {
                let $io = Pin::new(io);
                $call
            }
            Stream::Upgraded(io) => {
                let $io = Pin::new(io);
                $call
            }
            Stream::Prefixed(_, io) => {
                let $io = Pin::new(io.as_mut());
                $call
            }
            Stream::Tls(io) => {
                let $io = Pin::new(io.as_mut());
                $call
            }
        }
    };
}

impl Stream {
    /// Puts bytes that were read ahead back in front.
    pub(crate) fn with_prefix(prefix: bytes::Bytes, stream: Self) -> Self {
        if prefix.is_empty() { stream } else { Self::Prefixed(prefix, Box::new(stream)) }
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if let Self::Prefixed(prefix, _) = &mut *self
            && !prefix.is_empty()
        {
            let some = prefix.split_to(prefix.len().min(buf.remaining()));
            buf.put_slice(&some);
            return Poll::Ready(Ok(()));
        }
        each!(self, io => io.poll_read(cx, buf))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        each!(self, io => io.poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        each!(self, io => io.poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Tcp(io) => io.is_write_vectored(),
            Self::Unix(io) => io.is_write_vectored(),
            Self::Upgraded(io) => io.is_write_vectored(),
            Self::Prefixed(_, io) => io.is_write_vectored(),
            Self::Tls(io) => io.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, io => io.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, io => io.poll_shutdown(cx))
    }
}

/// Runs hyper's tasks on the data core that owns the connection; nothing crosses threads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LocalExecutor;

impl<F: Future + 'static> hyper::rt::Executor<F> for LocalExecutor {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(async move {
            future.await;
        });
    }
}
