//! What deployments ask a process: `health`, the folder of certificates, the service manager's protocol.

use std::io::Write;
use std::net::TcpListener;
use std::os::unix::net::UnixDatagram;
use std::process::Output;

use claviger_tests::{PATIENCE, World};
use rustix::process::Signal;

use crate::tools::said;

const ADMIN: &str = "[admin]\nbind = \"127.0.0.1:0\"\n";

fn health(world: &World, args: &[&str]) -> Output {
    world.run(&[&["health"], args].concat())
}

#[tokio::test]
async fn a_probe_needs_no_shell() {
    let (world, origin) = World::with_keyed_origin().await;
    world.configure(&world.usual(origin.port(), ADMIN));
    let proxy = world.start();
    let address = proxy.address("admin").to_owned();
    for args in [&["--address", &address][..], &["--address", &address, "--ready"]] {
        let output = health(&world, args);
        assert_eq!((said(&output).as_str(), output.status.code()), ("ok\n", Some(0)));
    }
    // Another listener of the same process is no admin listener.
    let gateway = proxy.address("gateway").to_owned();
    assert_eq!(health(&world, &["--address", &gateway]).status.code(), Some(1));
    proxy.stop();
    let output = health(&world, &["--address", &address]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        said(&output).starts_with(&format!("claviger: failed to ask http://{address}/livez: ")),
        "{}",
        said(&output)
    );
}

/// The address stands in the configuration, where it has one.
#[test]
fn a_probe_asks_where_the_configuration_says() {
    let world = World::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let base = "version = 1\ntrust_domain = \"acme.test\"\nstate_dir = \"state\"\n";
    world.configure(&format!("{base}[admin]\nbind = \"{address}\"\n"));
    let answers = [
        ("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok\n", 0, "ok\n"),
        ("HTTP/1.1 503 Service Unavailable\r\n\r\nstarting or draining\n", 1, "starting or draining\n"),
        ("SSH-2.0-x\r\n", 1, "is this the admin listener?"),
        ("", 1, "is this the admin listener?"),
    ];
    let serving = std::thread::spawn(move || {
        for (answer, _, _) in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let mut head = [0; 1024];
            let read = std::io::Read::read(&mut stream, &mut head).unwrap();
            assert!(head[..read].starts_with(b"GET /readyz HTTP/1.1\r\nhost: "));
            stream.write_all(answer.as_bytes()).unwrap();
        }
        listener
    });
    for (answer, code, expected) in answers {
        let output = health(&world, &["--config", "claviger.toml", "--ready"]);
        assert!(output.status.code() == Some(code) && said(&output).contains(expected), "{answer}: {}", said(&output));
    }
    // One that takes connections and never answers.
    let _listener = serving.join().unwrap();
    assert_eq!(health(&world, &["--config", "claviger.toml"]).status.code(), Some(1));
    world.configure(base);
    let output = health(&world, &["--config", "claviger.toml"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(said(&output).contains("there is no `admin.bind` in the configuration"), "{}", said(&output));
}

/// `--ca-dir` and `ca --bundle`: ours alone, and ours in front of the public roots.
#[tokio::test]
async fn clients_find_the_certificates_in_a_folder() {
    let (world, _origin) = World::with_keyed_origin().await;
    let proxy = world.start_with(&["--ca-dir", "certificates"]);
    let read = |name: &str| std::fs::read_to_string(world.path().join("certificates").join(name)).unwrap();
    let (own, bundle) = (read("ca.pem"), read("bundle.pem"));
    assert_eq!(own, std::fs::read_to_string(world.path().join("state/ca.pem")).unwrap());
    assert!(bundle.starts_with(own.trim_end()));
    let roots = reqwest::Certificate::from_pem_bundle(bundle.as_bytes()).unwrap();
    assert!(roots.len() > 100, "{} roots", roots.len());
    reqwest::Client::builder().tls_certs_only(roots).build().unwrap();
    for name in ["ca.pem", "bundle.pem"] {
        let found = std::fs::metadata(world.path().join("certificates").join(name)).unwrap();
        assert_eq!(std::os::unix::fs::PermissionsExt::mode(&found.permissions()) & 0o777, 0o644);
    }
    proxy.stop();
    for (args, expected) in
        [(&["ca", "-c", "claviger.toml"][..], &own), (&["ca", "-c", "claviger.toml", "--bundle"], &bundle)]
    {
        assert_eq!(String::from_utf8(world.run(args).stdout).unwrap(), *expected);
    }
}

/// sd_notify(3), by a path and by an abstract name.
#[tokio::test]
async fn the_service_manager_is_told() {
    for is_abstract in [false, true] {
        let (world, _origin) = World::with_keyed_origin().await;
        let path = world.path().join("notify");
        let (manager, name) = if is_abstract {
            use std::os::linux::net::SocketAddrExt;
            let name = path.to_str().unwrap().to_owned();
            let address = std::os::unix::net::SocketAddr::from_abstract_name(name.as_bytes()).unwrap();
            (UnixDatagram::bind_addr(&address).unwrap(), format!("@{name}"))
        } else {
            (UnixDatagram::bind(&path).unwrap(), path.to_str().unwrap().to_owned())
        };
        manager.set_read_timeout(Some(PATIENCE)).unwrap();
        let next = |skip: &str| loop {
            let mut message = [0; 256];
            let read = manager.recv(&mut message).unwrap();
            let message = String::from_utf8(message[..read].to_vec()).unwrap();
            if message != skip {
                return message;
            }
        };
        let mut command = world.command(&["run", "--config", "claviger.toml", "--cores", "1"]);
        command.env("NOTIFY_SOCKET", &name);
        let proxy = world.start_command(command);
        assert_eq!(next(""), "READY=1");
        // Without anything to do it says so every few seconds.
        assert_eq!(next(""), "WATCHDOG=1");
        proxy.signal(Signal::HUP);
        assert_eq!(next("WATCHDOG=1"), "RELOADING=1");
        assert_eq!(next("WATCHDOG=1"), "READY=1");
        proxy.signal(Signal::TERM);
        assert_eq!(next("WATCHDOG=1"), "STOPPING=1");
        proxy.stop();
    }
}
