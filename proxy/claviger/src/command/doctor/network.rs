//! What the ledger says of the recent past: refused, failed, not trusted, gone around.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use claviger_ledger::query::{self, Exchange, Record, Select, Window};

use super::check::{Check, Id};
use super::scene::Scene;
use crate::state::detail::at;

/// As many different ones are told of each kind; the rest is counted.
const TOLD: usize = 5;

/// How many records from the end are looked at for what is no request.
const TAIL: usize = 5_000;

/// Codes of answers that upstream is behind, or the way to it.
const UPSTREAM: &str = "upstream_";

/// Refusals that are nobody's fault on this machine.
const HARMLESS: [&str; 2] = ["ok", "client_gone"];

/// What happened in a window of time, each kind once with its newest request.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) allowed: u64,
    pub(crate) denied: BTreeMap<String, Kind>,
    pub(crate) failed: BTreeMap<String, Kind>,
    pub(crate) tls: BTreeMap<String, Kind>,
    pub(crate) bypassed: BTreeMap<String, Kind>,
}

/// Requests that look the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Kind {
    pub(crate) count: u64,
    /// The id of the newest.
    pub(crate) id: String,
    pub(crate) code: String,
    /// What the ledger says to operators.
    pub(crate) detail: String,
    pub(crate) at: String,
}

impl Kind {
    fn note(&mut self, record: &Record, code: &str) {
        self.count += 1;
        self.id = record.id().map(|id| id.to_string()).unwrap_or_default();
        code.clone_into(&mut self.code);
        record.text("detail").unwrap_or_default().clone_into(&mut self.detail);
        record.at().clone_into(&mut self.at);
    }
}

/// Reads ledgers from a moment on.
pub(crate) fn seen(ledgers: &[PathBuf], since_ms: i64) -> Seen {
    let mut seen = Seen::default();
    ledgers.iter().for_each(|ledger| read(ledger, since_ms, &mut seen));
    seen
}

fn read(ledger: &Path, since_ms: i64, seen: &mut Seen) {
    let select = Select { window: Window { since_ms: Some(since_ms), until_ms: None }, ..Select::default() };
    let mut each = |exchange: Exchange<'_>| {
        note_exchange(seen, &exchange);
        ControlFlow::Continue(())
    };
    // One that cannot be read is told by `ledger.chain`.
    let _ = query::select(ledger, &select, &mut each);
    let connections = query::tail(ledger, TAIL).unwrap_or_default();
    let recent =
        connections.iter().filter(|one| one.kind() == "connection" && one.at_ms().is_some_and(|at| at >= since_ms));
    recent.for_each(|record| note_connection(seen, record));
}

fn note_exchange(seen: &mut Seen, exchange: &Exchange<'_>) {
    let decided = exchange.decided;
    let what = format!(
        "{} {}{}",
        decided.text("method").unwrap_or("?"),
        decided.text("host").unwrap_or("-"),
        decided.text("path").unwrap_or_default(),
    );
    let code = decided.text("code").unwrap_or("?");
    if decided.allowed() != Some(true) {
        seen.denied.entry(format!("{what} {code}")).or_default().note(decided, code);
        return;
    }
    let ended = exchange.finished.and_then(|finished| finished.text("code")).unwrap_or("ok");
    if HARMLESS.contains(&ended) {
        seen.allowed += 1;
    } else {
        seen.failed.entry(format!("{what} {ended}")).or_default().note(decided, ended);
    }
}

fn note_connection(seen: &mut Seen, record: &Record) {
    let (code, detail) = (record.text("code").unwrap_or("?"), record.text("detail").unwrap_or_default());
    match code {
        "intercepted_tls_failed" => seen.tls.entry(host_of(detail)).or_default().note(record, code),
        "bypassed" => seen.bypassed.entry(host_of(detail)).or_default().note(record, code),
        _ => {}
    }
}

/// Details name their host first, in backticks.
fn host_of(detail: &str) -> String {
    detail.split('`').nth(1).unwrap_or(detail).to_owned()
}

/// All of this category.
pub(crate) fn checks(scene: &Scene<'_>, since_ms: i64) -> Vec<Check> {
    let ledgers = scene.ledgers();
    if scene.blind {
        return Vec::new();
    }
    if ledgers.is_empty() {
        return vec![Check::ok(Id::NetworkDenied, "there is no ledger yet, so nothing was refused")];
    }
    let seen = seen(&ledgers, since_ms);
    let mut all = Vec::new();
    all.extend(told(&seen.denied, &|what, kind| denied(Id::NetworkDenied, what, kind)));
    if all.is_empty() {
        all.push(Check::ok(
            Id::NetworkDenied,
            format!("nothing was refused since {}, {} passed", at(since_ms), seen.allowed),
        ));
    }
    all.extend(told(&seen.failed, &|what, kind| failed(Id::NetworkFailed, what, kind)));
    all.extend(told(&seen.tls, &|host, kind| untrusting(Id::NetworkTls, host, kind)));
    all.extend(told(&seen.bypassed, &|host, kind| bypassed(Id::NetworkBypassed, host, kind)));
    all
}

/// The newest of each kind, and how many more there are.
pub(crate) fn told(kinds: &BTreeMap<String, Kind>, tell: &dyn Fn(&str, &Kind) -> Check) -> Vec<Check> {
    let mut newest: Vec<_> = kinds.iter().collect();
    newest.sort_by(|(_, a), (_, b)| b.at.cmp(&a.at));
    let mut all: Vec<_> = newest.iter().take(TOLD).map(|(what, kind)| tell(what, kind)).collect();
    if let Some(last) = all.last_mut()
        && newest.len() > TOLD
    {
        last.what.push_str(&format!(" (and {} more of other kinds)", newest.len() - TOLD));
    }
    all
}

fn times(count: u64) -> String {
    if count == 1 { String::new() } else { format!(", {count} times") }
}

/// The words of a kind without its code.
fn request_of(what: &str) -> &str {
    what.rsplit_once(' ').map_or(what, |(request, _)| request)
}

/// A request that was refused.
pub(crate) fn denied(id: Id, what: &str, kind: &Kind) -> Check {
    let what = request_of(what);
    let line = format!("refused: {what} ({}{})", kind.code, times(kind.count));
    let next = match kind.code.as_str() {
        "denied" | "no_rule" => {
            format!("`claviger explain {0}` says why, `claviger suggest {0}` what would allow it", kind.id)
        }
        _ => format!("`claviger explain {}`; docs/errors.md has `{}`", kind.id, kind.code),
    };
    Check::warning(id, line, cause(kind, "no rule allows it, or a rule denies it"), next).of(what)
}

/// A request that was allowed and had no good end.
pub(crate) fn failed(id: Id, what: &str, kind: &Kind) -> Check {
    let what = request_of(what);
    let line = format!("failed: {what} ({}{})", kind.code, times(kind.count));
    let whose =
        if kind.code.starts_with(UPSTREAM) { "the service, or the way to it" } else { "the request was cut off" };
    let next = format!("`claviger explain {}`; docs/errors.md has `{}`", kind.id, kind.code);
    Check::warning(id, line, cause(kind, whose), next).of(what)
}

/// A client that ended the handshake of an intercepted connection: most often it does not know the authority.
pub(crate) fn untrusting(id: Id, host: &str, kind: &Kind) -> Check {
    let line = format!("a client did not accept the proxy's certificate for {host}{}", times(kind.count));
    let next = "start it by `claviger exec -- CMD`, or have it trust the authority: `claviger trust install`, for Java with `--java`";
    Check::error(id, line, cause(kind, "it does not trust the authority"), next).of(host)
}

/// A connection that did not come through the proxy.
pub(crate) fn bypassed(id: Id, host: &str, kind: &Kind) -> Check {
    let line = format!("went around the proxy: {host}{}", times(kind.count));
    let next = "docs/clients.md says what makes this client take the proxy; `--sandbox` lets nothing else out";
    Check::error(id, line, cause(kind, "the client ignores the proxy's variables"), next).of(host)
}

fn cause(kind: &Kind, otherwise: &str) -> String {
    if kind.detail.is_empty() { otherwise.to_owned() } else { kind.detail.clone() }
}
