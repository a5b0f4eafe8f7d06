//! The peers by themselves, without Claviger: the right key works, a wrong one and none are refused. What the other peer
//! tests show through Claviger means something only because of this.

use claviger_tests::peers::{Client, GitHttps, JwtApi, Llama, OidcProvider, Ran, SecretIn, Sees, TestCa};
use serde_json::Value;

const KEY: &str = "sk-right-0123456789abcdef";
const WRONG_KEY: &str = "sk-wrong-0123456789abcdef";

/// curl, silent but for errors, that trusts this root and prints the status and the HTTP version after the body.
fn curl(ca: &TestCa) -> Client {
    Client::new("curl").trust(&ca.path()).args(["-sS", "-w", "\n%{http_code} %{http_version}"])
}

/// Body, status and HTTP version of such a run.
#[track_caller]
fn answer(ran: &Ran) -> (&str, &str) {
    ran.stdout.rsplit_once('\n').unwrap_or_else(|| panic!("no status line: {} {}", ran.stdout, ran.stderr))
}

#[tokio::test]
async fn openai_sdk_against_llama() {
    let ca = TestCa::new();
    let llama = Llama::start(&ca, "llm.test", KEY).await;
    let cases = [
        ("over TLS", llama.endpoint().url_by_address("/v1"), KEY, 200),
        ("cleartext", format!("http://{}/v1", llama.cleartext()), KEY, 200),
        ("wrong key", llama.endpoint().url_by_address("/v1"), WRONG_KEY, 401),
    ];
    for (case, base, key, status) in cases {
        let client = Client::python("openai_chat.py").trust(&ca.path());
        let ran = client.env("OPENAI_BASE_URL", base).env("OPENAI_API_KEY", key).run().await.ok();
        check_sdk(case, &ran.json(), ["chat", "stream"], status);
    }
    let seen = llama.seen();
    assert!(seen.iter().any(|request| request.authorization == format!("Bearer {KEY}") && request.status == 200));
}

#[tokio::test]
async fn anthropic_sdk_against_llama() {
    let ca = TestCa::new();
    let llama = Llama::start(&ca, "llm.test", KEY).await;
    let cases = [
        ("API key", "ANTHROPIC_API_KEY", KEY, 200),
        ("token", "ANTHROPIC_AUTH_TOKEN", KEY, 200),
        ("wrong key", "ANTHROPIC_API_KEY", WRONG_KEY, 401),
    ];
    for (case, variable, key, status) in cases {
        let base = llama.endpoint().url_by_address("");
        let client = Client::python("anthropic_messages.py").trust(&ca.path());
        let ran = client.env("ANTHROPIC_BASE_URL", base).env(variable, key).run().await.ok();
        check_sdk(case, &ran.json(), ["message", "stream"], status);
    }
    let accepted = llama.seen().into_iter().filter(|request| request.status == 200);
    let shown: Vec<String> = accepted.map(|request| request.authorization).collect();
    assert_eq!(shown, vec![format!("Bearer {KEY}"); 4]);
}

/// Both calls got this status; with 200, both got text, and the stream came in several events.
fn check_sdk(case: &str, result: &Value, calls: [&str; 2], status: u16) {
    for call in calls {
        assert_eq!(result[call]["status"], status, "{case}, {call}: {result}");
        let text = result[call]["text"].as_str().unwrap_or_default();
        assert_eq!(text.len() >= 4, status == 200, "{case}, {call}: {result}");
    }
    let events = result["stream"]["events"].as_u64().unwrap_or(0);
    assert_eq!(events >= 4, status == 200, "{case}: {result}");
}

#[tokio::test]
async fn curl_over_h1_and_h2_against_llama() {
    let ca = TestCa::new();
    let llama = Llama::start(&ca, "llm.test", KEY).await;
    let cases = [
        ("--http1.1", format!("authorization: Bearer {KEY}"), "200 1.1"),
        ("--http2", format!("authorization: Bearer {KEY}"), "200 2"),
        ("--http2", format!("x-api-key: {KEY}"), "200 2"),
        ("--http2", format!("x-api-key: {WRONG_KEY}"), "401 2"),
        ("--http2", "x-unrelated: yes".to_owned(), "401 2"),
    ];
    for (version, header, expected) in cases {
        let client = curl(&ca).args([version, "-H", &header, "--resolve", &llama.endpoint().curl_resolve()]);
        let body = r#"{"messages":[{"role":"user","content":"hello"}],"max_tokens":20}"#;
        let ran = client.args(["-d", body, &llama.endpoint().url("/v1/chat/completions")]).run().await.ok();
        assert_eq!(answer(&ran).1, expected, "{version} {header}: {}", ran.stdout);
    }
}

#[tokio::test]
async fn a_client_that_does_not_know_the_root_refuses() {
    let (ca, other) = (TestCa::new(), TestCa::new());
    let llama = Llama::start(&ca, "llm.test", KEY).await;
    let url = llama.endpoint().url("/v1/models");
    let ran = curl(&other).args(["--resolve", &llama.endpoint().curl_resolve(), &url]).run().await;
    assert_eq!(ran.status.code(), Some(60), "curl's exit code for a certificate it cannot verify: {}", ran.stderr);
}

#[tokio::test]
async fn git_clone_and_push() {
    let ca = TestCa::new();
    let git = GitHttps::start(&ca, "git.test", "builder", KEY).await;
    let repository = git.repository("notes");
    let cases = [(format!("builder:{WRONG_KEY}@"), false), (String::new(), false), (format!("builder:{KEY}@"), true)];
    for (credentials, works) in cases {
        let url = format!("https://{credentials}{}/notes.git", git.endpoint().addr);
        let ran = Client::shell("git_round_trip.sh").trust(&ca.path()).arg(url).run().await;
        assert_eq!(ran.status.success(), works, "{credentials:?}: {}\n{}", ran.stderr, git.log());
        assert_eq!(ran.stdout.contains("without a password"), works, "{credentials:?}: {}", ran.stdout);
        assert_eq!(repository.join("refs/heads/main").exists(), works, "{credentials:?}");
    }
    assert!(git.seen().iter().any(|request| request.uri.ends_with("/git-receive-pack") && request.user == "builder"));
}

const CLIENT: &str = "reports";
const AUDIENCE: &str = "https://api.test";

async fn oidc(ca: &TestCa) -> OidcProvider {
    OidcProvider::start(ca, "login.test", AUDIENCE, 300, &[(CLIENT, KEY)]).await
}

/// Asks for a token, showing the secret in this way: the parsed answer and its status.
async fn token(ca: &TestCa, oidc: &OidcProvider, secret: &str, secret_in: SecretIn) -> (Value, String) {
    let client = curl(ca).args(["--resolve", &oidc.endpoint().curl_resolve(), "-d", "grant_type=client_credentials"]);
    let client = match secret_in {
        SecretIn::Basic => client.args(["-u", &format!("{CLIENT}:{secret}")]),
        SecretIn::Post => client.args(["-d", &format!("client_id={CLIENT}"), "-d", &format!("client_secret={secret}")]),
    };
    let ran = client.args(["-d", "scope=read", &oidc.token_url()]).run().await.ok();
    let (body, status) = answer(&ran);
    (serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {body}")), status.to_owned())
}

#[tokio::test]
async fn oidc_provider_checks_the_client_secret() {
    let ca = TestCa::new();
    let oidc = oidc(&ca).await;
    let cases = [
        (KEY, SecretIn::Basic, "200 1.1"),
        (KEY, SecretIn::Post, "200 1.1"),
        (WRONG_KEY, SecretIn::Basic, "401 1.1"),
        (WRONG_KEY, SecretIn::Post, "401 1.1"),
    ];
    for (secret, secret_in, expected) in cases {
        let (body, status) = token(&ca, &oidc, secret, secret_in).await;
        assert_eq!(status, expected, "{secret_in:?}: {body}\n{}", oidc.log());
        let dots = body["access_token"].as_str().map(|token| token.matches('.').count());
        assert_eq!(dots, (secret == KEY).then_some(2), "a JWT or nothing: {body}");
    }
    assert_eq!((oidc.granted(CLIENT, SecretIn::Basic), oidc.granted(CLIENT, SecretIn::Post)), (1, 1));
}

#[tokio::test]
async fn envoy_checks_the_access_token() {
    let ca = TestCa::new();
    let (oidc, stranger) = (oidc(&ca).await, oidc(&ca).await);
    let api = JwtApi::start(&ca, "api.test", &oidc).await;
    let (good, _) = token(&ca, &oidc, KEY, SecretIn::Basic).await;
    let (foreign, _) = token(&ca, &stranger, KEY, SecretIn::Basic).await;
    let good = good["access_token"].as_str().unwrap();
    let foreign = foreign["access_token"].as_str().unwrap();
    let get = |version, token: Option<&str>, path| {
        let client = curl(&ca).args([version, "--resolve", &api.endpoint().curl_resolve()]);
        let client = match token {
            Some(token) => client.args(["-H", &format!("authorization: Bearer {token}")]),
            None => client,
        };
        client.arg(api.endpoint().url(path)).run()
    };
    let cases = [
        ("--http1.1", Some(good), "200 1.1"),
        ("--http2", Some(good), "200 2"),
        ("--http2", Some(foreign), "401 2"),
        ("--http2", Some(&good[..good.len() - 4]), "401 2"),
        ("--http1.1", None, "401 1.1"),
    ];
    for (version, token, expected) in cases {
        let ran = get(version, token, "/v1/things?limit=3").await.ok();
        let (body, status) = answer(&ran);
        assert_eq!(status, expected, "{body}\n{}", api.log());
        if status.starts_with("200") {
            let body: Value = serde_json::from_str(body).unwrap();
            assert_eq!((&body["client"], &body["path"]), (&CLIENT.into(), &"/v1/things?limit=3".into()), "{body}");
        }
    }
    let reflected = get("--http2", Some(good), "/reflect").await.ok();
    assert!(reflected.stdout.contains(good), "{}", reflected.stdout);
}

#[tokio::test]
async fn python_http_clients_against_envoy() {
    let ca = TestCa::new();
    let oidc = oidc(&ca).await;
    let api = JwtApi::start(&ca, "api.test", &oidc).await;
    let (token, _) = token(&ca, &oidc, KEY, SecretIn::Post).await;
    let url = api.endpoint().url_by_address("/v1/things");
    let client = Client::python("http_get.py").trust(&ca.path()).arg(url);
    let result = client.env("TOKEN", token["access_token"].as_str().unwrap()).run().await.ok().json();
    for (library, version) in [("requests", "HTTP/1.1"), ("httpx", "HTTP/1.1"), ("httpx_h2", "HTTP/2")] {
        assert_eq!(result[library]["status"], 200, "{library}: {result}");
        assert_eq!(result[library]["version"], version, "{library}: {result}");
    }
}
