//! What is shown, step by step. Each step checks what it says, and fails where it is not so.

use std::sync::Arc;

use http::{Method, Uri};
use serde_json::Value;

use crate::command::quickstart::authority::Authority;
use crate::command::quickstart::child::{self, Children, Proxy};
use crate::command::quickstart::client::{Answer, Call, Client};
use crate::command::quickstart::key::DemoKey;
use crate::command::quickstart::origin::{HOST, Origin};
use crate::command::quickstart::scan::Scan;
use crate::command::quickstart::stage::{CA, CONFIG, SOCKET, Stage};
use crate::command::quickstart::story::Story;
use crate::command::{Failure, plural};

const TEMPLATE: &str = include_str!("claviger.toml");

/// What the app never may do.
const FORBIDDEN: &str = "/v1/models/large";

/// Everything that takes part.
pub(crate) struct Show<'a> {
    stage: &'a Stage,
    story: &'a mut Story,
    children: Children,
    client: Client,
    key: Arc<DemoKey>,
    origin: Origin,
    /// Until it was stopped.
    proxy: Option<Proxy>,
    uid: u32,
}

impl<'a> Show<'a> {
    /// An API, a sealed key, a proxy, an app.
    pub(crate) async fn set_up(stage: &'a Stage, story: &'a mut Story) -> Result<Self, Failure> {
        story.step("Setting up, all of it on this machine");
        let key = Arc::new(DemoKey::generate()?);
        let authority = Authority::generate()?;
        let origin = Origin::start(&authority, key.clone()).await?;
        let api = format!("{HOST}:{}", origin.address.port());
        story.shown(&format!("an HTTPS API that wants a key: https://{api}"));
        stage.seal(&key, &api)?;
        story.shown("a random key for it, sealed (encrypted) in state/sealed/demo.age, good for that API only");
        let uid = rustix::process::getuid().as_raw();
        let port = origin.address.port().to_string();
        stage.write(CONFIG, &TEMPLATE.replace("@UID@", &uid.to_string()).replace("@PORT@", &port))?;
        stage.write(CA, authority.pem())?;
        let mut children = Children::new(stage.folder(), &stage.records())?;
        story.shown("the proxy, with a configuration of a few lines that holds no secret:");
        story.command(&format!("claviger run --config {CONFIG}"));
        let proxy = children.start_proxy(CONFIG, &stage.path(SOCKET)).await?;
        let client = Client::find(stage.folder(), &mut children).await?;
        story.shown(&format!("an app: {}. It is given no key", client.describe()));
        Ok(Self { stage, story, children, client, key, origin, proxy: Some(proxy), uid })
    }

    /// The API really checks.
    pub(crate) async fn without_claviger(&mut self) -> Result<(), Failure> {
        self.story.step("Without Claviger, the API refuses the app");
        let url = format!("https://{HOST}:{}/v1/hello", self.origin.address.port());
        self.call(Method::GET, &url, CA, 401).await?;
        let (with_key, without_key, _) = self.origin.seen();
        ensure(with_key == 0 && without_key == 1, "the API did not see exactly one request, without a key")?;
        self.story.shown("the API really checks the key, and the app has none");
        Ok(())
    }

    /// The same app, the same request, the other way.
    pub(crate) async fn allowed(&mut self) -> Result<Answer, Failure> {
        self.story.step("Through Claviger, the same app gets its answer");
        let answer = self.call(Method::GET, &through_claviger("/v1/hello"), SOCKET, 200).await?;
        let (with_key, ..) = self.origin.seen();
        ensure(with_key == 1, "the API did not see exactly one request with its key")?;
        self.story.shown(&format!("who: the kernel says that user {} is calling, which is you", self.uid));
        self.story.shown("may they: the rule [allow.read] lets you GET /v1/** there");
        self.story.shown("with what: Claviger put the key in on the way out, over TLS verified as that API");
        Ok(answer)
    }

    /// What no rule allows never leaves, and it can be told why.
    pub(crate) async fn denied(&mut self) -> Result<(), Failure> {
        self.story.step("What the rules do not allow is refused");
        let answer = self.call(Method::DELETE, &through_claviger(FORBIDDEN), SOCKET, 403).await?;
        let body: Value = serde_json::from_str(&answer.body).unwrap_or_default();
        let error = |name: &str| body.pointer(&format!("/error/{name}")).and_then(Value::as_str);
        ensure(error("code") == Some("denied"), "the refusal has another code than `denied`")?;
        let id = error("request_id").ok_or_else(|| Failure::Other("the refusal names no request id".to_owned()))?;
        let (.., deletes) = self.origin.seen();
        ensure(deletes == 0, "the forbidden request reached the API")?;
        self.story.shown("the API never saw this request");
        self.story.say("The app is told no more than that. You can ask why, after the fact or before:");
        child::wait_for(&self.stage.ledger(), id).await?;
        self.claviger(&["explain", "--config", CONFIG, id], 0).await?;
        let principal = format!("spiffe://quickstart.example/user/{}", self.uid);
        let url = format!("https://{HOST}:{}{FORBIDDEN}", self.origin.address.port());
        self.claviger(&["explain", "--config", CONFIG, "--as", &principal, "DELETE", &url], 1).await
    }

    /// An API that gives the key away cannot give it to the app.
    pub(crate) async fn echoed(&mut self) -> Result<(), Failure> {
        self.story.step("An API that repeats the key in its answer");
        let answer = self.call(Method::GET, &through_claviger("/v1/echo"), SOCKET, 200).await?;
        let (with_key, ..) = self.origin.seen();
        ensure(with_key == 2 && answer.body.contains("Bearer "), "the API did not repeat what it was sent")?;
        self.story.shown("the API sent the key back; Claviger masked it, so the app did not get it that way either");
        Ok(())
    }

    /// What happened is on record.
    pub(crate) async fn ledger(&mut self) -> Result<(), Failure> {
        self.story.step("All of it is on record, in a ledger that cannot be changed unnoticed");
        let proxy = self.proxy.take().ok_or_else(|| Failure::Other("the proxy is gone".to_owned()))?;
        proxy.stop().await?;
        self.claviger(&["ledger", "tail", "--config", CONFIG], 0).await?;
        self.claviger(&["ledger", "verify", "--config", CONFIG], 0).await
    }

    /// For the test that the scan, and the command, fail where there is a leak.
    pub(crate) fn plant_leak(&mut self, answer: &Answer) -> Result<(), Failure> {
        self.key.plant(&answer.record).map_err(|error| Failure::doing("plant a leak")(&error))
    }

    /// The key is nowhere.
    pub(crate) fn scan(&mut self) -> Result<(), Failure> {
        self.story.step("Is the key anywhere it should not be?");
        let needles = self.key.needles();
        let mut scan = Scan::new(&needles);
        scan.text("what this command printed", self.story.told().as_bytes());
        let read = scan.folder(self.stage.folder());
        read.map_err(|error| Failure::doing("read all files of this run")(&error))?;
        if !scan.findings.is_empty() {
            let places: Vec<String> = scan.findings.iter().map(|finding| format!("\n    {finding}")).collect();
            let count = plural(places.len(), "place");
            return Err(Failure::Other(format!("the key, or a part of it, was found in {count}:{}", places.concat())));
        }
        let (files, bytes) = (scan.files, scan.bytes);
        self.story.say("Searched for it, and for any 16 characters of it in a row, in plain text, base64, hex,");
        self.story.say("percent-encoded and JSON-escaped: all that the app was started with and printed, all that the");
        self.story.say("proxy wrote, the ledger, the configuration, the sealed store, and this text.");
        self.story.shown(&format!("found nowhere in {bytes} bytes of {files} files"));
        self.story.say("(To see that it would be found: claviger quickstart --plant-leak)");
        Ok(())
    }

    /// One request of the app, shown with its answer, which must have this status.
    async fn call(&mut self, method: Method, url: &str, via: &str, status: u16) -> Result<Answer, Failure> {
        let url: Uri = url.parse().map_err(|error| Failure::Other(format!("`{url}`: {error}")))?;
        let call = Call { method, url, via: via.to_owned() };
        self.story.command(&self.client.line(&call));
        let answer = self.client.call(&call, &mut self.children).await?;
        self.story.block(&format!("{} {}", answer.status, answer.body));
        let expected = format!("the answer was to be {status}, and it is {}: {}", answer.status, answer.body);
        ensure(answer.status == status, &expected)?;
        Ok(answer)
    }

    /// One of claviger's own commands, shown with what it prints.
    async fn claviger(&mut self, args: &[&str], code: i32) -> Result<(), Failure> {
        let line = format!("claviger {}", args.join(" "));
        self.story.command(&line);
        let ended = self.children.run_claviger(args).await?;
        self.story.block(&ended.stdout);
        let said = ended.stderr.trim_end();
        ensure(ended.status.code() == Some(code), &format!("`{line}` ended with {}: {said}", ended.status))
    }
}

fn through_claviger(path: &str) -> String {
    format!("http://localhost/demo{path}")
}

fn ensure(holds: bool, otherwise: &str) -> Result<(), Failure> {
    if holds { Ok(()) } else { Err(Failure::Other(otherwise.to_owned())) }
}
