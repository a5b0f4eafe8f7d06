//! Reading ahead below TLS, while much comes: rustls asks for 4 KiB at a time, which would be a system call for each.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::tls::Readable;

/// What one call reads then.
const PIECE: usize = 65_536;
/// Pieces that a core keeps at hand.
const SPARE_MAX: usize = 8;

thread_local! {
    static SPARE: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
}

/// A stream that is read ahead of, from the first read that found all it asked for until one that does not. It has a
/// piece of memory only while there is something in it.
#[derive(Debug)]
pub(crate) struct Ahead<S> {
    stream: S,
    piece: Option<Piece>,
    much: bool,
}

#[derive(Debug)]
struct Piece {
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
}

impl<S> Ahead<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self { stream, piece: None, much: false }
    }
}

impl Piece {
    fn take() -> Self {
        let spare = SPARE.with_borrow_mut(Vec::pop);
        Self { bytes: spare.unwrap_or_else(|| vec![0; PIECE].into()), start: 0, end: 0 }
    }

    fn put_back(self) {
        SPARE.with_borrow_mut(|spare| {
            if spare.len() < SPARE_MAX {
                spare.push(self.bytes);
            }
        });
    }

    /// Gives out what fits; whether it was the last.
    fn give(&mut self, buf: &mut ReadBuf<'_>) -> bool {
        let rest = self.bytes.get(self.start..self.end).unwrap_or_default();
        let some = rest.get(..rest.len().min(buf.remaining())).unwrap_or_default();
        buf.put_slice(some);
        self.start += some.len();
        self.start >= self.end
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Ahead<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let asked = buf.remaining();
        let mut piece = match self.piece.take() {
            Some(piece) => piece,
            None if self.much && asked < PIECE => {
                let mut piece = Piece::take();
                let mut into = ReadBuf::new(&mut piece.bytes);
                let read = Pin::new(&mut self.stream).poll_read(cx, &mut into);
                piece.end = into.filled().len();
                if piece.end == 0 {
                    self.much = false;
                    piece.put_back();
                    return read;
                }
                self.much = piece.end >= asked;
                piece
            }
            None => {
                ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
                self.much = asked > 0 && buf.remaining() == 0;
                return Poll::Ready(Ok(()));
            }
        };
        if piece.give(buf) {
            piece.put_back();
        } else {
            self.piece = Some(piece);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: Readable> Readable for Ahead<S> {
    fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.piece.is_some() { Poll::Ready(()) } else { self.stream.poll_readable(cx) }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Ahead<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::io::AsyncReadExt;

    use super::*;

    fn byte(at: usize) -> u8 {
        u8::try_from(at % 251).unwrap()
    }

    /// Brings parts of these lengths, and counts how often it was asked.
    struct Parts(std::vec::IntoIter<usize>, usize, usize);

    impl AsyncRead for Parts {
        fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            self.2 += 1;
            let Some(part) = self.0.next() else { return Poll::Ready(Ok(())) };
            if part == 0 {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            for at in self.1..self.1 + part.min(buf.remaining()) {
                buf.put_slice(&[byte(at)]);
                self.1 += 1;
            }
            Poll::Ready(Ok(()))
        }
    }

    /// Reads to the end as TLS does; how much there was, and how often the stream was asked.
    fn read(parts: Vec<usize>) -> (usize, usize) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut ahead = Ahead::new(Parts(parts.into_iter(), 0, 0));
            let (mut all, mut buf) = (0, [0; 4096]);
            loop {
                let some = ahead.read(&mut buf).await.unwrap();
                if some == 0 {
                    assert!(ahead.piece.is_none());
                    return (all, ahead.stream.2);
                }
                assert!(buf[..some].iter().all(|byte| {
                    all += 1;
                    *byte == self::byte(all - 1)
                }));
            }
        })
    }

    #[test]
    fn bulk_takes_few_calls_and_little_takes_no_memory() {
        // One call of 4 KiB, sixteen of a piece, and the end.
        assert_eq!(read(vec![PIECE; 17]), (4096 + 16 * PIECE, 18));
        assert_eq!(read(vec![138; 100]), (13_800, 101));
    }

    proptest! {
        #[test]
        fn nothing_is_lost_or_twice(parts in prop::collection::vec(0_usize..70_000, 0..20)) {
            let (mut much, mut expected) = (false, 0);
            for part in &parts {
                let some = (*part).min(if much { PIECE } else { 4096 });
                (expected, much) = (expected + some, some >= 4096);
            }
            prop_assert_eq!(read(parts).0, expected);
        }
    }
}
