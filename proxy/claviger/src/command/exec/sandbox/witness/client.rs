//! Which program holds a connection: its socket's number is in the kernel's list, and among the open files of a process.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

/// The name of the program whose socket has these ends: its own, and the one that it wants. `None` if it cannot be found:
/// it has ended, or belongs to somebody whose processes may not be looked at.
pub(super) fn holding(own: SocketAddr, wanted: SocketAddr) -> Option<String> {
    let own = SocketAddr::new(own.ip().to_canonical(), own.port());
    // The processes of one network have one list; the first that has this connection tells its number.
    let mut seen = Vec::new();
    let mut number = None;
    for process in processes() {
        let folder = Path::new("/proc").join(process);
        let Ok(network) = fs::read_link(folder.join("ns/net")) else { continue };
        if seen.contains(&network) {
            continue;
        }
        let lists = ["net/tcp", "net/tcp6"].map(|list| fs::read_to_string(folder.join(list)).unwrap_or_default());
        number = lists.iter().find_map(|list| number_in(list, own, wanted));
        if number.is_some() {
            break;
        }
        seen.push(network);
    }
    let socket = format!("socket:[{}]", number?);
    processes().into_iter().find_map(|process| {
        let folder = Path::new("/proc").join(process);
        let files = fs::read_dir(folder.join("fd")).ok()?;
        let holds =
            |file: fs::DirEntry| fs::read_link(file.path()).is_ok_and(|target| target.as_os_str() == socket.as_str());
        files.flatten().any(holds).then(|| name_of(&folder)).flatten()
    })
}

/// The newest first: a client is younger than most.
fn processes() -> Vec<String> {
    let Ok(all) = fs::read_dir("/proc") else { return vec![] };
    let names = all.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let mut numbers: Vec<u32> = names.filter_map(|name| name.parse().ok()).collect();
    numbers.sort_unstable_by(|one, other| other.cmp(one));
    numbers.into_iter().map(|number| number.to_string()).collect()
}

fn name_of(folder: &Path) -> Option<String> {
    let program = fs::read_link(folder.join("exe")).ok()?;
    Some(program.file_name()?.to_string_lossy().into_owned())
}

/// The inode in a line of `/proc/net/tcp` or `tcp6` (proc_net_tcp(5)).
fn number_in(list: &str, own: SocketAddr, wanted: SocketAddr) -> Option<u64> {
    list.lines().skip(1).find_map(|line| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        let ends = (address(fields.next()?)?, address(fields.next()?)?);
        let number = fields.nth(6)?.parse().ok()?;
        (ends == (own, wanted)).then_some(number)
    })
}

/// `0100007F:1F90`: words of 32 bits in the machine's order.
fn address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let words: Vec<[u8; 4]> = (0..ip.len() / 8)
        .map(|at| u32::from_str_radix(ip.get(at * 8..at * 8 + 8)?, 16).ok().map(u32::to_ne_bytes))
        .collect::<Option<_>>()?;
    let bytes = words.concat();
    let ip = match <[u8; 4]>::try_from(bytes.as_slice()) {
        Ok(four) => IpAddr::from(four),
        Err(_) => IpAddr::from(<[u8; 16]>::try_from(bytes.as_slice()).ok()?),
    };
    Some(SocketAddr::new(ip.to_canonical(), u16::from_str_radix(port, 16).ok()?))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn a_connection_of_this_process_is_its_own() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (own, wanted) = (client.local_addr().unwrap(), listener.local_addr().unwrap());
        let program = std::env::current_exe().unwrap().file_name().unwrap().to_str().unwrap().to_owned();
        assert_eq!(holding(own, wanted), Some(program));
        assert_eq!(holding(SocketAddr::new(own.ip(), 1), wanted), None);
    }

    #[cfg(target_endian = "little")]
    #[test]
    fn addresses_are_read() {
        for (text, expected) in [
            ("0100007F:1F90", Some("127.0.0.1:8080")),
            ("00000000000000000000000001000000:0050", Some("[::1]:80")),
            ("0000000000000000FFFF00000100007F:0050", Some("127.0.0.1:80")),
            ("01007F:1F90", None),
            ("0100007F", None),
        ] {
            assert_eq!(address(text), expected.map(|one| one.parse().unwrap()), "{text}");
        }
    }
}
