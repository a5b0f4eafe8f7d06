//! Messages with open files in them, between a process and the one that it started.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::retry_on_intr;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketFlags, SocketType, recv, recvmsg, send, sendmsg, socketpair,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// As many files as one message may bring.
const FILES: usize = 24;

/// As large as a message may be: an environment and arguments of 2 MiB (execve(2)), each byte written as a number.
const LONGEST: usize = 16 << 20;

/// One end of a pair of connected sockets.
#[derive(Debug)]
pub(crate) struct Channel(OwnedFd);

impl Channel {
    /// Both ends. The second is inherited by processes that are started while it is open.
    pub(crate) fn pair() -> io::Result<(Self, OwnedFd)> {
        let (here, there) = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        rustix::io::fcntl_setfd(&there, rustix::io::FdFlags::empty())?;
        Ok((Self(here), there))
    }

    /// The end that was inherited: from now on it is closed when another program is run.
    pub(crate) fn of(end: OwnedFd) -> io::Result<Self> {
        rustix::io::fcntl_setfd(&end, rustix::io::FdFlags::CLOEXEC)?;
        Ok(Self(end))
    }

    /// Sends one message, with open files.
    pub(crate) fn send<T: Serialize>(&self, message: &T, files: &[BorrowedFd<'_>]) -> io::Result<()> {
        let text = serde_json::to_vec(message)?;
        let length = u32::try_from(text.len()).map_err(io::Error::other)?.to_le_bytes();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FILES))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !files.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(files)) {
            return Err(io::Error::other("too many files for one message"));
        }
        // NOSIGNAL: an end whose process was killed is an error here, no signal.
        retry_on_intr(|| sendmsg(&self.0, &[IoSlice::new(&length)], &mut ancillary, SendFlags::NOSIGNAL))?;
        let mut rest = text.as_slice();
        while !rest.is_empty() {
            let sent = retry_on_intr(|| send(&self.0, rest, SendFlags::NOSIGNAL))?;
            rest = rest.get(sent..).unwrap_or_default();
        }
        Ok(())
    }

    /// Waits for one message; `None`: the other end is closed.
    pub(crate) fn receive<T: DeserializeOwned>(&self) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
        let mut length = [0_u8; 4];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FILES))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::CMSG_CLOEXEC;
        let got = retry_on_intr(|| recvmsg(&self.0, &mut [IoSliceMut::new(&mut length)], &mut ancillary, flags))?.bytes;
        let mut files = Vec::new();
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(sent) = message {
                files.extend(sent);
            }
        }
        if got == 0 {
            return Ok(None);
        }
        self.fill(length.get_mut(got..).unwrap_or_default())?;
        let length = u32::from_le_bytes(length) as usize;
        if length > LONGEST {
            return Err(io::Error::other("a message is too long"));
        }
        let mut text = vec![0; length];
        self.fill(&mut text)?;
        Ok(Some((serde_json::from_slice(&text)?, files)))
    }

    fn fill(&self, mut space: &mut [u8]) -> io::Result<()> {
        while !space.is_empty() {
            let (got, _) = retry_on_intr(|| recv(&self.0, &mut *space, RecvFlags::empty()))?;
            if got == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            space = space.get_mut(got..).unwrap_or_default();
        }
        Ok(())
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
