//! What CI systems run: the GitHub action and the GitLab component, by their own schemas, and their steps against the real
//! binary with an issuer that stands in for theirs.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};

use claviger_tests::{Origin, Proxy, World};
use serde_json::json;

use crate::tools::{deploy, documents, installed, said, static_binary};

#[test]
fn they_fit_the_schemas_of_their_systems() {
    let check = |schema: &str, file: &Path| {
        let mut command = Command::new(installed("deploy-venv/bin/check-jsonschema"));
        command.args(["--builtin-schema", schema]).arg(file).output().unwrap()
    };
    let action = check("vendor.github-actions", &deploy("ci/github/action.yml"));
    assert!(action.status.success(), "{}", said(&action));
    // A component is two documents, which the schema knows one by one.
    let text = std::fs::read_to_string(deploy("ci/gitlab/templates/claviger.yml")).unwrap();
    let folder = tempfile::TempDir::new().unwrap();
    let parts: Vec<&str> = text.split("\n---\n").collect();
    assert_eq!(parts.len(), 2);
    for part in parts {
        let file = folder.path().join("part.yml");
        // Of hidden jobs the schema knows little: judged as one that runs.
        std::fs::write(&file, part.replace(".claviger:\n", "job:\n  script: [\"true\"]\n")).unwrap();
        let output = check("vendor.gitlab-ci", &file);
        assert!(output.status.success(), "{}", said(&output));
    }
    let wrong = folder.path().join("wrong.yml");
    std::fs::write(&wrong, "job:\n  script: [\"true\"]\n  id_tokens: yes\n").unwrap();
    assert!(!check("vendor.gitlab-ci", &wrong).status.success(), "the schema checks nothing");
}

/// Attestors of both systems over the harness's issuer; the rest is as usual.
fn ci_world(origin: &Origin, world: &World, more: &str) -> String {
    let attestors = r#"
[attestor.github]
kind = "github-actions"
algorithms = ["ES256"]
audience = "claviger"
jwks = "jwks.json"
require = { repository_owner_id = "1234567" }

[attestor.gitlab]
kind = "gitlab-ci"
algorithms = ["ES256"]
audience = "claviger"
jwks = "jwks.json"
require = { namespace_id = "72" }
"#;
    world
        .usual(origin.port(), &format!("{attestors}{more}"))
        .replace("authenticate = [\"ci\"]", "authenticate = [\"github\", \"gitlab\"]")
        .replace(
            "spiffe = \"spiffe://acme.test/ci/app\"",
            "spiffe = [\"spiffe://acme.test/github/acme/docs\", \"spiffe://acme.test/gitlab/acme/docs\"]",
        )
}

fn github_token(world: &World) -> String {
    let claims = json!({
        "iss": "https://token.actions.githubusercontent.com", "repository": "acme/docs",
        "repository_owner": "acme", "repository_owner_id": "1234567", "ref": "refs/heads/main",
    });
    world.issuer.token_with("repo:acme/docs:ref:refs/heads/main", claims)
}

fn gitlab_token(world: &World) -> String {
    let claims = json!({
        "iss": "https://gitlab.com", "project_path": "acme/docs", "namespace_id": "72", "ref": "main",
    });
    world.issuer.token_with("project_path:acme/docs:ref_type:branch:ref:main", claims)
}

/// Answers as the runner's token endpoint does, and remembers what it was asked.
struct Runner {
    url: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Runner {
    fn start(token: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/token?api-version=2.0", listener.local_addr().unwrap());
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let heads = asked.clone();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                let mut head = Vec::new();
                let mut byte = [0];
                while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|read| read == 1) {
                    head.push(byte[0]);
                }
                let head = String::from_utf8_lossy(&head).into_owned();
                let body = if head.to_ascii_lowercase().contains("authorization: bearer runtime-token\r\n") {
                    json!({"count": 1, "value": token}).to_string()
                } else {
                    "{}".to_owned()
                };
                heads.lock().unwrap().push(head);
                let length = body.len();
                let _ =
                    write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
            }
        });
        Self { url, asked }
    }
}

/// The action's step, with its inputs as action.yml hands them over.
fn action(world: &World, runner: &Runner, inputs: &[(&str, &str)]) -> Command {
    let action = documents(&std::fs::read_to_string(deploy("ci/github/action.yml")).unwrap());
    let step = &action[0]["runs"]["steps"][0];
    let mut command = Command::new("bash");
    command.args(["-c", step["run"].as_str().unwrap()]).current_dir(world.path()).env_clear();
    for (name, value) in step["env"].as_object().unwrap() {
        let input = value.as_str().unwrap().trim_start_matches("${{ inputs.").trim_end_matches(" }}");
        let given = inputs.iter().find(|(name, _)| *name == input).map(|(_, value)| *value);
        let default = action[0]["inputs"][input]["default"].as_str().unwrap_or_else(|| panic!("no input `{input}`"));
        command.env(name, given.unwrap_or(default));
    }
    for (name, _) in inputs {
        assert!(action[0]["inputs"][*name].is_object(), "no input `{name}`");
    }
    world.write("github-env", "");
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", world.path());
    command.env("GITHUB_ACTION_PATH", deploy("ci/github")).env("GITHUB_ENV", world.path().join("github-env"));
    command.env("RUNNER_TEMP", world.path().join("temp")).env("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "runtime-token");
    command.env("ACTIONS_ID_TOKEN_REQUEST_URL", &runner.url);
    command
}

/// The variables that later steps get.
fn exported(world: &World) -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(world.path().join("github-env")).unwrap();
    text.lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// A later step: an unmodified client, which knows nothing but its variables.
fn call(variables: &BTreeMap<String, String>) -> Output {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--fail", "--max-time", "20", "https://api.test/v1/x"]);
    command.env_clear().env("PATH", path).envs(variables).output().unwrap()
}

fn principal(proxy: &Proxy) -> String {
    let decided = proxy.records("decided", 1);
    decided.last().unwrap()["principal"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_github_action_talks_to_a_gateway() {
    let (world, origin) = World::with_keyed_origin().await;
    world.configure(&ci_world(&origin, &world, ""));
    let proxy = world.start_with(&["--cores", "1", "--ca-dir", "certificates"]);
    let runner = Runner::start(github_token(&world));
    let gateway = format!("http://{}", proxy.address("forward"));
    let inputs = [("gateway", gateway.as_str()), ("ca", "certificates/bundle.pem"), ("no-proxy", "internal.test")];
    let output = action(&world, &runner, &inputs).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    let token = github_token(&world);
    let masked = said(&output);
    assert!(masked.starts_with("::add-mask::ey") && masked.lines().count() == 1, "{masked}");
    assert_eq!(masked.len(), "::add-mask::\n".len() + token.len());
    assert!(runner.asked.lock().unwrap()[0].starts_with("GET /token?api-version=2.0&audience=claviger HTTP/1.1\r\n"));
    let variables = exported(&world);
    assert!(variables["NO_PROXY"].contains(",internal.test,"), "{variables:?}");
    let called = call(&variables);
    assert!(called.status.success(), "{}", said(&called));
    assert_eq!(principal(&proxy), "spiffe://acme.test/github/acme/docs");
}

/// It starts Claviger beside the steps, keeps its token fresh, and the steps present nothing at all.
#[tokio::test(flavor = "multi_thread")]
async fn the_github_action_runs_claviger_itself() {
    let (world, origin) = World::with_keyed_origin().await;
    let free = |_| TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let [forward, admin] = [0, 1].map(free);
    let more = format!(
        "\n[attestor.own]\nkind = \"locality\"\ntoken = \"token.jwt\"\nverify = \"github\"\nloopback = \"private\"\n\n\
         [listener.steps]\nmode = \"forward\"\nbind = \"127.0.0.1:{forward}\"\nauthenticate = [\"own\"]\n\n\
         [admin]\nbind = \"127.0.0.1:{admin}\"\n"
    );
    world.configure(&ci_world(&origin, &world, &more));
    let runner = Runner::start(github_token(&world));
    let listen = format!("http://127.0.0.1:{forward}");
    let binary = static_binary();
    let inputs = [("config", "claviger.toml"), ("listen", &*listen), ("binary", binary.to_str().unwrap())];
    let mut step = action(&world, &runner, &inputs);
    // As the runner does: what a job leaves behind ends with it.
    let mut group = ProcessGroup::of(step.env("CLAVIGER_REFRESH_SECONDS", "0.2"));
    let output = group.wait();
    assert!(output.status.success(), "{}", said(&output));
    let mode = std::fs::metadata(world.path().join("token.jwt")).unwrap().permissions();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&mode) & 0o777, 0o600);
    let called = call(&exported(&world));
    assert!(called.status.success(), "{}", said(&called));
    let deadline = std::time::Instant::now() + claviger_tests::PATIENCE;
    // The answer may be ahead of its record.
    let ledger = || std::fs::read_to_string(world.path().join("state/ledger/ledger.jsonl")).unwrap();
    while !ledger().contains("\"principal\":\"spiffe://acme.test/github/acme/docs\"") {
        assert!(std::time::Instant::now() < deadline, "{}", ledger());
        std::thread::yield_now();
    }
    while runner.asked.lock().unwrap().len() < 3 {
        assert!(std::time::Instant::now() < deadline, "the token is not renewed");
        std::thread::yield_now();
    }
}

/// A step and all that it started.
struct ProcessGroup {
    child: Option<std::process::Child>,
    group: rustix::process::Pid,
}

impl ProcessGroup {
    fn of(command: &mut Command) -> Self {
        use std::os::unix::process::CommandExt;
        let child = command
            .process_group(0)
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let group = rustix::process::Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
        Self { child: Some(child), group }
    }

    /// What the step printed. Those that it left behind print elsewhere.
    fn wait(&mut self) -> Output {
        self.child.take().unwrap().wait_with_output().unwrap()
    }
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        let _ = rustix::process::kill_process_group(self.group, rustix::process::Signal::TERM);
        drop(self.child.take());
    }
}

#[test]
fn the_github_action_says_what_it_lacks() {
    let world = World::new();
    let runner = Runner::start("not used".to_owned());
    let both = [("gateway", "http://127.0.0.1:1"), ("config", "claviger.toml")];
    for inputs in [&[][..], &both] {
        let output = action(&world, &runner, inputs).output().unwrap();
        assert!(!output.status.success());
        assert_eq!(said(&output), "::error title=Claviger::name either a gateway or a config\n");
    }
    let mut command = action(&world, &runner, &both[..1]);
    let output = command.env_remove("ACTIONS_ID_TOKEN_REQUEST_URL").output().unwrap();
    assert!(
        !output.status.success() && said(&output).contains("permissions: { id-token: write }"),
        "{}",
        said(&output)
    );
    let mut command = action(&world, &runner, &both[..1]);
    let output = command.env("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "wrong").output().unwrap();
    assert!(!output.status.success() && said(&output).contains("GitHub gave no token"), "{}", said(&output));
    assert!(exported(&world).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gitlab_component_talks_to_a_gateway() {
    let (world, origin) = World::with_keyed_origin().await;
    world.configure(&ci_world(&origin, &world, ""));
    let proxy = world.start_with(&["--cores", "1", "--ca-dir", "certificates"]);
    let text = std::fs::read_to_string(deploy("ci/gitlab/templates/claviger.yml")).unwrap();
    let documents = documents(&text);
    assert_eq!(documents[1][".claviger"]["id_tokens"]["CLAVIGER_TOKEN"]["aud"], "$[[ inputs.audience ]]");
    let mut script = documents[1][".claviger"]["before_script"][0].as_str().unwrap().to_owned();
    // As GitLab does, before a runner sees it.
    let gateway = format!("http://{}", proxy.address("forward"));
    for (input, value) in [("gateway", gateway.as_str()), ("ca", "certificates/bundle.pem"), ("no_proxy", "")] {
        assert!(documents[0]["spec"]["inputs"][input].is_object());
        script = script.replace(&format!("$[[ inputs.{input} ]]"), value);
    }
    assert!(!script.contains("$[["), "{script}");
    script.push_str("\ncurl --silent --show-error --fail --max-time 20 https://api.test/v1/x\n");
    let job = |token: Option<String>| {
        let mut command = Command::new("sh");
        command.args(["-e", "-c", &script]).current_dir(world.path()).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.envs(token.map(|token| ("CLAVIGER_TOKEN", token)));
        command.output().unwrap()
    };
    let output = job(Some(gitlab_token(&world)));
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(principal(&proxy), "spiffe://acme.test/gitlab/acme/docs");
    let output = job(None);
    assert!(!output.status.success() && said(&output).contains("does it extend .claviger?"), "{}", said(&output));
}
