//! Promise 4, for every kind of injection: what the client wrote into the slot is replaced, and the
//! upstream sees the credential once, where it belongs, and nowhere else.

use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use claviger_tests::origin::{full, handler};
use claviger_tests::{Origin, World};
use http::Response;
use http::request::Parts;
use http_body_util::BodyExt;

use crate::wire::client;

/// What a client of its own key would write into the slot.
const OWN: &str = "own-value-of-the-client";

struct Case {
    name: &'static str,
    inject: &'static str,
    /// `HEADER: VALUE` lines.
    headers: &'static [&'static str],
    path: &'static str,
    body: &'static str,
    /// Where upstream finds it: request line, headers and body in one text; `KEY` is the credential.
    finds: &'static str,
    /// Under `use = "none"`, where something of the request must have survived.
    bare_finds: &'static str,
}

const NOTHING: Case =
    Case { name: "", inject: "", headers: &[], path: "/v1", body: "", finds: "", bare_finds: "GET /v1\n" };

const CASES: &[Case] = &[
    Case {
        name: "bearer",
        inject: "\"bearer\"",
        headers: &["authorization: Bearer OWN", "Authorization: Basic OWN", "authorization: OWN"],
        finds: "\nauthorization: Bearer KEY\n",
        ..NOTHING
    },
    Case {
        name: "password",
        inject: "{ basic = \"robot\" }",
        headers: &["authorization: Basic b3duOk9XTg==", "authorization: OWN"],
        finds: "\nauthorization: Basic BASE64(robot:KEY)\n",
        ..NOTHING
    },
    Case {
        name: "username",
        inject: "{ basic = \"x\", as = \"username\" }",
        headers: &["authorization: OWN"],
        finds: "\nauthorization: Basic BASE64(KEY:x)\n",
        ..NOTHING
    },
    Case {
        name: "header",
        inject: "{ header = \"x-api-key\" }",
        headers: &["X-API-Key: OWN", "x-api-key: OWN", "x_api_key: OWN", "X-Api_Key: OWN", "connection: x-api-key"],
        finds: "\nx-api-key: KEY\n",
        ..NOTHING
    },
    Case {
        name: "prefix",
        inject: "{ header = \"authorization\", prefix = \"token \" }",
        headers: &["authorization: token OWN"],
        finds: "\nauthorization: token KEY\n",
        ..NOTHING
    },
    Case {
        name: "query",
        inject: "{ query = \"key\" }",
        path: "/v1?key=OWN&a=1&%6bey=OWN&key&key=",
        finds: "GET /v1?a=1&key=PERCENT(KEY)\n",
        bare_finds: "GET /v1?a=1\n",
        ..NOTHING
    },
    Case {
        name: "cookie",
        inject: "{ cookie = \"session\" }",
        headers: &["cookie: session=OWN; other=1", "cookie: session=OWN"],
        finds: "session=KEY",
        bare_finds: "\ncookie: other=1\n",
        ..NOTHING
    },
    Case {
        name: "path",
        inject: "{ path = \"/bot{credential}\", placeholder = \"CLAVIGER\" }",
        path: "/botCLAVIGER/send?x=1",
        finds: "GET /botSEGMENT(KEY)/send?x=1\n",
        bare_finds: "GET /botCLAVIGER/send?x=1\n",
        ..NOTHING
    },
    Case {
        name: "in-header",
        inject: "{ placeholder = \"CLAVIGER_KEY\", in = [\"header:x-token\"] }",
        headers: &["x-token: Token CLAVIGER_KEY", "x-token: OWN", "x_token: OWN"],
        finds: "\nx-token: Token KEY\n",
        ..NOTHING
    },
    Case {
        name: "in-query",
        inject: "{ placeholder = \"CLAVIGER_KEY\", in = [\"query\"] }",
        path: "/v1?a=1&token=CLAVIGER_KEY",
        finds: "GET /v1?a=1&token=PERCENT(KEY)\n",
        bare_finds: "GET /v1?a=1\n",
        ..NOTHING
    },
    Case {
        name: "in-json",
        inject: "{ placeholder = \"CLAVIGER_KEY\", in = [\"body\"] }",
        headers: &["content-type: application/json"],
        body: "{\"routing_key\": \"CLAVIGER_KEY\", \"n\": 1e400}",
        finds: "\n\n{\"routing_key\": \"KEY\", \"n\": 1e400}",
        bare_finds: "POST /v1\n",
        ..NOTHING
    },
    Case {
        name: "in-form",
        inject: "{ placeholder = \"CLAVIGER_KEY\", in = [\"body\"] }",
        headers: &["content-type: application/x-www-form-urlencoded"],
        body: "a=%20b&token=CLAVIGER_KEY&c",
        finds: "\n\na=%20b&token=PERCENT(KEY)&c",
        bare_finds: "POST /v1\n",
        ..NOTHING
    },
];

fn percent(text: &str) -> String {
    text.replace('/', "%2F")
}

/// The text that a case's pattern stands for.
fn resolve(pattern: &str, key: &str) -> String {
    pattern
        .replace("BASE64(robot:KEY)", &STANDARD.encode(format!("robot:{key}")))
        .replace("BASE64(KEY:x)", &STANDARD.encode(format!("{key}:x")))
        .replace("PERCENT(KEY)", &percent(key))
        .replace("SEGMENT(KEY)", &percent(key))
        .replace("KEY", key)
}

/// Request line, headers in the order of arrival, and body, as one text.
fn dump(head: &Parts, body: &[u8]) -> String {
    let mut text = format!("{} {}\n", head.method, head.uri.path_and_query().unwrap());
    for (name, value) in &head.headers {
        text += &format!("{name}: {}\n", String::from_utf8_lossy(value.as_bytes()));
    }
    text + "\n" + &String::from_utf8_lossy(body)
}

async fn recording(world: &World, alpn: &[&str]) -> (Origin, Arc<Mutex<Vec<String>>>) {
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let recorded = seen.clone();
    let answer = handler(move |request: http::Request<hyper::body::Incoming>| {
        let recorded = recorded.clone();
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            recorded.lock().unwrap().push(dump(&head, &body));
            Response::new(full(""))
        }
    });
    let names: Vec<String> = CASES.iter().map(|case| format!("{}.test", case.name)).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    (Origin::start(&world.ca, &names, alpn, answer).await, seen)
}

fn configuration(world: &World, port: u16) -> String {
    let mut text = world.usual(port, "").split("[service.api]").next().unwrap().to_owned();
    text += "[workload.bare]\nspiffe = \"spiffe://acme.test/ci/bare\"\n";
    text += "[credential.key]\nkind = \"static\"\nvalue = \"secret://sealed/key\"\n";
    for Case { name, inject, .. } in CASES {
        text += &format!(
            "[service.{name}]\nhosts = [\"{name}.test\"]\nconnect = \"127.0.0.1:{port}\"\nca = \"ca.pem\"\n\
             allow_addresses = [\"127.0.0.1\"]\ninject = [{inject}]\n\
             [allow.app-{name}]\nwho = \"app\"\nto = \"{name}\"\nops = \"*\"\nuse = \"key\"\n\
             [allow.bare-{name}]\nwho = \"bare\"\nto = \"{name}\"\nops = \"*\"\nuse = \"none\"\n"
        );
    }
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn promise_4_every_slot_is_replaced_and_filled_once() {
    for alpn in ["http/1.1", "h2"] {
        let world = World::new();
        let (origin, seen) = recording(&world, &[alpn]).await;
        let hosts: Vec<String> = CASES.iter().map(|case| format!("{}.test", case.name)).collect();
        world.seal("key", &world.canary, &hosts.iter().map(String::as_str).collect::<Vec<_>>());
        world.configure(&configuration(&world, origin.port()));
        let proxy = world.start();
        for Case { name, headers, path, body, finds, bare_finds, .. } in CASES {
            for workload in ["app", "bare"] {
                let token = world.token(workload);
                let method = if body.is_empty() { "GET" } else { "POST" };
                let url = proxy.gateway(&format!("/{name}{}", path.replace("OWN", OWN)));
                let mut request = client().request(method.parse().unwrap(), url);
                for line in *headers {
                    let (header, value) = line.split_once(": ").unwrap();
                    request = request.header(header, value.replace("OWN", OWN));
                }
                let request = request.header("proxy-authorization", format!("Bearer {token}")).body(*body);
                let answer = request.send().await.unwrap();
                let status = answer.status();
                assert_eq!(status, 200, "{name}: {}", answer.text().await.unwrap());
                let arrived = seen.lock().unwrap().pop().unwrap();
                let what = format!("{name} of {workload} by {alpn}:\n{arrived}");
                assert!(!arrived.contains(OWN) && !arrived.contains("b3duOk9XTg"), "the client's own: {what}");
                assert!(!arrived.contains(&token), "its proof: {what}");
                let forms = [world.canary.clone(), percent(&world.canary)]
                    .into_iter()
                    .chain(["BASE64(robot:KEY)", "BASE64(KEY:x)"].iter().map(|pair| resolve(pair, &world.canary)));
                let times: usize = forms.map(|form| arrived.matches(&form).count()).sum();
                let (expected, pattern) = if workload == "app" { (1, finds) } else { (0, bare_finds) };
                assert_eq!(times, expected, "{what}");
                assert!(arrived.contains(&resolve(pattern, &world.canary)), "{pattern}: {what}");
            }
        }
    }
}

/// What cannot be stripped, or what servers read in two ways, is refused and not sent.
#[tokio::test(flavor = "multi_thread")]
async fn promise_4_slots_that_cannot_be_emptied_refuse() {
    let world = World::new();
    let (origin, _) = recording(&world, &["http/1.1"]).await;
    let hosts: Vec<String> = CASES.iter().map(|case| format!("{}.test", case.name)).collect();
    world.seal("key", &world.canary, &hosts.iter().map(String::as_str).collect::<Vec<_>>());
    world.configure(&configuration(&world, origin.port()));
    let proxy = world.start();
    let json = "application/json";
    for (what, workload, path, type_, body, reason) in [
        ("a key of the client's own in the path", "app", "/path/bot123:ABC/send", json, "", "inject_path_slot_filled"),
        ("… also without a credential", "bare", "/path/bot123:ABC/send", json, "", "inject_path_slot_filled"),
        ("no placeholder in the path", "app", "/path/other", json, "", "inject_placeholder_absent"),
        ("a name that ASP.NET reads as the slot", "app", "/query/v1?KEY=x", json, "", "inject_parameter_ambiguous"),
        ("a parameter behind `;`", "app", "/query/v1?a=1;key=x", json, "", "inject_parameter_ambiguous"),
        ("no placeholder in the header", "app", "/in-header/v1", json, "", "inject_placeholder_absent"),
        ("no placeholder in the query", "app", "/in-query/v1", json, "", "inject_placeholder_absent"),
        ("no placeholder in the body", "app", "/in-json/v1", json, "{}", "inject_placeholder_absent"),
        ("not JSON", "app", "/in-json/v1", json, "{\"a\":\"CLAVIGER_KEY\"", "inject_body_not_json"),
        ("another kind of body", "app", "/in-json/v1", "text/plain", "CLAVIGER_KEY", "inject_placeholder_absent"),
    ] {
        let before = proxy.records("decided", 0).len();
        let request = client().post(proxy.gateway(path)).header("content-type", type_).body(body);
        let request = request.header("proxy-authorization", format!("Bearer {}", world.token(workload)));
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 403, "{what}");
        assert!(answer.text().await.unwrap().contains("credential_refused"), "{what}");
        let record = proxy.records("decided", before + 1).pop().unwrap();
        assert_eq!((&record["code"], &record["decision"]), (&reason.into(), &"deny".into()), "{what}");
    }
    assert_eq!(origin.connections(), 0);
}
