//! hvac as it is: it logs in by approle and by JWT, and reads KV.

use claviger_tests::origin::{Handler, Origin, full, handler};
use claviger_tests::peers::{Client, OpenBao};
use claviger_tests::{Proxy, World};
use http::{Method, Response, StatusCode};
use serde_json::{Value, json};

use crate::scene::configure;

/// What the applications believe to be real.
const SECRET_ID: &str = "5a2c1f0e-real-looking-secret-id";

/// A Vault that knows one token: the canary. It has KV version 2, and hands out tokens to whoever shows that one.
fn vault(key: &str) -> Handler {
    let key = key.to_owned();
    handler(move |request| {
        let shown = request.headers().get("x-vault-token").map(|value| value.as_bytes().to_vec());
        let known = shown.as_deref() == Some(key.as_bytes());
        let (method, path, key) = (request.method().clone(), request.uri().path().to_owned(), key.clone());
        async move {
            let (status, body) = match (known, &method, path.as_str()) {
                (false, ..) => (StatusCode::FORBIDDEN, json!({ "errors": ["permission denied"] })),
                (true, &Method::GET, "/v1/secret/data/app") => {
                    let metadata = json!({ "version": 1, "created_time": "2026-11-22T06:00:00Z", "destroyed": false });
                    // An echo of the token, for the guard.
                    let data = json!({ "data": { "user": "app", "echo": key }, "metadata": metadata });
                    (StatusCode::OK, json!({ "request_id": "1", "lease_id": "", "data": data, "auth": null }))
                }
                (true, &Method::POST, "/v1/auth/token/create") => {
                    (StatusCode::OK, json!({ "auth": { "client_token": "hvs.made", "lease_duration": 60 } }))
                }
                (true, ..) => (StatusCode::NOT_FOUND, json!({ "errors": [] })),
            };
            let mut response = Response::new(full(body.to_string()));
            *response.status_mut() = status;
            response.headers_mut().insert("content-type", "application/json".parse().unwrap());
            response
        }
    })
}

fn services(port: u16, ops: &str) -> String {
    services_at("vault.test", port, ops)
}

fn services_at(host: &str, port: u16, ops: &str) -> String {
    format!(
        r#"
[service.vault]
hosts = ["{host}"]
connect = "127.0.0.1:{port}"
ca = "ca.pem"
allow_addresses = ["127.0.0.1"]
inject = {{ header = "x-vault-token" }}
strip = ["authorization"]
login = "vault"
secret = "secret://sealed/vault"

[allow.app-vault]
who = "app"
to = "vault"
ops = [{ops}]
"#
    )
}

/// All that an application does, through the forward listener.
async fn run(world: &World, proxy: &Proxy, (host, way): (&str, &str)) -> Value {
    let root = world.run(&["ca", "--config", "claviger.toml"]);
    world.write("root.pem", root.stdout);
    let through = format!("http://jwt:{}@{}", world.token("app"), proxy.address("forward"));
    let client = Client::python("vault_login.py").args([&format!("https://{host}"), way]);
    let client = client.env("ROLE_ID", "app-role").env("SECRET_ID", SECRET_ID).env("JWT", "eyJ.not.real");
    let client = client.trust(&world.path().join("root.pem")).proxy(&through);
    client.run_without(&[&world.canary]).await.ok().json()
}

#[tokio::test(flavor = "multi_thread")]
async fn hvac_logs_in_by_approle_and_by_jwt() {
    let world = World::new();
    let origin = Origin::start(&world.ca, &["vault.test"], &["http/1.1"], vault(&world.canary)).await;
    world.seal("vault", &world.canary, &["vault.test"]);
    configure(&world, &services(origin.port(), "\"* /v1/**\""));
    let proxy = world.start();
    for way in ["approle", "jwt"] {
        let found = run(&world, &proxy, ("vault.test", way)).await;
        assert_eq!((&found["before"], &found["after"]), (&json!(false), &json!(true)), "{way}: {found:#}");
        let handle = found["login"]["auth"]["client_token"].as_str().unwrap();
        assert!(handle.starts_with("clvh_"), "{way}: {handle}");
        assert_eq!(found["secret"]["data"]["data"]["user"], "app", "{way}: {found:#}");
        let echo = found["secret"]["data"]["data"]["echo"].as_str().unwrap();
        assert!(echo.bytes().all(|byte| byte == b'*'), "{echo}");
        for lookup in ["lookup", "lookup_named"] {
            let data = &found[lookup]["data"];
            assert_eq!(
                (&data["id"], &data["meta"]["principal"]),
                (&json!(handle), &json!("spiffe://acme.test/ci/app"))
            );
            assert!((1..=3600).contains(&data["ttl"].as_i64().unwrap()), "{way} {lookup}: {data}");
        }
        assert_eq!(found["renewed"]["auth"]["client_token"], handle, "{way}");
        for (what, operation) in [("created", "a token"), ("wrapped", "a wrapping token")] {
            assert_eq!(found[what]["error"], "Forbidden", "{way}: {operation}: {}", found[what]);
            assert!(found[what]["message"].as_str().unwrap().contains("token_withheld"), "{way}: {operation}");
        }
        assert_eq!(found["absent"]["error"], "InvalidPath", "{way}: Vault's own words pass: {}", found["absent"]);
    }
    let paths: Vec<String> = origin.seen().iter().map(|seen| seen.uri.path().to_owned()).collect();
    let calls = ["/v1/secret/data/app", "/v1/secret/data/absent"];
    assert_eq!(paths, [calls, calls].concat(), "nothing of a login goes upstream");
    let text = format!("{:?}{:?}{}", origin.seen(), proxy.records("decided", 20), proxy.output());
    for hidden in [SECRET_ID, "clvh_", "eyJ.not.real", "app-role"] {
        assert!(!text.contains(hidden), "{hidden}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_log_in_is_told_so_by_hvac() {
    let world = World::new();
    let origin = Origin::start(&world.ca, &["vault.test"], &["http/1.1"], vault(&world.canary)).await;
    world.seal("vault", &world.canary, &["vault.test"]);
    configure(&world, &services(origin.port(), "\"GET /v1/secret/data/*\""));
    let proxy = world.start();
    let root = world.run(&["ca", "--config", "claviger.toml"]);
    world.write("root.pem", root.stdout);
    let through = format!("http://jwt:{}@{}", world.token("app"), proxy.address("forward"));
    let client = Client::python("vault_login.py").args(["https://vault.test", "approle"]);
    let client = client.env("ROLE_ID", "app-role").env("SECRET_ID", SECRET_ID);
    let ran = client.trust(&world.path().join("root.pem")).proxy(&through).run().await;
    assert!(!ran.status.success(), "the last call of the script is refused too");
    assert!(
        ran.stderr.contains("permission denied: policy does not allow this request (claviger: denied"),
        "{}",
        ran.stderr
    );
    assert!(origin.seen().iter().all(|seen| seen.uri.path().starts_with("/v1/secret/data/")), "{:?}", origin.seen());
}

/// The server is real, and so is the token, which hvac never sees. The service is that of the preset.
#[tokio::test(flavor = "multi_thread")]
async fn hvac_reads_from_openbao() {
    let mut world = World::new();
    let bao = OpenBao::start(&world.ca).await;
    bao.write("sys/mounts/secret", &json!({ "type": "kv", "options": { "version": "2" } })).await;
    bao.write("secret/data/app", &json!({ "data": { "user": "app" } })).await;
    let policy =
        r#"path "secret/data/*" { capabilities = ["read"] } path "auth/token/create" { capabilities = ["update"] }"#;
    bao.write("sys/policies/acl/app", &json!({ "policy": policy })).await;
    let made = bao.write("auth/token/create", &json!({ "policies": ["app"], "ttl": "10m" })).await;
    made["auth"]["client_token"].as_str().unwrap().clone_into(&mut world.canary);
    world.seal("vault", &world.canary, &["openbao.test"]);
    let own = "inject = { header = \"x-vault-token\" }\nstrip = [\"authorization\"]\nlogin = \"vault\"\n";
    let text = services_at("openbao.test", bao.port(), "\"@login\", \"@read\"");
    assert!(text.contains(own), "{text}");
    configure(&world, &text.replace(own, "preset = \"vault\"\n"));
    let proxy = world.start();
    for way in ["approle", "jwt"] {
        let found = run(&world, &proxy, ("openbao.test", way)).await;
        assert_eq!((&found["before"], &found["after"]), (&json!(false), &json!(true)), "{way}: {found:#}");
        assert!(found["login"]["auth"]["client_token"].as_str().unwrap().starts_with("clvh_"), "{way}");
        assert_eq!(found["secret"]["data"]["data"], json!({ "user": "app" }), "{way}: {found:#}");
        assert_eq!(found["absent"]["error"], "InvalidPath", "{way}: OpenBao's own words pass: {}", found["absent"]);
        assert_eq!(found["created"]["error"], "Forbidden", "{way}: {}", found["created"]);
    }
    // The clients revoked what they had; the real token lives.
    let lookup = bao.write("auth/token/lookup", &json!({ "token": world.canary })).await;
    assert!(lookup["data"]["ttl"].as_i64().unwrap() > 0, "{lookup}");
}

/// Where the rule names it, an operation that hands out a token passes.
#[tokio::test(flavor = "multi_thread")]
async fn what_hands_out_a_token_must_be_named() {
    let world = World::new();
    let origin = Origin::start(&world.ca, &["vault.test"], &["http/1.1"], vault(&world.canary)).await;
    world.seal("vault", &world.canary, &["vault.test"]);
    let named = "\"POST /v1/auth/token/create\", \"* /v1/**\"";
    // The first operation that matches counts.
    let too_late = "\"* /v1/**\", \"POST /v1/auth/token/create\"";
    for (ops, passes) in [(named, true), (too_late, false)] {
        configure(&world, &services(origin.port(), ops));
        let proxy = world.start();
        let found = run(&world, &proxy, ("vault.test", "approle")).await;
        match passes {
            true => assert_eq!(found["created"]["auth"]["client_token"], "hvs.made", "{found:#}"),
            false => assert_eq!(found["created"]["error"], "Forbidden", "{found:#}"),
        }
        assert_eq!(found["wrapped"]["error"], "Forbidden", "no rule names a header");
        assert!(proxy.stop().success());
    }
}
