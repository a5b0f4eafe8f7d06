//! An API that takes the access tokens of a login, the server where one logs in, and Claviger between.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Output, Stdio};
use std::sync::{Arc, Mutex};

use claviger_tests::origin::{full, handler};
use claviger_tests::peers::{Browser, LoginProvider};
use claviger_tests::{Origin, PATIENCE, Proxy, World, canary};
use http::{Response, StatusCode};
use serde_json::json;

use crate::gate::Gate;

pub(crate) struct Scene {
    pub(crate) world: World,
    pub(crate) server: LoginProvider,
    /// The token endpoint that Claviger is told of.
    pub(crate) gate: Gate,
    pub(crate) api: Origin,
    refused: Arc<Mutex<HashSet<String>>>,
}

/// The client `app` proves itself with a secret, `desktop` with nothing.
fn clients(secret: &str) -> serde_json::Value {
    let grants = ["authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:device_code"];
    let client = |id: &str, auth: &str| {
        json!({
            "client_id": id,
            "token_endpoint_auth_method": auth,
            "application_type": "native",
            "redirect_uris": ["http://127.0.0.1/callback"],
            "response_types": ["code"],
            "grant_types": grants,
        })
    };
    let mut app = client("app", "client_secret_basic");
    app["client_secret"] = secret.into();
    json!([app, client("desktop", "none")])
}

impl Scene {
    pub(crate) async fn new() -> Self {
        Self::with_lives(600, 600).await
    }

    /// Access tokens that last so long, and device codes; in seconds.
    pub(crate) async fn with_lives(access: u32, device: u32) -> Self {
        let world = World::new();
        let server = LoginProvider::start(&world.ca, (access, device), clients(&world.canary)).await;
        let gate = Gate::start(&world.ca, &server.url("")).await;
        let refused: Arc<Mutex<HashSet<String>>> = Arc::default();
        let api = api(&world, &server, refused.clone()).await;
        let scene = Self { world, server, gate, api, refused };
        scene.world.seal("client", &scene.world.canary, &[&scene.gate.host(), &scene.server.host()]);
        scene.world.configure(&scene.configuration("state", "", "sealed"));
        scene
    }

    /// The service `api` with the credential `calendar`, whose grant lies in this store.
    pub(crate) fn configuration(&self, state_dir: &str, more: &str, store: &str) -> String {
        let usual = self.world.usual(self.api.port(), "").replace("secret = \"secret://sealed/api\"\n", "");
        let usual = usual.replace("state_dir = \"state\"", &format!("state_dir = \"{state_dir}\""));
        let (gate, server) = (self.gate.host(), self.server.host());
        format!(
            r#"{usual}use = "calendar"

[credential.calendar]
kind = "oauth2"
grant = "refresh_token"
token_url = "https://{gate}/token"
authorization_url = "https://{server}/auth"
device_url = "https://{server}/device/auth"
revocation_url = "https://{gate}/token/revocation"
client_id = "app"
client_secret = "secret://sealed/client"
scope = ["openid", "offline_access", "calendar"]
refresh_token = "secret://{store}/calendar"
hosts = ["api.test"]
ca = "ca.pem"
allow_addresses = ["127.0.0.1"]
{more}"#
        )
    }

    pub(crate) fn browser(&self) -> Browser {
        Browser::new(&self.world.ca)
    }

    /// Logs in by a browser, as a user does.
    pub(crate) async fn log_in(&self) -> Output {
        self.log_in_with(&["login", "calendar", "--no-browser"]).await
    }

    pub(crate) async fn log_in_with(&self, args: &[&str]) -> Output {
        let mut login = Running::start(&self.world, args);
        let url = login.line_with("https://").trim().to_owned();
        let (_, status, page) = self.browser().visit(&url).await;
        assert_eq!(status, 200, "{page}");
        assert!(page.contains("You are logged in"), "{page}");
        let output = login.end();
        assert!(output.status.success(), "{output:?}");
        output
    }

    /// What a request of the workload gets.
    pub(crate) async fn get(&self, proxy: &Proxy) -> u16 {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let request = client.get(proxy.gateway("/api/v1/events")).bearer_auth(self.world.token("app"));
        request.send().await.map_or(0, |answer| answer.status().as_u16())
    }

    /// The access token that arrived last.
    pub(crate) fn arrived(&self) -> String {
        let seen = self.api.seen();
        let authorization = seen.last().and_then(|seen| seen.header("authorization")).expect("nothing arrived");
        authorization.strip_prefix("Bearer ").unwrap().to_owned()
    }

    /// The API answers 401 to this token from now on: Claviger has to renew it.
    pub(crate) fn refuse(&self, token: &str) {
        self.refused.lock().unwrap().insert(token.to_owned());
    }

    /// How often a refresh token was taken.
    pub(crate) fn renewals(&self) -> usize {
        self.server.count("granted app refresh_token")
    }

    /// Waits for a record of a credential whose detail has all of these.
    pub(crate) fn wait_for_detail(&self, proxy: &Proxy, words: &[&str]) {
        let deadline = std::time::Instant::now() + PATIENCE;
        let has = |record: &serde_json::Value| {
            let detail = record["detail"].as_str().unwrap_or_default();
            words.iter().all(|word| detail.contains(word))
        };
        while !proxy.records("credential", 0).iter().any(has) {
            assert!(std::time::Instant::now() < deadline, "{words:?}: {:?}", proxy.records("credential", 0));
            std::thread::yield_now();
        }
    }

    /// The server took no refresh token for stolen, and refused nothing.
    pub(crate) fn assert_unharmed(&self) {
        assert_eq!((self.server.count("ended"), self.server.count("refused")), (0, 0), "{}", self.server.log());
    }

    /// No token that the server gave out is in this text, nor in any file below the folder.
    pub(crate) fn assert_hidden(&self, output: &Output) {
        let tokens = self.gate.tokens();
        assert!(tokens.len() >= 2, "{tokens:?}");
        for token in &tokens {
            canary::assert_absent(token, "standard output", &output.stdout);
            canary::assert_absent(token, "standard error", &output.stderr);
            canary::assert_absent_below(token, self.world.path());
        }
    }
}

/// Takes a token if the server does (OpenID Connect's userinfo endpoint says so), and it is not refused here.
async fn api(world: &World, server: &LoginProvider, refused: Arc<Mutex<HashSet<String>>>) -> Origin {
    let (http, url) = (world.ca.http().build().unwrap(), server.url("/me"));
    let handle = handler(move |request| {
        let (http, url, refused) = (http.clone(), url.clone(), refused.clone());
        async move {
            let shown = request.headers().get("authorization").and_then(|value| value.to_str().ok());
            let token = shown.and_then(|shown| shown.strip_prefix("Bearer ")).unwrap_or_default().to_owned();
            let is_refused = refused.lock().unwrap().contains(&token);
            let works = !is_refused && http.get(url).bearer_auth(token).send().await.unwrap().status() == 200;
            let mut answer = Response::new(full(r#"{"events":[]}"#));
            if !works {
                *answer.status_mut() = StatusCode::UNAUTHORIZED;
            }
            answer
        }
    });
    Origin::start(&world.ca, &["api.test"], &["http/1.1"], handle).await
}

/// A command that is waiting for somebody.
pub(crate) struct Running {
    child: Child,
    lines: BufReader<std::process::ChildStdout>,
    written: String,
}

impl Running {
    pub(crate) fn start(world: &World, args: &[&str]) -> Self {
        let all: Vec<&str> = args.iter().copied().chain(["--config", "claviger.toml"]).collect();
        let mut command = world.command(&all);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Self { child, lines, written: String::new() }
    }

    /// The next line that contains this.
    pub(crate) fn line_with(&mut self, text: &str) -> String {
        loop {
            let mut line = String::new();
            if self.lines.read_line(&mut line).unwrap() == 0 {
                let mut errors = String::new();
                self.child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
                panic!("no line with `{text}`:\n{}\n{errors}", self.written);
            }
            self.written.push_str(&line);
            if line.contains(text) {
                return line;
            }
        }
    }

    /// Waits for its end; all that it wrote.
    pub(crate) fn end(mut self) -> Output {
        self.lines.read_to_string(&mut self.written).unwrap();
        let mut output = self.child.wait_with_output().unwrap();
        output.stdout = self.written.into_bytes();
        output
    }
}
