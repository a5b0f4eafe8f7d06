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

/// So many bytes are copied together rather than written from where they lie: for a head with a small body `send` of one buffer
/// costs the kernel less than `writev` of several.
const FEW_BYTES: usize = 1_024;

fn length(bufs: &[io::IoSlice<'_>]) -> usize {
    bufs.iter().map(|buf| buf.len()).sum()
}

/// Copies the buffers one behind the other, as far as there is room.
fn gather<'a>(bufs: &[io::IoSlice<'_>], room: &'a mut [u8]) -> &'a [u8] {
    let mut filled = 0;
    for buf in bufs {
        let Some(to) = room.get_mut(filled..filled + buf.len()) else { break };
        to.copy_from_slice(buf);
        filled += buf.len();
    }
    room.get(..filled).unwrap_or_default()
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
        match bufs {
            [one] => self.poll_write(cx, one),
            bufs if length(bufs) <= FEW_BYTES => {
                let mut together = [0; FEW_BYTES];
                let filled = gather(bufs, &mut together);
                self.poll_write(cx, filled)
            }
            bufs => each!(self, io => io.poll_write_vectored(cx, bufs)),
        }
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

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn every_byte_is_written_in_its_place_however_many_there_are() {
        for lengths in [
            &[0][..],
            &[5],
            &[0, 0, 0],
            &[3, 0, 7],
            &[FEW_BYTES - 1, 1],
            &[FEW_BYTES, 1],
            &[1, FEW_BYTES, 1],
            &[100; 40],
            &[FEW_BYTES * 3],
            &[40_000, 5, 70_000],
        ] {
            let (ours, theirs) = UnixStream::pair().unwrap();
            let mut counted = (0..251_u8).cycle();
            let parts: Vec<Vec<u8>> = lengths.iter().map(|length| counted.by_ref().take(*length).collect()).collect();
            let sent = parts.concat();
            let writing = async move {
                let mut ours = Stream::Unix(ours);
                let mut slices: Vec<io::IoSlice<'_>> = parts.iter().map(|part| io::IoSlice::new(part)).collect();
                let mut left = &mut slices[..];
                while left.iter().any(|slice| !slice.is_empty()) {
                    let written = ours.write_vectored(left).await.unwrap();
                    assert!(written > 0);
                    io::IoSlice::advance_slices(&mut left, written);
                }
            };
            let reading = async move {
                let (mut theirs, mut received) = (theirs, Vec::new());
                theirs.read_to_end(&mut received).await.unwrap();
                received
            };
            let ((), received) = tokio::join!(writing, reading);
            assert!(received == sent, "{lengths:?}");
        }
    }
}
