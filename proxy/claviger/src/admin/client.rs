//! Asks a running process, over its admin socket. For commands: it blocks.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde_json::Value;

use crate::command::Failure;

/// The `Host` of every call: the socket says which process is meant, so that the name says nothing.
pub(crate) const HOST: &str = "claviger";

/// A reload compiles everything that the configuration names; nothing else takes nearly as long.
const PATIENCE: Duration = Duration::from_secs(60);

/// No answer of the admin API is larger.
const ANSWER_MAX: usize = 4 * 1024 * 1024;

/// The admin socket of one process.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    socket: PathBuf,
}

/// Why a call had no good answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    /// Nobody listens there: no process uses this state folder, or it was told another socket.
    #[error("no running process answers at `{socket}`", socket = .0.display())]
    NotRunning(PathBuf),
    /// The socket is there and the system or the process did not let us.
    #[error("failed to ask the running process at `{socket}`: {why}", socket = .socket.display())]
    Broken {
        /// Where.
        socket: PathBuf,
        /// What happened.
        why: String,
    },
    /// The process answered that it will not.
    #[error("{message}")]
    Refused {
        /// The status.
        status: StatusCode,
        /// A stable word, as `state_unavailable`.
        code: String,
        /// The process's words.
        message: String,
        /// All that it answered.
        answer: Value,
    },
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        Self::Other(error.to_string())
    }
}

impl Client {
    /// Of the process that listens at this socket.
    pub(crate) fn at(socket: &Path) -> Self {
        Self { socket: socket.to_owned() }
    }

    /// Reads `path`, as `/v1/status`.
    pub(crate) fn get(&self, path: &str) -> Result<Value, ClientError> {
        self.call(Method::GET, path, None)
    }

    /// Asks for a change.
    pub(crate) fn post(&self, path: &str, body: &impl Serialize) -> Result<Value, ClientError> {
        let body = serde_json::to_value(body).map_err(|error| self.broken(&error))?;
        self.call(Method::POST, path, Some(body))
    }

    /// Asks for something to be taken away.
    pub(crate) fn delete(&self, path: &str) -> Result<Value, ClientError> {
        self.call(Method::DELETE, path, None)
    }

    fn call(&self, method: Method, path: &str, body: Option<Value>) -> Result<Value, ClientError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| self.broken(&error))?;
        runtime.block_on(async {
            let answered = tokio::time::timeout(PATIENCE, self.exchange(method, path, body)).await;
            answered.map_err(|_| self.broken(&"it takes too long"))?
        })
    }

    async fn exchange(&self, method: Method, path: &str, body: Option<Value>) -> Result<Value, ClientError> {
        let stream = tokio::net::UnixStream::connect(&self.socket).await.map_err(|error| match error.kind() {
            // A socket that nobody listens on was left by a process that died.
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => ClientError::NotRunning(self.socket.clone()),
            _ => self.broken(&error),
        })?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| self.broken(&error))?;
        let serving = tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(http::header::HOST, HOST)
            .header(http::header::CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body.map_or_else(String::new, |body| body.to_string()))))
            .map_err(|error| self.broken(&error))?;
        let response = sender.send_request(request).await.map_err(|error| self.broken(&error))?;
        let status = response.status();
        let bytes = Limited::new(response.into_body(), ANSWER_MAX).collect().await;
        let bytes = bytes.map_err(|error| self.broken(&error))?.to_bytes();
        serving.abort();
        let answer: Value = serde_json::from_slice(&bytes).map_err(|error| self.broken(&error))?;
        if status.is_success() {
            return Ok(answer);
        }
        let word = |name: &str| answer.pointer(&format!("/error/{name}")).and_then(Value::as_str).unwrap_or_default();
        let (code, message) = (word("code").to_owned(), word("message").to_owned());
        let message = if message.is_empty() { format!("the process answered {status}") } else { message };
        Err(ClientError::Refused { status, code, message, answer })
    }

    fn broken(&self, error: &dyn std::fmt::Display) -> ClientError {
        ClientError::Broken { socket: self.socket.clone(), why: error.to_string() }
    }
}
