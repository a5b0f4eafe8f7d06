//! GitHub's API as it is published, as far as a GitHub App uses it: "Generating a JSON Web Token for a GitHub App",
//! "Create an installation access token for an app", "Get a repository/organization/user installation for the
//! authenticated app" and "Revoke an installation access token". What is not in the documentation is refused.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, RsaKeyPair, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use claviger_tests::origin::{Origin, OriginBody, full, handler};
use claviger_tests::peers::ca::TestCa;
use http::{Method, Request, Response};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde_json::{Value, json};

/// The App's client id and number, and its installation.
pub(crate) const CLIENT_ID: &str = "Iv23liTest";
pub(crate) const APP_ID: u64 = 4711;
pub(crate) const INSTALLATION: u64 = 99;
const OWNER: &str = "acme";
pub(crate) const ORGANISATION: &str = "acme-corp";

/// A running GitHub with one App, installed on `acme` for three repositories.
#[derive(Clone)]
pub(crate) struct GitHub {
    origin: Origin,
    state: Arc<State>,
    /// The App's private key, in PEM.
    pub(crate) pem: String,
}

struct State {
    public: Vec<u8>,
    tokens: Mutex<Vec<Token>>,
    /// Bodies of what was asked for, and what was wrong with calls.
    asked: Mutex<Vec<Value>>,
    refused: Mutex<Vec<String>>,
    /// How many tokens end at once, by how much more they may, and so on.
    trouble: Mutex<Option<Trouble>>,
}

/// What goes wrong at GitHub.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// Tokens may write what was asked to be read.
    Wider,
    /// Tokens are for more repositories than were asked for.
    More,
    /// Tokens are for all repositories.
    All,
    /// 503.
    Down,
}

#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub(crate) value: String,
    pub(crate) repositories: Option<Vec<String>>,
    pub(crate) permissions: BTreeMap<String, String>,
    pub(crate) revoked: bool,
}

/// What the App may at `acme`.
fn granted() -> BTreeMap<String, String> {
    [("contents", "write"), ("issues", "write"), ("metadata", "read")].map(|(a, b)| (a.to_owned(), b.to_owned())).into()
}

fn repositories() -> [(i64, &'static str); 3] {
    [(1, "docs"), (2, "site"), (3, "secrets")]
}

impl GitHub {
    pub(crate) async fn start(ca: &TestCa) -> Self {
        let pair = RsaKeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap();
        let pkcs8: Pkcs8V1Der<'_> = pair.as_der().unwrap();
        let encoded = STANDARD.encode(pkcs8.as_ref());
        let lines: Vec<&str> =
            (0..encoded.len()).step_by(64).map(|at| &encoded[at..encoded.len().min(at + 64)]).collect();
        let pem = format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", lines.join("\n"));
        let state = Arc::new(State {
            public: pair.public_key().as_ref().to_vec(),
            tokens: Mutex::default(),
            asked: Mutex::default(),
            refused: Mutex::default(),
            trouble: Mutex::default(),
        });
        let serving = state.clone();
        let answering = handler(move |request: Request<Incoming>| {
            let state = serving.clone();
            async move {
                let (head, body) = request.into_parts();
                let body = body.collect().await.unwrap().to_bytes();
                state.answer(&head, &body)
            }
        });
        let origin = Origin::start(ca, &["api.github.test", "127.0.0.1"], &["http/1.1"], answering).await;
        Self { origin, state, pem }
    }

    pub(crate) fn port(&self) -> u16 {
        self.origin.port()
    }

    pub(crate) fn tokens(&self) -> Vec<Token> {
        self.state.tokens.lock().unwrap().clone()
    }

    pub(crate) fn asked(&self) -> Vec<Value> {
        self.state.asked.lock().unwrap().clone()
    }

    pub(crate) fn refused(&self) -> Vec<String> {
        self.state.refused.lock().unwrap().clone()
    }

    pub(crate) fn trouble(&self, trouble: Option<Trouble>) {
        *self.state.trouble.lock().unwrap() = trouble;
    }
}

fn answer(status: u16, body: &Value) -> Response<OriginBody> {
    let body = if body.is_null() { full("") } else { full(body.to_string()) };
    Response::builder().status(status).header("content-type", "application/json").body(body).unwrap()
}

/// Repositories, by number and name; `None`: all.
type Selected = Option<Vec<(i64, &'static str)>>;

impl State {
    fn refuse(&self, status: u16, why: impl Into<String>) -> Response<OriginBody> {
        let why = why.into();
        self.refused.lock().unwrap().push(why.clone());
        // As GitHub's errors look; a secret that an answer repeats must be in nothing that Claviger says.
        answer(
            status,
            &json!({"message": why, "documentation_url": "https://docs.github.com/rest", "status": status.to_string()}),
        )
    }

    fn answer(&self, head: &http::request::Parts, body: &[u8]) -> Response<OriginBody> {
        if *self.trouble.lock().unwrap() == Some(Trouble::Down) {
            return self.refuse(503, "Service unavailable");
        }
        let header = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if header("user-agent").is_empty() {
            return self.refuse(
                403,
                "Request forbidden by administrative rules. Please make sure your request has a User-Agent header",
            );
        }
        let Some(bearer) = header("authorization").strip_prefix("Bearer ") else {
            return self.refuse(401, "Requires authentication");
        };
        let path: Vec<&str> = head.uri.path().trim_start_matches('/').split('/').collect();
        let is_apps = matches!(path.as_slice(), ["app", ..] | [.., "installation"]);
        if is_apps {
            if header("accept") != "application/vnd.github+json" || header("x-github-api-version") != "2022-11-28" {
                return self.refuse(400, "not the media type and version that the documentation says");
            }
            if let Err(why) = self.check_jwt(bearer) {
                return self.refuse(401, why);
            }
        }
        if head.method == Method::POST && path.first() == Some(&"app") && header("content-type") != "application/json" {
            return self.refuse(415, "Unsupported 'Content-Type', must be: application/json");
        }
        if head.uri.query().is_some() {
            return self.refuse(400, "none of these calls has a query");
        }
        let installation =
            json!({"id": INSTALLATION, "app_id": APP_ID, "account": {"login": OWNER}, "suspended_at": null});
        match (&head.method, path.as_slice()) {
            (&Method::GET, ["orgs", ORGANISATION, "installation"]) => answer(200, &installation),
            (&Method::GET, ["repos", OWNER, name, "installation"])
                if repositories().iter().any(|(_, known)| known == name) =>
            {
                answer(200, &installation)
            }
            // An organisation is no user, and the other way round.
            (&Method::GET, ["users", OWNER, "installation"]) => answer(200, &installation),
            (&Method::POST, ["app", "installations", id, "access_tokens"]) if *id == INSTALLATION.to_string() => {
                self.mint(body)
            }
            (&Method::DELETE, ["installation", "token"]) => {
                let mut tokens = self.tokens.lock().unwrap();
                match tokens.iter_mut().find(|token| token.value == bearer && !token.revoked) {
                    Some(token) => {
                        token.revoked = true;
                        answer(204, &Value::Null)
                    }
                    None => answer(401, &json!({"message": "Bad credentials"})),
                }
            }
            (method, ["repos", OWNER, name, what, ..]) => self.use_token(bearer, method, name, what),
            _ => self.refuse(404, "Not Found"),
        }
    }

    /// RS256 by the App's key, `iat` in the past, `exp` ten minutes after it at most and in the future, `iss` the App.
    fn check_jwt(&self, token: &str) -> Result<(), String> {
        let parts: Vec<&str> = token.split('.').collect();
        let [header, claims, signature] = parts.as_slice() else {
            return Err("A JSON web token could not be decoded".into());
        };
        let read = |text: &str| -> Option<Value> { serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok() };
        let (Some(head), Some(said)) = (read(header), read(claims)) else { return Err("no JSON".into()) };
        if head != json!({"alg": "RS256", "typ": "JWT"}) {
            return Err("the header is that of RS256, and nothing more".into());
        }
        let mut names: Vec<&String> = said.as_object().map(|claims| claims.keys().collect()).unwrap_or_default();
        names.sort_unstable();
        if names != ["exp", "iat", "iss"] {
            return Err(format!("the claims are exp, iat and iss, not {names:?}"));
        }
        let signed = format!("{header}.{claims}");
        let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &self.public);
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| "no base64url")?;
        key.verify(signed.as_bytes(), &signature).map_err(|_| "A JSON web token could not be decoded")?;
        let now = i64::try_from(std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs())
            .unwrap();
        let (Some(iat), Some(exp)) = (said["iat"].as_i64(), said["exp"].as_i64()) else {
            return Err("iat and exp".into());
        };
        // "60 seconds in the past" is what the documentation recommends; more is nobody's clock.
        if iat > now || now - iat > 120 {
            return Err(
                "'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued"
                    .into(),
            );
        }
        if exp <= now || exp - iat > 600 {
            return Err("'Expiration time' claim ('exp') is too far in the future".into());
        }
        if said["iss"] != CLIENT_ID && said["iss"] != json!(APP_ID.to_string()) {
            return Err("Integration not found".into());
        }
        Ok(())
    }

    /// The repositories that are asked for, by names or by numbers; `Err`: what is said of a request that names others.
    fn selected(asked: &serde_json::Map<String, Value>) -> Result<Selected, &'static str> {
        let find = |key: &str, is: fn(&Value, &(i64, &'static str)) -> bool| {
            let list = asked.get(key)?.as_array().unwrap();
            Some(
                list.iter()
                    .map(|one| repositories().into_iter().find(|known| is(one, known)))
                    .collect::<Option<Vec<_>>>(),
            )
        };
        let names = find("repositories", |name, (_, known)| name == known);
        let ids = find("repository_ids", |id, (known, _)| id == known);
        match (names, ids) {
            (Some(_), Some(_)) => Err("repositories and repository_ids are not written together"),
            (Some(Some(some)), None) | (None, Some(Some(some))) => Ok(Some(some)),
            (None, None) => Ok(None),
            _ => Err(
                "There is at least one repository that does not exist or is not accessible to the parent installation.",
            ),
        }
    }

    fn mint(&self, body: &[u8]) -> Response<OriginBody> {
        let Ok(Value::Object(asked)) = serde_json::from_slice::<Value>(body) else {
            return self.refuse(400, "Problems parsing JSON");
        };
        self.asked.lock().unwrap().push(Value::Object(asked.clone()));
        if let Some(unknown) =
            asked.keys().find(|key| !["repositories", "repository_ids", "permissions"].contains(&key.as_str()))
        {
            return self.refuse(422, format!("`{unknown}` is not a permitted key"));
        }
        let mut selected = match Self::selected(&asked) {
            Ok(selected) => selected,
            Err(why) => return self.refuse(422, why),
        };
        let mut permissions = granted();
        if let Some(wanted) = asked.get("permissions") {
            let rank = |level: &str| ["read", "write", "admin"].iter().position(|known| *known == level);
            permissions = [("metadata".to_owned(), "read".to_owned())].into();
            for (name, level) in wanted.as_object().unwrap() {
                let level = level.as_str().unwrap();
                if granted().get(name).is_none_or(|had| rank(level).is_none() || rank(level) > rank(had)) {
                    return self.refuse(422, "The permissions requested are not granted to this installation.");
                }
                permissions.insert(name.clone(), level.to_owned());
            }
        }
        match *self.trouble.lock().unwrap() {
            Some(Trouble::Wider) => permissions = granted(),
            Some(Trouble::More) => selected = Some(repositories().to_vec()),
            Some(Trouble::All) => selected = None,
            Some(Trouble::Down) | None => {}
        }
        let value = token();
        let list = selected.as_ref().map(|some| some.iter().map(|(_, name)| (*name).to_owned()).collect::<Vec<_>>());
        self.tokens.lock().unwrap().push(Token {
            value: value.clone(),
            repositories: list,
            permissions: permissions.clone(),
            revoked: false,
        });
        let mut made = json!({
            "token": value, "expires_at": expires(), "permissions": permissions,
            "repository_selection": if selected.is_some() { "selected" } else { "all" },
        });
        if let Some(some) = selected {
            made["repositories"] = some
                .iter()
                .map(|(id, name)| json!({"id": id, "name": name, "full_name": format!("{OWNER}/{name}")}))
                .collect();
        }
        answer(201, &made)
    }

    fn use_token(&self, bearer: &str, method: &Method, name: &str, what: &str) -> Response<OriginBody> {
        let tokens = self.tokens.lock().unwrap();
        let Some(token) = tokens.iter().find(|token| token.value == bearer && !token.revoked) else {
            return answer(401, &json!({"message": "Bad credentials"}));
        };
        if token.repositories.as_ref().is_some_and(|some| !some.iter().any(|known| known == name)) {
            return answer(404, &json!({"message": "Not Found"}));
        }
        let wanted = if method == Method::GET { "read" } else { "write" };
        let had = token.permissions.get(what).map_or("", String::as_str);
        if had == "write" || had == wanted {
            return answer(200, &json!({"repository": name, "did": format!("{method} {what}")}));
        }
        answer(403, &json!({"message": "Resource not accessible by integration"}))
    }
}

/// A token, as GitHub's look.
fn token() -> String {
    let mut random = [0; 18];
    aws_lc_rs::rand::fill(&mut random).unwrap();
    format!("ghs_{}", URL_SAFE_NO_PAD.encode(random).replace(['-', '_'], "x"))
}

/// In an hour, as GitHub writes it.
fn expires() -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let at = time::OffsetDateTime::from_unix_timestamp(i64::try_from(now).unwrap() + 3_600).unwrap();
    let (date, time) = (at.date(), at.time());
    let month = u8::from(date.month());
    format!(
        "{}-{month:02}-{:02}T{:02}:{:02}:{:02}Z",
        date.year(),
        date.day(),
        time.hour(),
        time.minute(),
        time.second()
    )
}
