//! The peer of a Unix socket, over real sockets.
#![cfg(target_os = "linux")]

use std::io::Read;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use claviger_identity::{ConnectionFacts, UnixPeer};
use claviger_policy::AttributeValue;

use crate::support::{World, attested, chain, told};

fn text(identity: &str, more: &str) -> String {
    format!("[attestor.local]\nkind = \"unix-peer\"\nidentity = \"{identity}\"\n{more}")
}

fn ask(world: &World, text: &str, peer: &UnixPeer) -> claviger_identity::Outcome {
    let attestors = world.attestors(text);
    let local = chain(&attestors, &["local"]);
    let facts = ConnectionFacts { certificates: &[], unix_peer: Some(peer.clone()), peer_ip: None };
    world.run(local.attest(&local.attest_connection(&facts), None))
}

#[test]
fn this_process_over_a_listener() {
    let world = World::new();
    let path = world.path("socket");
    let listener = UnixListener::bind(&path).unwrap();
    let _client = UnixStream::connect(&path).unwrap();
    let (accepted, _) = listener.accept().unwrap();
    let peer = UnixPeer::of(&accepted).unwrap();
    let uid = rustix::process::getuid().as_raw();
    assert_eq!((peer.uid, peer.gid), (uid, rustix::process::getgid().as_raw()));
    assert_eq!(u32::try_from(peer.pid), Ok(std::process::id()));
    assert_eq!(peer.exe, std::env::current_exe().ok());

    let found = attested(ask(&world, &text("spiffe://acme.internal/unix/{uid}", ""), &peer));
    assert_eq!(found.principal.id.as_str(), format!("spiffe://acme.internal/unix/{uid}"));
    let attribute = |name: &str| found.principal.attributes.get(name).cloned();
    assert_eq!(attribute("unix.uid"), Some(i64::from(uid).into()));
    assert_eq!(attribute("unix.pid"), Some(i64::from(peer.pid).into()));
    assert_eq!(attribute("unix.exe"), Some(peer.exe.as_ref().unwrap().to_str().unwrap().into()));
    assert!(matches!(attribute("unix.gid"), Some(AttributeValue::Integer(_))));
    assert_eq!((found.proof.expires_at, found.proof.token.is_some()), (None, false));
}

#[test]
fn a_socket_that_was_handed_on_names_who_made_it() {
    // The child has our end of the pair as its standard input; the listener sees who connected, which is us: a
    // connected socket keeps its credentials.
    let (ours, theirs) = UnixStream::pair().unwrap();
    let mut child = Command::new("cat")
        .stdin(Stdio::from(std::os::fd::OwnedFd::from(theirs)))
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let peer = UnixPeer::of(&ours).unwrap();
    assert_eq!(u32::try_from(peer.pid), Ok(std::process::id()));
    drop(ours);
    child.wait().unwrap();
}

const SOCKET: &str = "CLAVIGER_TEST_CONNECT_TO";

/// Not a test of its own: what the child processes of the tests below run.
#[test]
fn connect_and_wait() {
    if let Some(path) = std::env::var_os(SOCKET) {
        let mut stream = UnixStream::connect(path).unwrap();
        let _ = stream.read(&mut [0]);
    }
}

/// A process that connects to the socket and stays until its connection ends. `program` is a copy of this test.
fn client(program: &Path, socket: &Path) -> Child {
    let arguments = ["--exact", "unix_peer::connect_and_wait"];
    Command::new(program).args(arguments).env(SOCKET, socket).stdout(Stdio::null()).spawn().unwrap()
}

#[test]
fn a_client_that_ended_has_no_executable() {
    let world = World::new();
    let path = world.path("socket");
    let listener = UnixListener::bind(&path).unwrap();
    let mut child = client(&std::env::current_exe().unwrap(), &path);
    let (accepted, _) = listener.accept().unwrap();
    let pid = u32::try_from(UnixPeer::of(&accepted).unwrap().pid);
    child.kill().unwrap();
    child.wait().unwrap();
    let peer = UnixPeer::of(&accepted).unwrap();
    assert_eq!((pid, u32::try_from(peer.pid), peer.exe), (Ok(child.id()), Ok(child.id()), None));
}

#[test]
fn a_replaced_executable_is_not_known() {
    let world = World::new();
    let path = world.path("socket");
    let listener = UnixListener::bind(&path).unwrap();
    let program = world.path("client");
    std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let mut child = client(&program, &path);
    let (accepted, _) = listener.accept().unwrap();
    assert_eq!(UnixPeer::of(&accepted).unwrap().exe, Some(program.clone()));
    std::fs::remove_file(&program).unwrap();
    assert_eq!(UnixPeer::of(&accepted).unwrap().exe, None, "deleted");
    // Another file takes its place: the path does not name what runs.
    std::fs::write(&program, "other").unwrap();
    assert_eq!(UnixPeer::of(&accepted).unwrap().exe, None, "replaced");
    drop(accepted);
    child.wait().unwrap();
}

#[test]
fn what_is_no_connected_unix_socket() {
    let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    assert!(UnixPeer::of(&tcp).is_err());
    assert!(UnixPeer::of(UnixDatagram::unbound().unwrap()).is_err());
    assert!(UnixPeer::of(std::fs::File::open("/dev/null").unwrap()).is_err());
}

#[test]
fn identities_and_requirements() {
    let world = World::new();
    let exe = Some(PathBuf::from("/usr/bin/my-tool"));
    let peer = UnixPeer { uid: 0, gid: 5, pid: 42, exe };
    let unknown = UnixPeer { exe: None, ..peer.clone() };
    let nobody = UnixPeer { uid: 4_000_000_000, ..peer.clone() };
    let base = "spiffe://acme.internal/u/";
    for (about, hole, more, peer, expected) in [
        ("uid and gid", "{uid}/{gid}", "", &peer, Ok("0/5")),
        ("a user", "{user}", "", &peer, Ok("root")),
        ("a user that is not local", "{user}", "", &nobody, Err("identity_refused")),
        ("a program", "{exe_name}", "", &peer, Ok("my-tool")),
        ("a program that is not known", "{exe_name}", "", &unknown, Err("identity_refused")),
        ("one of these users", "{uid}", "require = { uid = [1, 0] }", &peer, Ok("0")),
        ("none of these users", "{uid}", "require = { uid = [1] }", &peer, Err("identity_refused")),
        ("one user", "{uid}", "require = { uid = 0 }", &peer, Ok("0")),
        ("none of these groups", "{uid}", "require = { uid = 0, gid = [6] }", &peer, Err("identity_refused")),
        ("one of these programs", "{uid}", "require = { exe = \"/usr/bin/my-tool\" }", &peer, Ok("0")),
        (
            "near: another folder",
            "{uid}",
            "require = { exe = \"/usr/local/bin/my-tool\" }",
            &peer,
            Err("identity_refused"),
        ),
        ("near: not known", "{uid}", "require = { exe = \"/usr/bin/my-tool\" }", &unknown, Err("identity_refused")),
    ] {
        let outcome = ask(&world, &text(&format!("{base}{hole}"), more), peer);
        let expected = expected.map_or_else(str::to_owned, |path| format!("{base}{path}"));
        assert_eq!(told(&outcome), expected, "{about}: {outcome:?}");
    }
}
