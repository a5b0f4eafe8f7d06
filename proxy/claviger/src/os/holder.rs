//! Who listens on a port.

/// The process that listens on a TCP port, by its id and name; `None` if it cannot be known: it belongs to somebody
/// whose processes this one may not inspect, or this system does not say.
#[cfg(target_os = "linux")]
pub(crate) fn holder_of(port: u16) -> Option<(u32, String)> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"];
    let inodes: Vec<String> = tables.iter().flat_map(|table| listening(table, port)).collect();
    let processes = std::fs::read_dir("/proc").ok()?.flatten();
    let mut processes = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let holds = |pid: &u32| {
        let files = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        let mut links = files.filter_map(|file| std::fs::read_link(file.path()).ok());
        links.any(|link| inodes.iter().any(|inode| link.as_os_str() == format!("socket:[{inode}]").as_str()))
    };
    let pid = processes.find(holds)?;
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    Some((pid, name.trim().to_owned()))
}

/// The inodes of sockets that listen on a port (proc_net_tcp: state 0A, the port in hex behind the address).
#[cfg(target_os = "linux")]
fn listening(table: &str, port: u16) -> Vec<String> {
    let text = std::fs::read_to_string(table).unwrap_or_default();
    let end = format!(":{port:04X}");
    let inode = |line: &str| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let listens = fields.get(1)?.ends_with(&end) && *fields.get(3)? == "0A";
        listens.then(|| fields.get(9).map(|inode| (*inode).to_owned())).flatten()
    };
    text.lines().skip(1).filter_map(inode).collect()
}

/// The process that listens on a TCP port: only Linux says it in a way that this version reads.
#[cfg(not(target_os = "linux"))]
pub(crate) fn holder_of(_: u16) -> Option<(u32, String)> {
    None
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    #[test]
    fn a_listener_of_this_process_is_found() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert_eq!(super::holder_of(port).map(|(pid, _)| pid), Some(std::process::id()));
        drop(listener);
        assert_eq!(super::holder_of(port), None);
    }
}
