//! `claviger exec --gateway`: a session passes everything on to a Claviger elsewhere, which judges and injects.

use std::io::{BufRead, BufReader};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use claviger_tests::origin::{full, handler};
use claviger_tests::svid::TrustDomain;
use claviger_tests::{Origin, Proxy, World, canary};
use http::{Request, Response};
use hyper::body::Incoming;
use serde_json::json;

/// A gateway that speaks TLS, an API behind it that wants the canary, and a folder for whoever calls.
struct Stage {
    // Ends first: then its folder is searched.
    gateway: Proxy,
    world: World,
    origin: Origin,
    domain: TrustDomain,
    /// Where sessions run: it has nothing of the gateway's but its root.
    job: tempfile::TempDir,
}

impl Stage {
    async fn new() -> Self {
        let (world, origin) = World::with_keyed_origin().await;
        let domain = TrustDomain::new("acme.test");
        world.write("bundle.pem", domain.bundle());
        let own = world.ca.issue(&["localhost"]);
        std::fs::copy(own.cert, world.path().join("gw.pem")).unwrap();
        std::fs::copy(own.key, world.path().join("gw.key")).unwrap();
        let mesh = "[attestor.mesh]\nkind = \"x509-svid\"\nbundle = { \"acme.test\" = \"bundle.pem\" }\n";
        let tls = "authenticate = [\"mesh\", \"ci\"]\ntls = { certificate = \"gw.pem\", key = \"gw.key\" }";
        world.configure(&world.usual(origin.port(), mesh).replace("authenticate = [\"ci\"]", tls));
        let gateway = world.start();
        let job = tempfile::TempDir::new().unwrap();
        std::fs::copy(world.path().join("ca.pem"), job.path().join("gateway-ca.pem")).unwrap();
        Self { world, origin, domain, gateway, job }
    }

    fn url(&self) -> String {
        format!("https://localhost:{}", self.gateway.address("gateway").rsplit(':').next().unwrap())
    }

    fn write(&self, name: &str, text: &str) {
        let coming = self.job.path().join(format!(".{name}"));
        std::fs::write(&coming, text).unwrap();
        std::fs::rename(coming, self.job.path().join(name)).unwrap();
    }

    /// `claviger exec --gateway …` in the job's folder, whose environment is bare but for `PATH`.
    fn exec(&self, options: &[&str], script: &str) -> Command {
        let url = self.url();
        let mut args = vec!["exec", "--gateway", &url, "--sandbox", "off"];
        args.extend(options);
        args.extend(["--", "sh", "-c", script]);
        let mut command = self.world.command(&args);
        command.current_dir(self.job.path()).env("HOME", self.job.path()).env("TMPDIR", self.world.path());
        command.env("PATH", std::env::var_os("PATH").unwrap()).stdin(Stdio::null());
        command
    }

    /// Runs to the end; nothing that it printed holds the key.
    fn run(&self, mut command: Command) -> (String, String) {
        let Output { stdout, stderr, .. } = command.output().unwrap();
        canary::assert_absent(&self.world.canary, "the output of a session", &stdout);
        canary::assert_absent(&self.world.canary, "the errors of a session", &stderr);
        canary::assert_absent_below(&self.world.canary, self.job.path());
        let stderr = String::from_utf8(stderr).unwrap();
        // What a command without a sandbox can reach is the machine's matter.
        let told = stderr.split_inclusive('\n').filter(|line| !line.starts_with("claviger: no sandbox")).collect();
        (String::from_utf8(stdout).unwrap(), told)
    }
}

const TRUSTED: [&str; 2] = ["--gateway-ca", "gateway-ca.pem"];
const CALL: &str = "curl -sS -o /dev/null -w '%{http_code}\\n' https://api.test/v1/hello?x=1";

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_proof_serves() {
    let stage = Stage::new().await;
    let token = stage.world.token("app");
    stage.write("token", &format!("{token}\n"));
    let (certificate, key) = stage.domain.svid("/ci/app").write(stage.job.path(), "own");
    let svid = format!("svid:{},{}", certificate.display(), key.display());
    let check = |options: &[&str], variables: &[(&str, &str)]| {
        let options = [&TRUSTED, options].concat();
        let mut command = stage.exec(&options, CALL);
        command.envs(variables.iter().copied());
        assert_eq!(stage.run(command), ("200\n".to_owned(), String::new()), "{options:?} {variables:?}");
    };
    check(&["--proof", "token:token"], &[]);
    check(&["--proof", "env:ID_TOKEN"], &[("ID_TOKEN", &token)]);
    check(&["--proof", &svid], &[]);
    check(&[], &[("CLAVIGER_TOKEN", &token)]);
    check(&[], &[("CLAVIGER_TOKEN_FILE", "token")]);
    let seen = stage.origin.seen();
    assert_eq!(seen.len(), 5);
    for one in seen {
        assert_eq!(one.uri.path_and_query().unwrap().as_str(), "/v1/hello?x=1");
        assert_eq!(one.header("authorization"), Some(format!("Bearer {}", stage.world.canary).as_str()));
        assert_eq!(one.header("proxy-authorization"), None);
    }
    let decided = stage.gateway.records("decided", 5);
    assert!(decided.iter().all(|record| record["principal"] == "spiffe://acme.test/ci/app"), "{decided:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_has_neither_the_proof_nor_the_gateways_root() {
    let stage = Stage::new().await;
    let token = stage.world.token("app");
    let mut command = stage.exec(&TRUSTED, "env; cat \"$SSL_CERT_FILE\"; cat /proc/self/cmdline");
    command.env("CLAVIGER_TOKEN", &token).env("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "a right").env("KEPT", "yes");
    let (shown, _) = stage.run(command);
    assert!(shown.contains("KEPT=yes"), "{shown}");
    for absent in [token.as_str(), "a right", "CLAVIGER_TOKEN"] {
        assert!(!shown.contains(absent), "{absent}: {shown}");
    }
    // A line out of the middle of the root's PEM.
    let root = stage.world.ca.pem().lines().nth(3).unwrap().to_owned();
    assert!(shown.contains("BEGIN CERTIFICATE") && !shown.contains(&root), "{shown}");
}

/// The gateway makes the placeholder of a workload; the job keeps it in a variable, and it tells on whoever takes it.
#[tokio::test(flavor = "multi_thread")]
async fn a_placeholder_that_the_gateway_made_stays_and_tells_on_a_thief() {
    let stage = Stage::new().await;
    let text = std::fs::read_to_string(stage.world.path().join("claviger.toml")).unwrap();
    let text = text.replace("hosts = [\"api.test\"]", "preset = \"openai\"\nhosts = [\"api.test\"]");
    let thief = "[workload.thief]\nspiffe = \"spiffe://acme.test/ci/thief\"\n[allow.thief]\nwho = \"thief\"\nto = \"api\"\nops = [\"*\"]\n";
    stage.world.configure(&format!("{text}\n{thief}"));
    stage.gateway.wait_for_line("generation 2 is in force");
    let made = stage.world.run(&["canary", "app", "--service", "api", "--config", "claviger.toml"]);
    let made = String::from_utf8(made.stdout).unwrap().split_whitespace().nth(1).unwrap().to_owned();
    assert!(made.starts_with("sk-"), "{made}");
    let script = "echo \"$OPENAI_API_KEY\"; curl -sS -o /dev/null -w '%{http_code}\\n' -H \"authorization: Bearer $OPENAI_API_KEY\" https://api.test/v1/hello";
    let run = |who: &str, key: &str| {
        let mut command = stage.exec(&[&TRUSTED[..], &["--service", "openai"]].concat(), script);
        command.env("CLAVIGER_TOKEN", stage.world.token(who)).env("OPENAI_API_KEY", key);
        stage.run(command).0
    };
    assert_eq!(run("app", &made), format!("{made}\n200\n"));
    assert_eq!(run("thief", &made), format!("{made}\n403\n"));
    // A real key does not stay.
    let plain = run("app", "sk-proj-a-real-key-of-a-developer-0123456789");
    assert!(plain.starts_with("sk-claviger-placeholder-") && plain.ends_with("\n200\n"), "{plain}");
    let alerts = stage.gateway.records("decided", 3);
    let alerts: Vec<_> = alerts.iter().filter(|record| !record["alert"].is_null()).collect();
    assert_eq!(alerts.len(), 1, "{alerts:?}");
    assert_eq!(
        (&alerts[0]["principal"], &alerts[0]["alert"]["workload"]),
        (&json!("spiffe://acme.test/ci/thief"), &json!("app"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_gateway_refuses_is_told_and_no_other_process_is_served() {
    let stage = Stage::new().await;
    let script = "curl -sS -X DELETE https://api.test/v1/secret-path?key=value; \
                  curl -sS -o /dev/null -w '%{http_code} ' https://unknown.test/; \
                  port=${HTTPS_PROXY##*:}; \
                  curl -sS -o /dev/null -w '%{http_code} ' -x http://127.0.0.1:$port http://api.test/v1/hello; \
                  curl -sS -o /dev/null -w '%{http_code} ' -x http://x:clvx_wrong@127.0.0.1:$port http://api.test/v1/hello";
    let mut command = stage.exec(&TRUSTED, script);
    command.env("CLAVIGER_TOKEN", stage.world.token("app"));
    let (out, err) = stage.run(command);
    assert!(out.contains("\"code\":\"denied\""), "{out}");
    assert!(out.ends_with("403 407 407 "), "{out}");
    let denied = stage.gateway.records("decided", 2);
    let id = denied.iter().find(|record| record["method"] == "DELETE").unwrap()["id"].as_str().unwrap().to_owned();
    assert!(err.contains("claviger: refused DELETE https://api.test/v1/secret-path: denied\n"), "{err}");
    assert!(err.contains(&format!("  next: ask whoever runs the gateway about request {id}\n")), "{err}");
    assert!(err.contains("claviger: refused GET https://unknown.test/: unknown_service\n"), "{err}");
    assert!(!err.contains("key=value"), "{err}");
    assert_eq!(stage.origin.seen().len(), 0);
}

/// GitHub's token service: each token holds for a few seconds only.
async fn token_service(stage: &Stage, seconds: u64) -> (Origin, Arc<AtomicUsize>) {
    let issued: Arc<AtomicUsize> = Arc::default();
    let counted = issued.clone();
    let issuer = Arc::new(claviger_tests::issuer::TokenIssuer::new("https://ci.test"));
    stage.world.write("jwks.json", issuer.jwks());
    let answer = handler(move |request: Request<Incoming>| {
        let (issuer, counted) = (issuer.clone(), counted.clone());
        async move {
            let asked = request.uri().query() == Some("api-version=2&audience=claviger")
                && request.headers()["authorization"] == "Bearer the-right";
            let number = counted.fetch_add(1, Ordering::SeqCst);
            let token = issuer.token_with("app", json!({"exp": now() + seconds, "jti": format!("{number}")}));
            let body = if asked { json!({"value": token}).to_string() } else { "{}".to_owned() };
            Response::new(full(body))
        }
    });
    (Origin::start_cleartext(answer).await, issued)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_attested_again_before_its_token_ends() {
    let stage = Stage::new().await;
    let (service, issued) = token_service(&stage, 6).await;
    // The gateway has the new key set once a request passes.
    let script = format!("until [ -e enough ]; do {CALL}; done");
    let mut command = stage.exec(&[&TRUSTED[..], &["--proof", "github"]].concat(), &script);
    command.env("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "the-right");
    command.env("ACTIONS_ID_TOKEN_REQUEST_URL", format!("http://127.0.0.1:{}/token?api-version=2", service.port()));
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let (output, enough) = (child.stdout.take().unwrap(), stage.job.path().join("enough"));
    // To the end of what it writes: it would not end well with nobody to read.
    let reading = tokio::task::spawn_blocking(move || {
        let mut codes = Vec::new();
        for line in BufReader::new(output).lines() {
            codes.push((line.unwrap(), issued.load(Ordering::SeqCst)));
            if codes.last().unwrap().1 >= 4 {
                std::fs::write(&enough, "").unwrap();
            }
        }
        codes
    });
    let codes = tokio::time::timeout(claviger_tests::PATIENCE, reading).await;
    assert!(child.wait().unwrap().success());
    let codes = codes.expect("tokens are renewed").unwrap();
    let first = codes.iter().position(|(code, _)| code == "200").unwrap();
    let after: Vec<_> = codes[first..].iter().filter(|(code, _)| code != "200").collect();
    assert!(after.is_empty(), "{after:?}");
    assert!(codes.last().unwrap().1 >= 4, "{codes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_is_said_before_anything_starts() {
    let stage = Stage::new().await;
    stage.write("ended", &stage.world.issuer.token_with("app", json!({"exp": now() - 60})));
    stage.write("empty", "");
    let check = |options: &[&str], expected: &str| {
        let command = stage.exec(options, "echo started");
        let (out, err) = stage.run(command);
        assert_eq!(out, "", "{options:?}");
        assert!(err.starts_with("claviger: ") && err.contains(expected), "{options:?}: {err}");
    };
    check(&TRUSTED, "nothing here proves who this machine or job is");
    check(&["--gateway-ca", "nothing.pem", "--proof", "token:ended"], "failed to read `nothing.pem`");
    check(&["--gateway-ca", "empty", "--proof", "token:ended"], "`empty`: there is no certificate in it");
    check(&["--proof", "token:ended"], "the token in `ended` has expired, and nothing has renewed it");
    check(&["--proof", "token:empty"], "`empty` holds no token");
    check(&["--proof", "token:none"], "failed to read `none`");
    check(&["--proof", "env:NONE"], "the variable `NONE` holds no token");
    check(&["--proof", "github"], "give the job `permissions: id-token: write`");
    check(&["--proof", "svid:none,none"], "failed to read `none`");
    check(&["--service", "opnai", "--proof", "token:ended"], "did you mean `openai`?");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_nobody_vouches_for_gets_no_proof() {
    let stage = Stage::new().await;
    let mut command = stage.exec(&[], CALL);
    command.env("CLAVIGER_TOKEN", stage.world.token("app"));
    let (out, err) = stage.run(command);
    assert_eq!(out, "502\n");
    assert!(
        err.contains("refused GET https://api.test/v1/hello: upstream_untrusted (the gateway `localhost:"),
        "{err}"
    );
    assert_eq!(stage.origin.seen().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_pass_both_ways_and_the_key_is_masked() {
    let stage = Stage::new().await;
    let script = "head -c 300000 /dev/zero | tr '\\0' x > big; \
                  curl -sS --data-binary @big https://api.test/v1/echo | wc -c; \
                  curl -sS --http1.1 https://api.test/v1/again; \
                  curl -sS -o /dev/null -w '%{http_version}' https://api.test/v1/again";
    let mut command = stage.exec(&TRUSTED, script);
    command.env("CLAVIGER_TOKEN", stage.world.token("app"));
    let (out, err) = stage.run(command);
    assert_eq!(err, "");
    let size: usize = out.lines().next().unwrap().trim().parse().unwrap();
    assert!(size >= 300_000, "{out}");
    assert!(out.ends_with('2'), "h2 to the client: {out}");
}

/// What `--print-env json` printed, for a command of its own.
fn with_environment(printed: &[u8], command: &mut Command) -> serde_json::Value {
    let printed: serde_json::Value = serde_json::from_slice(printed).unwrap();
    for (name, value) in printed["set"].as_object().unwrap() {
        command.env(name, value.as_str().unwrap());
    }
    printed
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_through_a_gateway_goes_on_in_the_background() {
    let stage = Stage::new().await;
    let url = stage.url();
    let exec = |args: &[&str]| {
        let mut command = stage.world.command(args);
        command.current_dir(stage.job.path()).env("HOME", stage.job.path()).env("TMPDIR", stage.world.path());
        command.env("CLAVIGER_TOKEN", stage.world.token("app")).output().unwrap()
    };
    let begun = exec(&["exec", "--gateway", &url, "--gateway-ca", "gateway-ca.pem", "--detach", "--print-env", "json"]);
    let mut curl = Command::new("curl");
    curl.args(["-sS", "-o", "/dev/null", "-w", "%{http_code}", "https://api.test/v1/hello"]).env_clear();
    curl.env("PATH", std::env::var_os("PATH").unwrap());
    let printed = with_environment(&begun.stdout, &mut curl);
    let called = curl.output().unwrap();
    assert_eq!(String::from_utf8(called.stdout).unwrap(), "200", "{}", String::from_utf8_lossy(&called.stderr));
    let ended = exec(&["exec", "--end", printed["set"]["CLAVIGER_EXEC_ID"].as_str().unwrap()]);
    assert!(ended.status.success(), "{ended:?}");
    assert_ne!(String::from_utf8(curl.output().unwrap().stdout).unwrap(), "200");
    canary::assert_absent(&stage.world.canary, "what was printed", &begun.stdout);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_environment_for_a_claviger_that_runs() {
    let (world, origin) = World::with_keyed_origin().await;
    let print = |token: Option<&str>| {
        let mut command = world.command(&["exec", "--config", "claviger.toml", "--print-env", "json"]);
        command.envs(token.map(|token| ("CLAVIGER_TOKEN", token)));
        command.output().unwrap()
    };
    let token = world.token("app");
    let failed = |token: Option<&str>, words: &[&str]| {
        let output = print(token);
        let err = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(125), &b""[..]), "{err}");
        assert!(words.iter().all(|word| err.contains(word)), "{words:?}: {err}");
    };
    failed(Some(&token), &["start it by `claviger run`", "add --detach"]);
    let proxy = world.start();
    failed(None, &["listener `forward` asks for a token: set CLAVIGER_TOKEN"]);
    failed(Some("no token"), &["neither `CLAVIGER_TOKEN` nor the file of `CLAVIGER_TOKEN_FILE` holds a token"]);
    let mut curl = Command::new("curl");
    curl.args(["-sS", "-o", "/dev/null", "-w", "%{http_code}", "https://api.test/v1/hello"]).env_clear();
    curl.env("PATH", std::env::var_os("PATH").unwrap());
    let printed = with_environment(&print(Some(&token)).stdout, &mut curl);
    assert_eq!(String::from_utf8(curl.output().unwrap().stdout).unwrap(), "200");
    assert_eq!(origin.seen().len(), 1);
    let port = proxy.address("forward").rsplit(':').next().unwrap().to_owned();
    assert!(printed["set"]["HTTPS_PROXY"].as_str().unwrap().ends_with(&format!("@127.0.0.1:{port}")), "{printed}");
}
