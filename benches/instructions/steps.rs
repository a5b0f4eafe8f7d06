//! The steps.

use std::hint::black_box;
use std::sync::Arc;

use bytes::Bytes;
use claviger_contract::event::{CredentialStamp, Decided, Finished, RequestId, Verdict};
use claviger_contract::{Secret, SystemClock};
use claviger_credential::{EchoGuard, InjectionPlan, LeaseAnswer, SealedStore, inject};
use claviger_ledger::{Ledger, LedgerSettings};
use claviger_policy::document::{Diagnostics, SourceFile, parse};
use claviger_policy::{Authority, Context, Scheme};
use http::{Method, Request};

use crate::fleet::Fleet;
use crate::joined::Joined;
use crate::load;

/// One step of a request.
pub(crate) struct Step {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    /// Instructions that it may take.
    pub(crate) budget: u64,
    /// How often it is taken to count it.
    pub(crate) times: u64,
    pub(crate) run: fn(u64),
}

/// In the order of a request's life.
pub(crate) const ALL: [Step; 6] = [
    Step { name: "canonicalize", what: "read a target", budget: 4_500, times: 2_000, run: canonicalize },
    Step { name: "decide", what: "decide over 1,000 rules", budget: 3_500, times: 5_000, run: decide },
    Step { name: "lease", what: "take a lease from the cache", budget: 550, times: 5_000, run: lease },
    Step {
        name: "inject",
        what: "target, decision, lease, and the header edits of one request",
        budget: 11_000,
        times: 2_000,
        run: injection,
    },
    Step {
        name: "ledger",
        what: "two records: queued, encoded, chained, written",
        budget: 42_500,
        times: 4_096,
        run: ledger,
    },
    Step { name: "echo", what: "search 16 KiB of an answer for the credential", budget: 22_000, times: 200, run: echo },
];

fn canonicalize(times: u64) {
    let policy = load::load(&Fleet::new(1, 10, 5, 10).config());
    let authority = Authority::parse("api1.example.test", 443).unwrap();
    for _ in 0..times {
        let target = policy.canonicalize(Scheme::Https, black_box(authority.clone()), "/v1/r1/a/items/x?limit=10");
        black_box(target.unwrap());
    }
}

fn decide(times: u64) {
    let fleet = Fleet::new(4, 250, 60, 100);
    let policy = load::load(&fleet.config());
    let bounds: Vec<_> = fleet.principals().iter().map(|principal| policy.bind(principal)).collect();
    let cases: Vec<_> =
        fleet.cases(500).into_iter().map(|case| (case.caller, case.target(&policy), case.method)).collect();
    let context = Context { source_ip: None, now: 1_790_000_000 };
    for (caller, target, method) in cases.iter().cycle().take(usize::try_from(times).unwrap()) {
        black_box(policy.decide(&bounds[*caller], target.clone(), method.clone(), &context));
    }
}

/// A configuration with some credentials, and what keeps it.
fn joined() -> (Joined, tokio::runtime::Runtime, tempfile::TempDir) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let store = SealedStore::open(folder.path());
    let mut text =
        String::from("[service.api]\nhosts = [\"api.test\"]\n[workload.me]\nspiffe = \"spiffe://acme.test/me\"\n");
    for n in 0..4 {
        let secret = Secret::from(format!("sk-0123456789abcdef-{n}"));
        store.set(&format!("key-{n}"), secret, vec!["api.test".to_owned()], None).unwrap();
        text += &format!("[credential.key-{n}]\nkind = \"static\"\nvalue = \"secret://sealed/key-{n}\"\n");
    }
    text += "[allow.api]\nwho = \"me\"\nto = \"api\"\nops = [\"*\"]\nuse = \"key-3\"\n";
    (Joined::load(folder.path(), runtime.handle().clone(), &text), runtime, folder)
}

fn lease(times: u64) {
    let (joined, _runtime, _folder) = joined();
    let grant = joined.grant("api.test");
    for _ in 0..times {
        black_box(joined.credentials.lease(black_box("key-3"), &grant, &joined.attested, true));
    }
}

fn injection(times: u64) {
    let (joined, _runtime, _folder) = joined();
    let mut out = Diagnostics::default();
    let mut root = parse(&SourceFile::new("c.toml", "inject = [\"bearer\"]"), &mut out).unwrap();
    let plan = InjectionPlan::take(&mut root, &[], Scheme::Https, &mut out).unwrap();
    let request = Request::post("/v1/chat/completions")
        .header("host", "gateway.test")
        .header("user-agent", "openai-python/2.1.0")
        .header("accept", "application/json")
        .header("content-type", "application/json")
        .header("content-length", "2048")
        .header("authorization", "Bearer placeholder-of-the-client")
        .header("x-stainless-lang", "python");
    let (head, ()) = request.body(()).unwrap().into_parts();
    for _ in 0..times {
        let grant = joined.grant("api.test");
        let LeaseAnswer::Ready(lease) = joined.credentials.lease("key-3", &grant, &joined.attested, true) else {
            panic!("the lease is not at hand")
        };
        black_box(inject(grant, Some(lease), &plan, Box::new(head.clone()), None).unwrap());
    }
}

fn ledger(times: u64) {
    const ROUND: u64 = 512;
    let folder = tempfile::tempdir().unwrap();
    let ledger = Ledger::start(LedgerSettings::new(folder.path()), Arc::new(SystemClock), 1).unwrap();
    let (core, principal) = (ledger.core(0), load::principal("spiffe://acme.internal/ci/acme/docs", &[]));
    for n in 0..times {
        let id = RequestId(n.into());
        let decided = Decided {
            id,
            at_ms: 1_795_341_600_000,
            trace: None,
            listener: "egress".into(),
            source_ip: None,
            principal: Some(principal.clone()),
            asked: None,
            service: Some("openai".into()),
            rule: Some("docs-llm".into()),
            method: Method::POST,
            host: Some("api.openai.com:443".into()),
            path: Some("/v1/chat/completions".into()),
            verdict: Verdict::Allow,
            code: "ok",
            detail: None,
            credential: Some(CredentialStamp { name: "openai-research".into(), version: "v3".into() }),
            generation: 7,
            observed: None,
            would: None,
            alert: None,
        };
        let finished = Finished {
            id,
            at_ms: 1_795_341_600_021,
            code: "ok",
            status: 200,
            upstream_status: Some(200),
            duration_us: 21_340,
            first_byte_us: Some(9_000),
            request_bytes: 2_048,
            response_bytes: 4_096,
            masked: 0,
            replayed: false,
            served_version: None,
        };
        core.reserve().unwrap().decided(decided).finished(finished);
        if n % ROUND == ROUND - 1 {
            ledger.flush().unwrap();
        }
    }
}

fn echo(times: u64) {
    let text = br#"{"id":"chatcmpl-9","object":"chat.completion.chunk","choices":[{"delta":{"content":"the quick brown fox "}}]}"#;
    let chunk: Bytes = text.iter().copied().cycle().take(16 << 10).collect();
    let guard =
        EchoGuard::new(&[&Secret::from("sk-proj-0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOP".to_owned())]);
    let (mut scanner, mut out) = (guard.scanner(), Vec::new());
    for _ in 0..times {
        scanner.push(black_box(chunk.clone()), &mut out);
        black_box(&out);
        out.clear();
    }
}
