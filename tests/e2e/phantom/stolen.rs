//! A handle in other hands.

use serde_json::{Value, json};

use crate::scene::{Caller, Scene, refused, told};

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
