//! Other people's verifiers. Where a program is missing, its test says so and passes: the end-to-end
//! tests install what they need.

use std::io::{ErrorKind, Write};
use std::process::{Command, Output};

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

fn run(command: &mut Command) -> Option<Output> {
    match command.output() {
        Ok(output) => Some(output),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            eprintln!("not checked: {:?} is not installed", command.get_program());
            None
        }
        Err(error) => panic!("{error}"),
    }
}

fn write(folder: &TempDir, file: &str, label: &str, der: &[u8]) -> String {
    let path = folder.path().join(file);
    let pem = pem_of(label, der);
    std::fs::File::create(&path).unwrap().write_all(pem.as_bytes()).unwrap();
    path.to_str().unwrap().to_owned()
}

fn pem_of(label: &str, der: &[u8]) -> String {
    let secret = super::super::root::pem(label, der);
    #[allow(clippy::disallowed_methods, reason = "a certificate of a test is no secret")]
    String::from_utf8(secret.expose().to_vec()).unwrap()
}

/// Verifies as strictly as OpenSSL can, with the chain's name or address asked for.
fn openssl(root: &InterceptionRoot, chain: &[CertificateDer<'static>], asked: &Host) -> Option<Output> {
    let folder = tempfile::tempdir().unwrap();
    let file = |name, der: &CertificateDer<'_>| write(&folder, name, "CERTIFICATE", der);
    let root = file("root.pem", root.certificate());
    let (leaf, intermediate) = (file("leaf.pem", &chain[0]), file("intermediate.pem", &chain[1]));
    let kind = if asked.is_ip().is_some() { "-verify_ip" } else { "-verify_hostname" };
    let mut command = Command::new("openssl");
    command.args(["verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", &root, "-untrusted", &intermediate]);
    run(command.args([kind, asked.as_str(), &leaf]))
}

#[test]
fn openssl_accepts_the_chain_strictly() {
    let root = root();
    let authority = authority(&root, &["api.test", "*.x.test", "10.0.0.1", "[2001:db8::1]"]);
    for text in ["api.test", "a.b.x.test", "10.0.0.1", "2001:db8::1"] {
        let Some(output) = openssl(&root, &chain(&root, &authority, text), &host(text)) else { return };
        assert!(output.status.success(), "{text}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn openssl_refuses_a_leaf_outside_of_the_constraints() {
    let root = root();
    for (scope, text, holds) in CONSTRAINED {
        let Some(output) = openssl(&root, &forged(&root, scope, text), &host(text)) else { return };
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.success(), holds, "{scope:?} {text}: {said}");
        assert!(holds || said.contains("subtree violation"), "{scope:?} {text}: {said}");
    }
}

/// Python checks strictly by default from 3.13 on; the flag is older.
const PYTHON: &str = "
import socket, ssl, sys
context = ssl.create_default_context(cafile=sys.argv[1])
context.verify_flags |= ssl.VERIFY_X509_STRICT | getattr(ssl, 'VERIFY_X509_PARTIAL_CHAIN', 0)
with socket.create_connection(('127.0.0.1', int(sys.argv[2]))) as raw:
    with context.wrap_socket(raw, server_hostname=sys.argv[3]) as tls:
        tls.sendall(b'GET / HTTP/1.0\\r\\n\\r\\n')
        print(tls.recv(1000).split(b'\\r\\n')[-1].decode())
";

/// Answers `hello` to whoever gets through the handshake.
async fn serve(listener: TcpListener, leaf: Arc<ServerConfig>) {
    let acceptor = tokio_rustls::TlsAcceptor::from(leaf);
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let Ok(mut stream) = acceptor.accept(stream).await else { continue };
        let mut request = [0; 1_000];
        let read = stream.read(&mut request).await.unwrap();
        assert!(request[..read].starts_with(b"GET / "));
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello";
        stream.write_all(answer).await.unwrap();
        stream.shutdown().await.unwrap();
    }
}

#[tokio::test]
async fn curl_and_python_shake_hands() {
    let root = root();
    let authority = authority(&root, &["api.test", "127.0.0.1"]);
    let folder = tempfile::tempdir().unwrap();
    let trusted = write(&folder, "root.pem", "CERTIFICATE", root.certificate());
    for text in ["api.test", "127.0.0.1"] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port().to_string();
        let server = tokio::spawn(serve(listener, authority.leaf(&host(text)).unwrap()));
        let url = format!("https://{text}:{port}/");
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--http1.1", "--noproxy", "*", "--cacert", &trusted]);
        curl.args(["--resolve", &format!("api.test:{port}:127.0.0.1"), &url]);
        let mut python = Command::new("python3");
        python.args(["-c", PYTHON, &trusted, &port, text]);
        for mut client in [curl, python] {
            let Some(output) = tokio::task::spawn_blocking(move || run(&mut client)).await.unwrap() else { continue };
            let said = String::from_utf8_lossy(&output.stdout);
            assert_eq!(said.trim(), "hello", "{text}: {}", String::from_utf8_lossy(&output.stderr));
        }
        server.abort();
    }
}
