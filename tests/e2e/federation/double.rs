//! The doubles of Anthropic, OpenAI and OpenRouter: a token endpoint and an API that takes what it gave out, and only that.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as B64;
use claviger_tests::Origin;
use claviger_tests::origin::{OriginBody, full, handler};
use claviger_tests::peers::TestCa;
use http::{HeaderMap, Response};
use http_body_util::BodyExt;
use serde_json::{Value, json};

/// What one provider wants, by its documents.
#[derive(Clone, Debug)]
pub(crate) struct Wants {
    /// Where its token endpoint and its API are.
    pub(crate) hosts: &'static [&'static str],
    pub(crate) token_path: &'static str,
    pub(crate) content_type: &'static str,
    /// Of the request of a token: all, and no more; `None` for the subject token.
    pub(crate) fields: &'static [(&'static str, Option<&'static str>)],
    /// Headers that the request has besides.
    pub(crate) headers: &'static [(&'static str, &'static str)],
    /// `aud` of the subject token.
    pub(crate) audience: &'static str,
    /// Whether a `jti` is taken once.
    pub(crate) single_use: bool,
    /// Members that a header of an API call has.
    pub(crate) api: &'static [(&'static str, &'static str)],
    pub(crate) prefix: &'static str,
    pub(crate) expires_in: i64,
    /// What the answer has beside what every one has.
    pub(crate) more: &'static [(&'static str, &'static str)],
}

/// What is trusted, and what was given out.
#[derive(Debug, Default)]
struct Book {
    /// The issuer's URL and its key set.
    issuer: String,
    keys: Value,
    used: HashSet<String>,
    /// Tokens with whom they act for.
    tokens: HashMap<String, String>,
    refused: Vec<String>,
    exchanges: usize,
}

#[derive(Clone)]
pub(crate) struct Double {
    origin: Origin,
    book: Arc<Mutex<Book>>,
}

impl Double {
    pub(crate) async fn start(ca: &TestCa, wants: Wants) -> Self {
        let book: Arc<Mutex<Book>> = Arc::default();
        let (shared, wanted) = (book.clone(), wants.clone());
        let answering = handler(move |request| {
            let (book, wants) = (shared.clone(), wanted.clone());
            async move {
                let (head, body) = request.into_parts();
                let body = body.collect().await.unwrap().to_bytes();
                if head.uri.path() == wants.token_path && head.method == "POST" {
                    return token(&wants, &mut book.lock().unwrap(), &head.headers, &body);
                }
                api(&wants, &mut book.lock().unwrap(), head.uri.path(), &head.headers)
            }
        });
        let mut names = wants.hosts.to_vec();
        names.push("127.0.0.1");
        Self { origin: Origin::start(ca, &names, &["http/1.1"], answering).await, book }
    }

    pub(crate) fn port(&self) -> u16 {
        self.origin.port()
    }

    /// Registers the issuer, as an administrator does.
    pub(crate) fn trust(&self, issuer: &str, keys: &str) {
        let mut book = self.book.lock().unwrap();
        (book.issuer, book.keys) = (issuer.to_owned(), serde_json::from_str(keys).unwrap());
    }

    /// Ends all tokens that it gave out.
    pub(crate) fn forget(&self) {
        self.book.lock().unwrap().tokens.clear();
    }

    pub(crate) fn exchanges(&self) -> usize {
        self.book.lock().unwrap().exchanges
    }

    /// For whom it gave out tokens.
    pub(crate) fn subjects(&self) -> Vec<String> {
        let mut all: Vec<_> = self.book.lock().unwrap().tokens.values().cloned().collect();
        all.sort();
        all
    }

    /// Every token that it gave out and still takes.
    pub(crate) fn tokens(&self) -> Vec<String> {
        self.book.lock().unwrap().tokens.keys().cloned().collect()
    }

    /// Why it refused, since it was asked this last.
    pub(crate) fn refused(&self) -> Vec<String> {
        std::mem::take(&mut self.book.lock().unwrap().refused)
    }

    /// The headers of calls of the API so far.
    pub(crate) fn calls(&self) -> Vec<HeaderMap> {
        let seen = self.origin.seen().into_iter().filter(|seen| !seen.uri.path().ends_with("/oauth/token"));
        seen.map(|seen| seen.headers).collect()
    }
}

fn answer(status: u16, body: &Value) -> Response<OriginBody> {
    let mut response = Response::new(full(body.to_string()));
    *response.status_mut() = status.try_into().unwrap();
    response.headers_mut().insert("content-type", "application/json".parse().unwrap());
    response
}

fn token(wants: &Wants, book: &mut Book, headers: &HeaderMap, body: &[u8]) -> Response<OriginBody> {
    book.exchanges += 1;
    match exchange(wants, book, headers, body) {
        Ok(subject) => {
            let token = format!("{}{:032x}", wants.prefix, book.exchanges);
            book.tokens.insert(token.clone(), subject);
            let mut said = json!({"access_token": token, "token_type": "Bearer", "expires_in": wants.expires_in});
            for (name, value) in wants.more {
                said[*name] = json!(value);
            }
            answer(200, &said)
        }
        Err((code, why)) => {
            book.refused.push(format!("{code}: {why}"));
            // As the documents have it: a text for people beside the code, which must not be shown.
            answer(if code == "invalid_grant" { 401 } else { 400 }, &json!({"error": code, "error_description": why}))
        }
    }
}

type Refusal = (&'static str, String);

/// Every check of a request for a token; yields whom it is for.
fn exchange(wants: &Wants, book: &mut Book, headers: &HeaderMap, body: &[u8]) -> Result<String, Refusal> {
    let bad = |why: String| ("invalid_request", why);
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if header("content-type") != wants.content_type || !header("authorization").is_empty() {
        return Err(bad(format!("content-type `{}`, or an Authorization", header("content-type"))));
    }
    for (name, value) in wants.headers {
        if header(name) != *value {
            return Err(bad(format!("header `{name}` is `{}`", header(name))));
        }
    }
    let fields: BTreeMap<String, String> = match wants.content_type {
        "application/json" => serde_json::from_slice(body).map_err(|error| bad(error.to_string()))?,
        _ => {
            let url = format!("http://form.test/?{}", String::from_utf8_lossy(body));
            reqwest::Url::parse(&url).unwrap().query_pairs().into_owned().collect()
        }
    };
    let mut assertion = None;
    for (name, expected) in wants.fields {
        let value = fields.get(*name).ok_or_else(|| bad(format!("`{name}` is missing")))?;
        match expected {
            Some(expected) if value != expected => return Err(bad(format!("`{name}` is `{value}`"))),
            Some(_) => {}
            None => assertion = Some(value.clone()),
        }
    }
    if fields.len() != wants.fields.len() {
        return Err(bad(format!("unknown fields among {:?}", fields.keys())));
    }
    verify(wants, book, &assertion.unwrap()).map_err(|why| ("invalid_grant", why))
}

/// The token's signature, by the key that it names, and all its claims.
fn verify(wants: &Wants, book: &mut Book, token: &str) -> Result<String, String> {
    let parts: Vec<&str> = token.split('.').collect();
    let [head, claims, signature] = parts[..] else { return Err("it is no JWT".to_owned()) };
    let decode = |part: &str| B64.decode(part).map_err(|error| error.to_string());
    let json = |part: &str| serde_json::from_slice::<Value>(&decode(part)?).map_err(|error| error.to_string());
    let (head, said) = (json(head)?, json(claims)?);
    let keys = book.keys["keys"].as_array().cloned().unwrap_or_default();
    let key = keys.iter().find(|key| key["kid"] == head["kid"]).ok_or("the key is not known")?;
    if head["alg"] != "ES256" || key["crv"] != "P-256" {
        return Err(format!("alg {} with {}", head["alg"], key["crv"]));
    }
    let coordinate = |name: &str| decode(key[name].as_str().unwrap_or_default());
    let point = [vec![4], coordinate("x")?, coordinate("y")?].concat();
    let signed = token.rsplit_once('.').unwrap().0;
    let verified =
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(signed.as_bytes(), &decode(signature)?);
    verified.map_err(|_| "the signature does not hold")?;
    let now = i64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_secs()).unwrap();
    let (issued, ends) = (said["iat"].as_i64().ok_or("no iat")?, said["exp"].as_i64().ok_or("no exp")?);
    if said["iss"] != book.issuer.as_str() {
        return Err(format!("iss {}", said["iss"]));
    }
    let is_meant =
        said["aud"] == wants.audience || said["aud"].as_array().is_some_and(|all| all.contains(&json!(wants.audience)));
    if !is_meant {
        return Err(format!("aud {}", said["aud"]));
    }
    if ends <= now || issued > now + 60 || ends - issued > 3_600 {
        return Err(format!("iat {issued}, exp {ends}, now {now}"));
    }
    let jti = said["jti"].as_str().unwrap_or_default();
    if wants.single_use && !jti.is_empty() && !book.used.insert(jti.to_owned()) {
        return Err("the jti was used before".to_owned());
    }
    Ok(said["sub"].as_str().ok_or("no sub")?.to_owned())
}

/// The API: a Bearer token that was given out, and no other credential beside it.
fn api(wants: &Wants, book: &mut Book, path: &str, headers: &HeaderMap) -> Response<OriginBody> {
    let shown: Vec<_> = headers.get_all("authorization").iter().filter_map(|value| value.to_str().ok()).collect();
    let token = match shown[..] {
        [one] => one.strip_prefix("Bearer ").unwrap_or_default(),
        _ => "",
    };
    let has = |(name, member): &(&str, &str)| {
        let lines: Vec<_> = headers.get_all(*name).iter().map(|line| line.to_str().unwrap()).collect();
        lines.len() == 1 && lines[0].split(',').filter(|one| one.trim() == *member).count() == 1
    };
    if !wants.api.iter().all(has) || !book.tokens.contains_key(token) || headers.contains_key("x-api-key") {
        book.refused.push(format!("api: {shown:?}"));
        return answer(401, &json!({"type": "error", "error": {"type": "authentication_error", "message": "invalid"}}));
    }
    answer(
        200,
        &match path {
            path if path.ends_with("/models") => {
                json!({"object": "list", "data": [], "has_more": false, "first_id": null, "last_id": null})
            }
            "/v1/messages" => json!({
                "id": "msg_1", "type": "message", "role": "assistant", "model": "m", "stop_reason": "end_turn", "stop_sequence": null,
                "content": [{"type": "text", "text": "hello"}], "usage": {"input_tokens": 1, "output_tokens": 1},
            }),
            _ => json!({
                "id": "c_1", "object": "chat.completion", "created": 1, "model": "m",
                "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "hello"}}],
            }),
        },
    )
}
