//! What the proof of a preset is made of: the calls that the real API takes, how it refuses a wrong key, and the clients
//! that make these calls. Taken from the API's own documentation, never from the preset.

use std::sync::Arc;

use bytes::Bytes;
use claviger_tests::canary;
use http::StatusCode;
use serde_json::Value;

/// A preset, shown to fit its service.
#[derive(Clone, Debug)]
pub(crate) struct Proof {
    /// The preset's name.
    pub(crate) preset: &'static str,
    /// What is injected, by the name of the credential's field; the only value of a credential is called `key`.
    pub(crate) keys: Vec<(&'static str, String)>,
    /// The calls that the API takes.
    pub(crate) routes: Vec<Route>,
    /// What it answers to a wrong key.
    pub(crate) refusal: Answer,
    /// Who calls it.
    pub(crate) drivers: Vec<Driver>,
    /// Whether it is reached in clear text.
    pub(crate) cleartext: bool,
    /// More keys of the service, as the preset's page says that its users have to write them.
    pub(crate) settings: &'static str,
    /// Keys of the service with which `check` works, where it needs more than the preset has.
    pub(crate) probed_with: &'static str,
    /// A named set of operations, with a request in it and one that is not.
    pub(crate) sets: Vec<(&'static str, &'static str, &'static str)>,
}

/// One call that the API takes.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    pub(crate) method: &'static str,
    pub(crate) host: &'static str,
    /// `*` is a segment, `**` at the end is all that follows, `{key}` the credential.
    pub(crate) path: &'static str,
    /// Parameters that have to stand in the query.
    pub(crate) query: Vec<(&'static str, &'static str)>,
    /// Headers that the API demands; a value that ends in `*` is its beginning.
    pub(crate) headers: Vec<(&'static str, &'static str)>,
    /// Texts that have to stand in the body.
    pub(crate) body: Vec<&'static str>,
    /// Where the credential stands: in all of these, and nowhere else.
    pub(crate) key: Vec<Place>,
    pub(crate) answer: Answering,
}

/// Where a credential stands. A text holds `{key}`, or the name of another field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Header(&'static str, &'static str),
    /// User and password of basic authentication.
    Basic(&'static str),
    /// In the path, as the route's own says.
    Path(&'static str),
    Body(&'static str),
    /// A header that is not there, or holds what the service itself has issued.
    Issued(&'static str, &'static str),
}

/// An answer of the API.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Bytes,
}

/// A request, whole.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) head: Arc<http::request::Parts>,
    pub(crate) body: Bytes,
}

type Answers = Arc<dyn Fn(Asked) -> Answer + Send + Sync>;

/// Always the same, or made of the request.
#[derive(Clone)]
pub(crate) struct Answering(pub(crate) Answers);

impl std::fmt::Debug for Answering {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Answering")
    }
}

/// A client: a script of `tests/peers/clients/presets`.
#[derive(Clone, Debug)]
pub(crate) struct Driver {
    /// Its extension says what runs it: `.py`, `.mjs`, `.sh`.
    pub(crate) script: &'static str,
    /// Further variables, as an application has them for itself: the name of a deployment, say.
    pub(crate) env: Vec<(&'static str, &'static str)>,
    /// What it has to call, as `METHOD host/path` of a route; all of it.
    pub(crate) calls: Vec<String>,
}

impl Proof {
    /// Of a service with one credential that looks like `shape` (`{}` is what makes it unique).
    pub(crate) fn new(preset: &'static str, shape: &str) -> Self {
        Self {
            preset,
            keys: vec![("key", shaped(shape))],
            routes: Vec::new(),
            refusal: Answer::json(401, &Value::Null),
            drivers: Vec::new(),
            cleartext: false,
            settings: "",
            probed_with: "",
            sets: Vec::new(),
        }
    }

    /// Of a service whose credential has several fields.
    pub(crate) fn of_fields(preset: &'static str, fields: &[(&'static str, &str)]) -> Self {
        let keys = fields.iter().map(|(field, shape)| (*field, shaped(shape))).collect();
        Self { keys, ..Self::new(preset, "{}") }
    }

    /// What the API says to a wrong key.
    pub(crate) fn refuses(self, status: u16, body: &Value) -> Self {
        Self { refusal: Answer::json(status, body), ..self }
    }

    /// As [`refuses`](Self::refuses), with another answer.
    pub(crate) fn refuses_with(self, refusal: Answer) -> Self {
        Self { refusal, ..self }
    }

    pub(crate) fn route(mut self, route: Route) -> Self {
        self.routes.push(route);
        self
    }

    /// A client that makes all calls of the routes that stand before it and that no client before it makes.
    pub(crate) fn driver(self, script: &'static str) -> Self {
        self.driver_with(script, &[])
    }

    /// As [`driver`](Self::driver), with further variables.
    pub(crate) fn driver_with(mut self, script: &'static str, env: &[(&'static str, &'static str)]) -> Self {
        let taken: Vec<&String> = self.drivers.iter().flat_map(|driver| &driver.calls).collect();
        let calls = self.routes.iter().map(Route::name).filter(|name| !taken.contains(&name)).collect();
        self.drivers.push(Driver { script, env: env.to_vec(), calls });
        self
    }

    /// A client that makes the same calls as the one before.
    pub(crate) fn also(self, script: &'static str) -> Self {
        self.also_with(script, &[])
    }

    /// As [`also`](Self::also), with further variables.
    pub(crate) fn also_with(mut self, script: &'static str, env: &[(&'static str, &'static str)]) -> Self {
        let calls = self.drivers.last().expect("a driver before").calls.clone();
        self.drivers.push(Driver { script, env: env.to_vec(), calls });
        self
    }

    /// Its service is reached in clear text.
    pub(crate) fn cleartext(self) -> Self {
        Self { cleartext: true, ..self }
    }

    pub(crate) fn settings(self, settings: &'static str) -> Self {
        Self { settings, ..self }
    }

    pub(crate) fn probed_with(self, probed_with: &'static str) -> Self {
        Self { probed_with, ..self }
    }

    pub(crate) fn set(mut self, name: &'static str, inside: &'static str, outside: &'static str) -> Self {
        self.sets.push((name, inside, outside));
        self
    }

    /// The names that the double answers to.
    pub(crate) fn hosts(&self) -> Vec<&'static str> {
        let requested = |request: &&'static str| request.split_once("://")?.1.split('/').next();
        let sets = self.sets.iter().flat_map(|(_, inside, outside)| [inside, outside]).filter_map(requested);
        let mut hosts: Vec<&str> = self.routes.iter().map(|route| route.host).chain(sets).map(name_of).collect();
        hosts.sort_unstable();
        hosts.dedup();
        hosts
    }
}

impl Place {
    /// As it is written in the proof.
    pub(crate) fn text(&self) -> &'static str {
        match self {
            Self::Header(_, text) | Self::Issued(_, text) => text,
            Self::Basic(text) | Self::Path(text) | Self::Body(text) => text,
        }
    }

    /// Whether it holds a field of the credential, and not something that the service itself has issued.
    pub(crate) fn holds_key(&self) -> bool {
        self.text().contains('{')
    }
}

impl Route {
    /// `call` is `METHOD host/path`. It wants the credential as a bearer token unless it is told otherwise.
    pub(crate) fn new(call: &'static str) -> Self {
        let (method, url) = call.split_once(' ').expect("METHOD host/path");
        let (host, path) = url.split_at(url.find('/').expect("a path"));
        Self {
            method,
            host,
            path,
            query: Vec::new(),
            headers: Vec::new(),
            body: Vec::new(),
            key: vec![Place::Header("authorization", "Bearer {key}")],
            answer: Answer::json(200, &serde_json::json!({})).always(),
        }
    }

    pub(crate) fn name(&self) -> String {
        format!("{} {}{}", self.method, self.host, self.path)
    }

    pub(crate) fn key(self, places: &[Place]) -> Self {
        Self { key: places.to_vec(), ..self }
    }

    pub(crate) fn query(mut self, name: &'static str, value: &'static str) -> Self {
        self.query.push((name, value));
        self
    }

    pub(crate) fn header(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.push((name, value));
        self
    }

    pub(crate) fn body(mut self, text: &'static str) -> Self {
        self.body.push(text);
        self
    }

    /// Answers 200 with this.
    pub(crate) fn json(self, body: &Value) -> Self {
        self.answer(Answer::json(200, body))
    }

    pub(crate) fn answer(self, answer: Answer) -> Self {
        Self { answer: answer.always(), ..self }
    }

    pub(crate) fn answers(self, answers: impl Fn(Asked) -> Answer + Send + Sync + 'static) -> Self {
        Self { answer: Answering(Arc::new(answers)), ..self }
    }
}

impl Answer {
    pub(crate) fn json(status: u16, body: &Value) -> Self {
        Self::new(status, "application/json", body.to_string())
    }

    pub(crate) fn new(status: u16, kind: &str, body: impl Into<Bytes>) -> Self {
        Self {
            status: StatusCode::from_u16(status).unwrap(),
            headers: vec![("content-type".to_owned(), kind.to_owned())],
            body: body.into(),
        }
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    fn always(self) -> Answering {
        Answering(Arc::new(move |_| self.clone()))
    }
}

/// A host without its port.
pub(crate) fn name_of(host: &str) -> &str {
    host.split(':').next().unwrap_or(host)
}

/// A value of that shape, unique.
fn shaped(shape: &str) -> String {
    let unique = canary::canary();
    let letters: String = unique.chars().rev().filter(char::is_ascii_alphanumeric).take(24).collect();
    shape.replace("{}", &letters)
}
