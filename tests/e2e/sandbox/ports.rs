//! `--local` and `--publish`.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::Instant;

use claviger_tests::PATIENCE;

use crate::stage::{Stage, Who};

/// A server of the machine that says a word to everybody.
fn server(word: &'static str) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let _ = client.unwrap().write_all(word.as_bytes());
        }
    });
    port
}

const READ: &str = "import socket, sys\n\
    try:\n    print(socket.create_connection(('127.0.0.1', int(sys.argv[1])), 60).makefile().read())\n\
    except ConnectionRefusedError:\n    print('refused')";

async fn what_is_local(who: Who) {
    let stage = Stage::new(who).await;
    if !stage.has_namespaces() {
        return;
    }
    let port = server("from the machine").to_string();
    let without = stage.exec(&["--sandbox=require"], &["python3", "-c", READ, &port]);
    assert_eq!(without.stdout, "refused\n", "{without:?}");
    for wanted in [port.clone(), format!("localhost:{port}")] {
        let with = stage.exec(&["--sandbox=require", "--local", &wanted], &["python3", "-c", READ, &port]);
        assert_eq!(with.stdout, "from the machine\n", "{with:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_of_the_machine_is_reached_where_it_was_let_in() {
    what_is_local(Who::Caller).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_of_the_machine_is_reached_by_a_user() {
    what_is_local(Who::User).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_of_the_command_is_reached_where_it_was_published() {
    let stage = Stage::new(Who::User).await;
    if !stage.has_namespaces() {
        return;
    }
    // Bound and given back: nobody else takes it in between, or the test says so.
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    let serve = "import socket, sys\n\
        s = socket.create_server(('127.0.0.1', int(sys.argv[1])))\n\
        c, _ = s.accept()\n\
        c.sendall(b'from the command'); c.close()";
    let reader = std::thread::spawn(move || {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let mut text = String::new();
            if let Ok(mut client) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) {
                // Until the command listens, the relay has nobody to join it with, and closes.
                let _ = client.read_to_string(&mut text);
            }
            if !text.is_empty() {
                return text;
            }
            std::thread::yield_now();
        }
        String::new()
    });
    let port = port.to_string();
    let ran = stage.exec(&["--sandbox=require", "--publish", &port], &["python3", "-c", serve, &port]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(reader.join().unwrap(), "from the command");
}
