//! Clients that go around the proxy fail, and that is on record.

use claviger_tests::peers::Installed;

use crate::stage::{Stage, Who};

async fn check(command: &[&str], destination: &str, program: &str) {
    let stage = Stage::new(Who::Caller).await;
    if !stage.has_namespaces() {
        return;
    }
    let ran = stage.exec(&["--sandbox=require"], command);
    assert_ne!(ran.code, Some(0), "{command:?} went around: {ran:?}");
    let line = format!("`{program}` went around the proxy to {destination}");
    assert!(ran.stderr.contains(&line), "{line}: {ran:?}");
    let records = stage.records("bypassed");
    let details: Vec<&str> = records.iter().filter_map(|record| record["detail"].as_str()).collect();
    let expected = format!("`{destination}` was asked for directly by `{program}`: it does not use the proxy");
    assert!(details.contains(&expected.as_str()), "{expected}: {details:?}");
    assert!(records.iter().all(|record| record["type"] == "connection" && record["listener"] == "sandbox"));
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_without_the_proxy() {
    check(&["curl", "-sS", "--noproxy", "*", "https://api.test/v1/x"], "api.test:443", "curl").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_without_the_proxy_in_clear_text() {
    let url = "http://plain.test/v1/x";
    check(&["curl", "-sSf", "--noproxy", "*", url], "plain.test:80", "curl").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bare_socket_to_an_address() {
    let program = "import socket, ssl\n\
        s = socket.create_connection(('203.0.113.7', 443), 60)\n\
        ssl.create_default_context().wrap_socket(s, server_hostname='named.test')";
    let real = std::fs::canonicalize("/usr/bin/python3").unwrap();
    let name = real.file_name().unwrap().to_str().unwrap().to_owned();
    check(&["/usr/bin/python3", "-I", "-c", program], "named.test:443", &name).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn node_20_without_its_bootstrap() {
    let program = "fetch('https://api.test/v1/x').then(() => process.exit(0), () => process.exit(9))";
    let path = Installed::node20().display().to_string();
    let command = ["env", "-u", "NODE_OPTIONS", "-u", "NODE_USE_ENV_PROXY", &path, "-e", program];
    check(&command, "api.test:443", "node").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_destination_is_said_once_and_recorded_each_time() {
    let stage = Stage::new(Who::Caller).await;
    if !stage.has_namespaces() {
        return;
    }
    let script =
        "for i in 1 2 3; do curl -sS --noproxy '*' https://api.test/; done; curl -sS --noproxy '*' https://b.test/";
    let ran = stage.exec(&["--sandbox=require"], &["sh", "-c", script]);
    assert_eq!(ran.stderr.matches("went around the proxy to api.test:443").count(), 1, "{ran:?}");
    assert_eq!(ran.stderr.matches("went around the proxy to b.test:443").count(), 1, "{ran:?}");
    assert_eq!(stage.records("bypassed").len(), 4);
    let quiet = stage.exec(&["--sandbox=require", "--quiet"], &["sh", "-c", script]);
    assert!(!quiet.stderr.contains("went around"), "{quiet:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn other_ports_are_refused_at_once_and_names_have_addresses() {
    let stage = Stage::new(Who::Caller).await;
    if !stage.has_namespaces() {
        return;
    }
    let program = r#"
import socket
print(socket.gethostbyname("db.internal").startswith("198.18."))
for address in [("db.internal", 5432), ("203.0.113.9", 22), ("8.8.8.8", 53)]:
    try:
        socket.create_connection(address, 60)
        print("connected", address)
    except ConnectionRefusedError:
        print("refused")
"#;
    let ran = stage.exec(&["--sandbox=require"], &["python3", "-c", program]);
    assert_eq!(ran.stdout, "True\nrefused\nrefused\nrefused\n", "{ran:?}");
    for destination in ["db.internal:5432", "203.0.113.9:22", "8.8.8.8:53"] {
        let line = format!("the command went around the proxy to {destination} (TCP), and was stopped");
        assert!(ran.stderr.contains(&line), "{line}: {ran:?}");
        let begin = format!("`{destination}` was asked for directly by TCP");
        let records = stage.records("bypassed");
        assert!(
            records.iter().any(|record| record["detail"].as_str().unwrap().starts_with(&begin)),
            "{begin}: {records:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn datagrams_go_nowhere_and_are_recorded() {
    let stage = Stage::new(Who::User).await;
    if !stage.has_namespaces() {
        return;
    }
    let program = r#"
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.sendto(b"quic", (socket.gethostbyname("video.test"), 443))
try:
    s.connect(("203.0.113.9", 123)); s.send(b"time"); s.settimeout(60); s.recv(1)
except ConnectionRefusedError:
    print("refused")
"#;
    let ran = stage.exec(&["--sandbox=require"], &["python3", "-c", program]);
    assert_eq!(ran.stdout, "refused\n", "{ran:?}");
    for destination in ["video.test:443 (UDP)", "203.0.113.9:123 (UDP)"] {
        assert!(ran.stderr.contains(&format!("went around the proxy to {destination}")), "{destination}: {ran:?}");
    }
    assert_eq!(stage.records("bypassed").len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_its_own_localhost_is_told_what_that_is() {
    let stage = Stage::new(Who::Caller).await;
    if !stage.has_namespaces() {
        return;
    }
    let ran = stage.exec(&["--sandbox=require"], &["curl", "-sS", "http://localhost/"]);
    assert!(ran.stderr.contains("`--local 80`"), "{ran:?}");
    assert!(stage.records("bypassed").is_empty());
}
