//! What HTTP says about bodies, and the absolute form.

use claviger_tests::origin::{full, handler};
use claviger_tests::{Origin, PATIENCE, Proxy, World};
use http::{Method, Request, Response};
use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::wire::{Outer, Session};

/// Answers `/v1/STATUS` with that status; tells the length and the bytes of what it was sent.
fn statuses() -> claviger_tests::origin::Handler {
    handler(|request: Request<hyper::body::Incoming>| async move {
        let (head, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let status: u16 = head.uri.path().rsplit('/').next().unwrap().parse().unwrap();
        let text = format!("{} {}", head.method, String::from_utf8_lossy(&body));
        let empty = head.method == Method::HEAD || [204, 304].contains(&status);
        let length = text.len();
        let mut response = Response::new(if empty { full("") } else { full(text) });
        *response.status_mut() = status.try_into().unwrap();
        if head.method == Method::HEAD {
            response.headers_mut().insert("content-length", length.into());
        }
        response.headers_mut().insert("etag", "\"1\"".parse().unwrap());
        response
    })
}

async fn world_with(alpn: &[&str]) -> (World, Origin, Proxy) {
    let world = World::new();
    let origin = Origin::start(&world.ca, &["api.test"], alpn, statuses()).await;
    world.seal("api", &world.canary, &["api.test"]);
    world.configure(&world.usual(origin.port(), ""));
    let proxy = world.start();
    (world, origin, proxy)
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_without_a_body_keep_the_connection_in_step() {
    for alpn in ["http/1.1", "h2"] {
        let (world, origin, proxy) = world_with(&[alpn]).await;
        let proof = format!("Proxy-Authorization: Bearer {}\r\n", world.token("app"));
        for h2 in [false, true] {
            let session = Session::forward(&world, &proxy, Outer::Cleartext, &proof, h2).await;
            for (method, status, body) in [
                ("HEAD", 200, ""),
                ("GET", 204, ""),
                ("GET", 304, ""),
                ("HEAD", 304, ""),
                ("GET", 200, "GET "),
                ("HEAD", 404, ""),
                ("GET", 500, "GET "),
                ("POST", 201, "POST "),
            ] {
                let request = Request::builder().method(method).uri(format!("/v1/{status}")).body(full("")).unwrap();
                let answer = session.send(request).await.unwrap();
                let what = format!("{method} {status} by {alpn}, h2 client: {h2}");
                assert_eq!(answer.status(), status, "{what}");
                assert_eq!(answer.headers()["etag"], "\"1\"", "{what}");
                if method == "HEAD" && status != 304 {
                    assert_eq!(answer.headers()["content-length"], "5", "{what}: the length of what GET would give");
                }
                assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), body, "{what}");
            }
        }
        assert_eq!(origin.seen().len(), 16);
        let finished = proxy.records("finished", 16);
        assert!(finished.iter().all(|record| record["code"] == "ok"), "{finished:?}");
        assert!(origin.connections() <= 4, "upstream connections are used again: {}", origin.connections());
    }
}

/// Writes a head, reads an answer's head, writes the body, reads the rest.
async fn exchange(address: &str, head: &str, body: Option<&str>) -> (String, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut first = Vec::new();
    while !first.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        let size = tokio::time::timeout(PATIENCE, stream.read(&mut byte)).await.unwrap().unwrap();
        assert!(size > 0, "{}", String::from_utf8_lossy(&first));
        first.push(byte[0]);
    }
    if let Some(body) = body {
        stream.write_all(body.as_bytes()).await.unwrap();
    }
    let mut rest = Vec::new();
    let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await.unwrap();
    (String::from_utf8_lossy(&first).into_owned(), String::from_utf8_lossy(&rest).into_owned())
}

/// RFC 9110 §10.1.1: an allowed body is asked for; a refused one never is, and nothing goes upstream.
#[tokio::test(flavor = "multi_thread")]
async fn expect_continue_is_answered_after_policy() {
    let (world, origin, proxy) = world_with(&["http/1.1", "h2"]).await;
    let head = |method: &str, token: &str, more: &str| {
        format!(
            "{method} /api/v1/200 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n{more}Expect: 100-continue\r\nConnection: close\r\n\r\n"
        )
    };
    let gateway = proxy.address("gateway");
    let token = world.token("app");
    for (more, body) in
        [("Content-Length: 5\r\n", "hello"), ("Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n")]
    {
        let (first, rest) = exchange(gateway, &head("PUT", &token, more), Some(body)).await;
        assert!(first.starts_with("HTTP/1.1 100 "), "{first}");
        assert!(rest.starts_with("HTTP/1.1 200 ") && rest.ends_with("PUT hello"), "{rest}");
    }
    let seen = origin.seen();
    assert!(seen.iter().all(|seen| seen.header("expect").is_none()), "{seen:?}");
    for (method, token, status) in [("DELETE", token.as_str(), "403"), ("PUT", "nobody", "401")] {
        let (first, _) = exchange(gateway, &head(method, token, "Content-Length: 5\r\n"), None).await;
        assert!(first.starts_with(&format!("HTTP/1.1 {status} ")), "{first}");
    }
    assert_eq!(origin.seen().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn chunks_of_any_size_arrive_whole() {
    for alpn in ["http/1.1", "h2"] {
        let (world, origin, proxy) = world_with(&[alpn]).await;
        let mut body = String::new();
        let mut whole = String::new();
        for size in [1_usize, 2, 1_000, 16_384, 70_000, 3] {
            let chunk = "z".repeat(size);
            whole += &chunk;
            // An extension of a chunk is the sender's business and ends here (RFC 9112 §7.1.1).
            body += &format!("{size:X};x=\"y\"\r\n{chunk}\r\n");
        }
        let text = format!(
            "POST /api/v1/200 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n{body}0\r\n\r\n",
            world.token("app")
        );
        let (first, rest) = exchange(proxy.address("gateway"), &text, None).await;
        assert!(first.starts_with("HTTP/1.1 200 "), "{first}");
        assert!(rest.ends_with(&format!("POST {whole}")), "{alpn}");
        assert_eq!(proxy.records("finished", 1)[0]["request_bytes"], whole.len());
        assert!(origin.only().header("content-length").is_none());
    }
}

/// An `http://` URL through the forward listener: for services that say `cleartext = true` only.
#[tokio::test(flavor = "multi_thread")]
async fn absolute_form_reaches_cleartext_services_only() {
    let world = World::new();
    let origin = Origin::start_cleartext(claviger_tests::origin::echo(&world.canary)).await;
    let tls = Origin::keyed(&world.ca, &world.canary).await;
    world.seal("api", &world.canary, &["api.test"]);
    world.seal("plain", &world.canary, &["http://plain.test"]);
    let more = format!(
        "[service.plain]\nhosts = [\"plain.test\"]\ncleartext = true\nconnect = \"127.0.0.1:{}\"\n\
         allow_addresses = [\"127.0.0.1\"]\ninject = [\"bearer\"]\nsecret = \"secret://sealed/plain\"\n\
         [allow.plain]\nwho = \"app\"\nto = \"plain\"\nops = [\"GET /v1/**\"]\n",
        origin.port()
    );
    world.configure(&world.usual(tls.port(), &more));
    let proxy = world.start();
    let proof = format!("Proxy-Authorization: Bearer {}\r\nProxy-Connection: keep-alive\r\n", world.token("app"));
    for (what, target, host, more, status) in [
        ("right", "http://plain.test/v1/x?q", "plain.test", proof.as_str(), "200"),
        ("the default port", "http://plain.test:80/v1/x?q", "plain.test", &proof, "200"),
        ("another port", "http://plain.test:81/v1/x", "plain.test:81", &proof, "403"),
        ("no proof", "http://plain.test/v1/x", "plain.test", "", "407"),
        ("another path", "http://plain.test/v2/x", "plain.test", &proof, "403"),
        ("another Host", "http://plain.test/v1/x", "api.test", &proof, "421"),
        ("a user", "http://u:p@plain.test/v1/x", "plain.test", &proof, "400"),
        ("https by absolute form", "https://api.test/v1/x", "api.test", &proof, "400"),
        ("a TLS service in clear text", "http://api.test/v1/x", "api.test", &proof, "403"),
        ("… at its own port", "http://api.test:443/v1/x", "api.test:443", &proof, "403"),
        ("another scheme", "ftp://plain.test/v1/x", "plain.test", &proof, "400"),
        ("origin form", "/v1/x", "plain.test", &proof, "400"),
    ] {
        let head = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n{more}Connection: close\r\n\r\n");
        let (first, rest) = exchange(proxy.address("forward"), &head, None).await;
        assert!(first.starts_with(&format!("HTTP/1.1 {status} ")), "{what}: {first}{rest}");
    }
    let seen = origin.seen();
    assert_eq!(seen.len(), 2);
    for seen in seen {
        assert_eq!(seen.uri, "/v1/x?q");
        assert_eq!(seen.header("host"), Some("plain.test"));
        assert!(seen.header("proxy-authorization").is_none() && seen.header("proxy-connection").is_none());
    }
    assert_eq!(tls.connections(), 0);
}
