//! Questions to a ledger: who did what, when and with what, over files that come and go.

use std::io::Write as _;
use std::ops::ControlFlow;
use std::sync::Arc;

use claviger_contract::EventSink as _;
use claviger_contract::event::{CredentialStamp, Decided, Finished, RequestId, Verdict};
use claviger_ledger::Ledger;
use claviger_ledger::query::{Exchange, Record, Select, Window, observed, recall, select, touched};
use claviger_policy::{AttributeValue, Attributes, Principal, SpiffeId};

use crate::support::{Folder, NOW_MS, decided, files, finished, start, system};

const MINUTE: i64 = 60_000;

struct Made {
    id: u128,
    caller: &'static str,
    minute: i64,
    path: &'static str,
    allowed: bool,
    code: &'static str,
    version: &'static str,
}

const MADE: [Made; 6] = [
    Made { id: 1, caller: "pay/api", minute: 0, path: "/v1/charges", allowed: true, code: "ok", version: "v1" },
    Made { id: 2, caller: "pay/job", minute: 10, path: "/v1/refunds", allowed: false, code: "no_rule", version: "" },
    Made { id: 3, caller: "docs", minute: 20, path: "/v1/charges", allowed: true, code: "ok", version: "v1" },
    Made { id: 4, caller: "pay/api", minute: 30, path: "/v1/charges", allowed: true, code: "ok", version: "v2" },
    Made { id: 5, caller: "pay/api", minute: 40, path: "/v1/refunds", allowed: false, code: "no_rule", version: "" },
    Made { id: 6, caller: "docs", minute: 50, path: "/v1/charges", allowed: true, code: "ok", version: "v2" },
];

fn principal(path: &str) -> Arc<Principal> {
    let id = SpiffeId::parse(&format!("spiffe://acme.internal/{path}")).unwrap();
    Arc::new(Principal { id, attributes: Attributes::default(), attested_by: "mesh".into() })
}

impl Made {
    fn decided(&self) -> Decided {
        Decided {
            at_ms: NOW_MS + self.minute * MINUTE,
            principal: Some(principal(self.caller)),
            path: Some(self.path.into()),
            verdict: if self.allowed { Verdict::Allow } else { Verdict::Deny },
            code: self.code,
            credential: self.allowed.then(|| CredentialStamp { name: "key".into(), version: self.version.into() }),
            ..decided(self.id)
        }
    }

    fn finished(&self) -> Finished {
        Finished {
            at_ms: NOW_MS + self.minute * MINUTE + 21,
            request_bytes: 10,
            response_bytes: 100,
            ..finished(self.id)
        }
    }

    fn write(&self, ledger: &Arc<Ledger>) {
        ledger.core(0).reserve().unwrap().decided(self.decided()).finished(self.finished());
        ledger.flush().unwrap();
    }
}

/// One small file per request or two.
fn made() -> Folder {
    let folder = Folder::new();
    let mut settings = folder.settings();
    settings.rotate_size = 4_096;
    let ledger = start(&settings);
    MADE.iter().for_each(|made| made.write(&ledger));
    drop(ledger);
    folder
}

fn asked(select_by: &Select, folder: &Folder) -> Vec<(u128, bool)> {
    let mut found = Vec::new();
    let mut each = |exchange: Exchange<'_>| {
        found.push((exchange.decided.id().unwrap().0, exchange.finished.is_some()));
        ControlFlow::Continue(())
    };
    select(folder.path(), select_by, &mut each).unwrap();
    found
}

#[test]
fn requests_are_found_by_what_is_asked() {
    let folder = made();
    assert!(files(folder.path()).len() >= 2, "the search goes over files");
    let check = |wanted: Select, ids: &[u128]| {
        let expected: Vec<(u128, bool)> = ids.iter().map(|id| (*id, true)).collect();
        assert_eq!(asked(&wanted, &folder), expected, "{wanted:?}");
    };
    let at = |minute: i64| Some(NOW_MS + minute * MINUTE);
    let within = |since_ms, until_ms| Select { window: Window { since_ms, until_ms }, ..Select::default() };
    check(Select::default(), &[1, 2, 3, 4, 5, 6]);
    // From the first moment on, and before the last.
    check(within(at(10), at(40)), &[2, 3, 4]);
    check(within(at(50), None), &[6]);
    check(within(None, at(0)), &[]);
    check(within(at(51), None), &[]);
    let of = |prefix: &'static str| Some(Box::new(move |id: &str| id.starts_with(prefix)) as Box<dyn Fn(&str) -> bool>);
    check(Select { principal: of("spiffe://acme.internal/pay/"), ..Select::default() }, &[1, 2, 4, 5]);
    check(Select { principal: of("spiffe://other/"), ..Select::default() }, &[]);
    check(Select { allowed: Some(false), ..Select::default() }, &[2, 5]);
    check(Select { allowed: Some(true), ..Select::default() }, &[1, 3, 4, 6]);
    check(Select { code: Some("no_rule".into()), ..Select::default() }, &[2, 5]);
    check(Select { credential: Some("key".into()), ..Select::default() }, &[1, 3, 4, 6]);
    check(Select { credential: Some("ke".into()), ..Select::default() }, &[]);
    check(Select { service: Some("openai".into()), ..Select::default() }, &[1, 2, 3, 4, 5, 6]);
    for (host, found) in
        [("api.openai.com", 6), ("API.openai.com:443", 6), ("api.openai.com:8443", 0), ("openai.com", 0)]
    {
        let wanted = Select { host: Some(host.into()), ..Select::default() };
        assert_eq!(asked(&wanted, &folder).len(), found, "{host}");
    }
    let both = Select { allowed: Some(true), ..within(at(1), at(40)) };
    check(both, &[3, 4]);
}

#[test]
fn a_search_stops_when_it_is_told() {
    let folder = made();
    let mut count = 0;
    let mut each = |_: Exchange<'_>| {
        count += 1;
        if count == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    select(folder.path(), &Select::default(), &mut each).unwrap();
    assert_eq!(count, 2);
}

/// A crash leaves a request open, and half a line behind; a new process has ids and open requests of its own.
#[test]
fn what_a_crash_cut_off_is_told_and_half_a_line_is_not() {
    let folder = Folder::new();
    let ledger = start(&folder.settings());
    let open = ledger.core(0).reserve().unwrap().decided(MADE[0].decided());
    ledger.flush().unwrap();
    ledger.emit(system("started"));
    ledger.flush().unwrap();
    MADE[1].write(&ledger);
    let mut file = std::fs::OpenOptions::new().append(true).open(folder.ledger()).unwrap();
    file.write_all(b"{\"seq\":5,\"at\":\"2026-11-22T10:00:00.000Z\",\"type\":\"deci").unwrap();
    assert_eq!(asked(&Select::default(), &folder), [(1, false), (2, true)]);
    let report = touched(folder.path(), &Select::default()).unwrap();
    assert_eq!((report.totals.requests(), report.open), (2, 1));
    drop(open);
}

#[test]
fn lines_of_others_do_no_harm() {
    let folder = Folder::new();
    let lines = [
        "",
        "null",
        "{}",
        "[1,2]",
        "\u{1F980}",
        "{\"seq\":1,\"at\":\"x\",\"type\":\"decided\",\"id\":\"zz\",\"decision\":7}",
        "{\"seq\":2,\"at\":\"\",\"type\":\"decided\",\"id\":\"0a\",\"principal\":[],\"prev\":\"\"}",
        "{\"seq\":3,\"at\":\"2026-11-22T10:00:00.000Z\",\"type\":\"decided\",\"id\":\"0b\",\"principal\":\"\\u0000\"}",
        "{\"seq\":4,\"at\":\"2026-11-22T10:00:00.000Z\",\"type\":\"finished\",\"id\":\"0b\",\"request_bytes\":-1}",
    ];
    let mut text = lines.join("\n").into_bytes();
    text.extend_from_slice(b"\n\xff\xfe\n");
    std::fs::write(folder.ledger(), text).unwrap();
    assert_eq!(asked(&Select::default(), &folder), [(0x0b, true)]);
    assert_eq!(touched(folder.path(), &Select::default()).unwrap().totals.denied, 1);
    assert!(observed(folder.path(), &Select::default()).unwrap().rows.is_empty());
    assert!(recall(folder.path(), RequestId(0x0b)).unwrap().configuration.is_none());
}

#[test]
fn what_was_touched_is_summed_up() {
    let folder = made();
    let of = Box::new(|id: &str| id.starts_with("spiffe://acme.internal/pay/"));
    let report = touched(folder.path(), &Select { principal: Some(of), ..Select::default() }).unwrap();
    assert_eq!((report.totals.allowed, report.totals.denied, report.open, report.uncounted), (2, 2, 0, 0));
    assert_eq!((report.totals.request_bytes, report.totals.response_bytes), (40, 400));
    assert_eq!(report.totals.first_at, "2026-11-22T10:00:00.000Z");
    assert_eq!(report.totals.last_at, "2026-11-22T10:40:00.000Z");
    let principals: Vec<_> = report.principals.iter().map(|(name, sum)| (name.as_str(), sum.requests())).collect();
    assert_eq!(principals, [("spiffe://acme.internal/pay/api", 3), ("spiffe://acme.internal/pay/job", 1)]);
    let operations: Vec<_> = report.operations.iter().map(|(one, sum)| (one.path.as_str(), sum.requests())).collect();
    assert_eq!(operations, [("/v1/charges", 2), ("/v1/refunds", 2)]);
    assert_eq!((report.operations[0].0.method.as_str(), report.operations[0].0.service.as_str()), ("POST", "openai"));
    let hosts: Vec<_> = report.hosts.iter().map(|(name, sum)| (name.as_str(), sum.requests())).collect();
    assert_eq!(hosts, [("api.openai.com:443", 4)]);
    let credentials: Vec<_> =
        report.credentials.iter().map(|(one, sum)| (one.name.as_str(), one.version.as_str(), sum.requests())).collect();
    assert_eq!(credentials, [("key", "v1", 1), ("key", "v2", 1)]);
}

/// The version that a request was sent with at last was shown to upstream too.
#[test]
fn a_request_that_was_sent_again_touched_two_versions() {
    let folder = Folder::new();
    let ledger = start(&folder.settings());
    let again = Finished { replayed: true, served_version: Some("v2".into()), ..MADE[0].finished() };
    ledger.core(0).reserve().unwrap().decided(MADE[0].decided()).finished(again);
    ledger.flush().unwrap();
    let report = touched(folder.path(), &Select::default()).unwrap();
    let versions: Vec<_> = report.credentials.iter().map(|(one, sum)| (one.version.as_str(), sum.requests())).collect();
    assert_eq!(versions, [("v1", 1), ("v2", 1)]);
    assert_eq!(report.totals.requests(), 1);
}

#[test]
fn made_up_paths_do_not_fill_memory() {
    let folder = Folder::new();
    let mut text = String::new();
    for number in 0..10_500 {
        text.push_str(&format!(
            "{{\"seq\":{number},\"at\":\"2026-11-22T10:00:00.000Z\",\"type\":\"decided\",\"id\":\"{number:x}\",\"method\":\"GET\",\"host\":\"h:443\",\"path\":\"/p{number}\",\"observed\":\"no_rule\",\"would\":\"no_rule\",\"decision\":\"deny\"}}\n"
        ));
    }
    std::fs::write(folder.ledger(), text).unwrap();
    let report = touched(folder.path(), &Select::default()).unwrap();
    assert_eq!((report.operations.len(), report.uncounted, report.totals.denied), (10_000, 500, 10_500));
    let report = observed(folder.path(), &Select::default()).unwrap();
    assert_eq!((report.rows.len(), report.uncounted, report.requests), (10_000, 500, 10_500));
}

#[test]
fn what_was_observed_is_summed_up() {
    let folder = Folder::new();
    let ledger = start(&folder.settings());
    for (made, rule, would) in
        [(&MADE[0], "no_rule", "no_rule"), (&MADE[2], "strict", "denied_by_rule"), (&MADE[3], "no_rule", "no_rule")]
    {
        let one = Decided { observed: Some(rule.into()), would: Some(would), ..made.decided() };
        ledger.core(0).reserve().unwrap().decided(one).finished(made.finished());
        ledger.flush().unwrap();
    }
    MADE[5].write(&ledger);
    let report = observed(folder.path(), &Select::default()).unwrap();
    let rows: Vec<_> = report.rows.iter().map(|row| (row.observed.as_str(), row.would.as_str(), row.count)).collect();
    assert_eq!(rows, [("no_rule", "no_rule", 2), ("strict", "denied_by_rule", 1)]);
    assert_eq!(report.requests, 4);
    let first = &report.rows[0];
    assert_eq!(
        (first.first_at.as_str(), first.last_at.as_str()),
        ("2026-11-22T10:00:00.000Z", "2026-11-22T10:30:00.000Z")
    );
    assert_eq!(first.sample.text("principal"), Some("spiffe://acme.internal/pay/api"));
}

/// The configuration of the process that decided, whose numbers another process counts anew.
#[test]
fn a_request_knows_its_configuration() {
    let folder = Folder::new();
    let ledger = start(&folder.settings());
    let loaded = |kind, generation, digest: &str| {
        let claviger_contract::Event::System(event) = system(kind) else { unreachable!() };
        let event = claviger_contract::event::SystemEvent {
            generation: Some(generation),
            configuration: Some(digest.into()),
            ..event
        };
        ledger.emit(claviger_contract::Event::System(event));
        ledger.flush().unwrap();
    };
    let request = |id, generation| {
        let one = Decided { generation, ..decided(id) };
        ledger.core(0).reserve().unwrap().decided(one).finished(finished(id));
        ledger.flush().unwrap();
    };
    let of = |id| recall(folder.path(), RequestId(id)).unwrap();
    loaded("started", 1, "a");
    request(1, 1);
    // The swap may be seen by a request before it is recorded.
    request(2, 2);
    loaded("generation_loaded", 2, "b");
    loaded("started", 1, "c");
    request(3, 1);
    for (id, digest) in [(1, "a"), (2, "b"), (3, "c")] {
        let recalled = of(id);
        assert_eq!((recalled.records.len(), recalled.configuration.as_deref()), (2, Some(digest)), "{id}");
    }
    assert!(of(4).records.is_empty());
}

#[test]
fn attributes_that_policy_asks_for_are_recorded_within_bounds() {
    let folder = Folder::new();
    let ledger = start(&folder.settings());
    let strings = |count: usize| AttributeValue::Strings((0..count).map(|at| format!("g{at}").into()).collect());
    let long = AttributeValue::from("x".repeat(257).as_str());
    let attributes: Attributes = [
        ("ci.ref", AttributeValue::from("refs/heads/\"main\"")),
        ("exact", AttributeValue::from("x".repeat(256).as_str())),
        ("flag", true.into()),
        ("groups", strings(2)),
        ("long", long),
        ("many", strings(33)),
        ("private", "personal".into()),
        ("uid", 7.into()),
    ]
    .into_iter()
    .collect();
    let asked: Arc<[Arc<str>]> =
        ["absent", "ci.ref", "exact", "flag", "groups", "long", "many", "uid"].map(Arc::from).into();
    let caller = Principal { attributes, ..(*principal("docs")).clone() };
    let one = Decided {
        principal: Some(Arc::new(caller)),
        asked: Some(asked),
        source_ip: Some([10, 0, 0, 7].into()),
        ..decided(1)
    };
    ledger.core(0).reserve().unwrap().decided(one).finished(finished(1));
    ledger.flush().unwrap();
    let record: Record = recall(folder.path(), RequestId(1)).unwrap().records.remove(0);
    assert!(!record.as_json().contains("personal"), "{}", record.as_json());
    assert_eq!(record.text("source_ip"), Some("10.0.0.7"));
    let expected = vec![
        ("ci.ref".to_owned(), AttributeValue::from("refs/heads/\"main\"")),
        ("exact".to_owned(), AttributeValue::from("x".repeat(256).as_str())),
        ("flag".to_owned(), true.into()),
        ("groups".to_owned(), strings(2)),
        ("uid".to_owned(), 7.into()),
    ];
    assert_eq!(record.attributes(), expected);
    assert!(record.as_json().contains("\"long\":null,\"many\":null"), "{}", record.as_json());
}
