//! A network of one machine: every address in the world is this one.
//!
//! Two messages of rtnetlink(7) per address family, written by hand: a crate for it would be larger than the rest here.

use std::io;
use std::os::fd::OwnedFd;

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, sendto, socket_with};

/// The first interface of every network namespace.
const LOOPBACK: u32 = 1;

const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_ACK: u16 = 0x4;
const NLM_F_CREATE: u16 = 0x400;
const NLMSG_ERROR: u16 = 2;

/// Brings the loopback interface up and routes all addresses of both families to it ("AnyIP"), so that what a client tries
/// to reach directly arrives at this machine: where nobody listens it is refused at once, instead of being waited for.
pub(crate) fn bring_up() -> io::Result<()> {
    // NETLINK_ROUTE is 0, the default protocol.
    let netlink = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
    ask(&netlink, libc::RTM_NEWLINK, NLM_F_ACK, &up())?;
    ask(&netlink, libc::RTM_NEWROUTE, NLM_F_ACK | NLM_F_CREATE, &everything(AddressFamily::INET))?;
    match ask(&netlink, libc::RTM_NEWROUTE, NLM_F_ACK | NLM_F_CREATE, &everything(AddressFamily::INET6)) {
        // A kernel without IPv6 has no way out by it either.
        Err(error) if error.raw_os_error() == Some(libc::EAFNOSUPPORT) => Ok(()),
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => Ok(()),
        done => done,
    }
}

/// `struct ifinfomsg`: family and padding, type, index, flags, which flags change.
fn up() -> Vec<u8> {
    let mut body = vec![0_u8; 4];
    body.extend(LOOPBACK.to_ne_bytes());
    body.extend(u32::try_from(libc::IFF_UP).unwrap_or(1).to_ne_bytes());
    body.extend(u32::try_from(libc::IFF_UP).unwrap_or(1).to_ne_bytes());
    body
}

/// `struct rtmsg` of a local route to any address, and the attribute `RTA_OIF`.
fn everything(family: AddressFamily) -> Vec<u8> {
    let family = u8::try_from(family.as_raw()).unwrap_or_default();
    let (any_length, any_source, any_service) = (0, 0, 0);
    let mut body = vec![
        family,
        any_length,
        any_source,
        any_service,
        libc::RT_TABLE_LOCAL,
        libc::RTPROT_BOOT,
        libc::RT_SCOPE_HOST,
        libc::RTN_LOCAL,
    ];
    body.extend(0_u32.to_ne_bytes());
    body.extend(8_u16.to_ne_bytes());
    body.extend(libc::RTA_OIF.to_ne_bytes());
    body.extend(LOOPBACK.to_ne_bytes());
    body
}

fn ask(netlink: &OwnedFd, kind: u16, flags: u16, body: &[u8]) -> io::Result<()> {
    // `struct nlmsghdr`: length, kind, flags, sequence, port.
    let mut message = Vec::with_capacity(16 + body.len());
    message.extend(u32::try_from(16 + body.len()).map_err(io::Error::other)?.to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend((flags | NLM_F_REQUEST).to_ne_bytes());
    message.extend([0; 8]);
    message.extend(body);
    sendto(netlink, &message, SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
    let mut answer = [0_u8; 1024];
    let (got, _) = recv(netlink, &mut answer, RecvFlags::empty())?;
    let answer = answer.get(..got).unwrap_or_default();
    let kind = answer.get(4..6).and_then(|two| two.try_into().ok()).map(u16::from_ne_bytes);
    let error = answer.get(16..20).and_then(|four| four.try_into().ok()).map(i32::from_ne_bytes);
    match (kind, error) {
        (Some(NLMSG_ERROR), Some(0)) => Ok(()),
        (Some(NLMSG_ERROR), Some(error)) => Err(io::Error::from_raw_os_error(-error)),
        _ => Err(io::Error::other("the kernel's answer about a route cannot be read")),
    }
}
