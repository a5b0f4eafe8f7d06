//! A ledger in a folder of its own, events to put into it, and children that can be killed.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

use claviger_contract::event::{CredentialStamp, Decided, Finished, RequestId, SystemEvent, Verdict};
use claviger_contract::{Event, ManualClock};
use claviger_ledger::query::Record;
use claviger_ledger::{CoreLedger, Ledger, LedgerSettings, Open};
use claviger_policy::{Attributes, Principal, SpiffeId};
use http::Method;

/// 2026-11-22T10:00:00Z
pub(crate) const NOW_MS: i64 = 1_795_341_600_000;

pub(crate) struct Folder(tempfile::TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn ledger(&self) -> PathBuf {
        self.0.path().join("ledger.jsonl")
    }

    pub(crate) fn settings(&self) -> LedgerSettings {
        LedgerSettings { path: self.ledger(), ..LedgerSettings::new(self.path()) }
    }

    /// With a full disk instead of a file, until [`Folder::mend`].
    pub(crate) fn full_disk(&self) {
        std::os::unix::fs::symlink("/dev/full", self.ledger()).unwrap();
    }

    pub(crate) fn mend(&self) {
        let link = self.path().join("link");
        std::os::unix::fs::symlink(self.path().join("elsewhere.jsonl"), &link).unwrap();
        std::fs::rename(link, self.ledger()).unwrap();
    }
}

pub(crate) fn start(settings: &LedgerSettings) -> Arc<Ledger> {
    start_with_cores(settings, 1)
}

pub(crate) fn start_with_cores(settings: &LedgerSettings, cores: usize) -> Arc<Ledger> {
    Ledger::start(settings.clone(), Arc::new(ManualClock::at_ms(NOW_MS)), cores).unwrap()
}

pub(crate) fn decided(id: u128) -> Decided {
    Decided {
        id: RequestId(id),
        at_ms: NOW_MS,
        trace: None,
        listener: "egress".into(),
        source_ip: None,
        principal: Some(Arc::new(Principal {
            id: SpiffeId::parse("spiffe://acme.internal/docs").unwrap(),
            attributes: Attributes::default(),
            attested_by: "mesh".into(),
        })),
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
    }
}

pub(crate) fn finished(id: u128) -> Finished {
    Finished {
        id: RequestId(id),
        at_ms: NOW_MS + 21,
        code: "ok",
        status: 200,
        upstream_status: Some(200),
        duration_us: 21_340,
        first_byte_us: Some(9_000),
        request_bytes: 120,
        response_bytes: 4_096,
        masked: 0,
        replayed: false,
        served_version: None,
    }
}

pub(crate) fn system(kind: &'static str) -> Event {
    Event::System(SystemEvent {
        at_ms: NOW_MS,
        kind,
        generation: Some(1),
        configuration: None,
        actor: None,
        detail: None,
    })
}

pub(crate) fn open(core: &CoreLedger, id: u128) -> Open {
    core.reserve().expect("a free slot").decided(decided(id))
}

/// One whole request.
pub(crate) fn request(core: &CoreLedger, id: u128) {
    open(core, id).finished(finished(id));
}

/// A ledger with so many whole requests, closed again.
pub(crate) fn filled(settings: &LedgerSettings, requests: u128) {
    let ledger = start(settings);
    for id in 1..=requests {
        request(&ledger.core(0), id);
        // One batch each, so that files rotate where their size says.
        ledger.flush().unwrap();
    }
}

pub(crate) fn records(path: &Path) -> Vec<Record> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| Record::parse(line).unwrap()).collect()
}

pub(crate) fn kinds(records: &[Record]) -> Vec<&str> {
    records.iter().map(Record::kind).collect()
}

/// The files of a ledger, oldest first.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "jsonl"))
        .collect();
    // `-` sorts before `.`, so the current file is the last.
    files.sort();
    files
}

pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}

pub(crate) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(30), "waited in vain until {what}");
        std::thread::yield_now();
    }
}

/// Runs one ignored test of this binary in a process of its own, by way of a shell that first runs `before`.
pub(crate) fn child(test: &str, folder: &Path, before: &str) -> Child {
    let script = format!("{before}\nexec \"$0\" --exact {test} --ignored --nocapture");
    Command::new("bash")
        .args(["-c", &script])
        .arg(std::env::current_exe().unwrap())
        .env("CLAVIGER_TEST_FOLDER", folder)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// In a child: the settings of the folder that its parent gave it.
pub(crate) fn settings_of_child() -> LedgerSettings {
    let folder = PathBuf::from(std::env::var_os("CLAVIGER_TEST_FOLDER").expect("run by its parent test"));
    LedgerSettings { path: folder.join("ledger.jsonl"), ..LedgerSettings::new(&folder) }
}
