//! All that a client receives, byte by byte, from upstreams that send the real token back wherever they can: it is in none
//! of it.

use bytes::Bytes;
use claviger_tests::canary;
use claviger_tests::origin::{Handler, Origin, OriginBody, handler};
use claviger_tests::{Proxy, World};
use http::{HeaderName, HeaderValue, Request, Response};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Frame, Incoming};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::scene::{Scene, configure};

/// Answers with the credential that it was sent: in headers that exist and in some that do not, in each coding, in a body
/// that comes in pieces which cut it, and in its trailers. The status is the last segment of the path.
fn tells_all(slot: &'static str) -> Handler {
    handler(move |request: Request<Incoming>| async move {
        let shown = request.headers().get(slot).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let token = shown.strip_prefix("Bearer ").unwrap_or(shown).to_owned();
        let last = request.uri().path().rsplit('/').next().unwrap_or_default();
        let status: u16 = last.parse().unwrap_or(200);
        let reflected = canary::reflections(&token);
        let mut whole = format!("{{\"auth\":{{\"client_token\":\"{token}\"}},\"errors\":[").into_bytes();
        for one in &reflected {
            whole.extend_from_slice(format!("\"{one}\",").as_bytes());
        }
        whole.extend_from_slice(b"\"\"]}");
        let pieces: Vec<_> = whole.chunks(7).map(|piece| Ok(Frame::data(Bytes::copy_from_slice(piece)))).collect();
        let mut trailers = http::HeaderMap::new();
        trailers.insert("x-checksum", HeaderValue::from_str(&token).unwrap());
        let frames = pieces.into_iter().chain([Ok(Frame::trailers(trailers))]);
        let body: OriginBody = StreamBody::new(futures_util::stream::iter(frames)).boxed();
        let mut response = Response::builder().status(status).header("trailer", "x-checksum");
        for (name, text) in [
            ("www-authenticate", format!("Bearer realm=\"{token}\", error=\"invalid_token\"")),
            ("location", format!("https://elsewhere.test/?access_token={token}")),
            ("set-cookie", format!("session={token}; Path=/")),
            ("x-vault-token", token.clone()),
            ("authorization", format!("Bearer {token}")),
        ] {
            response = response.header(name, text);
        }
        for (at, one) in reflected.iter().enumerate() {
            response = response.header(HeaderName::try_from(format!("x-form-{at}")).unwrap(), one);
        }
        response.body(body).unwrap()
    })
}

/// Everything that the listener answers to one request, as it came.
async fn raw(proxy: &Proxy, request: &str, headers: &[(&str, &str)], body: &str) -> Vec<u8> {
    let mut stream = TcpStream::connect(proxy.address("gateway")).await.unwrap();
    let mut head =
        format!("{request} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\nte: trailers\r\n", proxy.address("gateway"));
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str(&format!("content-length: {}\r\n\r\n{body}", body.len()));
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    answer
}

/// The handle in an answer.
fn handle(answer: &[u8]) -> String {
    let text = String::from_utf8_lossy(answer).into_owned();
    let at = text.find("clvh_").unwrap_or_else(|| panic!("{text}"));
    text[at..].chars().take_while(|letter| letter.is_ascii_alphanumeric() || "_-".contains(*letter)).collect()
}

/// Asks each of these with each of these tokens, and looks through all that comes back.
async fn nothing_leaks(
    world: &World,
    proxy: &Proxy,
    (slot, tokens): (&str, &[String]),
    calls: &[(&str, &str)],
) -> Vec<String> {
    let proof = format!("Bearer {}", world.token("app"));
    let mut answers = Vec::new();
    for token in tokens {
        for (request, body) in calls {
            let body = body.replace("HANDLE", token);
            let kind = if body.starts_with('{') { "application/json" } else { "application/x-www-form-urlencoded" };
            let headers = [("proxy-authorization", proof.as_str()), (slot, token), ("content-type", kind)];
            let answer = raw(proxy, request, &headers, &body).await;
            canary::assert_absent(&world.canary, request, &answer);
            answers.push(format!("{request}: {}", String::from_utf8_lossy(&answer)));
        }
    }
    answers
}

fn status(answers: &[String], request: &str) -> u16 {
    let found = answers.iter().find(|answer| answer.starts_with(request)).unwrap();
    found[request.len()..].split_whitespace().nth(2).unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn of_vault() {
    let world = World::new();
    let origin = Origin::start(&world.ca, &["vault.test"], &["http/1.1"], tells_all("x-vault-token")).await;
    world.seal("vault", &world.canary, &["vault.test"]);
    configure(
        &world,
        &format!(
            "[service.vault]\nhosts = [\"vault.test\"]\nconnect = \"127.0.0.1:{}\"\nca = \"ca.pem\"\n\
             allow_addresses = [\"127.0.0.1\"]\ninject = {{ header = \"x-vault-token\" }}\nstrip = [\"authorization\"]\n\
             login = \"vault\"\nsecret = \"secret://sealed/vault\"\n\
             [allow.app-vault]\nwho = \"app\"\nto = \"vault\"\nops = [\"POST /v1/auth/token/create/named\", \"* /v1/**\"]\n",
            origin.port()
        ),
    );
    let proxy = world.start();
    let proof = format!("Bearer {}", world.token("app"));
    let (role, kind) = (r#"{"role_id":"x","secret_id":"y"}"#, ("content-type", "application/json"));
    let login = raw(&proxy, "POST /vault/v1/auth/approle/login", &[("proxy-authorization", &proof), kind], role).await;
    canary::assert_absent(&world.canary, "a login", &login);
    let own = handle(&login);
    let calls = [
        ("POST /vault/v1/auth/approle/login", role),
        ("PUT /vault/v1/auth/jwt/login", r#"{"role":"x","jwt":"HANDLE"}"#),
        ("POST /vault/v1/auth/userpass/login/bob", r#"{"password":"x"}"#),
        ("GET /vault/v1/auth/token/lookup-self", ""),
        ("HEAD /vault/v1/auth/token/lookup-self", ""),
        ("POST /vault/v1/auth/token/lookup", r#"{"token":"HANDLE"}"#),
        ("POST /vault/v1/auth/token/renew-self", "{}"),
        ("PUT /vault/v1/auth/token/renew", r#"{"token":"HANDLE"}"#),
        ("POST /vault/v1/auth/token/revoke-self", ""),
        ("POST /vault/v1/auth/token/revoke", r#"{"token":"HANDLE"}"#),
        ("POST /vault/v1/auth/token/create", "{}"),
        ("POST /vault/v1/auth/token/create-orphan", "{}"),
        ("POST /vault/v1/auth/token/create/named", "{}"),
        ("GET /vault/v1/team/auth/token/lookup-self", ""),
        ("POST /vault/v1/team/auth/approle/login", role),
        ("POST /vault/v1/sys/wrapping/unwrap", r#"{"token":"HANDLE"}"#),
        ("POST /vault/v1/sys/wrapping/wrap", "{}"),
        ("POST /vault/v1/auth/approle/role/app/secret-id", "{}"),
        ("GET /vault/v1/auth/oidc/oidc/callback?code=x&state=y", ""),
        ("GET /vault/v1/secret/data/200", ""),
        ("HEAD /vault/v1/secret/data/200", ""),
        ("LIST /vault/v1/secret/metadata/200", ""),
        ("GET /vault/v1/secret/data/307", ""),
        ("GET /vault/v1/secret/data/400", ""),
        ("GET /vault/v1/secret/data/401", ""),
        ("GET /vault/v1/secret/data/403", ""),
        ("POST /vault/v1/secret/data/500", r#"{"data":{}}"#),
        ("GET /vault/v1/secret/data/503", ""),
        ("DELETE /v1/nothing-of-a-service", ""),
    ];
    let answers = nothing_leaks(
        &world,
        &proxy,
        ("x-vault-token", &[own, "a-placeholder".to_owned(), "clvh_AAAA".to_owned()]),
        &calls,
    )
    .await;
    let of = |request: &str| status(&answers, request);
    assert_eq!((of("POST /vault/v1/auth/token/create"), of("POST /vault/v1/auth/token/create/named")), (403, 200));
    assert_eq!((of("GET /vault/v1/secret/data/307"), of("GET /vault/v1/secret/data/403")), (307, 403));
    for withheld in ["GET /vault/v1/team/auth/token/lookup-self", "POST /vault/v1/sys/wrapping/unwrap"] {
        assert_eq!(of(withheld), 403, "{withheld}");
    }
    assert!(origin.seen().len() > 10, "upstream was asked, and told all that it knew");
    assert!(origin.seen().iter().all(|seen| seen.header("x-vault-token") == Some(&world.canary)));
    // A wrapping is a token too.
    let wrap = [("proxy-authorization", proof.as_str()), ("x-vault-wrap-ttl", "60s")];
    let answer = raw(&proxy, "GET /vault/v1/secret/data/200", &wrap, "").await;
    assert!(answer.starts_with(b"HTTP/1.1 403"), "{}", String::from_utf8_lossy(&answer));
    canary::assert_absent(&world.canary, "a wrapping", &answer);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_oauth() {
    let mut scene = Scene::oauth2("").await;
    scene.origin = Origin::start(&scene.world.ca, &["api.test"], &["http/1.1"], tells_all("authorization")).await;
    scene.configure(&scene.crm("").replace("\"GET /v1/**\"", "\"* /v1/**\""));
    let (proxy, world) = (scene.start(), &scene.world);
    let (proof, form) = (format!("Bearer {}", world.token("app")), "grant_type=client_credentials");
    let kind = ("content-type", "application/x-www-form-urlencoded");
    let login = raw(&proxy, "POST /crm/oauth/token", &[("proxy-authorization", &proof), kind], form).await;
    canary::assert_absent(&world.canary, "a login", &login);
    let own = handle(&login);
    let calls = [
        ("POST /crm/oauth/token", form),
        ("POST /crm/oauth/token", "grant_type=refresh_token&refresh_token=HANDLE"),
        ("POST /crm/oauth/token", "grant_type=authorization_code&code=x"),
        ("POST /crm/oauth/token", "{\"grant_type\":\"password\",\"username\":\"x\"}"),
        ("POST /crm/oauth/introspect", "token=HANDLE"),
        ("POST /crm/oauth/revoke", "token=HANDLE"),
        ("GET /crm/oauth/token", ""),
        ("GET /crm/v1/contacts/200", ""),
        ("HEAD /crm/v1/contacts/200", ""),
        ("GET /crm/v1/contacts/302", ""),
        ("GET /crm/v1/contacts/401", ""),
        ("GET /crm/v1/contacts/403", ""),
        ("POST /crm/v1/contacts/422", "{}"),
        ("GET /crm/v1/contacts/500", ""),
        ("GET /crm/v1/contacts/200?access_token=HANDLE", ""),
    ];
    let bearer: Vec<String> =
        [own.as_str(), "a-placeholder", "clvh_AAAA"].map(|token| format!("Bearer {token}")).into();
    let answers = nothing_leaks(world, &proxy, ("authorization", &bearer), &calls).await;
    assert_eq!(
        (status(&answers, "GET /crm/v1/contacts/401"), status(&answers, "GET /crm/v1/contacts/500")),
        (401, 500)
    );
    assert!(scene.origin.seen().len() > 5);
    let real = format!("Bearer {}", world.canary);
    assert!(scene.origin.seen().iter().all(|seen| seen.header("authorization") == Some(&real)));
    // All this is on record, and the token is not there either.
    let records = proxy.records("finished", answers.len() + 1);
    canary::assert_absent(&world.canary, "the records", Value::Array(records).to_string().as_bytes());
}
