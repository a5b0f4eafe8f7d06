//! Workloads that prove themselves by mutual TLS with X.509-SVIDs.

use std::process::Command;

use bytes::Bytes;
use claviger_tests::origin::{full, handler};
use claviger_tests::svid::{Svid, TrustDomain, tls_client, uri};
use claviger_tests::{Origin, PATIENCE, Proxy, World};
use futures_util::{StreamExt, stream};
use http::Response;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose, SanType};
use time::{Duration, OffsetDateTime};

use crate::wire::{Outer, Session, connect, root, tcp, tls, until};

const APP: &str = "/ci/app";

/// Both listeners speak TLS and take an SVID or, if there is none, a token.
async fn mesh() -> (World, Origin, TrustDomain, Proxy) {
    let (world, origin) = World::with_keyed_origin().await;
    let domain = TrustDomain::new("acme.test");
    world.write("bundle.pem", domain.bundle());
    world.write("crl.pem", domain.revocations(&[]));
    let own = world.ca.issue(&["localhost"]);
    std::fs::copy(own.cert, world.path().join("gw.pem")).unwrap();
    std::fs::copy(own.key, world.path().join("gw.key")).unwrap();
    world.configure(&configuration(&world, &origin, ""));
    let proxy = world.start();
    (world, origin, domain, proxy)
}

fn configuration(world: &World, origin: &Origin, more: &str) -> String {
    let mesh =
        "[attestor.mesh]\nkind = \"x509-svid\"\nbundle = { \"acme.test\" = \"bundle.pem\" }\ncrls = [\"crl.pem\"]\n";
    let authenticate = "authenticate = [\"mesh\", \"ci\"]\ntls = { certificate = \"gw.pem\", key = \"gw.key\" }";
    world.usual(origin.port(), &format!("{mesh}{more}")).replace("authenticate = [\"ci\"]", authenticate)
}

/// Whether a request over a new connection passes; an error is a refusal in the handshake.
async fn passes(world: &World, proxy: &Proxy, svid: Option<&Svid>) -> Option<u16> {
    Session::gateway(world, proxy, svid, false).await.ok()?.get("/api/v1/x").await.ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_svid_is_proof_on_every_listener_and_protocol() {
    let (world, origin, domain, proxy) = mesh().await;
    let svid = domain.svid(APP);
    let mut sessions = Vec::new();
    for h2 in [false, true] {
        sessions.push(("gateway", "/api", Session::gateway(&world, &proxy, Some(&svid), h2).await.unwrap()));
        let outer = Outer::Tls(Some(&svid));
        sessions.push(("forward", "", Session::forward(&world, &proxy, outer, "", h2).await));
        sessions.push(("forward, CONNECT over h2", "", forward_over_h2(&world, &proxy, &svid, h2).await));
    }
    for (what, prefix, session) in &sessions {
        let (status, body) = session.call("GET", &format!("{prefix}/v1/x?{}", origin.seen().len()), &[]).await.unwrap();
        assert_eq!(status, 200, "{what}: {body}");
        assert_eq!(session.call("DELETE", &format!("{prefix}/v1/x"), &[]).await.unwrap().0, 403, "{what}");
    }
    assert_eq!(origin.seen().len(), sessions.len());
    for record in proxy.records("decided", 2 * sessions.len()) {
        assert_eq!(record["principal"], "spiffe://acme.test/ci/app");
    }
}

/// An h2 connection to the proxy whose streams are tunnels.
async fn forward_over_h2(world: &World, proxy: &Proxy, svid: &Svid, h2_inside: bool) -> Session {
    use http_body_util::Empty;
    use hyper_util::rt::{TokioExecutor, TokioIo};
    let config = tls_client(world.ca.pem(), Some(svid), &["h2"]);
    let (stream, alpn) = tls(tcp(proxy.address("forward")).await, "localhost", config).await.unwrap();
    assert_eq!(alpn.as_deref(), Some(b"h2".as_slice()));
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::connect("api.test:443").body(Empty::<bytes::Bytes>::new()).unwrap();
    let answer = sender.send_request(request).await.unwrap();
    assert_eq!(answer.status(), 200);
    let inside = TokioIo::new(hyper::upgrade::on(answer).await.unwrap());
    let alpn = if h2_inside { "h2" } else { "http/1.1" };
    let (stream, _) = tls(Box::new(inside), "api.test", tls_client(&root(world), None, &[alpn])).await.unwrap();
    Session::over(stream, h2_inside, "https://api.test").await
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_shows_its_svid_to_gateway_and_proxy() {
    let (world, origin, domain, proxy) = mesh().await;
    let (certificate, key) = domain.svid(APP).write(world.path(), "client");
    let (certificate, key) = (certificate.to_str().unwrap(), key.to_str().unwrap());
    world.write("root.pem", root(&world));
    let port = |listener: &str| proxy.address(listener).rsplit_once(':').unwrap().1.to_owned();
    let gateway = format!("https://localhost:{}/api/v1/x", port("gateway"));
    let through = format!("https://localhost:{}", port("forward"));
    for (flag, version) in [("--http1.1", "1.1"), ("--http2", "2")] {
        for args in [
            vec!["--cacert", "ca.pem", "--cert", certificate, "--key", key, &gateway],
            vec![
                "--cacert",
                "root.pem",
                "--proxy",
                &through,
                "--proxy-cacert",
                "ca.pem",
                "--proxy-cert",
                certificate,
                "--proxy-key",
                key,
                "https://api.test/v1/x",
            ],
        ] {
            let mut curl = Command::new("curl");
            curl.args(["--silent", "--show-error", flag, "--write-out", "\n%{http_version} %{http_code}"]).args(&args);
            let output = curl.env_clear().current_dir(world.path()).output().unwrap();
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let expected = format!("\n{version} 200");
            assert!(text.ends_with(&expected), "{args:?}: {text} {}", String::from_utf8_lossy(&output.stderr));
        }
    }
    assert_eq!(origin.seen().len(), 4);
}

type Change = fn(&mut CertificateParams);

/// A proof that is bad ends the handshake, whatever else the client could show; an absent one leads to
/// the next attestor.
#[tokio::test(flavor = "multi_thread")]
async fn a_bad_svid_is_refused_in_the_handshake_and_recorded() {
    let (world, origin, domain, proxy) = mesh().await;
    let cases: &[(&str, Change, &str)] = &[
        ("expired", |p| p.not_after = OffsetDateTime::now_utc() - Duration::seconds(2), "expired"),
        (
            "not yet valid",
            |p| {
                p.not_before = OffsetDateTime::now_utc() + Duration::hours(1);
                p.not_after = p.not_before + Duration::hours(1);
            },
            "not_yet_valid",
        ),
        ("two URI names", |p| p.subject_alt_names.push(uri("spiffe://acme.test/ci/other")), "malformed"),
        ("no URI name", |p| p.subject_alt_names = vec![SanType::DnsName("app.test".try_into().unwrap())], "malformed"),
        ("a CA", |p| p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained), "malformed"),
        ("may sign", |p| p.key_usages.push(KeyUsagePurpose::KeyCertSign), "malformed"),
        ("no key usage", |p| p.key_usages.clear(), "malformed"),
        ("no digital signature", |p| p.key_usages = vec![KeyUsagePurpose::KeyAgreement], "malformed"),
        ("for servers only", |p| p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth], "malformed"),
        ("no path", |p| p.subject_alt_names = vec![uri("spiffe://acme.test")], "malformed"),
        ("a query", |p| p.subject_alt_names = vec![uri("spiffe://acme.test/ci/app?x")], "malformed"),
        ("a dot segment", |p| p.subject_alt_names = vec![uri("spiffe://acme.test/x/../ci/app")], "malformed"),
        ("a trust domain of others", |p| p.subject_alt_names = vec![uri("spiffe://evil.test/ci/app")], "untrusted"),
    ];
    let mut bad: Vec<(&str, Svid, &str)> =
        cases.iter().map(|(what, change, why)| (*what, domain.svid_with(APP, change), *why)).collect();
    let impostor = TrustDomain::new("acme.test");
    bad.push(("another authority of the same name", impostor.svid(APP), "untrusted"));
    let token = format!("Bearer {}", world.token("app"));
    for (at, (what, svid, why)) in bad.iter().enumerate() {
        for (listener, h2) in [("gateway", false), ("gateway", true), ("forward", false)] {
            let alpn = if h2 { "h2" } else { "http/1.1" };
            let config = tls_client(world.ca.pem(), Some(svid), &[alpn]);
            // In TLS 1.3 the client learns of it when it reads.
            let Ok((stream, _)) = tls(tcp(proxy.address(listener)).await, "localhost", config).await else { continue };
            if listener == "forward" {
                let answer = connect(stream, "api.test:443", &format!("Proxy-Authorization: {token}\r\n")).await;
                assert_eq!(answer.err().as_deref(), Some(""), "{what}");
            } else {
                let session = Session::over(stream, h2, "https://localhost").await;
                let answer = session.call("GET", "/api/v1/x", &[("authorization", &token)]).await;
                assert!(answer.is_err(), "{what}: {answer:?}");
            }
        }
        let records = proxy.records("connection", 3 * (at + 1));
        assert_eq!(records.len(), 3 * (at + 1));
        for record in &records[3 * at..] {
            assert_eq!(record["code"], format!("identity_{why}"), "{what}: {record}");
            assert_eq!(record["peer"], "127.0.0.1", "{what}");
        }
    }
    assert_eq!(origin.connections(), 0);
    // Nothing bad about them: an SVID that policy does not know, no SVID but a token, nothing at all.
    assert_eq!(passes(&world, &proxy, Some(&domain.svid("/ci/other"))).await, Some(403));
    assert_eq!(passes(&world, &proxy, None).await, Some(401));
    let session = Session::gateway(&world, &proxy, None, true).await.unwrap();
    assert_eq!(session.call("GET", "/api/v1/x", &[("authorization", &token)]).await.unwrap().0, 200);
    let header = format!("Proxy-Authorization: {token}\r\n");
    let session = Session::forward(&world, &proxy, Outer::Tls(None), &header, false).await;
    assert_eq!(session.get("/v1/x").await.unwrap(), 200);
}

/// A change on disk that takes trust away, while connections live.
#[tokio::test(flavor = "multi_thread")]
async fn promise_7_trust_that_is_taken_away_ends_live_connections_too() {
    for (what, broken_configuration) in [("bundle", false), ("bundle", true), ("crl", false)] {
        let (world, origin, domain, proxy) = mesh().await;
        let svid = domain.svid(APP);
        let live = [
            Session::gateway(&world, &proxy, Some(&svid), false).await.unwrap(),
            Session::gateway(&world, &proxy, Some(&svid), true).await.unwrap(),
        ];
        let outer = Outer::Tls(Some(&svid));
        let inside = [
            Session::forward(&world, &proxy, outer, "", false).await,
            Session::forward(&world, &proxy, outer, "", true).await,
        ];
        let sessions: Vec<_> =
            live.iter().map(|one| (one, "/api/v1/x")).chain(inside.iter().map(|one| (one, "/v1/x"))).collect();
        for (session, path) in &sessions {
            assert_eq!(session.get(path).await.unwrap(), 200);
        }
        if broken_configuration {
            // A file that cannot be loaded must not keep trust alive.
            world.configure("version = ");
            proxy.wait_for_line("generation 1 stays");
        }
        let next = if what == "bundle" { TrustDomain::new("acme.test") } else { domain };
        let accepted = next.svid(APP);
        if what == "bundle" {
            world.write("bundle.pem", next.bundle());
            world.write("crl.pem", next.revocations(&[]));
        } else {
            world.write("crl.pem", next.revocations(&[svid.serial]));
        }
        until("the old SVID is refused", async || passes(&world, &proxy, Some(&svid)).await.is_none().then_some(()))
            .await;
        let before = origin.seen().len();
        for (session, path) in &sessions {
            assert_eq!(
                session.get(path).await.unwrap(),
                401,
                "{what} {path}, configuration broken: {broken_configuration}"
            );
        }
        assert_eq!(origin.seen().len(), before, "nothing goes upstream");
        assert_eq!(passes(&world, &proxy, Some(&accepted)).await, Some(200));
    }
}

/// An SVID that ends ends the right to ask, not only the right to connect.
#[tokio::test(flavor = "multi_thread")]
async fn promise_7_an_svid_that_expires_ends_live_connections_too() {
    let (world, origin, domain, proxy) = mesh().await;
    let svid = domain.svid_for(APP, 10);
    let outer = Outer::Tls(Some(&svid));
    let sessions = [
        (Session::gateway(&world, &proxy, Some(&svid), false).await.unwrap(), "/api/v1/x"),
        (Session::gateway(&world, &proxy, Some(&svid), true).await.unwrap(), "/api/v1/x"),
        (Session::forward(&world, &proxy, outer, "", true).await, "/v1/x"),
    ];
    for (session, path) in &sessions {
        assert_eq!(session.get(path).await.unwrap(), 200);
    }
    until("new connections are refused", async || passes(&world, &proxy, Some(&svid)).await.is_none().then_some(()))
        .await;
    let before = origin.seen().len();
    let mut refused = Vec::new();
    for (session, path) in &sessions {
        let (status, body) = session.call("GET", path, &[]).await.unwrap();
        assert_eq!(status, 401, "{body}");
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        refused.push(body["error"]["request_id"].as_str().unwrap().to_owned());
    }
    assert_eq!(origin.seen().len(), before);
    // Only of these: a request that was under way as the SVID ended is refused for another reason.
    for id in refused {
        let record = until("its record", async || {
            proxy.records("decided", 0).into_iter().find(|record| record["id"] == id.as_str())
        });
        assert_eq!(record.await["code"], "identity_expired");
    }
}

/// What streams already ends as well, though no rule changed and no proof ended.
#[tokio::test(flavor = "multi_thread")]
async fn promise_7_a_stream_ends_when_its_svid_is_revoked() {
    let (world, _, domain, proxy) = mesh().await;
    drop(proxy);
    let endless = handler(|_| async {
        let begun = stream::iter([Ok(Frame::data(Bytes::from_static(b"data: x\n\n")))]);
        Response::new(BodyExt::boxed(StreamBody::new(begun.chain(stream::pending()))))
    });
    let origin = Origin::start(&world.ca, &["api.test"], &["h2"], endless).await;
    world.configure(&configuration(&world, &origin, ""));
    let proxy = world.start();
    let (revoked, other) = (domain.svid(APP), domain.svid(APP));
    let begin = async |svid, h2| {
        let session = Session::forward(&world, &proxy, Outer::Tls(Some(svid)), "", h2).await;
        let request = http::Request::get("/v1/x").body(full("")).unwrap();
        let mut body = session.send(request).await.unwrap().into_body();
        assert!(body.frame().await.unwrap().unwrap().is_data());
        body
    };
    let streams = [begin(&revoked, false).await, begin(&revoked, true).await];
    let mut lives = begin(&other, true).await;
    world.write("crl.pem", domain.revocations(&[revoked.serial]));
    for mut stream in streams {
        let cut = tokio::time::timeout(PATIENCE, stream.frame()).await.expect("the stream goes on");
        assert!(cut.unwrap().is_err());
    }
    let finished = proxy.records("finished", 2);
    assert!(finished.len() == 2 && finished.iter().all(|record| record["code"] == "revoked"), "{finished:?}");
    assert!(futures_util::FutureExt::now_or_never(lives.frame()).is_none(), "the other one waits for more");
}

/// No ticket outlives the bundle that it was given under: none is given at all.
#[tokio::test(flavor = "multi_thread")]
async fn promise_12_sessions_with_an_svid_are_not_resumed() {
    use std::sync::Arc;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let (world, _origin, domain, proxy) = mesh().await;
    let svid = domain.svid(APP);
    let mut config = tls_client(world.ca.pem(), Some(&svid), &["http/1.1"]);
    config.resumption = rustls::client::Resumption::in_memory_sessions(16);
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    for _ in 0..3 {
        let stream = tokio::net::TcpStream::connect(proxy.address("gateway")).await.unwrap();
        let mut stream = connector.connect("localhost".try_into().unwrap(), stream).await.unwrap();
        // A ticket would come with or before the answer.
        stream.write_all(b"GET /api/v1/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 200 "));
        assert_eq!(stream.get_ref().1.handshake_kind(), Some(rustls::HandshakeKind::Full));
        assert_eq!(stream.get_ref().1.tls13_tickets_received(), 0);
    }
    // TLS 1.2 has tickets and session ids; an unmodified client asks for both.
    let (certificate, key) = svid.write(world.path(), "client");
    let mut openssl = Command::new("openssl");
    openssl.args(["s_client", "-connect", proxy.address("gateway"), "-tls1_2", "-reconnect", "-CAfile", "ca.pem"]);
    openssl.arg("-cert").arg(certificate).arg("-key").arg(key).current_dir(world.path());
    let output = openssl.stdin(std::process::Stdio::null()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.matches("\nNew, TLSv1.2").count() >= 5 && !text.contains("Reused"), "{text}");
}
