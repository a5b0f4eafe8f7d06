//! A proxy with two callers and two services, an origin that streams, and the ways to administer it.

use std::path::PathBuf;
use std::process::Output;
use std::time::Instant;

use bytes::Bytes;
use claviger_tests::origin::{OriginBody, full, handler};
use claviger_tests::{Origin, PATIENCE, Proxy, World};
use futures_util::{StreamExt, stream};
use http::{Request, Response};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use serde_json::Value;

/// Beside the usual: another caller, another service, and a rule for each pair.
pub(crate) const MORE: &str = r#"
[workload.other]
spiffe = "spiffe://acme.test/ci/other"

[service.crm]
hosts = ["crm.test"]
connect = "127.0.0.1:PORT"
ca = "ca.pem"
allow_addresses = ["127.0.0.1"]
inject = ["bearer"]

[credential.crm-key]
kind = "static"
value = "secret://sealed/crm"

[allow.all-api]
who = "other"
to = "api"
ops = ["* /**"]

[allow.all-crm]
who = ["app", "other"]
to = "crm"
ops = ["* /**"]
use = "crm-key"
"#;

/// `/v1/stream` sends one event and then nothing, `/v1/flood` as much as is taken, `/v1/never` no answer at all; all
/// else is answered.
pub(crate) async fn origin(world: &World) -> Origin {
    let answer = handler(|request: Request<Incoming>| async move {
        let event = Bytes::from_static(b"data: x\n\n");
        let body: OriginBody = match request.uri().path() {
            "/v1/stream" => {
                BodyExt::boxed(StreamBody::new(stream::iter([Ok(Frame::data(event))]).chain(stream::pending())))
            }
            "/v1/flood" => {
                let much = Bytes::from(vec![b'x'; 65_536]);
                BodyExt::boxed(StreamBody::new(stream::repeat_with(move || Ok(Frame::data(much.clone())))))
            }
            "/v1/never" => std::future::pending().await,
            _ => full("ok"),
        };
        Response::new(body)
    });
    Origin::start(&world.ca, &["api.test", "crm.test"], &["h2", "http/1.1"], answer).await
}

/// All of it, started.
pub(crate) async fn scene(more: &str) -> (World, Origin, Proxy) {
    let (world, origin) = prepared(more).await;
    let proxy = world.start();
    (world, origin, proxy)
}

/// All of it, but for the process.
pub(crate) async fn prepared(more: &str) -> (World, Origin) {
    let world = World::new();
    let origin = origin(&world).await;
    world.seal("api", &world.canary, &["api.test"]);
    world.seal("crm", "another-key-that-is-long-enough", &["crm.test"]);
    world.configure(&configuration(&world, &origin, more));
    (world, origin)
}

pub(crate) fn configuration(world: &World, origin: &Origin, more: &str) -> String {
    let tunnels = "[listener.forward]\nunmatched = \"tunnel\"\nallow_addresses = [\"127.0.0.1\"]";
    let usual = world.usual(origin.port(), &format!("{MORE}{more}"));
    usual.replace("[listener.forward]", tunnels).replace("PORT", &origin.port().to_string())
}

/// A client that ignores the environment.
pub(crate) fn client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().build().unwrap()
}

/// Status and `error.code` of a request through the gateway.
pub(crate) async fn get(world: &World, proxy: &Proxy, who: &str, path: &str) -> (u16, String) {
    let answer = client().get(proxy.gateway(path)).bearer_auth(world.token(who)).send().await.unwrap();
    let status = answer.status().as_u16();
    let text = answer.text().await.unwrap();
    let code = serde_json::from_str::<Value>(&text).ok();
    (status, code.and_then(|code| Some(code["error"]["code"].as_str()?.to_owned())).unwrap_or_default())
}

/// Passes, or is refused as suspended.
pub(crate) async fn passes(world: &World, proxy: &Proxy, who: &str, path: &str) -> bool {
    match get(world, proxy, who, path).await {
        (200, _) => true,
        (403, code) if code == "suspended" => false,
        other => panic!("{who} {path}: {other:?}"),
    }
}

/// Runs a command on the world's configuration.
pub(crate) fn claviger(world: &World, args: &[&str]) -> Output {
    world.run(&[args, &["--config", "claviger.toml"]].concat())
}

/// Runs it, and it works; what it printed to stdout and stderr.
pub(crate) fn ok(world: &World, args: &[&str]) -> (String, String) {
    let output = claviger(world, args);
    let (out, err) = said(&output);
    assert!(output.status.success(), "{args:?}: {out}{err}");
    (out, err)
}

pub(crate) fn said(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

/// Where the process is administered.
pub(crate) fn socket(world: &World) -> PathBuf {
    world.path().join("state/admin.sock")
}

/// A client of the admin socket; its URLs begin with `http://localhost`.
pub(crate) fn admin(world: &World) -> reqwest::Client {
    reqwest::Client::builder().no_proxy().unix_socket(socket(world)).build().unwrap()
}

/// The ledger's `system` records of a kind, once there are so many.
pub(crate) fn system(proxy: &Proxy, kind: &str, count: usize) -> Vec<Value> {
    until(&format!("{count} records `{kind}`"), || {
        let all = proxy.records("system", 1);
        let found: Vec<Value> = all.into_iter().filter(|record| record["kind"] == kind).collect();
        (found.len() >= count).then_some(found)
    })
}

/// Waits for something that takes no message to come.
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "there are no {what}");
        std::thread::yield_now();
    }
}
