//! A proxy with one provider, and a workload with nothing but its identity.

use claviger_tests::peers::{Client, Ran};
use claviger_tests::{Proxy, World};

use crate::double::{Double, Wants};

pub(crate) const ISSUER: &str = "https://tokens.acme.test";

pub(crate) struct Stage {
    pub(crate) world: World,
    pub(crate) double: Double,
    pub(crate) proxy: Proxy,
    pub(crate) root: std::path::PathBuf,
}

impl Stage {
    /// `service` and `credential` are keys of their tables.
    pub(crate) async fn start(wants: Wants, service: &str, credential: &str) -> Self {
        let world = World::new();
        let double = Double::start(&world.ca, wants.clone()).await;
        world.configure(&configuration(&wants, double.port(), service, credential));
        let proxy = world.start();
        let root = world.run(&["ca", "--config", "claviger.toml"]);
        assert!(root.status.success(), "{root:?}");
        world.write("root.pem", root.stdout);
        let keys = world.run(&["issuer", "jwks", "--config", "claviger.toml"]);
        assert!(keys.status.success(), "{}", String::from_utf8_lossy(&keys.stderr));
        double.trust(ISSUER, &String::from_utf8(keys.stdout).unwrap());
        let root = world.path().join("root.pem");
        Self { world, double, proxy, root }
    }

    /// A script of `tests/peers/clients/federation`, as a workload that shows this token.
    pub(crate) async fn client(&self, script: &str, token: &str, variable: &str) -> Ran {
        let url = format!("http://jwt:{token}@{}", self.proxy.address("forward"));
        let client = Client::python(&format!("federation/{script}")).env(variable, "a-placeholder-and-no-key-0000");
        client.trust(&self.root).proxy(&url).run().await
    }

    /// One GET through the proxy.
    pub(crate) async fn get(&self, token: &str, url: &str, headers: &[(&str, &str)]) -> reqwest::Response {
        let root = reqwest::Certificate::from_pem(&std::fs::read(&self.root).unwrap()).unwrap();
        let proxy = reqwest::Proxy::all(format!("http://jwt:{token}@{}", self.proxy.address("forward"))).unwrap();
        let client = reqwest::Client::builder().proxy(proxy).tls_certs_only([root]).build().unwrap();
        let mut request = client.get(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.send().await.unwrap()
    }
}

fn configuration(wants: &Wants, port: u16, service: &str, credential: &str) -> String {
    let path = wants.token_path;
    format!(
        r#"version = 1
trust_domain = "acme.test"
state_dir = "state"

[issuer]
url = "{ISSUER}"

[listener.forward]
mode = "forward"
bind = "127.0.0.1:0"
authenticate = ["ci"]

[attestor.ci]
kind = "jwt"
issuer = "https://ci.test"
audience = ["claviger", "{audience}"]
jwks = "jwks.json"
identity = "spiffe://acme.test/ci/{{sub}}"

[workload.app]
spiffe = "spiffe://acme.test/ci/*"

[service.llm]
connect = "127.0.0.1:{port}"
ca = "ca.pem"
allow_addresses = ["127.0.0.1"]
{service}

[credential.llm]
kind = "federation"
token_url = "https://127.0.0.1:{port}{path}"
ca = "ca.pem"
allow_addresses = ["127.0.0.1"]
{credential}

[allow.app-llm]
who = "app"
to = "llm"
ops = ["*"]
"#,
        audience = wants.audience
    )
}
