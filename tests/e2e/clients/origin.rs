//! One origin for all hosts: strict about the credential, the method and the path of each, and it answers as the client
//! understands it. What it says, nobody else knows.

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use claviger_tests::World;
use claviger_tests::origin::{Handler, Origin, OriginBody, full, handler};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use serde_json::json;
use tokio::io::AsyncWriteExt;

/// What the origin needs to answer.
pub(crate) struct Content {
    /// The credential that Claviger injects.
    pub(crate) key: String,
    /// What it says to whom it let in.
    pub(crate) said: String,
    /// A folder with the repository `notes.git`.
    pub(crate) repositories: PathBuf,
    /// `(file name, bytes)` of a wheel, an npm tarball and a crate that hold what it says.
    pub(crate) wheel: (String, Vec<u8>),
    pub(crate) tarball: Vec<u8>,
    pub(crate) krate: Vec<u8>,
    /// Requests that were not as they should be.
    pub(crate) wrong: Arc<Mutex<Vec<String>>>,
}

/// Its hosts, and the scheme by which each wants the credential.
pub(crate) const HOSTS: [&str; 11] = [
    "api.test",
    "llm.test",
    "claude.test",
    "github.test",
    "slack.test",
    "stripe.test",
    "git.test",
    "pypi.test",
    "npm.test",
    "crates.test",
    "grpc.test",
];

/// Starts it.
pub(crate) async fn start(world: &World, content: Content) -> Origin {
    Origin::start(&world.ca, &HOSTS, &["h2", "http/1.1"], serve(Arc::new(content))).await
}

fn serve(content: Arc<Content>) -> Handler {
    handler(move |request| {
        let content = content.clone();
        async move {
            let head = format!("{} {} {:?}", request.method(), request.uri(), request.headers().get("host"));
            let answer = content.answer(request).await;
            if !answer.status().is_success() {
                content.wrong.lock().unwrap().push(format!("{head}: {}", answer.status()));
            }
            answer
        }
    })
}

impl Content {
    async fn answer(&self, request: Request<Incoming>) -> Response<OriginBody> {
        let host = request
            .uri()
            .host()
            .map(str::to_owned)
            .or_else(|| Some(request.headers().get("host")?.to_str().ok()?.split(':').next()?.to_owned()));
        let host = host.unwrap_or_default();
        if !self.is_let_in(&host, request.headers()) {
            return status(StatusCode::UNAUTHORIZED);
        }
        let path = request.uri().path().to_owned();
        let is_head = request.method() == Method::HEAD;
        let answer = match (request.method(), host.as_str(), path.as_str()) {
            (_, "git.test", _) => self.git(request).await,
            (&Method::POST, "grpc.test", "/items.Items/Get") => self.grpc(),
            (&Method::GET | &Method::HEAD, "pypi.test", _) => self.pypi(&path),
            (&Method::GET, "npm.test", _) => self.npm(&path),
            (&Method::GET, "crates.test", _) => self.crates(&path),
            (&Method::GET, "api.test", "/v1/said" | "/bucket/key") => plain(self.said.clone()),
            (method, host, path) => {
                self.api(method, host, path).map_or_else(|| status(StatusCode::NOT_FOUND), json_answer)
            }
        };
        // Nothing follows the head, which h2 is strict about.
        if is_head { answer.map(|_| full("")) } else { answer }
    }

    /// Exactly one credential, in the place of this host.
    fn is_let_in(&self, host: &str, headers: &HeaderMap) -> bool {
        let (name, value) = match host {
            "claude.test" => ("x-api-key", self.key.clone()),
            "git.test" | "pypi.test" => {
                let pair =
                    base64::Engine::encode(&base64::engine::general_purpose::STANDARD, format!("x:{}", self.key));
                ("authorization", format!("Basic {pair}"))
            }
            _ => ("authorization", format!("Bearer {}", self.key)),
        };
        let other = if name == "x-api-key" { "authorization" } else { "x-api-key" };
        let mut shown = headers.get_all(name).iter();
        shown.next().is_some_and(|shown| shown.as_bytes() == value.as_bytes())
            && shown.next().is_none()
            && !headers.contains_key(other)
            && !headers.contains_key("proxy-authorization")
    }

    fn api(&self, method: &Method, host: &str, path: &str) -> Option<serde_json::Value> {
        let said = &self.said;
        Some(match (method.as_str(), host, path) {
            ("GET", "api.test", "/v1/items") => json!({"said": said}),
            ("POST", "llm.test", "/v1/chat/completions") => json!({
                "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "tiny",
                "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": said}}],
            }),
            ("POST", "claude.test", "/v1/messages") => json!({
                "id": "msg_1", "type": "message", "role": "assistant", "model": "tiny", "stop_reason": "end_turn",
                "content": [{"type": "text", "text": said}], "usage": {"input_tokens": 1, "output_tokens": 1},
            }),
            ("GET", "github.test", "/repos/acme/notes") => {
                json!({"id": 1, "name": "notes", "full_name": "acme/notes", "description": said, "url": "https://github.test/repos/acme/notes"})
            }
            ("POST", "slack.test", "/api/chat.postMessage") => {
                json!({"ok": true, "channel": "C1", "ts": "1.1", "message": {"text": said}})
            }
            ("GET", "stripe.test", "/v1/customers/cus_1") => {
                json!({"id": "cus_1", "object": "customer", "description": said})
            }
            _ => return None,
        })
    }

    /// One unary answer: five bytes of prefix, the message, and the status as a trailer.
    fn grpc(&self) -> Response<OriginBody> {
        let length = u32::try_from(self.said.len()).unwrap();
        let message = [&[0][..], &length.to_be_bytes(), self.said.as_bytes()].concat();
        let trailers = HeaderMap::from_iter([("grpc-status".parse().unwrap(), HeaderValue::from_static("0"))]);
        let frames = [Ok(Frame::data(Bytes::from(message))), Ok(Frame::trailers(trailers))];
        let body = StreamBody::new(futures_util::stream::iter(frames)).boxed();
        Response::builder().header("content-type", "application/grpc").body(body).unwrap()
    }

    /// A simple index (PEP 503) of one project.
    fn pypi(&self, path: &str) -> Response<OriginBody> {
        let (name, wheel) = &self.wheel;
        match path {
            "/simple/said/" => {
                let text =
                    format!("<!doctype html><html><body><a href=\"../../files/{name}\">{name}</a></body></html>");
                typed("text/html", text)
            }
            _ if path == format!("/files/{name}") => plain(wheel.clone()),
            _ => status(StatusCode::NOT_FOUND),
        }
    }

    fn npm(&self, path: &str) -> Response<OriginBody> {
        match path {
            "/said" => json_answer(json!({
                "name": "said", "dist-tags": {"latest": "1.0.0"},
                "versions": {"1.0.0": {"name": "said", "version": "1.0.0", "dist": {
                    // npm takes a tarball of the registry's own host from where the registry is.
                    "tarball": "https://npm.test/said/-/said-1.0.0.tgz",
                    "shasum": hex(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, &self.tarball).as_ref()),
                }}},
            })),
            "/said/-/said-1.0.0.tgz" => plain(self.tarball.clone()),
            _ => status(StatusCode::NOT_FOUND),
        }
    }

    /// A sparse registry of one crate.
    fn crates(&self, path: &str) -> Response<OriginBody> {
        match path {
            "/index/config.json" => json_answer(json!({"dl": "https://crates.test/dl/{crate}-{version}.crate"})),
            "/index/sa/id/said" => {
                let sum = hex(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &self.krate).as_ref());
                plain(
                    json!({"name": "said", "vers": "1.0.0", "deps": [], "cksum": sum, "features": {}, "yanked": false})
                        .to_string(),
                )
            }
            "/dl/said-1.0.0.crate" => plain(self.krate.clone()),
            _ => status(StatusCode::NOT_FOUND),
        }
    }

    /// git's own server, as a CGI program.
    async fn git(&self, request: Request<Incoming>) -> Response<OriginBody> {
        let (head, body) = request.into_parts();
        let header =
            |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
        let mut command = tokio::process::Command::new("git");
        command.arg("http-backend").env("GIT_PROJECT_ROOT", &self.repositories).env("GIT_HTTP_EXPORT_ALL", "1");
        command.env("REMOTE_USER", "x").env("REQUEST_METHOD", head.method.as_str()).env("PATH_INFO", head.uri.path());
        command.env("QUERY_STRING", head.uri.query().unwrap_or_default()).env("CONTENT_TYPE", header("content-type"));
        command.env("HTTP_CONTENT_ENCODING", header("content-encoding")).env("GIT_PROTOCOL", header("git-protocol"));
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let sent = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
        let mut input = child.stdin.take().unwrap();
        let written = tokio::spawn(async move {
            let _ = input.write_all(&sent).await;
        });
        let output = child.wait_with_output().await.unwrap().stdout;
        let _ = written.await;
        let end = output.windows(4).position(|four| four == b"\r\n\r\n").unwrap_or(0);
        let fields = String::from_utf8_lossy(&output[..end]).into_owned();
        let fields: HashMap<&str, &str> = fields.lines().filter_map(|line| line.split_once(": ")).collect();
        let code = fields.get("Status").and_then(|status| status.split(' ').next()?.parse().ok()).unwrap_or(200);
        let content_type = fields.get("Content-Type").copied().unwrap_or("text/plain");
        let answer = Response::builder().status(code).header("content-type", content_type);
        answer.body(full(output[end + 4..].to_vec())).unwrap()
    }
}

fn status(code: StatusCode) -> Response<OriginBody> {
    Response::builder().status(code).body(full("{}")).unwrap()
}

fn typed(content_type: &str, body: impl Into<Bytes>) -> Response<OriginBody> {
    Response::builder().header("content-type", content_type).body(full(body)).unwrap()
}

fn plain(body: impl Into<Bytes>) -> Response<OriginBody> {
    typed("application/octet-stream", body)
}

fn json_answer(value: serde_json::Value) -> Response<OriginBody> {
    typed("application/json", value.to_string())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
