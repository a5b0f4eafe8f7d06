//! The strict double of a service: TLS for all its hosts, and an answer only to requests that the real one would take.

use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use claviger_tests::Origin;
use claviger_tests::origin::{OriginBody, full, handler};
use claviger_tests::peers::TestCa;
use http::header::AUTHORIZATION;
use http::{HeaderMap, Response};
use http_body_util::BodyExt;

use crate::proof::{Answer, Asked, Place, Proof, Route, name_of};

/// Headers that show somebody a credential. Where a route does not want one, it must not be there.
const CREDENTIALS: [&str; 13] = [
    "authorization",
    "proxy-authorization",
    "x-api-key",
    "api-key",
    "x-goog-api-key",
    "x-auth-key",
    "x-auth-email",
    "x-auth-token",
    "private-token",
    "job-token",
    "dd-api-key",
    "dd-application-key",
    "cookie",
];

/// What came of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// The route's name, or the request's own if no route takes it.
    pub(crate) call: String,
    /// Why it was refused; begins with `credential: ` if that was why.
    pub(crate) problem: Option<String>,
}

impl Verdict {
    /// Whether it was the credential that the double refused.
    pub(crate) fn is_of_the_credential(&self) -> bool {
        self.problem.as_ref().is_some_and(|problem| problem.starts_with("credential: "))
    }
}

/// A running double.
#[derive(Debug)]
pub(crate) struct Double {
    origin: Origin,
    verdicts: Arc<Mutex<Vec<Verdict>>>,
}

impl Double {
    /// Starts it. `never` are texts that must not stand in a request: what a client shows where the credential goes.
    pub(crate) async fn start(ca: &TestCa, proof: &Proof, never: Vec<String>) -> Self {
        let verdicts: Arc<Mutex<Vec<Verdict>>> = Arc::default();
        let (recorded, judging) = (verdicts.clone(), Arc::new((proof.clone(), never)));
        let answering = handler(move |request| {
            let (recorded, judging) = (recorded.clone(), judging.clone());
            async move {
                let (head, body) = request.into_parts();
                let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
                let asked = Asked { head: Arc::new(head), body };
                let (proof, never) = &*judging;
                let (verdict, answer) = judge(proof, never, asked);
                recorded.lock().unwrap().push(verdict);
                respond(answer)
            }
        });
        let origin = match proof.cleartext {
            true => Origin::start_cleartext(answering).await,
            false => Origin::start(ca, &proof.hosts(), &["h2", "http/1.1"], answering).await,
        };
        Self { origin, verdicts }
    }

    /// Where it is on loopback.
    pub(crate) fn port(&self) -> u16 {
        self.origin.port()
    }

    /// What it was asked since it was asked this last; all of it was taken.
    #[track_caller]
    pub(crate) fn take_good(&self, what: &str) -> Vec<Verdict> {
        let verdicts = self.take();
        let refused: Vec<&Verdict> = verdicts.iter().filter(|verdict| verdict.problem.is_some()).collect();
        assert!(refused.is_empty(), "{what}: the double refused {refused:#?}");
        verdicts
    }

    /// What it was asked since it was asked this last.
    pub(crate) fn take(&self) -> Vec<Verdict> {
        std::mem::take(&mut self.verdicts.lock().unwrap())
    }
}

fn respond(answer: Answer) -> Response<OriginBody> {
    let mut response = Response::new(full(answer.body));
    *response.status_mut() = answer.status;
    for (name, value) in answer.headers {
        let name: http::HeaderName = name.parse().unwrap();
        response.headers_mut().append(name, value.parse().unwrap());
    }
    response
}

fn judge(proof: &Proof, never: &[String], asked: Asked) -> (Verdict, Answer) {
    let target = Target::of(&asked);
    let fits = |route: &&Route| route.method == asked.head.method.as_str() && target.fits(proof, route);
    let Some(route) = proof.routes.iter().find(fits) else {
        let call = format!("{} {}{}", asked.head.method, target.host, target.path);
        let problem = Some("request: the API has no such call".to_owned());
        return (Verdict { call, problem }, Answer::json(404, &serde_json::json!({"message": "Not Found"})));
    };
    let credential = credential_problem(proof, route, never, &target, &asked);
    let problem = credential.map(|problem| (format!("credential: {problem}"), proof.refusal.clone())).or_else(|| {
        request_problem(route, &target, &asked).map(|problem| (format!("request: {problem}"), bad_request()))
    });
    match problem {
        Some((problem, answer)) => (Verdict { call: route.name(), problem: Some(problem) }, answer),
        None => (Verdict { call: route.name(), problem: None }, (route.answer.0)(asked)),
    }
}

fn bad_request() -> Answer {
    Answer::json(400, &serde_json::json!({"message": "Bad Request"}))
}

/// Where a request goes.
struct Target {
    host: String,
    path: String,
    query: Vec<(String, String)>,
}

impl Target {
    fn of(asked: &Asked) -> Self {
        let uri = &asked.head.uri;
        let host = uri.host().map(str::to_owned).or_else(|| {
            let host = asked.head.headers.get("host")?.to_str().ok()?;
            Some(name_of(host).to_owned())
        });
        let decode = |text: &str| percent_decoded(text);
        let pairs = uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
        let query = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        Self {
            host: host.unwrap_or_default(),
            path: uri.path().to_owned(),
            query: query.map(|(name, value)| (decode(name), decode(value))).collect(),
        }
    }

    /// Whether host and path are the route's. What stands where the path holds the credential is judged later.
    fn fits(&self, proof: &Proof, route: &Route) -> bool {
        if self.host != name_of(route.host) {
            return false;
        }
        let (mut wanted, mut written) = (route.path.split('/'), self.path.split('/'));
        loop {
            match (wanted.next(), written.next()) {
                (None, None) => return true,
                (Some("**"), Some(_)) => return true,
                (Some("*"), Some(segment)) if !segment.is_empty() => {}
                (Some(wanted), Some(segment)) => {
                    let marked = proof.keys.iter().find_map(|(field, _)| wanted.split_once(&format!("{{{field}}}")));
                    let same = match marked {
                        Some((before, after)) => segment.starts_with(before) && segment.ends_with(after),
                        None => wanted == segment,
                    };
                    if !same {
                        return false;
                    }
                }
                _ => return false,
            }
        }
    }
}

/// What is wrong with the credential.
fn credential_problem(
    proof: &Proof,
    route: &Route,
    never: &[String],
    target: &Target,
    asked: &Asked,
) -> Option<String> {
    let headers = &asked.head.headers;
    let said = readable(asked);
    if let Some((place, _)) = said.iter().find(|(_, text)| never.iter().any(|never| text.contains(never.as_str()))) {
        return Some(format!("what the client shows of its own stands in {place}"));
    }
    let wrong = route.key.iter().find_map(|place| place_problem(proof, place, target, asked));
    if wrong.is_some() {
        return wrong;
    }
    let expects = |name: &str| {
        route.key.iter().any(|place| match place {
            Place::Header(header, _) | Place::Issued(header, _) => *header == name,
            Place::Basic(_) => name == AUTHORIZATION.as_str(),
            Place::Path(_) | Place::Body(_) => false,
        })
    };
    if let Some(name) = CREDENTIALS.iter().find(|name| headers.contains_key(**name) && !expects(name)) {
        return Some(format!("`{name}` is present too"));
    }
    for (field, value) in &proof.keys {
        let wanted = route.key.iter().filter(|place| place.text().contains(&format!("{{{field}}}"))).count();
        let found: usize = said.iter().map(|(_, text)| text.matches(value.as_str()).count()).sum();
        if found != wanted {
            return Some(format!("`{field}` stands in {found} places instead of {wanted}"));
        }
    }
    None
}

fn place_problem(proof: &Proof, place: &Place, target: &Target, asked: &Asked) -> Option<String> {
    let filled = proof
        .keys
        .iter()
        .fold(place.text().to_owned(), |text, (field, value)| text.replace(&format!("{{{field}}}"), value));
    match place {
        Place::Header(name, _) => header_problem(&asked.head.headers, name, &filled),
        Place::Issued(name, _) if !asked.head.headers.contains_key(*name) => None,
        Place::Issued(name, _) => header_problem(&asked.head.headers, name, &filled),
        Place::Basic(_) => {
            let encoded = format!("Basic {}", STANDARD.encode(filled));
            header_problem(&asked.head.headers, AUTHORIZATION.as_str(), &encoded)
        }
        Place::Path(_) => {
            (!percent_decoded(&target.path).starts_with(&filled)).then(|| "the path holds another value".to_owned())
        }
        Place::Body(_) => (!String::from_utf8_lossy(&asked.body).contains(&filled))
            .then(|| "the body does not hold it as it should".to_owned()),
    }
}

fn header_problem(headers: &HeaderMap, name: &str, expected: &str) -> Option<String> {
    let values: Vec<&[u8]> = headers.get_all(name).iter().map(http::HeaderValue::as_bytes).collect();
    let scheme = |value: &[u8]| {
        let text = String::from_utf8_lossy(value).into_owned();
        text.split_once(' ').map(|(scheme, _)| scheme.to_ascii_lowercase())
    };
    match values.as_slice() {
        [] => Some(format!("`{name}` is absent")),
        [value] if *value == expected.as_bytes() => None,
        [value] if scheme(value) != scheme(expected.as_bytes()) => Some(format!("`{name}` has another scheme")),
        [_] => Some(format!("`{name}` has another value")),
        _ => Some(format!("`{name}` stands there twice")),
    }
}

/// What is wrong with the rest.
fn request_problem(route: &Route, target: &Target, asked: &Asked) -> Option<String> {
    for (name, expected) in &route.query {
        let right = |(written, value): &(String, String)| written == name && agrees(value, expected);
        if !target.query.iter().any(right) {
            return Some(format!("the query lacks `{name}={expected}`"));
        }
    }
    for (name, expected) in &route.headers {
        let mut values = asked.head.headers.get_all(*name).iter();
        if !values.any(|value| agrees(&String::from_utf8_lossy(value.as_bytes()), expected)) {
            return Some(format!("`{name}: {expected}` is absent"));
        }
    }
    let body = String::from_utf8_lossy(&asked.body);
    route.body.iter().find(|text| !body.contains(**text)).map(|text| format!("the body lacks `{text}`: {body}"))
}

fn agrees(value: &str, expected: &str) -> bool {
    match expected.strip_suffix('*') {
        Some(beginning) => value.starts_with(beginning),
        None => value == expected,
    }
}

/// All places of a request, each as it can be read: escapes and basic authentication undone.
fn readable(asked: &Asked) -> Vec<(String, String)> {
    let head = &asked.head;
    let mut all = vec![
        ("the URL".to_owned(), percent_decoded(&head.uri.to_string())),
        ("the body".to_owned(), String::from_utf8_lossy(&asked.body).into_owned()),
    ];
    for (name, value) in &head.headers {
        let text = String::from_utf8_lossy(value.as_bytes()).into_owned();
        let basic = text.strip_prefix("Basic ").or_else(|| text.strip_prefix("basic "));
        let decoded = basic.and_then(|encoded| STANDARD.decode(encoded.trim()).ok());
        let text = decoded.map_or(text.clone(), |bytes| String::from_utf8_lossy(&bytes).into_owned());
        all.push((format!("`{name}`"), text));
    }
    all
}

fn percent_decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut decoded, mut at) = (Vec::new(), 0);
    while let Some(byte) = bytes.get(at) {
        let escape = (*byte == b'%').then(|| text.get(at + 1..at + 3)).flatten();
        let value = escape.and_then(|hex| u8::from_str_radix(hex, 16).ok());
        decoded.push(value.unwrap_or(*byte));
        at += if value.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&decoded).into_owned()
}
