//! Authlib and requests-oauthlib as they are, in front of an API that verifies the real token; and each endpoint by hand.

use claviger_tests::World;
use claviger_tests::canary;
use claviger_tests::peers::{Client, JwtApi, OidcProvider, SecretIn, Sees};
use serde_json::{Value, json};

use crate::scene::{Caller, Scene, configure, refused, told};

const AUDIENCE: &str = "https://api.test";

/// The real token is minted by a real issuer and verified by Envoy; clients have a handle, and nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn unmodified_clients_log_in_and_call() {
    let world = World::new();
    let oidc = OidcProvider::start(&world.ca, "login.test", AUDIENCE, 300, &[("claviger", &world.canary)]).await;
    let api = JwtApi::start(&world.ca, "api.test", &oidc).await;
    let issuer = oidc.endpoint().addr.to_string();
    world.seal("client", &world.canary, &[&issuer]);
    configure(
        &world,
        &format!(
            r#"
[service.crm]
hosts = ["api.test"]
connect = "{}"
ca = "ca.pem"
allow_addresses = ["127.0.0.1"]
inject = ["bearer"]
login = {{ oauth2 = {{ path = "/oauth/token" }} }}

[credential.crm]
kind = "oauth2"
grant = "client_credentials"
token_url = "https://{issuer}/token"
client_id = "claviger"
client_secret = "secret://sealed/client"
scope = ["read"]
hosts = ["api.test"]
ca = "ca.pem"
allow_addresses = ["127.0.0.1"]

[allow.app-crm]
who = "app"
to = "crm"
ops = ["POST /oauth/token", "GET /**"]

[allow.reader-crm]
who = "reader"
to = "crm"
ops = ["GET /**"]
"#,
            api.endpoint().addr
        ),
    );
    let proxy = world.start();
    let root = world.run(&["ca", "--config", "claviger.toml"]);
    world.write("root.pem", root.stdout);
    let run = async |workload: &str, path: &str| {
        let through = format!("http://jwt:{}@{}", world.token(workload), proxy.address("forward"));
        let client =
            Client::python("oauth_login.py").args(["https://api.test/oauth/token", &format!("https://api.test{path}")]);
        let client = client.env("CLIENT_ID", "crm-app").env("CLIENT_SECRET", "what-the-application-believes-in");
        let client = client.trust(&world.path().join("root.pem")).proxy(&through);
        client.run_without(&[&world.canary]).await.ok()
    };
    let ran = run("app", "/reflect").await;
    let found = ran.json();
    for library in ["authlib", "requests_oauthlib"] {
        let found = &found[library];
        assert_eq!(found["status"], 200, "{library}: {found}");
        let token = &found["token"];
        assert!(token["access_token"].as_str().unwrap().starts_with("clvh_"), "{library}: {token}");
        let lasts = token["expires_in"].as_i64().unwrap();
        assert!((1..=300).contains(&lasts), "{library}: {lasts} s, but the real one lasts 300");
    }
    // What verified was a real token, and no client has seen it.
    let seen = api.seen_in_all(&world.ca, 2).await;
    assert_eq!(seen.len(), 2, "only the calls went upstream: {seen:#?}");
    for request in &seen {
        let real = request.authorization.strip_prefix("Bearer ").unwrap();
        assert!(real.starts_with("eyJ") && request.status == 200, "{request:?}");
        ran.assert_without(real);
        canary::assert_absent_below(real, world.path());
        canary::assert_absent(real, "what the proxy printed", proxy.output().as_bytes());
        assert!(!request.authorization.contains("clvh_"));
    }
    assert_eq!(oidc.granted("claviger", SecretIn::Basic), 1, "one mint for all logins and calls");
    assert!(!oidc.log().contains("crm-app"), "the client's own id never reached the issuer");

    // Who may not log in is told so in its SDK's own words.
    let found = run("reader", "/v1/contacts").await.json();
    for library in ["authlib", "requests_oauthlib"] {
        assert_eq!(found[library]["error"], "unauthorized_client", "{library}: {found}");
        assert!(found[library]["description"].as_str().unwrap().contains("denied"), "{found}");
    }
    assert_eq!(api.seen_in_all(&world.ca, 2).await.len(), 2 + 1, "the probe of the look before, and nothing else");
    // Both records of each request, as ever.
    let decided = proxy.records("decided", 6);
    let logins: Vec<&Value> = decided.iter().filter(|record| record["path"] == "/oauth/token").collect();
    assert_eq!(logins.len(), 4);
    assert_eq!((&logins[0]["decision"], &logins[0]["rule"]), (&json!("allow"), &json!("app-crm")));
    assert!(logins[0]["detail"].as_str().unwrap().starts_with("answered here"), "{}", logins[0]);
    assert_eq!((&logins[3]["decision"], &logins[3]["code"]), (&json!("deny"), &json!("no_rule")));
    let finished = proxy.records("finished", 6);
    let of = |id: &Value| finished.iter().find(|record| record["id"] == *id).unwrap();
    let login = of(&logins[0]["id"]);
    assert_eq!(
        (&login["code"], &login["status"], &login["upstream_status"]),
        (&json!("ok"), &json!(200), &Value::Null)
    );
    assert_eq!(of(&logins[3]["id"])["status"], 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_endpoint_speaks_its_protocol() {
    let scene = Scene::oauth2("").await;
    let proxy = scene.start();
    let app = Caller::new(&scene.world, &proxy, "app");
    for (form, status, error) in [
        (&[("grant_type", "authorization_code"), ("code", "x")][..], 400, "unsupported_grant_type"),
        (&[("grant_type", "urn:ietf:params:oauth:grant-type:device_code")], 400, "unsupported_grant_type"),
        (&[("scope", "read")], 400, "invalid_request"),
        (&[("grant_type", "client_credentials"), ("grant_type", "password")], 400, "invalid_request"),
    ] {
        let answer = app.post("/crm/oauth/token", form).await;
        assert_eq!(told(&answer), refused(status, "login_refused"), "{form:?}");
        assert_eq!(answer.headers()["cache-control"], "no-store");
        let body: Value = answer.json().await.unwrap();
        assert_eq!(body["error"], error, "{form:?}");
        assert!(body["error_uri"].as_str().unwrap().ends_with("#login_refused"));
    }
    let answer = app.get("/crm/oauth/token?x=1", &[]).await;
    assert_eq!(told(&answer), refused(400, "denied"), "no rule allows to GET it, and none would pass it on");
    // Nobody, and somebody who may not.
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer = http
        .post(proxy.gateway("/crm/oauth/token"))
        .form(&[("grant_type", "client_credentials")])
        .send()
        .await
        .unwrap();
    assert_eq!(told(&answer), refused(401, "no_identity"));
    assert!(answer.headers().contains_key("www-authenticate"));
    assert_eq!(answer.json::<Value>().await.unwrap()["error"], "invalid_client");
    let answer = Caller::new(&scene.world, &proxy, "reader")
        .post("/crm/oauth/token", &[("grant_type", "client_credentials")])
        .await;
    assert_eq!(told(&answer), refused(400, "denied"));
    assert_eq!(answer.json::<Value>().await.unwrap()["error"], "unauthorized_client");
    assert_eq!(scene.origin.connections(), 0, "no byte of a login goes upstream");

    let answer =
        app.post("/crm/oauth/token", &[("grant_type", "refresh_token"), ("refresh_token", "an-old-real-one")]).await;
    let headers = answer.headers().clone();
    let token: Value = answer.json().await.unwrap();
    assert_eq!(
        (&headers["cache-control"], &headers["pragma"], &headers["content-type"]),
        (&"no-store".parse().unwrap(), &"no-cache".parse().unwrap(), &"application/json".parse().unwrap())
    );
    assert_eq!(
        (&token["token_type"], &token["expires_in"], &token["refresh_token"]),
        (&json!("Bearer"), &json!(3600), &Value::Null)
    );
    let handle = token["access_token"].as_str().unwrap();
    let answer: Value = app.post("/crm/oauth/introspect", &[("token", handle)]).await.json().await.unwrap();
    assert_eq!((&answer["active"], &answer["sub"]), (&json!(true), &json!("spiffe://acme.test/ci/app")));
    let answer: Value = app.post("/crm/oauth/introspect", &[("token", "else")]).await.json().await.unwrap();
    assert_eq!(answer, json!({ "active": false }));
    let answer = app.post("/crm/oauth/revoke", &[("token", handle)]).await;
    assert_eq!((answer.status().as_u16(), answer.text().await.unwrap()), (200, String::new()));
    let real = [
        ("grant_type", "client_credentials"),
        ("client_id", "crm"),
        ("client_secret", "a-real-looking-secret-0123456789"),
    ];
    assert_eq!(app.post("/crm/oauth/token", &real).await.status(), 200);
    assert_eq!(scene.origin.connections(), 0, "no byte of a login goes upstream");
    let text = format!("{:?}{}", proxy.records("decided", 12), proxy.output());
    assert!(!text.contains("a-real-looking-secret") && !text.contains("an-old-real-one"), "{text}");
}
