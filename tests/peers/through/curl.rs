//! curl over HTTP/1.1 and h2 against llama.cpp's server.

use claviger_tests::{
    World,
    peers::{Client, Llama, Sees},
};

use crate::stage::{MODES, Mode, Stage, answer, at, code, curl};

const CHAT: &str = r#"{"messages":[{"role":"user","content":"hello"}],"max_tokens":20}"#;

async fn llama() -> (Llama, Stage) {
    let world = World::new();
    let llama = Llama::start(&world.ca, "llm.test", &world.canary).await;
    world.seal("llm", &world.canary, &["llm.test"]);
    let services = format!(
        "[service.llm]\n{}\ninject = [\"bearer\"]\nsecret = \"secret://sealed/llm\"\n\
         [allow.chat]\nwho = [\"app\", \"me\"]\nto = \"llm\"\nops = [\"POST /v1/chat/completions\"]\n",
        at(llama.endpoint())
    );
    let stage = Stage::start(world, &services);
    (llama, stage)
}

/// The requests were the chats, each with the server's key and nothing of the client's.
async fn check_seen(llama: &Llama, stage: &Stage, count: usize, tokens: &[&str]) {
    let seen = llama.seen_in_all(&stage.world.ca, count).await;
    assert_eq!(seen.len(), count, "the allowed ones and no others: {seen:#?}");
    for request in seen {
        assert_eq!((&*request.method, &*request.uri, request.status), ("POST", "/v1/chat/completions", 200));
        assert_eq!(request.authorization, format!("Bearer {}", stage.world.canary));
        assert_eq!(
            (&*request.protocol, &*request.host),
            ("HTTP/2.0", "llm.test"),
            "h2 upstream, whatever the client speaks"
        );
        assert_eq!((&*request.x_api_key, &*request.proxy_authorization, &*request.cookie), ("", "", ""));
        assert!(tokens.iter().all(|token| !format!("{request:?}").contains(token)), "{request:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn over_h1_and_h2_in_every_mode() {
    let (llama, stage) = llama().await;
    let (app, other) = (stage.token("app"), stage.token("other"));
    let mut allowed = 0;
    for mode in MODES {
        for (flag, version) in [("--http1.1", "1.1"), ("--http2", "2")] {
            // Without TLS there is no ALPN, and curl's offer to upgrade is not taken up.
            let version = if mode == Mode::Gateway { "1.1" } else { version };
            for (what, path, token, status, refusal) in [
                ("allowed", "/v1/chat/completions", Some(&app), 200, None),
                ("another workload", "/v1/chat/completions", Some(&other), 403, Some("denied")),
                ("another path", "/v1/completions", Some(&app), 403, Some("denied")),
                ("no proof", "/v1/chat/completions", None, 401, Some("no_identity")),
            ] {
                let what = format!("{mode:?} {flag} {what}");
                let (client, key) = stage.reach(mode, curl(), token.map(String::as_str));
                let client = client.args([flag, "-H", &format!("authorization: Bearer {key}"), "-d", CHAT]);
                let client = client.args(["-H", "content-type: application/json"]);
                let ran = stage.run(client.arg(stage.base(mode, "llm", "llm.test") + path)).await;
                if mode == Mode::Forward && token.is_none() {
                    assert_eq!(ran.status.code(), Some(56), "{what}: {}", ran.stderr);
                    assert!(ran.stderr.contains("407"), "{what}: {}", ran.stderr);
                    continue;
                }
                let ran = ran.ok();
                let (body, shown) = answer(&ran);
                assert_eq!(shown, format!("{status} {version}"), "{what}: {body}");
                match refusal {
                    Some(refusal) => assert_eq!(code(body), refusal, "{what}"),
                    None => assert!(body.contains("\"choices\""), "{what}: {body}"),
                }
                allowed += usize::from(refusal.is_none());
            }
        }
    }
    check_seen(&llama, &stage, allowed, &[&app, &other]).await;
    stage.end(&[]);
}

/// A client that is still sending when it is refused reads the refusal, not a broken connection.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_body_that_is_refused() {
    let (llama, stage) = llama().await;
    let other = stage.token("other");
    stage.world.write("large", vec![b' '; 4 << 20]);
    let large = format!("@{}", stage.world.path().join("large").display());
    for mode in MODES {
        // curl asks before it sends a large body over HTTP/1.1, unless it is told not to.
        for (flag, expect) in [("--http1.1", "expect: 100-continue"), ("--http1.1", "expect:"), ("--http2", "expect:")]
        {
            for token in [Some(&*other), None].into_iter().filter(|token| token.is_some() || mode != Mode::Forward) {
                let (client, key) = stage.reach(mode, curl(), token);
                let client = client.args([flag, "-H", expect, "-H", &format!("authorization: Bearer {key}")]);
                let client = client.args(["--data-binary", &large, "-H", "content-type: application/json"]);
                let url = stage.base(mode, "llm", "llm.test") + "/v1/chat/completions";
                let ran = stage.run(client.arg(url)).await.ok();
                let (body, status) = answer(&ran);
                let (expected, refusal) = if token.is_some() { ("403", "denied") } else { ("401", "no_identity") };
                assert_eq!((&status[..3], &*code(body)), (expected, refusal), "{mode:?} {flag} {expect}");
            }
        }
    }
    check_seen(&llama, &stage, 0, &[&other]).await;
    stage.end(&[]);
}

/// The kernel says who calls: the client holds nothing at all.
#[tokio::test(flavor = "multi_thread")]
async fn over_a_unix_socket_with_nothing_in_hand() {
    let (llama, stage) = llama().await;
    let get = async |path: &str| {
        let client = curl().arg("--unix-socket").arg(stage.world.path().join("claviger.sock"));
        let client = client.args(["-H", "content-type: application/json", "-d", CHAT]);
        stage.run(client.arg(format!("http://claviger/llm{path}"))).await.ok()
    };
    let ran = get("/v1/chat/completions").await;
    assert_eq!(answer(&ran).1, "200 1.1", "{}", ran.stdout);
    let ran = get("/v1/completions").await;
    assert_eq!((answer(&ran).1, &*code(answer(&ran).0)), ("403 1.1", "denied"));
    check_seen(&llama, &stage, 1, &[]).await;
    stage.end(&[]);
}

/// Interception works only for clients that were told to trust it.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_trust_the_interception_root_refuses() {
    let (llama, stage) = llama().await;
    let proxy = format!("http://jwt:{}@{}", stage.token("app"), stage.proxy.address("forward"));
    let client = Client::new("curl").args(["-sS", "-d", CHAT, "https://llm.test/v1/chat/completions"]);
    let ran = stage.run(client.trust(&stage.world.ca.path()).proxy(&proxy)).await;
    assert_eq!(ran.status.code(), Some(60), "curl's exit code for a certificate it cannot verify: {}", ran.stderr);
    check_seen(&llama, &stage, 0, &[]).await;
    stage.end(&[]);
}
