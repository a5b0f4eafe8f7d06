//! A real OpenBao, an upstream that notes what it was sent, and a proxy between a caller and both.

use bytes::Bytes;
use claviger_tests::origin::{OriginBody, full, handler};
use claviger_tests::peers::OpenBao;
use claviger_tests::{CI, GATEWAY, Origin, PATIENCE, Proxy, World};
use http::{Request, Response};
use hyper::body::Incoming;
use serde_json::{Value, json};

/// What Claviger may do at the server.
pub(crate) const POLICY: &str = r#"
path "kv/*" { capabilities = ["read"] }
path "old/*" { capabilities = ["read"] }
path "database/creds/*" { capabilities = ["read"] }
path "pki/issue/*" { capabilities = ["update"] }
path "clients/issue/*" { capabilities = ["update"] }
path "sys/leases/revoke" { capabilities = ["update"] }
"#;

pub(crate) struct Scene {
    pub(crate) world: World,
    pub(crate) bao: OpenBao,
    pub(crate) origin: Origin,
}

impl Scene {
    /// An OpenBao with KV engines of both versions and the policy; an origin that answers everybody.
    pub(crate) async fn new() -> Self {
        let world = World::new();
        let bao = OpenBao::start(&world.ca).await;
        bao.write("sys/mounts/kv", &json!({ "type": "kv", "options": { "version": "2" } })).await;
        bao.write("sys/mounts/old", &json!({ "type": "kv", "options": { "version": "1" } })).await;
        bao.write("sys/policies/acl/claviger", &json!({ "policy": POLICY })).await;
        let answer =
            handler(|_: Request<Incoming>| async { Response::new(full(Bytes::from_static(b"ok")) as OriginBody) });
        let origin = Origin::start(&world.ca, &["api.test"], &["h2", "http/1.1"], answer).await;
        Self { world, bao, origin }
    }

    /// An AppRole of this name with the policy; its secret id is sealed as `secret-id`. The configuration's `auth`.
    pub(crate) async fn approle(&self, token_ttl: &str) -> String {
        self.bao.write("sys/auth/approle", &json!({ "type": "approle" })).await;
        let role = json!({ "token_policies": "claviger", "token_ttl": token_ttl });
        self.bao.write("auth/approle/role/claviger", &role).await;
        let id = self.bao.read("auth/approle/role/claviger/role-id").await;
        let secret = self.bao.write("auth/approle/role/claviger/secret-id", &json!({})).await;
        self.seal("secret-id", text(&secret["data"]["secret_id"]));
        format!(
            "{{ approle = {{ role_id = \"{}\", secret_id = \"secret://sealed/secret-id\" }} }}",
            text(&id["data"]["role_id"])
        )
    }

    /// An AppRole as [`approle`](Self::approle) makes it, in a namespace that is there; its secret id is sealed under a name
    /// of its own.
    pub(crate) async fn approle_in(&self, namespace: &str, token_ttl: &str) -> String {
        let bao = &self.bao;
        bao.write_in(namespace, "sys/policies/acl/claviger", &json!({ "policy": POLICY })).await;
        bao.write_in(namespace, "sys/auth/approle", &json!({ "type": "approle" })).await;
        let role = json!({ "token_policies": "claviger", "token_ttl": token_ttl });
        bao.write_in(namespace, "auth/approle/role/claviger", &role).await;
        let id = bao.read_in(namespace, "auth/approle/role/claviger/role-id").await;
        let secret = bao.write_in(namespace, "auth/approle/role/claviger/secret-id", &json!({})).await;
        self.seal("namespaced-id", text(&secret["data"]["secret_id"]));
        let id = text(&id["data"]["role_id"]);
        format!("{{ approle = {{ role_id = \"{id}\", secret_id = \"secret://sealed/namespaced-id\" }} }}")
    }

    /// Seals a secret of a login for the server alone.
    pub(crate) fn seal(&self, name: &str, value: &str) {
        self.world.seal(name, value, &[&format!("127.0.0.1:{}", self.bao.port())]);
    }

    /// The store's table.
    pub(crate) fn store(&self, auth: &str, more: &str) -> String {
        format!(
            "[store.vault]\nkind = \"openbao\"\naddress = \"{}\"\nauth = {auth}\nca = \"ca.pem\"\n\
             allow_addresses = [\"127.0.0.1\"]\n{more}\n",
            self.bao.address()
        )
    }

    /// A gateway with the service `api`, whose credential is `app`; `more` has that and its store.
    pub(crate) fn configure(&self, inject: &str, more: &str) {
        self.world.configure(&self.text(self.origin.port(), inject, more));
    }

    /// As [`configure`](Self::configure) writes it, for an upstream at this port.
    pub(crate) fn text(&self, port: u16, inject: &str, more: &str) -> String {
        format!(
            r#"{GATEWAY}
{CI}
[workload.app]
spiffe = ["spiffe://acme.test/ci/app", "spiffe://acme.test/ci/other"]

[service.api]
hosts = ["api.test"]
connect = "127.0.0.1:{port}"
ca = "ca.pem"
allow_addresses = ["127.0.0.1"]
inject = {inject}

[allow.app-api]
who = "app"
to = "api"
ops = ["* /**"]
use = "app"

{more}"#
        )
    }

    /// A static credential, and where it is read.
    pub(crate) fn stored(&self, auth: &str, more: &str, value: &str) {
        let store = self.store(auth, more);
        let credential = format!("[credential.app]\nkind = \"static\"\nvalue = {value}\nhosts = [\"api.test\"]\n");
        self.configure("[\"bearer\"]", &format!("{store}\n{credential}"));
    }

    /// The bearer token that the origin was sent last.
    pub(crate) fn last_token(&self) -> String {
        let seen = self.origin.seen();
        let header = seen.last().and_then(|seen| seen.header("authorization")).unwrap_or_default().to_owned();
        header.strip_prefix("Bearer ").unwrap_or(&header).to_owned()
    }
}

/// A text in an answer.
pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}"))
}

/// The status, and the code of a refusal.
pub(crate) async fn get(world: &World, proxy: &Proxy, who: &str) -> (u16, String) {
    let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().unwrap();
    let answer = client.get(proxy.gateway("/api/v1/x")).bearer_auth(world.token(who)).send().await.unwrap();
    let status = answer.status().as_u16();
    let code = serde_json::from_str::<Value>(&answer.text().await.unwrap()).ok();
    (status, code.and_then(|code| Some(code["error"]["code"].as_str()?.to_owned())).unwrap_or_default())
}
