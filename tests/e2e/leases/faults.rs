//! What an issuer can do wrong; for each, what requests are answered, what the cache does and what the ledger says: where
//! there is no value yet, and where one serves. One proxy has all of them at once, each as a credential of its own, so that
//! it is also shown that none of them stands in another's way.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use claviger_tests::World;
use claviger_tests::peers::TestCa;
use futures_util::future::join_all;
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::front::Front;
use crate::scene::{Answer, Issuer, Scene, Sort, takes_all};

/// How the issuer fails.
#[derive(Clone)]
enum How {
    Answers(Answer),
    /// Its certificate is from somebody else.
    Untrusted,
    /// Nobody listens there.
    Down,
}

struct Fault {
    name: &'static str,
    how: How,
    /// Of the failure, as the state of the cache has it.
    code: &'static str,
    /// Words of the records' detail.
    detail: &'static str,
}

fn says(status: u16, name: &'static str, value: &str) -> Answer {
    let body = r#"{"error":"temporarily_unavailable","error_description":"CANARY"}"#.to_owned();
    Answer::Says { status, headers: vec![(name, value.to_owned())], body }
}

fn token(token: &str, kind: &str, lasts: &str) -> Answer {
    Answer::json(200, format!(r#"{{"access_token":{token},"token_type":"{kind}","expires_in":{lasts}}}"#))
}

/// A JWT, as a JSON text, that was given out and ends so many seconds from now.
fn jwt(issued: i64, ends: i64) -> String {
    let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let now = i64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_secs()).unwrap();
    let (issued, ends) = (now + issued, now + ends);
    let claims = format!(r#"{{"iat":{issued},"nbf":{issued},"exp":{ends}}}"#);
    format!("\"{}.{}.c2ln\"", part(r#"{"alg":"ES256"}"#), part(&claims))
}

fn faults() -> Vec<Fault> {
    let invalid = "issuer_answer_invalid";
    let answers: Vec<(&'static str, Answer, &'static str, &'static str)> = vec![
        ("slow", Answer::Never, "issuer_timeout", "timed out"),
        ("drips", Answer::Drips, "issuer_timeout", "timed out"),
        ("cut", Answer::Cut, "issuer_unreachable", "the connection broke"),
        ("429", says(429, "retry-after", "120"), "issuer_refused", "answered 429 with `temporarily_unavailable`"),
        ("500", Answer::json(500, "CANARY"), "issuer_refused", "answered 500"),
        ("refused", Answer::json(400, r#"{"error":"CANARY"}"#), "issuer_refused", "answered 400"),
        (
            "malformed",
            Answer::json(200, "{\"access_token\":\"CANARY\""),
            invalid,
            "cannot be used: it is not a JSON object",
        ),
        ("no-object", Answer::json(200, "[\"CANARY\"]"), invalid, "cannot be used: it is not a JSON object"),
        ("wrong-type", token("\"CANARY\"", "mac", "60"), invalid, "its `token_type` is not `Bearer`"),
        ("number", token("17", "Bearer", "60"), invalid, "cannot be used: it is not a JSON object"),
        ("words", token("\"CANARY\"", "Bearer", "\"soon\""), invalid, "cannot be used: it is not a JSON object"),
        ("line-end", token("\"CANARY\\r\\nx: y\"", "Bearer", "60"), invalid, "a byte that is not visible ASCII"),
        ("empty", token("\"\"", "Bearer", "60"), invalid, "its `access_token` is empty"),
        ("no-life", token("\"CANARY\"", "Bearer", "0"), invalid, "its `expires_in` is not above zero"),
        ("negative", token("\"CANARY\"", "Bearer", "-5"), invalid, "its `expires_in` is not above zero"),
        ("expired", token(&jwt(-7_200, -3_600), "Bearer", "3600"), "value_expired", "had expired when it arrived"),
        // What it gives out for five minutes is over by our clock.
        ("clock-behind", token(&jwt(-3_600, -3_300), "Bearer", "300"), "value_expired", "had expired when it arrived"),
        ("huge", Answer::json(200, " ".repeat(200_000)), invalid, "the answer is too large"),
        ("redirect", says(302, "location", "/elsewhere"), invalid, "redirects are not followed"),
        ("redirect-307", says(307, "location", "/elsewhere"), invalid, "redirects are not followed"),
    ];
    let answers =
        answers.into_iter().map(|(name, answer, code, detail)| Fault { name, how: How::Answers(answer), code, detail });
    let others = [
        Fault { name: "tls", how: How::Untrusted, code: "issuer_unreachable", detail: "TLS failed" },
        Fault { name: "down", how: How::Down, code: "issuer_unreachable", detail: "cannot connect" },
    ];
    answers.chain(others).collect()
}

/// A credential whose issuer fails so; `sorts[at]` of the scene.
struct Case {
    fault: Fault,
    name: String,
    front: Option<Front>,
}

struct Matrix {
    scene: Scene,
    sorts: Vec<Sort>,
    cases: Vec<Case>,
    /// An issuer whose certificate nobody vouches for.
    untrusted: Issuer,
}

/// How a value lasts in one run of the faults.
struct Contract {
    suffix: &'static str,
    first: Option<Answer>,
    keys: &'static str,
}

impl Matrix {
    /// Each fault under each contract. Where there is a first answer, issuers work for now.
    async fn start(contracts: &[Contract]) -> Self {
        let world = World::new();
        let untrusted = Issuer::start(&world, &TestCa::new(), &[]).await;
        let (mut sorts, mut cases) = (Vec::new(), Vec::new());
        for Contract { suffix, first, keys } in contracts {
            for fault in faults() {
                let name = format!("{}{suffix}", fault.name);
                let (first, front) = match (&fault.how, first) {
                    (How::Answers(answer), first) => (first.clone().unwrap_or(answer.clone()), None),
                    (How::Untrusted, None) => (Answer::Never, Some(Front::start(Some(untrusted.port)))),
                    (How::Down, None) => (Answer::Never, Some(Front::start(None))),
                    // Where the issuer is, is known below.
                    (How::Untrusted | How::Down, Some(first)) => (first.clone(), Some(Front::start(None))),
                };
                let port = front.as_ref().map(|front| front.port);
                sorts.push(Sort { port, ..Sort::new(&name, first, keys) });
                cases.push(Case { fault, name, front });
            }
        }
        let api = takes_all(&world);
        let scene = Scene::start(world, &sorts, api).await;
        let matrix = Self { scene, sorts, cases, untrusted };
        if contracts.iter().any(|contract| contract.first.is_some()) {
            matrix.fronts_lead_to_the_issuer();
        }
        matrix
    }

    fn fronts_lead_to_the_issuer(&self) {
        self.cases.iter().filter_map(|case| case.front.as_ref()).for_each(|it| it.lead(Some(self.scene.issuer.port)));
    }

    /// All issuers fail from now on.
    fn fail(&self) {
        for (case, sort) in self.cases.iter().zip(&self.sorts) {
            match (&case.fault.how, &case.front) {
                (How::Answers(answer), _) => sort.desk.will(answer.clone()),
                (How::Untrusted, front) => front.as_ref().unwrap().lead(Some(self.untrusted.port)),
                (How::Down, front) => front.as_ref().unwrap().lead(None),
            }
        }
    }

    /// How leases stand, by credential, as the process says itself.
    async fn standing(&self) -> HashMap<String, Value> {
        let socket = self.scene.world.path().join("state/admin.sock");
        let mut stream = tokio::net::UnixStream::connect(socket).await.unwrap();
        stream.write_all(b"GET /v1/credentials HTTP/1.1\r\nhost: claviger\r\nconnection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let body: Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
        let all = body["credentials"].as_array().unwrap().iter();
        all.map(|one| (one["name"].as_str().unwrap().to_owned(), one["state"].clone())).collect()
    }

    /// Nothing that came from an issuer is where people look, and redirects led nowhere.
    fn end(self) {
        assert_eq!((self.scene.issuer.strays(), self.untrusted.strays()), (0, 0));
        assert!(self.scene.proxy.stop().success());
    }
}

/// No value, no request: nothing goes upstream, and the issuer is not asked once per request.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_value_nothing_is_sent() {
    let matrix = Matrix::start(&[Contract { suffix: "", first: None, keys: "" }]).await;
    let scene = &matrix.scene;
    join_all(matrix.cases.iter().map(async |case| {
        for _ in 0..3 {
            assert_eq!(scene.ask(&case.name).await, (503, "credential_unavailable".to_owned()), "{}", case.name);
        }
    }))
    .await;
    let standing = matrix.standing().await;
    let decided = scene.proxy.records("decided", 3 * matrix.cases.len());
    for (case, sort) in matrix.cases.iter().zip(&matrix.sorts) {
        let (name, code) = (&case.name, case.fault.code);
        assert_eq!((scene.arrived(name), sort.desk.minted()), (0, 0), "{name}");
        let state = &standing[name];
        assert_eq!((&state["leases"], &state["failure"]), (&0.into(), &code.into()), "{name}: {state}");
        assert!(state["failing_since"].is_string() && state["minted_at"].is_null(), "{name}: {state}");
        assert_eq!(state["served_stale"], false, "{name}: {state}");
        // Each failure is one call, and there are no others. Who asked to be left alone was.
        let asked = sort.desk.asked();
        let calls = if case.front.is_some() { None } else { Some(asked) };
        let events = scene.events_when(name, |events| calls.map_or(!events.is_empty(), |calls| events.len() >= calls));
        let is_told = |(kind, said): &(String, String)| kind == "failed" && said.contains(case.fault.detail);
        assert!(!events.is_empty() && events.iter().all(is_told), "{name}: {events:?}");
        assert_eq!(asked, calls.map_or(0, |_| events.len()), "{name}: {events:?}");
        assert!(case.fault.name != "429" || asked == 1, "{name}");
        let refused: Vec<_> = decided.iter().filter(|record| record["rule"] == *name).collect();
        assert_eq!(refused.len(), 3, "{name}: each has its record");
        for record in refused {
            assert_eq!((&record["decision"], &record["code"]), (&"deny".into(), &code.into()), "{name}: {record}");
            assert!(record["detail"].as_str().unwrap().contains(case.fault.detail), "{name}: {record}");
        }
    }
    matrix.end();
}

/// What was seen of a credential from the first failure on.
struct Seen {
    /// Answers that a request got with the old value.
    good: usize,
    /// Of them, how many while the issuer was asked for another and had not given one.
    while_asked: usize,
}

impl Matrix {
    /// Asks until the value serves no more; each good answer is one with the value that there was.
    async fn until_it_ends(&self, at: usize) -> Seen {
        let (name, desk) = (&self.cases[at].name, &self.sorts[at].desk);
        let mut seen = Seen { good: 0, while_asked: 0 };
        let deadline = Instant::now() + 2 * claviger_tests::PATIENCE;
        loop {
            let is_asked = desk.asked() > 1;
            let (status, said) = self.scene.ask(name).await;
            if status != 200 {
                assert_eq!((status, &*said), (503, "credential_unavailable"), "{name}");
                return seen;
            }
            assert_eq!(said, "token-1", "{name}");
            seen.good += 1;
            seen.while_asked += usize::from(is_asked);
            assert!(Instant::now() < deadline, "{name}: it serves on and on");
            tokio::time::sleep(Duration::from_millis(400)).await;
        }
    }

    /// Of which credentials it was seen that a good lease serves although its issuer fails, until `over`.
    async fn stale(&self, over: &AtomicBool) -> HashSet<(String, String)> {
        let mut seen = HashSet::new();
        while !over.load(Ordering::SeqCst) {
            for (name, state) in self.standing().await {
                if state["leases"] == 1 && state["served_stale"] == true {
                    seen.insert((name, state["failure"].as_str().unwrap().to_owned()));
                }
            }
            tokio::time::sleep(Duration::from_millis(400)).await;
        }
        seen
    }
}

/// The last good value serves to its end, and not beyond; then the failure is what requests are told. Its end is its expiry,
/// or where `serve_until` says so, a time after it was minted.
#[tokio::test(flavor = "multi_thread")]
async fn a_value_serves_to_its_end_and_not_beyond() {
    let matrix = Matrix::start(&[
        Contract { suffix: "-expiry", first: Some(Answer::Token(30)), keys: "" },
        Contract { suffix: "-until", first: Some(Answer::Token(3_600)), keys: "serve_until = \"27s\"" },
    ])
    .await;
    let scene = &matrix.scene;
    join_all(matrix.cases.iter().map(async |case| {
        assert_eq!(scene.ask(&case.name).await, (200, "token-1".to_owned()), "{}", case.name);
    }))
    .await;
    matrix.fail();
    let over = AtomicBool::new(false);
    let served = async {
        let seen = join_all((0..matrix.cases.len()).map(|at| matrix.until_it_ends(at))).await;
        over.store(true, Ordering::SeqCst);
        seen
    };
    let (served, stale) = tokio::join!(served, matrix.stale(&over));
    let standing = matrix.standing().await;
    for ((case, sort), seen) in matrix.cases.iter().zip(&matrix.sorts).zip(served) {
        let (name, code) = (&case.name, case.fault.code);
        // What hangs is given up after the value's end, where nobody can say any more that it serves.
        let hangs = matches!(case.fault.how, How::Answers(Answer::Never | Answer::Drips));
        assert!(seen.good > 0 && (!hangs || seen.while_asked > 0), "{name}: a refresh does not delay requests");
        // The first request had the value, too.
        assert_eq!((scene.arrived(name), sort.desk.minted()), (seen.good + 1, 1), "{name}");
        assert!(hangs || stale.contains(&(name.clone(), code.to_owned())), "{name}: {stale:?}");
        let state = &standing[name];
        assert_eq!((&state["leases"], &state["failure"]), (&0.into(), &code.into()), "{name}: {state}");
        assert_eq!(state["served_stale"], false, "{name}: {state}");
        let is_failed = |event: &&(String, String)| event.0 == "failed";
        let events = scene.events_when(name, |events| events.iter().any(|event| is_failed(&event)));
        assert_eq!(events[0].0, "minted", "{name}: {events:?}");
        let failed: Vec<_> = events.iter().filter(is_failed).collect();
        assert!(!failed.is_empty(), "{name}: {events:?}");
        assert!(failed.iter().all(|(_, said)| said.contains(case.fault.detail)), "{name}: {events:?}");
        let served_stale = events.iter().filter(|(kind, _)| kind == "served_stale").count();
        assert_eq!(served_stale, usize::from(!hangs), "{name}: once for all of them: {events:?}");
        assert_eq!(events.len(), 1 + failed.len() + served_stale, "{name}: {events:?}");
    }
    // They are back, and so are requests: the wait that was asked for is not over in one case.
    matrix.sorts.iter().for_each(|sort| sort.desk.will(Answer::Token(60)));
    matrix.fronts_lead_to_the_issuer();
    join_all(matrix.cases.iter().filter(|case| case.fault.name != "429").map(async |case| {
        let answer = scene.ask_until(&case.name, |(status, _)| *status == 200).await;
        assert_eq!(answer.1, "token-2", "{}", case.name);
    }))
    .await;
    matrix.end();
}

/// What the issuer's clock says is not asked; how long a token lasts is counted from when it was asked for.
#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_wrong_does_no_harm() {
    let dated = |date: &str, body: &str| Answer::Says {
        status: 200,
        headers: vec![("date", date.to_owned())],
        body: body.to_owned(),
    };
    let body = r#"{"access_token":"CANARY-1","token_type":"Bearer","expires_in":60,"iat":4102444800,"expires_at":1}"#;
    let sorts = [
        Sort::new("ahead", dated("Fri, 01 Jan 2100 00:00:00 GMT", body), ""),
        Sort::new("behind", dated("Thu, 01 Jan 1970 00:00:00 GMT", body), ""),
        // A lifetime beyond all measure is a year.
        Sort::new("ever", Answer::json(200, body.replace("60", "1e300")), ""),
    ];
    let world = World::new();
    let api = takes_all(&world);
    let scene = Scene::start(world, &sorts, api).await;
    for Sort { name, .. } in &sorts {
        for _ in 0..2 {
            assert_eq!(scene.ask(name).await, (200, "token-1".to_owned()), "{name}");
        }
        assert_eq!(scene.events(name, 1).len(), 1, "{name}");
    }
    // What ends before its `expires_in` ends then: a minute after it was given out, by a clock that is half an hour behind.
    let world = World::new();
    let sorts = [Sort::new("early", token(&jwt(-1_800, 60), "Bearer", "3600"), "")];
    let scene = Scene::start(world, &sorts, claviger_tests::origin::echo("nobody")).await;
    assert_eq!(scene.ask("early").await.0, 401, "it was sent");
    let minted = &scene.proxy.records("credential", 1)[0];
    let ends = OffsetDateTime::parse(minted["expires_at"].as_str().unwrap(), &Rfc3339).unwrap();
    let lasts = (ends - OffsetDateTime::now_utc()).whole_seconds();
    assert!(lasts <= 60, "{minted}");
}
