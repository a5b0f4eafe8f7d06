//! Whether a client behind a loopback address is a process that this one started, directly or not, by the kernel's word.
//!
//! TCP has no `SO_PEERCRED`, but `/proc` says which socket has which addresses, and which process holds which socket.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// Whether the socket at `peer`, connected to `local`, is held by a descendant of this process. A process that cannot be
/// looked at is none.
pub(crate) fn is_of_own_descendant(peer: SocketAddr, local: SocketAddr) -> bool {
    let descendants = descendants_of(std::process::id());
    let mut networks = HashSet::new();
    for pid in &descendants {
        // A sandbox gives its processes a network of their own, in which the same addresses are others.
        let Ok(network) = fs::read_link(format!("/proc/{pid}/ns/net")) else { continue };
        if !networks.insert(network.clone()) {
            continue;
        }
        let Some(inode) = inode_of(*pid, peer, local) else { continue };
        let name = format!("socket:[{inode}]");
        let is_there = |pid: &&u32| fs::read_link(format!("/proc/{pid}/ns/net")).is_ok_and(|of| of == network);
        if descendants.iter().filter(is_there).any(|pid| holds(*pid, &name)) {
            return true;
        }
    }
    false
}

/// The children of a process, theirs, and so on.
fn descendants_of(ancestor: u32) -> Vec<u32> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let processes = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for pid in processes {
        if let Some(parent) = parent_of(pid) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let (mut found, mut next) = (Vec::new(), vec![ancestor]);
    while let Some(pid) = next.pop() {
        // Taken out, so that a table read while pids were given anew cannot lead in a circle.
        let born = children.remove(&pid).unwrap_or_default();
        found.extend_from_slice(&born);
        next.extend(born);
    }
    found
}

/// Field 4 of `/proc/PID/stat` (proc_pid_stat(5)).
fn parent_of(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, after_command) = stat.rsplit_once(')')?;
    after_command.split_ascii_whitespace().nth(4 - 3)?.parse().ok()
}

/// The inode of the connected socket with these addresses, in the network of a process.
fn inode_of(pid: u32, peer: SocketAddr, local: SocketAddr) -> Option<String> {
    // A client with an IPv6 socket may have reached an IPv4 address by it.
    ["tcp", "tcp6"].iter().find_map(|table| {
        let text = fs::read_to_string(format!("/proc/{pid}/net/{table}")).ok()?;
        text.lines().skip(1).find_map(|line| {
            let mut fields = line.split_ascii_whitespace().skip(1);
            let (own, other, state) = (address(fields.next()?)?, address(fields.next()?)?, fields.next()?);
            let inode = fields.nth(5)?;
            (own == canonical(peer) && other == canonical(local) && state == "01").then(|| inode.to_owned())
        })
    })
}

/// `0100007F:1F90`: words of the address as the machine holds them, and the port.
fn address(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |at: usize| Some(u32::from_str_radix(address.get(at..at + 8)?, 16).ok()?.to_ne_bytes());
    let address: IpAddr = match address.len() {
        8 => Ipv4Addr::from(word(0)?).into(),
        32 => {
            let words = [word(0)?, word(8)?, word(16)?, word(24)?].concat();
            Ipv6Addr::from(<[u8; 16]>::try_from(words).ok()?).into()
        }
        _ => return None,
    };
    Some(canonical(SocketAddr::new(address, port)))
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

fn holds(pid: u32, socket: &str) -> bool {
    let files = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let mut links = files.filter_map(|file| fs::read_link(file.path()).ok());
    links.any(|link: PathBuf| link.as_os_str().as_bytes() == socket.as_bytes())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::net::{TcpListener, TcpStream};
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn addresses_as_the_kernel_writes_them() {
        if cfg!(target_endian = "little") {
            assert_eq!(address("0100007F:1F90"), Some("127.0.0.1:8080".parse().unwrap()));
            assert_eq!(address("0000000000000000FFFF00000100007F:0050"), Some("127.0.0.1:80".parse().unwrap()));
            assert_eq!(address("00000000000000000000000001000000:0050"), Some("[::1]:80".parse().unwrap()));
        }
        for text in ["", "0100007F", "0100007F:", "0100007:1F90", "0100007G:1F90", "0100007F:1F900"] {
            assert_eq!(address(text), None, "{text}");
        }
    }

    #[test]
    fn a_child_of_a_child_is_known_and_this_process_is_not() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let local = listener.local_addr().unwrap();
        // bash connects by itself; the outer shell is the child, the one that connects its child.
        let script = format!("(exec 3<>/dev/tcp/127.0.0.1/{}; echo here; read -r line <&3); true", local.port());
        let mut child = Command::new("bash").args(["-c", &script]).stdout(Stdio::piped()).spawn().unwrap();
        let (stream, peer) = listener.accept().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(is_of_own_descendant(peer, local), "{peer}");
        // Near misses: another port, and addresses the wrong way round.
        assert!(!is_of_own_descendant(SocketAddr::new(peer.ip(), peer.port() ^ 1), local));
        assert!(!is_of_own_descendant(local, peer));
        let own = TcpStream::connect(local).unwrap();
        assert!(!is_of_own_descendant(own.local_addr().unwrap(), local), "it is no child of its own");
        drop(stream);
        child.wait().unwrap();
        assert!(!is_of_own_descendant(peer, local), "it has ended");
    }
}
