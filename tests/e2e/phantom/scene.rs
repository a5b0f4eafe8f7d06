//! A Claviger that answers logins, in front of an API that wants the canary.

use claviger_tests::origin::Origin;
use claviger_tests::{CI, GATEWAY, Proxy, World};
use reqwest::Response;
use serde_json::Value;

/// The service `crm`: its clients log in by OAuth 2.0. `app` may do everything, `reader` may read but not log in.
pub(crate) const CRM: &str = r#"
[service.crm]
hosts = ["api.test"]
connect = "127.0.0.1:@PORT@"
ca = "ca.pem"
allow_addresses = ["127.0.0.1"]
inject = ["bearer"]
login = { oauth2 = { path = "/oauth/token", revoke = "/oauth/revoke", introspect = "/oauth/introspect" }@MORE@ }
secret = "secret://sealed/api"

[allow.app-crm]
who = "app"
to = "crm"
ops = ["POST /oauth/**", "GET /v1/**"]

[allow.reader-crm]
who = "reader"
to = "crm"
ops = ["GET /v1/**"]
"#;

pub(crate) struct Scene {
    pub(crate) world: World,
    pub(crate) origin: Origin,
}

impl Scene {
    /// The origin that wants the canary as its bearer key. `more`: further keys of `login`.
    pub(crate) async fn oauth2(more: &str) -> Self {
        let world = World::new();
        let origin = Origin::keyed(&world.ca, &world.canary).await;
        world.seal("api", &world.canary, &["api.test"]);
        let scene = Self { world, origin };
        scene.configure(&scene.crm(more));
        scene
    }

    /// The tables of the service `crm`.
    pub(crate) fn crm(&self, more: &str) -> String {
        CRM.replace("@PORT@", &self.origin.port().to_string()).replace("@MORE@", more)
    }

    /// A gateway and a forward listener, tokens of the issuer, and these services.
    pub(crate) fn configure(&self, services: &str) {
        configure(&self.world, services);
    }

    pub(crate) fn start(&self) -> Proxy {
        self.world.start()
    }
}

pub(crate) fn configure(world: &World, services: &str) {
    world.configure(&format!(
        r#"{GATEWAY}
[listener.other]
mode = "gateway"
bind = "127.0.0.1:0"
authenticate = ["ci"]

[listener.forward]
mode = "forward"
bind = "127.0.0.1:0"
authenticate = ["ci"]

{CI}
[workload.app]
spiffe = "spiffe://acme.test/ci/app"

[workload.reader]
spiffe = "spiffe://acme.test/ci/reader"
{services}"#
    ));
}

/// Requests of one workload through the gateway, with its proof where a proxy's goes.
pub(crate) struct Caller<'a> {
    proxy: &'a Proxy,
    proof: String,
    listener: &'static str,
}

impl<'a> Caller<'a> {
    pub(crate) fn new(world: &World, proxy: &'a Proxy, workload: &str) -> Self {
        Self { proxy, proof: format!("Bearer {}", world.token(workload)), listener: "gateway" }
    }

    pub(crate) fn at(self, listener: &'static str) -> Self {
        Self { listener, ..self }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.proxy.address(self.listener))
    }

    fn http() -> reqwest::Client {
        reqwest::Client::builder().no_proxy().build().unwrap()
    }

    pub(crate) async fn post(&self, path: &str, form: &[(&str, &str)]) -> Response {
        let request = Self::http().post(self.url(path)).header("proxy-authorization", &self.proof);
        request.form(form).send().await.unwrap()
    }

    /// A call of Vault's API with this token and body.
    pub(crate) async fn send_json(&self, path: &str, token: &str, body: &Value) -> Response {
        let request = Self::http().post(self.url(path)).header("proxy-authorization", &self.proof);
        request.header("x-vault-token", token).body(body.to_string()).send().await.unwrap()
    }

    pub(crate) async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Response {
        let mut request = Self::http().get(self.url(path)).header("proxy-authorization", &self.proof);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.send().await.unwrap()
    }

    /// A handle, by client credentials, and for how long.
    pub(crate) async fn log_in(&self) -> (String, u64) {
        let answer = self.post("/crm/oauth/token", &[("grant_type", "client_credentials")]).await;
        assert_eq!(answer.status(), 200);
        let answer: Value = answer.json().await.unwrap();
        let handle = answer["access_token"].as_str().unwrap().to_owned();
        assert!(handle.starts_with("clvh_"), "{handle}");
        (handle, answer["expires_in"].as_u64().unwrap())
    }

    /// The status of a call with a handle, and the code of its refusal.
    pub(crate) async fn call(&self, handle: &str) -> (u16, Option<String>) {
        let bearer = format!("Bearer {handle}");
        let answer = self.get("/crm/v1/contacts", &[("authorization", &bearer)]).await;
        told(&answer)
    }
}

/// The status, and the code of a refusal.
pub(crate) fn told(answer: &Response) -> (u16, Option<String>) {
    let code = answer.headers().get("claviger-refused").map(|code| code.to_str().unwrap().to_owned());
    (answer.status().as_u16(), code)
}

pub(crate) fn refused(status: u16, code: &str) -> (u16, Option<String>) {
    (status, Some(code.to_owned()))
}
