//! A handle in other hands.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::scene::{Caller, Scene, configure, refused, told};

#[tokio::test(flavor = "multi_thread")]
async fn another_workloads_handle_is_refused_and_told_of() {
    let scene = Scene::oauth2("").await;
    let proxy = scene.start();
    let (app, reader) = (Caller::new(&scene.world, &proxy, "app"), Caller::new(&scene.world, &proxy, "reader"));
    let (handle, _) = app.log_in().await;
    assert_eq!(app.call(&handle).await, (200, None));
    // The thief may read the API by its own proof, and is refused all the same.
    assert_eq!(reader.call("placeholder").await, (200, None));
    assert_eq!(reader.call(&handle).await, refused(403, "handle_stolen"));
    // Wherever it shows it.
    for (name, value) in [("x-api-key", handle.clone()), ("cookie", format!("a=b; t={handle}"))] {
        let answer = reader.get("/crm/v1/contacts", &[(name, &value)]).await;
        assert_eq!(told(&answer), refused(403, "handle_stolen"), "{name}");
    }
    let answer = reader.get(&format!("/crm/v1/contacts?q={handle}"), &[]).await;
    assert_eq!(told(&answer), refused(403, "handle_stolen"), "in the URL");
    // Nor without any proof.
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer = http.get(proxy.gateway("/crm/v1/contacts")).bearer_auth(&handle).send().await.unwrap();
    assert_eq!(told(&answer), refused(401, "no_identity"));
    assert_eq!(scene.origin.seen().len(), 2, "nothing of the thief's went upstream");

    let decided = proxy.records("decided", 8);
    let alerts: Vec<&Value> = decided.iter().filter(|record| !record["alert"].is_null()).collect();
    assert_eq!(alerts.len(), 5, "{decided:#?}");
    let first = alerts[0];
    assert_eq!((&first["decision"], &first["code"]), (&json!("deny"), &json!("handle_stolen")));
    assert_eq!(first["principal"], "spiffe://acme.test/ci/reader");
    let alert = json!({
        "kind": "handle_stolen",
        "workload": "spiffe://acme.test/ci/app",
        "service": "crm",
        "place": "the place of the credential",
    });
    assert_eq!(first["alert"], alert);
    assert_eq!(alerts[3]["alert"]["place"], "the URL");
    let nobody = alerts[4];
    assert_eq!((&nobody["code"], &nobody["principal"]), (&json!("no_identity"), &Value::Null));
    assert_eq!(nobody["alert"]["workload"], "spiffe://acme.test/ci/app");
    let written = format!("{decided:?}{}", proxy.output());
    assert!(!written.contains(&handle), "the handle itself is in no record");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handle_of_another_listener_or_of_nobody_is_invalid() {
    let scene = Scene::oauth2("").await;
    let proxy = scene.start();
    let app = Caller::new(&scene.world, &proxy, "app");
    let (handle, _) = app.log_in().await;
    let elsewhere = Caller::new(&scene.world, &proxy, "app").at("other");
    assert_eq!(elsewhere.call(&handle).await, refused(401, "handle_invalid"));
    let mut forged = handle.clone();
    forged.replace_range(20..21, if &handle[20..21] == "A" { "B" } else { "A" });
    assert_eq!(app.call(&forged).await, refused(401, "handle_invalid"));
    assert_eq!(app.call(&handle[..handle.len() - 1]).await, refused(401, "handle_invalid"));
    let bearer = format!("Bearer {forged}");
    let answer = app.get("/crm/v1/contacts", &[("authorization", &bearer)]).await;
    assert_eq!(answer.headers()["www-authenticate"], "Bearer realm=\"claviger\", error=\"invalid_token\"");
    assert_eq!(scene.origin.connections(), 0);
    let codes: Vec<Value> = proxy.records("decided", 5).iter().map(|record| record["code"].clone()).collect();
    assert_eq!(codes, ["ok", "handle_elsewhere", "handle_unknown", "handle_unknown", "handle_unknown"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_in_the_url_is_refused() {
    let scene = Scene::oauth2("").await;
    let proxy = scene.start();
    let app = Caller::new(&scene.world, &proxy, "app");
    let (handle, _) = app.log_in().await;
    for path in ["/crm/v1/contacts?access_token=any".to_owned(), format!("/crm/v1/contacts?key={handle}")] {
        let answer = app.get(&path, &[]).await;
        assert_eq!(told(&answer), refused(400, "login_refused"), "{path}");
    }
    assert_eq!(scene.origin.connections(), 0);
    let text = format!("{:?}", proxy.records("decided", 3));
    assert!(!text.contains(&handle), "{text}");
}

/// Clients of Vault show handles in other places than those of OAuth: in a header of Vault's own, and in bodies.
#[tokio::test(flavor = "multi_thread")]
async fn anothers_handle_is_of_no_use_at_vault_either() {
    let scene = Scene::oauth2("").await;
    let who = "who = [\"app\", \"reader\"]";
    configure(
        &scene.world,
        &format!(
            "[service.vault]\nhosts = [\"api.test\"]\nconnect = \"127.0.0.1:{}\"\nca = \"ca.pem\"\n\
             allow_addresses = [\"127.0.0.1\"]\ninject = {{ header = \"x-vault-token\" }}\nlogin = \"vault\"\n\
             secret = \"secret://sealed/api\"\n[allow.vault]\n{who}\nto = \"vault\"\nops = [\"* /v1/**\"]\n",
            scene.origin.port()
        ),
    );
    let proxy = scene.start();
    let (app, reader) = (Caller::new(&scene.world, &proxy, "app"), Caller::new(&scene.world, &proxy, "reader"));
    let log_in = async |caller: &Caller<'_>| {
        let answer: Value = caller.post("/vault/v1/auth/approle/login", &[]).await.json().await.unwrap();
        answer["auth"]["client_token"].as_str().unwrap().to_owned()
    };
    let (handle, own) = (log_in(&app).await, log_in(&reader).await);
    let stolen = refused(403, "handle_stolen");
    let basic = format!("Basic {}", STANDARD.encode(format!("x:{handle}")));
    for (name, value) in
        [("x-vault-token", handle.as_str()), ("authorization", &format!("Bearer {handle}")), ("authorization", &basic)]
    {
        let answer = reader.get("/vault/v1/secret/data/x", &[(name, value)]).await;
        assert_eq!(told(&answer), stolen, "{name}: {value}");
        let answer = reader.get("/vault/v1/auth/token/lookup-self", &[(name, value)]).await;
        assert_eq!(told(&answer), stolen, "lookup-self: {name}");
    }
    // One's own in the header, and another's in the body: asked about, prolonged, revoked.
    for word in ["lookup", "renew", "revoke"] {
        let answer = reader.send_json(&format!("/vault/v1/auth/token/{word}"), &own, &json!({ "token": handle })).await;
        assert_eq!(told(&answer), stolen, "{word}");
        let answer = app.send_json(&format!("/vault/v1/auth/token/{word}"), &handle, &json!({ "token": handle })).await;
        assert!(told(&answer).0 < 300, "its owner: {word}");
    }
    assert_eq!(scene.origin.connections(), 0, "no byte of a thief's went upstream");
    let decided = proxy.records("decided", 14);
    let alerts: Vec<&Value> = decided.iter().filter(|record| !record["alert"].is_null()).collect();
    assert_eq!(alerts.len(), 9, "{decided:#?}");
    for alert in alerts {
        assert_eq!((&alert["principal"], &alert["decision"]), (&json!("spiffe://acme.test/ci/reader"), &json!("deny")));
        let of = (&alert["alert"]["workload"], &alert["alert"]["kind"]);
        assert_eq!(of, (&json!("spiffe://acme.test/ci/app"), &json!("handle_stolen")));
    }
    assert!(!format!("{decided:?}").contains(&handle));
}

/// By forms of OAuth: to be introspected, revoked, or given for a new one.
#[tokio::test(flavor = "multi_thread")]
async fn anothers_handle_is_not_told_about() {
    let scene = Scene::oauth2("").await;
    scene.configure(&scene.crm("").replace("ops = [\"GET /v1/**\"]", "ops = [\"POST /oauth/**\", \"GET /v1/**\"]"));
    let proxy = scene.start();
    let (app, reader) = (Caller::new(&scene.world, &proxy, "app"), Caller::new(&scene.world, &proxy, "reader"));
    let (handle, _) = app.log_in().await;
    let exchange = [("grant_type", "refresh_token"), ("refresh_token", handle.as_str())];
    for (path, form) in [
        ("/crm/oauth/introspect", &[("token", handle.as_str())][..]),
        ("/crm/oauth/revoke", &[("token", handle.as_str())]),
        ("/crm/oauth/token", &exchange),
    ] {
        assert_eq!(told(&reader.post(path, form).await), refused(400, "handle_stolen"), "{path}");
        assert_eq!(told(&app.post(path, form).await), (200, None), "its owner: {path}");
    }
    assert_eq!(app.call(&handle).await, (200, None), "nobody else's question has ended it");
    let alerts = proxy.records("decided", 8).iter().filter(|record| !record["alert"].is_null()).count();
    assert_eq!(alerts, 3);
}
