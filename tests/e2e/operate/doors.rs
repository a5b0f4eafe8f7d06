//! The Unix socket changes things, and only for whom the kernel names; the TCP listener changes nothing.

use claviger_tests::World;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::scene::{admin, claviger, configuration, ok, passes, prepared, said, scene, socket, system};

/// A call over the socket: status and answer.
async fn call(world: &World, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> (u16, Value) {
    let mut request = admin(world).request(method.parse().unwrap(), format!("http://localhost{path}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = request.body(body.to_owned()).send().await.unwrap();
    let status = answer.status().as_u16();
    let text = answer.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}")))
}

const JSON: (&str, &str) = ("content-type", "application/json");

#[tokio::test(flavor = "multi_thread")]
async fn the_api_says_what_it_did_and_why_it_did_not() {
    let (world, _origin, proxy) = scene("").await;
    let wanted = json!({ "kind": "service", "name": "api", "reason": "why", "until": "2099-01-01T00:00:00Z" });
    let (status, answer) = call(&world, "POST", "/v1/suspensions", &[JSON], &wanted.to_string()).await;
    assert_eq!((status, &answer["replaced"], &answer["warnings"]), (200, &Value::Null, &json!([])));
    let made = &answer["suspension"];
    assert_eq!((&made["kind"], &made["reason"], &made["until"]), (&json!("service"), &json!("why"), &wanted["until"]));
    let (_, listed) = call(&world, "GET", "/v1/suspensions", &[], "").await;
    assert_eq!(listed["suspensions"], json!([made]));
    let (status, answer) = call(&world, "DELETE", "/v1/suspensions?kind=service&name=api", &[], "").await;
    assert_eq!((status, &answer["resumed"]), (200, made));
    let (_, status) = call(&world, "GET", "/v1/status", &[], "").await;
    assert_eq!(
        (&status["phase"], &status["generation"], &status["suspensions"]),
        (&json!("serving"), &json!(1), &json!(0))
    );
    assert_eq!(status["listeners"][1]["bind"], json!(proxy.address("gateway")));
    assert_eq!((&status["state"]["healthy"], &status["ledger"]["healthy"]), (&json!(true), &json!(true)));

    let check = async |method: &str, path: &str, headers: &[(&str, &str)], body: &str, expected: (u16, &str)| {
        let (status, answer) = call(&world, method, path, headers, body).await;
        assert_eq!((status, answer["error"]["code"].as_str().unwrap()), expected, "{method} {path} {headers:?} {body}");
    };
    let good = r#"{"kind":"service","name":"api"}"#;
    // What a page in a browser could send, or a name that somebody else's DNS leads here.
    for (name, value) in [("origin", "https://evil.test"), ("origin", "null"), ("sec-fetch-site", "same-origin")] {
        check("POST", "/v1/suspensions", &[JSON, (name, value)], good, (403, "forbidden")).await;
        check("GET", "/v1/suspensions", &[(name, value)], "", (403, "forbidden")).await;
    }
    check("POST", "/v1/suspensions", &[JSON, ("host", "evil.test")], good, (400, "bad_request")).await;
    for type_ in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/jsonp", ""] {
        check("POST", "/v1/suspensions", &[("content-type", type_)], good, (400, "bad_request")).await;
    }
    for body in ["", "{", "[]", "null", r#"{"kind":"service"}"#, r#"{"kind":"service","name":"api","more":1}"#] {
        check("POST", "/v1/suspensions", &[JSON], body, (400, "bad_request")).await;
    }
    for (kind, name) in [("team", "api"), ("service", ""), ("principal", "api"), ("service", "a\nb")] {
        let body = json!({ "kind": kind, "name": name }).to_string();
        check("POST", "/v1/suspensions", &[JSON], &body, (400, "bad_request")).await;
    }
    let long = json!({ "kind": "service", "name": "x".repeat(20_000) }).to_string();
    check("POST", "/v1/suspensions", &[JSON], &long, (413, "body_too_large")).await;
    check("DELETE", "/v1/suspensions", &[], "", (400, "bad_request")).await;
    check("DELETE", "/v1/suspensions?kind=service", &[], "", (400, "bad_request")).await;
    check("DELETE", "/v1/suspensions?kind=service&name=api", &[], "", (404, "not_found")).await;
    check("PUT", "/v1/suspensions", &[JSON], good, (405, "method_not_allowed")).await;
    check("GET", "/v1/reload", &[], "", (405, "method_not_allowed")).await;
    check("GET", "/metrics", &[], "", (404, "not_found")).await;
    check("GET", "/v2/status", &[], "", (404, "not_found")).await;
    assert!(passes(&world, &proxy, "app", "/api/v1/x").await);
    assert_eq!(system(&proxy, "suspended", 1).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_says_what_came_of_it() {
    let (world, origin, proxy) = scene("").await;
    let output = claviger(&world, &["reload", "-o", "json"]);
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&answer["outcome"], &answer["generation"], &answer["why"]),
        (&json!("loaded"), &json!(2), &Value::Null)
    );
    world.configure(&configuration(&world, &origin, "[workload.bad]\nspifce = \"spiffe://acme.test/x\"\n"));
    let output = claviger(&world, &["reload"]);
    let (_, err) = said(&output);
    assert_eq!(output.status.code(), Some(2), "{err}");
    let generation = format!("{}", status(&world)["generation"]);
    for text in ["`workload.bad.spifce`: unknown key", "did you mean `spiffe`?", "stays in force"] {
        assert!(err.contains(text), "{text}: {err}");
    }
    assert!(err.contains(&format!("generation {generation} stays")), "{err}");
    let records = system(&proxy, "generation_refused", 1);
    let by_us = records.iter().filter(|record| record["actor"].as_str().is_some_and(|actor| actor.contains("uid ")));
    assert!(by_us.count() >= 1, "{records:?}");
}

fn status(world: &World) -> Value {
    serde_json::from_str(&ok(world, &["status", "-o", "json"]).0).unwrap()
}

/// Every method on every path that there is behind the other door, and on those that there are here.
#[tokio::test(flavor = "multi_thread")]
async fn the_tcp_listener_changes_nothing() {
    let (world, _origin, proxy) = scene("[admin]\nbind = \"127.0.0.1:0\"\n").await;
    let paths = [
        "/",
        "/livez",
        "/readyz",
        "/metrics",
        "/version",
        "/v1/status",
        "/v1/suspensions",
        "/v1/suspensions?kind=service&name=api",
        "/v1/reload",
        "/v1/secrets",
        "/%76%31/reload",
        "//v1/reload",
    ];
    for path in paths {
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "SUSPEND"] {
            let mut stream = tokio::net::TcpStream::connect(proxy.address("admin")).await.unwrap();
            let body = r#"{"kind":"service","name":"api"}"#;
            let head = format!(
                "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: close\r\n\
                 Content-Length: {}\r\n\r\n{body}",
                body.len()
            );
            stream.write_all(head.as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer).await;
            let answer = String::from_utf8_lossy(&answer);
            let reads =
                ["GET", "HEAD"].contains(&method) && ["/livez", "/readyz", "/metrics", "/version"].contains(&path);
            let status = answer.split(' ').nth(1).unwrap_or_default();
            let expected: &[&str] = if reads { &["200"] } else { &["404", "405", "400"] };
            assert!(expected.contains(&status), "{method} {path}: {answer}");
        }
    }
    assert!(passes(&world, &proxy, "app", "/api/v1/x").await);
    assert_eq!(status(&world)["generation"], 1);
    let changes = proxy.records("system", 1);
    assert!(changes.iter().all(|record| record["kind"] == "started"), "{changes:?}");
}

/// Clients that stay do not keep others out, and a head that never ends is not waited for for ever.
#[tokio::test(flavor = "multi_thread")]
async fn idle_clients_of_the_socket_do_not_keep_others_out() {
    let (world, _origin, _proxy) = scene("").await;
    let mut idle = Vec::new();
    for _ in 0..40 {
        let mut stream = tokio::net::UnixStream::connect(socket(&world)).await.unwrap();
        stream.write_all(b"GET /v1/status HTTP/1.1\r\n").await.unwrap();
        idle.push(stream);
    }
    assert_eq!(status(&world)["phase"], "serving");
    drop(idle);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_socket_can_be_elsewhere_and_is_nobody_elses() {
    let (world, origin) = prepared("[admin]\nsocket = \"unix:run/door.sock\"\n").await;
    std::fs::create_dir(world.path().join("run")).unwrap();
    let proxy = world.start();
    ok(&world, &["suspend", "service", "api"]);
    assert!(!passes(&world, &proxy, "app", "/api/v1/x").await);
    assert!(!socket(&world).exists());
    // It follows no reload.
    world.configure(&configuration(&world, &origin, "[admin]\nsocket = \"unix:run/other.sock\"\n"));
    proxy.wait_for_line("generation 2 is in force");
    assert!(
        proxy.output().contains("`admin`") || proxy.output().contains("admin: a change of this"),
        "{}",
        proxy.output()
    );
    assert!(!world.path().join("run/other.sock").exists());
    ok(&world, &["resume", "service", "api", "--socket", "run/door.sock"]);
    drop(proxy);
    // What is no socket is not removed, and a folder that is not there is not made.
    world.write("run/door.sock", "somebody's notes");
    world.configure(&configuration(&world, &origin, "[admin]\nsocket = \"unix:run/door.sock\"\n"));
    let (_, err) = said(&claviger(&world, &["run"]));
    assert!(err.contains("failed to bind the admin socket `run/door.sock`: the path exists and is no socket"), "{err}");
    assert!(err.contains("help: choose another with `[admin]` and `socket = \"unix:…\"`"), "{err}");
    world.configure(&configuration(&world, &origin, "[admin]\nsocket = \"unix:nowhere/door.sock\"\n"));
    let (_, err) = said(&claviger(&world, &["run"]));
    assert!(err.contains("failed to bind the admin socket `nowhere/door.sock`"), "{err}");
}
