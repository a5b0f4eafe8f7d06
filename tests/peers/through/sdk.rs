//! The official OpenAI and Anthropic SDKs against llama.cpp's server, which wants its API key.

use claviger_tests::{
    World,
    peers::{Client, Llama, Seen, Sees},
};
use serde_json::Value;

use crate::stage::{MODES, Mode, NO_KEY, Stage, at, code};

/// An SDK as its users set it up.
struct Sdk {
    preset: &'static str,
    script: &'static str,
    base: &'static str,
    path: &'static str,
    key: &'static str,
    calls: [&'static str; 2],
}

const OPENAI: Sdk = Sdk {
    preset: "openai",
    script: "openai_chat.py",
    base: "OPENAI_BASE_URL",
    path: "/v1",
    key: "OPENAI_API_KEY",
    calls: ["chat", "stream"],
};

const ANTHROPIC: Sdk = Sdk {
    preset: "anthropic",
    script: "anthropic_messages.py",
    base: "ANTHROPIC_BASE_URL",
    path: "",
    key: "ANTHROPIC_API_KEY",
    calls: ["message", "stream"],
};

impl Sdk {
    /// The service `llm` at this server by the SDK's preset; `app` may chat.
    fn stage(&self, world: World, llama: &Llama, more: &str) -> Stage {
        world.seal("llm", &world.canary, &["llm.test"]);
        let services = format!(
            "[service.llm]\npreset = \"{}\"\n{}\nsecret = \"secret://sealed/llm\"\n\
             [allow.chat]\nwho = \"app\"\nto = \"llm\"\nops = [\"@chat\"]\n{more}\n",
            self.preset,
            at(llama.endpoint())
        );
        Stage::start(world, &services)
    }

    async fn run(&self, stage: &Stage, mode: Mode, token: Option<&str>, more: &[(&str, &str)]) -> Value {
        let (client, key) = stage.reach(mode, Client::python(self.script), token);
        let base = stage.base(mode, "llm", "llm.test") + self.path;
        let client = client.env(self.base, base).env(self.key, key);
        let client = more.iter().fold(client, |client, (key, value)| client.env(key, value));
        stage.run(client).await.ok().json()
    }

    /// Both calls got text, and the stream came in several events.
    #[track_caller]
    fn works(&self, what: &str, result: &Value) {
        for call in self.calls {
            assert_eq!(result[call]["status"], 200, "{what}, {call}: {result}");
            assert!(result[call]["text"].as_str().unwrap().len() >= 4, "{what}, {call}: {result}");
        }
        assert!(result["stream"]["events"].as_u64().unwrap() >= 4, "{what}: {result}");
    }

    /// Both calls show the refusal to their user.
    #[track_caller]
    fn is_refused(&self, what: &str, result: &Value, status: u16, expected: &str) {
        for call in self.calls {
            assert_eq!(result[call]["status"], status, "{what}, {call}: {result}");
            assert_eq!(code(result[call]["body"].as_str().unwrap()), expected, "{what}, {call}: {result}");
        }
    }

    /// In each mode: who may, gets answers; who may not, and who shows no proof, is told so.
    async fn through(&self, right: impl Fn(&Seen, &str) -> bool) {
        let world = World::new();
        let llama = Llama::start(&world.ca, "llm.test", &world.canary).await;
        let stage = self.stage(world, &llama, "");
        let (app, other) = (stage.token("app"), stage.token("other"));
        for mode in MODES {
            let result = self.run(&stage, mode, Some(&app), &[]).await;
            self.works(&format!("{mode:?}"), &result);
            let result = self.run(&stage, mode, Some(&other), &[]).await;
            self.is_refused(&format!("{mode:?}"), &result, 403, "denied");
            let result = self.run(&stage, mode, None, &[]).await;
            match mode {
                Mode::Gateway | Mode::SecureGateway => {
                    self.is_refused(&format!("{mode:?}"), &result, 401, "no_identity");
                }
                Mode::Forward => {
                    for call in self.calls {
                        assert_eq!(result[call]["error"], "APIConnectionError", "{call}: {result}");
                        assert!(result[call]["message"].as_str().unwrap().contains("407"), "{call}: {result}");
                    }
                }
            }
        }
        let seen = llama.seen_in_all(&stage.world.ca, MODES.len() * 2).await;
        assert_eq!(seen.len(), MODES.len() * 2, "those of `app` and no others: {seen:#?}");
        for request in &seen {
            assert!(right(request, &stage.world.canary), "{request:#?}");
            assert_eq!((request.status, &*request.host, &*request.proxy_authorization), (200, "llm.test", ""));
            assert!(!format!("{request:?}").contains(&app), "the client's own token went upstream: {request:#?}");
            assert!(!format!("{request:?}").contains(NO_KEY), "the client's own key went upstream: {request:#?}");
        }
        stage.end(&[]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn openai_sdk() {
    OPENAI.through(|seen, key| seen.authorization == format!("Bearer {key}") && seen.x_api_key.is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn anthropic_sdk() {
    ANTHROPIC.through(|seen, key| seen.x_api_key == key && seen.authorization.is_empty()).await;
}

/// Its other variable makes it show a token instead of a key.
#[tokio::test(flavor = "multi_thread")]
async fn anthropic_sdk_with_an_auth_token() {
    let world = World::new();
    let llama = Llama::start(&world.ca, "llm.test", &world.canary).await;
    let sdk = Sdk { key: "ANTHROPIC_AUTH_TOKEN", ..ANTHROPIC };
    let stage = sdk.stage(world, &llama, "");
    for mode in [Mode::Gateway, Mode::Forward] {
        let result = sdk.run(&stage, mode, Some(&stage.token("app")), &[]).await;
        sdk.works(&format!("{mode:?}"), &result);
    }
    for request in llama.seen_in_all(&stage.world.ca, 4).await {
        assert_eq!((&request.x_api_key, &*request.authorization), (&stage.world.canary, ""));
    }
    stage.end(&[]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_may_ask_for_the_model_in_the_body() {
    let world = World::new();
    let llama = Llama::start(&world.ca, "llm.test", &world.canary).await;
    let stage = OPENAI.stage(world, &llama, "when = [\"body.model in [\\\"tiny*\\\"]\"]");
    let app = stage.token("app");
    for mode in [Mode::Gateway, Mode::Forward] {
        for model in ["tiny", "tiny-2026-01-01"] {
            let result = OPENAI.run(&stage, mode, Some(&app), &[("MODEL", model)]).await;
            OPENAI.works(&format!("{mode:?} {model}"), &result);
        }
        for model in ["huge", "not-tiny", "Tiny"] {
            let result = OPENAI.run(&stage, mode, Some(&app), &[("MODEL", model)]).await;
            OPENAI.is_refused(&format!("{mode:?} {model}"), &result, 403, "denied");
        }
    }
    let seen = llama.seen_in_all(&stage.world.ca, 8).await;
    assert_eq!(seen.len(), 8, "{seen:#?}");
    assert!(seen.iter().all(|request| request.authorization == format!("Bearer {}", stage.world.canary)));
    stage.end(&[]);
}

/// A server of clear text, which its service must be declared as.
#[tokio::test(flavor = "multi_thread")]
async fn openai_sdk_to_a_cleartext_server() {
    let world = World::new();
    let llama = Llama::start(&world.ca, "llm.test", &world.canary).await;
    world.seal("llm", &world.canary, &["http://llm.test"]);
    let services = format!(
        "[service.llm]\npreset = \"openai\"\nhosts = [\"llm.test\"]\ncleartext = true\nconnect = \"{}\"\n\
         allow_addresses = [\"127.0.0.1\"]\nsecret = \"secret://sealed/llm\"\n\
         [allow.chat]\nwho = \"app\"\nto = \"llm\"\nops = [\"@chat\"]\n",
        llama.cleartext()
    );
    let stage = Stage::start(world, &services);
    for (workload, works) in [("app", true), ("other", false)] {
        let token = stage.token(workload);
        let proxy = format!("http://jwt:{token}@{}", stage.proxy.address("forward"));
        let gateway = Client::python(OPENAI.script)
            .env(OPENAI.base, stage.base(Mode::Gateway, "llm", "") + "/v1")
            .env(OPENAI.key, &token);
        let forward = Client::python(OPENAI.script)
            .env(OPENAI.base, "http://llm.test/v1")
            .env(OPENAI.key, NO_KEY)
            .env("HTTP_PROXY", proxy);
        for (mode, client) in [(Mode::Gateway, gateway), (Mode::Forward, forward)] {
            let result = stage.run(client).await.ok().json();
            if works {
                OPENAI.works(&format!("{mode:?}"), &result);
            } else {
                OPENAI.is_refused(&format!("{mode:?}"), &result, 403, "denied");
            }
        }
    }
    assert_eq!(stage.refusals(4), ["no_rule"; 4]);
    stage.end(&[]);
}

/// What Claviger adds until the first event of a stream is there: milliseconds. A busy machine only adds, so the
/// quickest of several tells.
#[tokio::test(flavor = "multi_thread")]
async fn the_first_event_of_a_stream_comes_soon() {
    let world = World::new();
    let llama = Llama::start(&world.ca, "llm.test", &world.canary).await;
    let stage = OPENAI.stage(world, &llama, "");
    let app = stage.token("app");
    let quickest = |result: &Value| {
        let all = result["first_ms"].as_array().unwrap().iter().map(|ms| ms.as_f64().unwrap());
        all.min_by(f64::total_cmp).unwrap()
    };
    let direct = Client::python(OPENAI.script).trust(&stage.world.ca.path()).env("STREAMS", "15");
    let direct = direct.env(OPENAI.base, llama.endpoint().url_by_address("/v1")).env(OPENAI.key, &stage.world.canary);
    let direct = quickest(&direct.run().await.ok().json());
    println!("first event, quickest of 15: direct {direct} ms");
    for mode in MODES {
        let result = OPENAI.run(&stage, mode, Some(&app), &[("STREAMS", "15")]).await;
        let through = quickest(&result);
        println!("first event, quickest of 15: {mode:?} {through} ms");
        assert!(through < direct + 100.0, "{mode:?}: {through} ms, direct {direct} ms");
    }
    stage.end(&[]);
}
