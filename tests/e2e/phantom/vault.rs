//! hvac as it is: it logs in by approle and by JWT, and reads KV.

use claviger_tests::World;
use claviger_tests::origin::{Handler, Origin, full, handler};
use claviger_tests::peers::Client;
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
    format!(
        r#"
[service.vault]
hosts = ["vault.test"]
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
async fn run(world: &World, proxy: &claviger_tests::Proxy, workload: &str, way: &str) -> Value {
    let root = world.run(&["ca", "--config", "claviger.toml"]);
    world.write("root.pem", root.stdout);
    let through = format!("http://jwt:{}@{}", world.token(workload), proxy.address("forward"));
    let client = Client::python("vault_login.py").args(["https://vault.test", way]);
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
        let found = run(&world, &proxy, "app", way).await;
        assert_eq!((&found["before"], &found["after"]), (&json!(false), &json!(true)), "{way}: {found:#}");
        let handle = found["login"]["auth"]["client_token"].as_str().unwrap();
        assert!(handle.starts_with("clvh_"), "{way}: {handle}");
        assert_eq!(found["secret"]["data"]["data"]["user"], "app", "{way}: {found:#}");
        let echo = found["secret"]["data"]["data"]["echo"].as_str().unwrap();
        assert!(echo.bytes().all(|byte| byte == b'*'), "{echo}");
        for lookup in ["lookup", "lookup_named"] {
            let data = &found[lookup]["data"];
            assert_eq!((&data["id"], &data["meta"]["principal"]), (&json!(handle), &json!("spiffe://acme.test/ci/app")));
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
    assert!(ran.stderr.contains("permission denied: policy does not allow this request (claviger: denied"), "{}", ran.stderr);
    assert!(origin.seen().iter().all(|seen| seen.uri.path().starts_with("/v1/secret/data/")), "{:?}", origin.seen());
}

/// Where the rule names it, an operation that hands out a token passes.
#[tokio::test(flavor = "multi_thread")]
async fn what_hands_out_a_token_must_be_named() {
    let world = World::new();
    let origin = Origin::start(&world.ca, &["vault.test"], &["http/1.1"], vault(&world.canary)).await;
    world.seal("vault", &world.canary, &["vault.test"]);
    let named = "\"POST,PUT /v1/auth/*/login\", \"* /v1/auth/token/*\", \"POST /v1/auth/token/create\", \"GET /v1/secret/**\"";
    for (ops, passes) in [("\"* /v1/**\"", false), (named, true)] {
        configure(&world, &services(origin.port(), ops));
        let proxy = world.start();
        let found = run(&world, &proxy, "app", "approle").await;
        match passes {
            true => assert_eq!(found["created"]["auth"]["client_token"], "hvs.made", "{found:#}"),
            false => assert_eq!(found["created"]["error"], "Forbidden", "{found:#}"),
        }
        assert_eq!(found["wrapped"]["error"], "Forbidden", "no rule names a header");
        assert!(proxy.stop().success());
    }
}
