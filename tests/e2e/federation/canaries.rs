//! Placeholders of a workload's own: unique, unnoticed where they belong, and told of where they do not.

use base64::Engine as _;
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
        let text = world.usual(origin.port(), &format!("{MORE}{notes_service}"));
        // Hosts that nobody names pass untouched: what is in their names is looked at all the same.
        world.configure(&text.replace("mode = \"forward\"", "mode = \"forward\"\nunmatched = \"tunnel\""));
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

/// Wherever clients put a key: the owner's passes there, another's does not.
#[tokio::test(flavor = "multi_thread")]
async fn it_is_known_in_every_form_that_clients_give_it() {
    let stage = Stage::start().await;
    let own = stage.placeholder("app", "api");
    let basic = |text: String| format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(text));
    let headers = [
        ("authorization", format!("Bearer {own}")),
        ("authorization", format!("Token token={own}")),
        ("authorization", basic(format!("user:{own}"))),
        ("authorization", basic(format!("{own}:"))),
        ("authorization", basic(format!("{own}:x-oauth-basic"))),
        ("cookie", format!("a=b; session={own}; c=d")),
        ("x-api-key", own.clone()),
        ("x-own-header", format!("{{\"key\":\"{own}\"}}")),
    ];
    let paths = [
        format!("/v1/x?key={own}"),
        format!("/v1/x?a=b&key={own}&c=d"),
        format!("/v1/bot{own}/x"),
        format!("/v1/{own}"),
    ];
    let stolen = (403, "placeholder_stolen".to_owned());
    for (name, value) in &headers {
        assert_eq!(
            stage.ask("app", "api.test", "/v1/x", &[(name, value)], None).await.1,
            "",
            "its owner: {name}: {value}"
        );
        assert_eq!(stage.ask("job", "api.test", "/v1/x", &[(name, value)], None).await, stolen, "{name}: {value}");
        assert_eq!(
            stage.ask("app", "notes.test", "/", &[(name, value)], None).await,
            stolen,
            "elsewhere: {name}: {value}"
        );
    }
    for path in &paths {
        assert_eq!(stage.ask("app", "api.test", path, &[], None).await.1, "", "its owner: {path}");
        assert_eq!(stage.ask("job", "api.test", path, &[], None).await, stolen, "{path}");
        assert_eq!(stage.ask("app", "notes.test", path, &[], None).await, stolen, "elsewhere: {path}");
    }
    let asked = headers.len() + paths.len();
    assert_eq!((stage.origin.seen().len(), stage.notes.seen().len()), (asked, 0));
    stage.proxy.records("finished", 3 * asked);
    let alerts = stage.alerts();
    assert_eq!(alerts.len(), 2 * asked);
    assert!(alerts.iter().all(|one| one["alert"]["workload"] == "app"), "{alerts:#?}");
    assert!(stage.proxy.stop().success());
}

/// A name is told to whoever serves it, also where nothing is sent there.
#[tokio::test(flavor = "multi_thread")]
async fn it_does_not_leave_in_the_name_of_a_host() {
    let stage = Stage::start().await;
    let own = stage.placeholder("app", "api");
    let tag = &own[own.len() - 25..];
    let ask = async |who: &str, url: &str| {
        let through = format!("http://jwt:{}@{}", stage.world.token(who), stage.proxy.address("forward"));
        let client = reqwest::Client::builder().proxy(reqwest::Proxy::all(through).unwrap()).build().unwrap();
        client.get(url).send().await.map(|answer| answer.headers().get("claviger-refused").cloned())
    };
    // Its own, and another's; in a CONNECT, which could not be looked into, and without.
    for (who, url) in [
        ("app", format!("https://{tag}.evil.test/")),
        ("job", format!("https://x.{tag}.evil.test:8443/")),
        ("job", format!("http://{}.evil.test/", tag.to_ascii_uppercase())),
    ] {
        let answer = ask(who, &url).await;
        // A client is not told why a CONNECT was refused.
        assert!(
            answer.as_ref().is_err() || answer.as_ref().unwrap().as_ref().unwrap() == "placeholder_stolen",
            "{url}: {answer:?}"
        );
    }
    stage.proxy.records("finished", 3);
    let alerts = stage.alerts();
    assert_eq!(alerts.len(), 3, "{:#?}", stage.proxy.records("decided", 3));
    for (alert, who) in alerts.iter().zip(["app", "job", "job"]) {
        assert_eq!(alert["principal"], format!("spiffe://acme.test/ci/{who}"));
        let told = (&alert["alert"]["workload"], &alert["alert"]["service"], &alert["alert"]["place"]);
        assert_eq!(told, (&json!("app"), &json!("api"), &json!("the name of the host")));
        assert_eq!(alert["code"], "placeholder_stolen");
    }
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
