//! What a record says, to programs and to people.

use std::sync::Arc;

use claviger_contract::event::{ConnectionEvent, CredentialEvent, CredentialEventKind, RequestId, TraceId, Verdict};
use claviger_contract::{Event, EventSink as _};
use claviger_ledger::query::{Exchange, Record, find, follow, head, tail, verify};
use claviger_policy::SpiffeId;
use proptest::prelude::*;

use crate::support::{Folder, NOW_MS, decided, files, finished, kinds, open, records, request, start, system};

/// A record without what differs from run to run.
fn body(record: &Record) -> &str {
    record.as_json().split_once(",\"prev\":").unwrap().0
}

#[test]
#[allow(clippy::too_many_lines, reason = "a record of each kind")]
fn records_have_these_fields() {
    let folder = Folder::new();
    let ledger = start(&folder.settings());
    let mut full = decided(0xab);
    full.trace = Some(TraceId(0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736));
    full.detail = Some("matched line 7".into());
    full.observed = Some("strict".into());
    full.alert = Some(Box::new(claviger_contract::event::Alert {
        kind: "placeholder_stolen",
        workload: "app".into(),
        service: Some("openai".into()),
        place: "the URL".into(),
    }));
    ledger.core(0).reserve().unwrap().decided(full).finished(finished(0xab));
    ledger.flush().unwrap();
    let mut least = decided(1);
    (least.principal, least.service, least.rule, least.host, least.path) = (None, None, None, None, None);
    (least.credential, least.verdict, least.code) = (None, Verdict::Deny, "identity_missing");
    drop(ledger.core(0).reserve().unwrap().decided(least));
    ledger.flush().unwrap();
    ledger.emit(Event::Credential(CredentialEvent {
        at_ms: NOW_MS + 1,
        credential: "crm".into(),
        version: Some("v1".into()),
        kind: CredentialEventKind::Minted,
        principal: Some(SpiffeId::parse("spiffe://acme.internal/docs").unwrap()),
        expires_at: Some(NOW_MS / 1_000 + 3_600),
        secretless: Some(claviger_contract::Secretless::EndToEnd),
        detail: None,
    }));
    ledger.flush().unwrap();
    ledger.emit(system("started"));
    ledger.flush().unwrap();
    ledger.emit(Event::Connection(ConnectionEvent {
        at_ms: NOW_MS + 999,
        listener: "egress".into(),
        peer: "127.0.0.1:5000".into(),
        code: "tls_failed",
        detail: Some("no \"certificate\"".into()),
    }));
    ledger.flush().unwrap();
    let records = records(&folder.ledger());
    let bodies: Vec<&str> = records.iter().map(body).collect();
    assert_eq!(
        bodies,
        [
            r#"{"seq":1,"at":"2026-11-22T10:00:00.000Z","type":"decided","id":"000000000000000000000000000000ab","trace_id":"4bf92f3577b34da6a3ce929d0e0e4736","listener":"egress","principal":"spiffe://acme.internal/docs","attested_by":"mesh","service":"openai","rule":"docs-llm","method":"POST","host":"api.openai.com:443","path":"/v1/chat/completions","decision":"allow","code":"ok","detail":"matched line 7","credential":{"name":"openai-research","version":"v3"},"generation":7,"observed":"strict","alert":{"kind":"placeholder_stolen","workload":"app","service":"openai","place":"the URL"}"#,
            r#"{"seq":2,"at":"2026-11-22T10:00:00.021Z","type":"finished","id":"000000000000000000000000000000ab","code":"ok","status":200,"upstream_status":200,"duration_us":21340,"first_byte_us":9000,"request_bytes":120,"response_bytes":4096,"masked":0,"replayed":false"#,
            r#"{"seq":3,"at":"2026-11-22T10:00:00.000Z","type":"decided","id":"00000000000000000000000000000001","listener":"egress","method":"POST","decision":"deny","code":"identity_missing","generation":7"#,
            r#"{"seq":4,"at":"2026-11-22T10:00:00.000Z","type":"finished","id":"00000000000000000000000000000001","code":"aborted","duration_us":0,"request_bytes":0,"response_bytes":0,"masked":0,"replayed":false"#,
            r#"{"seq":5,"at":"2026-11-22T10:00:00.001Z","type":"credential","kind":"minted","credential":{"name":"crm","version":"v1"},"principal":"spiffe://acme.internal/docs","expires_at":"2026-11-22T11:00:00Z","secretless":"end-to-end""#,
            r#"{"seq":6,"at":"2026-11-22T10:00:00.000Z","type":"system","kind":"started","generation":1"#,
            r#"{"seq":7,"at":"2026-11-22T10:00:00.999Z","type":"connection","listener":"egress","peer":"127.0.0.1:5000","code":"tls_failed","detail":"no \"certificate\"""#,
        ]
    );
    let shown: Vec<String> = records.iter().map(ToString::to_string).collect();
    assert_eq!(
        shown,
        [
            "2026-11-22T10:00:00.000Z allow spiffe://acme.internal/docs POST api.openai.com:443/v1/chat/completions rule=docs-llm observed=strict credential=openai-research@v3 code=ok alert=placeholder_stolen of=app for=openai in=\"the URL\" detail=matched line 7 id=000000000000000000000000000000ab",
            "2026-11-22T10:00:00.021Z finished code=ok status=200 21.3ms id=000000000000000000000000000000ab",
            "2026-11-22T10:00:00.000Z deny unattested POST - code=identity_missing id=00000000000000000000000000000001",
            "2026-11-22T10:00:00.000Z finished code=aborted 0.0ms id=00000000000000000000000000000001",
            "2026-11-22T10:00:00.001Z credential kind=minted credential=crm@v1 principal=spiffe://acme.internal/docs expires_at=2026-11-22T11:00:00Z",
            "2026-11-22T10:00:00.000Z system kind=started generation=1",
            "2026-11-22T10:00:00.999Z connection listener=egress peer=127.0.0.1:5000 code=tls_failed detail=no \"certificate\"",
        ]
    );
    let exchange = Exchange { decided: &records[0], finished: Some(&records[1]) };
    assert_eq!(
        exchange.to_string(),
        "2026-11-22T10:00:00.000Z allow spiffe://acme.internal/docs POST api.openai.com:443/v1/chat/completions rule=docs-llm observed=strict credential=openai-research@v3 code=ok alert=placeholder_stolen of=app for=openai in=\"the URL\" status=200 21.3ms"
    );
    assert!(Exchange { decided: &records[0], finished: None }.to_string().ends_with(" open"));
    assert_eq!(records[0].allowed(), Some(true));
    assert_eq!(records[2].allowed(), Some(false));
    assert_eq!(records[4].credential(), Some(("crm", Some("v1"))));
}

#[test]
fn a_record_cannot_speak_to_a_terminal() {
    let folder = Folder::new();
    let ledger = start(&folder.settings());
    let mut event = decided(1);
    event.detail = Some("\u{1b}[2J\r\nforged \u{9b}31m".into());
    drop(ledger.core(0).reserve().unwrap().decided(event));
    ledger.flush().unwrap();
    let records = records(&folder.ledger());
    assert_eq!(records.len(), 2, "one line each");
    assert!(!records[0].to_string().contains(char::is_control), "{}", records[0]);
    assert_eq!(records[0].text("detail"), Some("\u{1b}[2J\r\nforged \u{9b}31m"));
}

#[test]
fn tail_takes_the_newest_over_files() {
    let folder = Folder::new();
    let mut settings = folder.settings();
    settings.rotate_size = 4_096;
    crate::support::filled(&settings, 20);
    assert!(files(folder.path()).len() > 2);
    for count in [0, 1, 2, 7, 39, 40, 1_000] {
        let seqs: Vec<u64> = tail(folder.path(), count).unwrap().iter().map(Record::seq).collect();
        let expected: Vec<u64> = (41 - count.min(40) as u64..=40).collect();
        assert_eq!(seqs, expected, "{count}");
    }
    // More than is read at first.
    let folder = Folder::new();
    crate::support::filled(&folder.settings(), 300);
    let seqs: Vec<u64> = tail(folder.path(), 500).unwrap().iter().map(Record::seq).collect();
    assert_eq!(seqs, (101..=600).collect::<Vec<u64>>());
}

#[test]
fn follow_survives_rotations_and_misses_nothing() {
    let folder = Folder::new();
    let mut settings = folder.settings();
    settings.rotate_size = 4_096;
    settings.keep = 1_000;
    let mut from_start = follow(folder.path(), 0);
    assert_eq!(from_start.poll().unwrap(), None, "there is no ledger yet");
    let ledger = start(&settings);
    let mut seen = Vec::new();
    let mut id = 0;
    // Sometimes several files come between two looks.
    for pause in [1, 1, 3, 40, 1, 2, 60, 5] {
        for _ in 0..pause {
            id += 1;
            request(&ledger.core(0), id);
            ledger.flush().unwrap();
        }
        while let Some(record) = from_start.poll().unwrap() {
            seen.push(record.seq());
        }
        assert_eq!(seen, (1..=id as u64 * 2).collect::<Vec<u64>>());
    }
    let mut later = follow(&folder.ledger(), 100);
    assert_eq!(later.poll().unwrap().unwrap().seq(), 101);
    let mut at_end = follow(folder.path(), ledger.head().seq());
    assert_eq!(at_end.poll().unwrap(), None);
    request(&ledger.core(0), 1_000);
    ledger.flush().unwrap();
    assert_eq!(at_end.poll().unwrap().unwrap().kind(), "decided");
}

#[test]
fn follow_waits_for_the_end_of_a_line() {
    let folder = Folder::new();
    crate::support::filled(&folder.settings(), 1);
    let whole = std::fs::read(folder.ledger()).unwrap();
    let cut = whole.len() - 10;
    std::fs::write(folder.ledger(), &whole[..cut]).unwrap();
    let mut following = follow(folder.path(), 0);
    assert_eq!(following.poll().unwrap().unwrap().seq(), 1);
    assert_eq!(following.poll().unwrap(), None);
    let mut file = std::fs::File::options().append(true).open(folder.ledger()).unwrap();
    std::io::Write::write_all(&mut file, &whole[cut..]).unwrap();
    assert_eq!(following.poll().unwrap().unwrap().seq(), 2);
    assert_eq!(following.poll().unwrap(), None);
}

#[test]
fn what_is_open_is_listed() {
    let folder = Folder::new();
    let ledger = start(&folder.settings());
    let core = ledger.core(0);
    let (first, second) = (open(&core, 9), open(&core, 3));
    request(&core, 5);
    ledger.flush().unwrap();
    let report = verify(folder.path()).unwrap();
    assert_eq!(report.open, [RequestId(9), RequestId(3)]);
    assert_eq!(Some(ledger.head()), report.head);
    assert_eq!(Some(ledger.head()), head(folder.path()).unwrap());
    assert_eq!(kinds(&find(folder.path(), RequestId(9)).unwrap()), ["decided"]);
    assert_eq!(find(folder.path(), RequestId(77)).unwrap(), []);
    first.finished(finished(9));
    drop(second);
    ledger.flush().unwrap();
    assert_eq!(verify(folder.path()).unwrap().open, []);
}

#[test]
fn no_ledger_is_said_so() {
    let folder = Folder::new();
    let message = format!("there is no ledger at `{}`", folder.ledger().display());
    assert_eq!(tail(folder.path(), 1).unwrap_err().to_string(), message);
    assert_eq!(verify(folder.path()).unwrap_err().to_string(), message);
    assert_eq!(head(folder.path()).unwrap_err().to_string(), message);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever stands in a text, a record is one line and says the same text again, cut if it is long.
    #[test]
    fn texts_are_escaped(texts in prop::collection::vec("\\PC{0,20}|[\\x00-\\x1f\"\\\\/\u{2028}é😀]{0,40}|[a-zé]{4090,4100}", 1..20)) {
        let folder = Folder::new();
        let ledger = start(&folder.settings());
        for text in &texts {
            let mut event = decided(1);
            event.detail = Some(Arc::from(text.as_str()));
            event.host = Some(Arc::from(text.as_str()));
            drop(ledger.core(0).reserve().unwrap().decided(event));
        }
        ledger.shutdown();
        prop_assert_eq!(verify(folder.path()).unwrap().records, texts.len() as u64 * 2);
        let records = records(&folder.ledger());
        for (record, text) in records.iter().filter(|record| record.kind() == "decided").zip(&texts) {
            let found = record.text("detail").unwrap();
            match found.strip_suffix('…') {
                Some(start) if text.len() > 4_096 => prop_assert!(text.starts_with(start) && start.len() > 4_092),
                _ => prop_assert_eq!(found, text),
            }
        }
    }
}
