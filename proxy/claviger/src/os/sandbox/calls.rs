//! Seeing what is tried in a network: the first packet of each TCP connection, and packets of UDP (packet(7)).

use std::io;
use std::mem::size_of;
use std::net::Ipv4Addr;
use std::num::NonZeroU32;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::net::{AddressFamily, Protocol, RecvFlags, SocketFlags, SocketType, recv, socket_with};

/// `ETH_P_IP`, in the network's order. Names have addresses of this family only.
const IP: u32 = 0x0800_u16.to_be() as u32;

/// What was tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    /// To whom.
    pub(crate) address: Ipv4Addr,
    /// At which port.
    pub(crate) port: u16,
    /// By UDP; else by TCP.
    pub(crate) is_udp: bool,
}

/// A socket that receives them: IPv4, not to loopback addresses, not to name servers.
///
/// # Errors
/// If this process may not, or the kernel has no packet sockets.
pub(crate) fn watch_calls() -> io::Result<OwnedFd> {
    let protocol = NonZeroU32::new(IP).map(Protocol::from_raw);
    let socket = socket_with(AddressFamily::PACKET, SocketType::DGRAM, SocketFlags::CLOEXEC, protocol)?;
    attach(&socket, &mut filter())?;
    Ok(socket)
}

/// Classic BPF over a packet without its link header.
fn filter() -> [libc::sock_filter; 17] {
    let step = |code: u16, k: u32, jt: u8, jf: u8| libc::sock_filter { code, jt, jf, k };
    let (byte, half, byte_at_x, half_at_x, header_length) = (0x30, 0x28, 0x50, 0x48, 0xb1);
    let (is, has, and, end) = (0x15, 0x45, 0x54, 0x06);
    [
        // To 127.0.0.0/8: dropped.
        step(byte, 16, 0, 0),
        step(is, 127, 14, 0),
        // A later fragment: dropped.
        step(half, 6, 0, 0),
        step(has, 0x1fff, 12, 0),
        step(header_length, 0, 0, 0),
        step(byte, 9, 0, 0),
        // TCP: taken if it has SYN and not ACK.
        step(is, 6, 0, 3),
        step(byte_at_x, 13, 0, 0),
        step(and, 0x12, 0, 0),
        step(is, 2, 5, 6),
        // UDP: taken unless from or to port 53.
        step(is, 17, 0, 5),
        step(half_at_x, 0, 0, 0),
        step(is, 53, 3, 0),
        step(half_at_x, 2, 0, 0),
        step(is, 53, 1, 0),
        step(end, 128, 0, 0),
        step(end, 0, 0, 0),
    ]
}

#[allow(unsafe_code, reason = "no safe wrapper sets SO_ATTACH_FILTER")]
fn attach(socket: &OwnedFd, steps: &mut [libc::sock_filter]) -> io::Result<()> {
    let length = u16::try_from(steps.len()).map_err(io::Error::other)?;
    let program = libc::sock_fprog { len: length, filter: steps.as_mut_ptr() };
    let size = libc::socklen_t::try_from(size_of::<libc::sock_fprog>()).map_err(io::Error::other)?;
    // SAFETY: the kernel reads `size` bytes of `program` and `len` steps behind its pointer, all alive during the call.
    let done = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            std::ptr::from_ref(&program).cast(),
            size,
        )
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Waits for the next one; `None`: it was nothing that can be read.
pub(crate) fn next_call(socket: impl AsFd) -> io::Result<Option<Call>> {
    let mut packet = [0_u8; 128];
    let (length, _) = recv(socket, &mut packet, RecvFlags::empty())?;
    Ok(read(packet.get(..length).unwrap_or_default()))
}

/// RFC 791 §3.1, RFC 9293 §3.1, RFC 768.
fn read(packet: &[u8]) -> Option<Call> {
    let header = usize::from(packet.first()? & 0x0f) * 4;
    let address: [u8; 4] = packet.get(16..20)?.try_into().ok()?;
    let port = packet.get(header + 2..header + 4)?.try_into().ok().map(u16::from_be_bytes)?;
    let is_udp = match packet.get(9)? {
        6 => false,
        17 => true,
        _ => return None,
    };
    Some(Call { address: address.into(), port, is_udp })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_says_where_it_goes() {
        let mut packet = vec![0x46, 0, 0, 0, 0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 203, 0, 113, 9, 0, 0, 0, 0];
        packet.extend([0x30, 0x39, 0x15, 0x38]);
        let expected = Call { address: Ipv4Addr::new(203, 0, 113, 9), port: 5432, is_udp: false };
        assert_eq!(read(&packet), Some(expected));
        for end in 0..packet.len() {
            assert_eq!(read(packet.get(..end).unwrap_or_default()), None, "{end}");
        }
    }
}
