//! Placeholders of a workload's own: unique, unnoticed where they belong, and told of where they do not.

use claviger_tests::origin::{echo, full, handler};
use claviger_tests::{Origin, Proxy, World};
use http_body_util::BodyExt;
use serde_json::{Value, json};

const MORE: &str = r#"
[workload.job]
spiffe = "spiffe://acme.test/ci/job"

[workload.dev]
spiffe = "spiffe://acme.test/dev/ada"
exec = true

[allow.more]
who = ["job", "dev"]
to = "api"
ops = ["GET /v1/**"]

[allow.notes]
who = ["app", "job"]
to = "notes"
ops = ["*"]
use = "none"
"#;

struct Stage {
    world: World,
    origin: Origin,
    notes: Origin,
    proxy: Proxy,
}

impl Stage {
    async fn start() -> Self {
        let world = World::new();
        let origin = Origin::start(&world.ca, &["api.test"], &["http/1.1"], echo(&world.canary)).await;
        let notes = Origin::start(
            &world.ca,
            &["notes.test", "pager.test"],
            &["http/1.1"],
            handler(|request| async move {
                let body = request.into_body().collect().await.unwrap().to_bytes();
                http::Response::new(full(body))
            }),
        )
        .await;
        world.seal("api", &world.canary, &["api.test"]);
        world.seal("pager", &world.canary, &["pager.test"]);
        let notes_service = format!(
            "[service.notes]\nhosts = [\"notes.test\"]\nconnect = \"127.0.0.1:{0}\"\nca = \"ca.pem\"\nallow_addresses = \
             [\"127.0.0.1\"]\n[service.pager]\nhosts = [\"pager.test\"]\nconnect = \"127.0.0.1:{0}\"\nca = \"ca.pem\"\n\
             allow_addresses = [\"127.0.0.1\"]\ninject = {{ placeholder = \"PAGER_KEY\", in = [\"body\"] }}\nsecret = \
             \"secret://sealed/pager\"\n[allow.pager]\nwho = \"app\"\nto = \"pager\"\nops = [\"*\"]\n",
            notes.port()
        );
        world.configure(&world.usual(origin.port(), &format!("{MORE}{notes_service}")));
        let proxy = world.start();
        Self { world, origin, notes, proxy }
    }

    /// `claviger canary`, for one service.
    fn placeholder(&self, workload: &str, service: &str) -> String {
        let args = ["canary", workload, "--service", service, "-o", "json", "--config", "claviger.toml"];
        let output = self.world.run(&args);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let printed: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(printed["workload"], workload);
        printed["placeholders"][0]["placeholder"].as_str().unwrap().to_owned()
    }

    /// A request through the gateway listener, with these headers beside the proof: status, code.
    async fn ask(
        &self,
        who: &str,
        host: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<String>,
    ) -> (u16, String) {
        let url = format!("http://{}{path}", self.proxy.address("gateway"));
        let client = reqwest::Client::builder().build().unwrap();
        let mut request = match body {
            Some(body) => client.post(url).header("content-type", "application/json").body(body),
            None => client.get(url),
        };
        let token = match who.strip_prefix("expired ") {
            Some(who) => self.world.issuer.token_with(who, json!({ "exp": 1_700_000_000 })),
            None => self.world.token(who),
        };
        request = request.header("host", host).header("proxy-authorization", format!("Bearer {token}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = request.send().await.unwrap();
        let refused = answer.headers().get("claviger-refused").map(|code| code.to_str().unwrap().to_owned());
        (answer.status().as_u16(), refused.unwrap_or_default())
    }

    fn alerts(&self) -> Vec<Value> {
        let output = self.world.run(&["ledger", "query", "--alerts", "-o", "json", "--config", "claviger.toml"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let lines = String::from_utf8(output.stdout).unwrap();
        lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["decided"].clone()).collect()
    }
}

/// One in another's hands, or on the way elsewhere, is refused and recorded with whose it was.
#[tokio::test(flavor = "multi_thread")]
async fn a_stolen_placeholder_tells_on_the_thief() {
    let stage = Stage::start().await;
    let own = stage.placeholder("app", "api");
    assert_ne!(own, stage.placeholder("job", "api"));
    assert_ne!(own, stage.placeholder("app", "notes"));
    assert_eq!(own, stage.placeholder("app", "api"));
    let bearer = format!("Bearer {own}");
    // Where it belongs it is a placeholder as any other.
    assert_eq!(stage.ask("app", "api.test", "/v1/x", &[("authorization", &bearer)], None).await, (200, String::new()));
    // A proof that has ended is no theft: its owner is told to show another.
    let late = stage.ask("expired app", "api.test", "/v1/x", &[("authorization", &bearer)], None).await;
    assert_eq!(late, (401, "invalid_identity".to_owned()));
    assert_eq!(stage.alerts(), [Value::Null; 0]);
    let stolen = (403, "placeholder_stolen".to_owned());
    // From another identity; on the way to another service, in a header, in the URL, in a body that is at hand.
    assert_eq!(stage.ask("job", "api.test", "/v1/x", &[("authorization", &bearer)], None).await, stolen);
    assert_eq!(stage.ask("app", "notes.test", "/", &[("x-note", &own)], None).await, stolen);
    assert_eq!(stage.ask("app", "notes.test", &format!("/x?note={own}"), &[], None).await, stolen);
    let pager =
        stage.ask("app", "pager.test", "/", &[], Some(json!({"key": "PAGER_KEY", "text": own}).to_string())).await;
    assert_eq!(pager, stolen);
    // From a caller of no workload, and from one without any proof.
    for who in ["nobody", ""] {
        assert_eq!(stage.ask(who, "api.test", "/v1/x", &[("authorization", &bearer)], None).await, stolen);
    }
    assert_eq!((stage.origin.seen().len(), stage.notes.seen().len()), (1, 0), "nothing of it went out");
    stage.proxy.records("finished", 8);
    let alerts = stage.alerts();
    let text = |one: &Value| one.as_str().unwrap_or("-").to_owned();
    let told: Vec<_> = alerts
        .iter()
        .map(|one| [text(&one["principal"]), text(&one["service"]), text(&one["alert"]["place"])])
        .collect();
    let id = |name: &str| format!("spiffe://acme.test/ci/{name}");
    let expected = [
        [&*id("job"), "api", "the header `authorization`"],
        [&*id("app"), "notes", "the header `x-note`"],
        [&*id("app"), "notes", "the URL"],
        [&*id("app"), "pager", "the body"],
        [&*id("nobody"), "api", "the header `authorization`"],
        ["-", "-", "the header `authorization`"],
    ];
    assert_eq!(told, expected);
    for one in &alerts {
        assert_eq!((&one["alert"]["kind"], &one["alert"]["workload"]), (&json!("placeholder_stolen"), &json!("app")));
        assert_eq!((&one["alert"]["service"], &one["decision"]), (&json!("api"), &json!("deny")));
    }
    let text = stage.world.run(&["ledger", "query", "--alerts", "--config", "claviger.toml"]).stdout;
    assert!(String::from_utf8(text).unwrap().contains("alert=placeholder_stolen of=app for=api"));
    assert!(stage.proxy.stop().success());
}

/// What an injection replaces, it also replaces in the shape of a workload's own.
#[tokio::test(flavor = "multi_thread")]
async fn an_injection_knows_the_workloads_own() {
    let stage = Stage::start().await;
    let own = stage.placeholder("app", "pager");
    assert!(own.starts_with("PAGER_") && own != "PAGER_KEY", "{own}");
    let (status, refused) = stage.ask("app", "pager.test", "/", &[], Some(json!({"key": own}).to_string())).await;
    assert_eq!((status, &*refused), (200, ""));
    assert_eq!(stage.notes.seen().len(), 1);
    assert!(stage.proxy.stop().success());
}

/// A session's command has its workload's, in the shape that its clients know; a session of another may not show it.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_has_the_placeholder_of_its_workload() {
    let world = World::new();
    let origin = Origin::start(&world.ca, &["api.openai.com"], &["http/1.1"], echo(&world.canary)).await;
    world.seal("openai", &world.canary, &["api.openai.com"]);
    world.configure(&format!(
        "version = 1\ntrust_domain = \"acme.test\"\nstate_dir = \"state\"\n\
         [workload.ada]\nspiffe = \"spiffe://acme.test/dev/ada\"\nexec = true\n\
         [workload.bob]\nspiffe = \"spiffe://acme.test/dev/bob\"\nexec = true\n\
         [service.openai]\npreset = \"openai\"\nsecret = \"secret://sealed/openai\"\nconnect = \"127.0.0.1:{}\"\n\
         ca = \"ca.pem\"\nallow_addresses = [\"127.0.0.1\"]\n\
         [allow.it]\nwho = [\"ada\", \"bob\"]\nto = \"openai\"\nops = [\"*\"]\n",
        origin.port()
    ));
    let exec = |who: &str, script: &str, key: &str| {
        let args = ["exec", "--config", "claviger.toml", "--sandbox", "off", "--as", who, "--", "sh", "-c", script];
        let mut command = world.command(&args);
        let output = command.env("PATH", std::env::var_os("PATH").unwrap()).env("STOLEN", key).output().unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        let out = String::from_utf8(output.stdout).unwrap();
        let (key, status) = out.trim().split_once('\n').unwrap_or_else(|| panic!("{out} {err}"));
        (key.to_owned(), status.to_owned(), err)
    };
    let call =
        "curl -s -o /dev/null -w '%{http_code}' -H \"authorization: Bearer $KEY\" https://api.openai.com/v1/models";
    let (key, status, err) = exec("ada", &format!("echo $OPENAI_API_KEY; KEY=$OPENAI_API_KEY; {call}"), "");
    assert_eq!(status, "200", "{err}");
    assert!(key.starts_with("sk-claviger-placeholder-") && key.len() == 52, "{key}");
    let (other, status, err) = exec("bob", &format!("echo $OPENAI_API_KEY; KEY=$STOLEN; {call}"), &key);
    assert_ne!(key, other);
    assert_eq!(status, "403", "{err}");
    let output = world.run(&["canary", "ada", "--config", "claviger.toml"]);
    assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("{:<24} {key}\n", "openai"));
}
