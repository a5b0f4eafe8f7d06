//! Ways out that are known, each tried from inside.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};

use crate::stage::{Stage, Who};

/// What listens outside for whoever comes out.
struct Outside {
    tcp: TcpListener,
    udp: UdpSocket,
    _path: UnixListener,
    _name: UnixListener,
    facts: serde_json::Value,
}

impl Outside {
    fn new(stage: &Stage) -> Self {
        let tcp = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        let udp = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, tcp.local_addr().unwrap().port())).unwrap();
        let name = format!("claviger-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let socket = stage.world.path().join("agent.sock");
        let path = UnixListener::bind(&socket).unwrap();
        let port = tcp.local_addr().unwrap().port();
        let facts = serde_json::json!({
            "tcp": port,
            "udp": port,
            "address": own_address(),
            "abstract": name,
            "socket": socket,
            "hidden": stage.path("home/.ssh/id_ed25519"),
        });
        Self { tcp, udp, _path: path, _name: UnixListener::bind_addr(&address).unwrap(), facts }
    }

    /// Whether anything arrived.
    fn was_reached(&self) -> bool {
        self.tcp.set_nonblocking(true).unwrap();
        self.udp.set_nonblocking(true).unwrap();
        self.tcp.accept().is_ok() || self.udp.recv(&mut [0; 16]).is_ok()
    }
}

/// An address of this machine besides loopback, or loopback's other one.
fn own_address() -> String {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    // No packet is sent: the kernel chooses the address by which it would send one.
    let known = socket.connect(("192.0.2.1", 9)).and_then(|()| socket.local_addr());
    known.map_or_else(|_| "127.0.0.2".to_owned(), |address| address.ip().to_string())
}

fn attempts(stage: &Stage, outside: &Outside, options: &[&str]) -> serde_json::Map<String, serde_json::Value> {
    let program = stage.program("ways_out.py");
    // `session` is the parent of the command, `outside` the shell that started the session.
    let script = "facts=$(echo \"$1\" | sed \"s/\\\"session\\\":0/\\\"session\\\":$PPID/; s/\\\"outside\\\":0/\\\"outside\\\":$(sed 's/.*) [A-Z] //; s/ .*//' /proc/$PPID/stat)/\")\n\
        exec python3 \"$2\" \"$facts\"";
    let mut facts = outside.facts.clone();
    facts["session"] = 0.into();
    facts["outside"] = 0.into();
    let ran = stage.exec(options, &["sh", "-c", script, "sh", &facts.to_string(), &program]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    serde_json::from_str(ran.stdout.lines().last().unwrap_or_default())
        .unwrap_or_else(|error| panic!("{error}: {ran:?}"))
}

async fn no_way_out(who: Who) {
    let stage = Stage::new(who).await;
    if !stage.has_namespaces() {
        return;
    }
    let outside = Outside::new(&stage);
    let results = attempts(&stage, &outside, &["--sandbox=require"]);
    assert!(results.len() >= 30, "{results:?}");
    let out: Vec<_> = results.iter().filter(|(_, result)| !result.as_str().unwrap().starts_with("refused")).collect();
    assert!(out.is_empty(), "{out:?}\nof {results:#?}");
    assert!(!outside.was_reached(), "something arrived outside");
}

#[tokio::test(flavor = "multi_thread")]
async fn there_is_no_way_out() {
    no_way_out(Who::Caller).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn there_is_no_way_out_for_a_user() {
    no_way_out(Who::User).await;
}

/// The attempts themselves are real: without a sandbox most of them succeed.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_sandbox_there_are_ways() {
    let stage = Stage::new(Who::User).await;
    let outside = Outside::new(&stage);
    let results = attempts(&stage, &outside, &["--sandbox=off"]);
    for way in [
        "tcp_to_the_machines_loopback",
        "tcp_to_the_machines_address",
        "an_abstract_socket",
        "a_signal_to_the_session",
        "environment_of_the_shell_outside",
        "renaming_what_is_covered",
    ] {
        assert_eq!(results[way], "OUT", "{way}: {results:#?}");
    }
    assert!(outside.was_reached());
    // The session itself is out of reach in any case, unless one is root.
    for way in ["memory_of_the_session", "environment_of_the_session", "files_of_the_session", "sockets_of_the_session"]
    {
        assert!(results[way].as_str().unwrap().starts_with("refused"), "{way}: {results:#?}");
    }
}
