//! The clients of the page.

/// What runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Program {
    Curl,
    Wget,
    Git,
    /// A package manager of `packages.sh`.
    Packages(&'static str),
    /// A client of `clients.py`.
    Python(&'static str),
    /// A client of `clients.mjs`.
    Node20(&'static str),
    Node24(&'static str),
    /// A client of `Http.java`.
    Java(&'static str),
}

impl Program {
    /// Whether its only place for a token is the base URL itself.
    pub(crate) fn has_user_in_base(self) -> bool {
        matches!(self, Self::Git | Self::Packages("pip" | "uv"))
    }
}

/// A client.
#[derive(Debug)]
pub(crate) struct Row {
    /// As it is known.
    pub(crate) name: &'static str,
    /// The service that it calls.
    pub(crate) service: &'static str,
    pub(crate) program: Program,
    /// The variables that are set by hand for a shared forward listener.
    pub(crate) forward: &'static [&'static str],
    /// What it needs of `exec` beyond variables with the proxy's URL and its certificate: without it, it does not work.
    pub(crate) needs: &'static [&'static str],
    /// How it is given a base URL, or why it can't take a gateway's.
    pub(crate) gateway: Result<&'static str, &'static str>,
}

const REQUESTS: &[&str] = &["HTTPS_PROXY", "REQUESTS_CA_BUNDLE"];
const OPENSSL: &[&str] = &["HTTPS_PROXY", "SSL_CERT_FILE"];
const NODE_24: &[&str] = &["HTTPS_PROXY", "NODE_EXTRA_CA_CERTS", "NODE_USE_ENV_PROXY"];
const NODE_20: &[&str] = &["HTTPS_PROXY", "NODE_EXTRA_CA_CERTS"];
const BOOTSTRAP: &[&str] = &["NODE_OPTIONS"];
const URL: Result<&str, &str> = Ok("the URL; the token as a bearer");

macro_rules! rows {
    ($($name:literal, $service:literal, $program:expr, $forward:expr, $needs:expr, $gateway:expr;)*) => {
        &[$(Row { name: $name, service: $service, program: $program, forward: $forward, needs: $needs, gateway: $gateway }),*]
    };
}

use Program::{Curl, Git, Java, Node20, Node24, Packages, Python, Wget};

pub(crate) static ROWS: &[Row] = rows! {
    "curl", "api", Curl, &["https_proxy", "CURL_CA_BUNDLE"], &[], URL;
    "wget", "api", Wget, &["https_proxy", "WGETRC"], &["WGETRC"], URL;
    "git", "git", Git, &["https_proxy", "GIT_SSL_CAINFO"], &[], Ok("the remote's URL, or `url.*.insteadOf`; the token as its password");
    "requests", "api", Python("requests"), REQUESTS, &[], URL;
    "httpx", "api", Python("httpx"), OPENSSL, &[], URL;
    "aiohttp", "api", Python("aiohttp"), OPENSSL, &["PYTHONPATH"], URL;
    "urllib3, by itself", "api", Python("urllib3"), OPENSSL, &["PYTHONPATH"], URL;
    "urllib", "api", Python("urllib"), OPENSSL, &[], URL;
    "boto3", "api", Python("boto3"), &["HTTPS_PROXY", "AWS_CA_BUNDLE"], &[], Err("has no place for a token: it signs");
    "openai (Python)", "llm", Python("openai"), OPENSSL, &[], Ok("`OPENAI_BASE_URL`; the token as its API key");
    "anthropic (Python)", "claude", Python("anthropic"), OPENSSL, &[], Ok("`ANTHROPIC_BASE_URL`; the token as its API key");
    "PyGithub", "github", Python("pygithub"), REQUESTS, &[], Err("sends its token as `Authorization: token …`, in which no identity token is looked for");
    "slack_sdk (Python)", "slack", Python("slack"), OPENSSL, &[], Ok("`base_url`; the token as its token");
    "stripe (Python)", "stripe", Python("stripe"), REQUESTS, &["PYTHONPATH"], Ok("`base_addresses`; the token as its API key");
    "grpcio", "grpc", Python("grpcio"), &["https_proxy", "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH"], &[], Err("its targets have no path");
    "Node 20 fetch", "api", Node20("fetch"), NODE_20, BOOTSTRAP, URL;
    "Node 20 https", "api", Node20("https"), NODE_20, BOOTSTRAP, URL;
    "Node 24 fetch", "api", Node24("fetch"), NODE_24, &[], URL;
    "Node 24 https", "api", Node24("https"), NODE_24, &[], URL;
    "undici (npm), Node 20", "api", Node20("undici"), NODE_20, BOOTSTRAP, URL;
    "undici (npm), Node 24", "api", Node24("undici"), NODE_24, &[], URL;
    "axios", "api", Node20("axios"), NODE_20, &[], URL;
    "openai (Node 20)", "llm", Node20("openai"), NODE_20, BOOTSTRAP, Ok("`OPENAI_BASE_URL`; the token as its API key");
    "anthropic (Node 20)", "claude", Node20("anthropic"), NODE_20, BOOTSTRAP, Ok("`ANTHROPIC_BASE_URL`; the token as its API key");
    "octokit (Node 20)", "github", Node20("octokit"), NODE_20, BOOTSTRAP, Ok("`baseUrl`; the token as its token");
    "slack (Node 20)", "slack", Node20("slack"), NODE_20, BOOTSTRAP, Ok("`slackApiUrl`; the token as its token");
    "stripe (Node 20)", "stripe", Node20("stripe"), NODE_20, BOOTSTRAP, Err("its base has no path");
    "stripe (Node 24)", "stripe", Node24("stripe"), NODE_24, BOOTSTRAP, Err("its base has no path");
    "Java HttpClient", "api", Java("HttpClient"), &["JAVA_TOOL_OPTIONS"], &["JAVA_TOOL_OPTIONS"], URL;
    "Java HttpURLConnection", "api", Java("HttpURLConnection"), &["JAVA_TOOL_OPTIONS"], &["JAVA_TOOL_OPTIONS"], URL;
    "pip", "pypi", Packages("pip"), &["HTTPS_PROXY", "PIP_CERT"], &[], Ok("`PIP_INDEX_URL`; the token as its password");
    "uv", "pypi", Packages("uv"), OPENSSL, &[], Ok("`UV_INDEX_URL`; the token as its password");
    "npm", "npm", Packages("npm"), &["HTTPS_PROXY", "npm_config_cafile"], &[], Err("takes a token only from its configuration file, for its own registry");
    "cargo", "crates", Packages("cargo"), &["HTTPS_PROXY", "CARGO_HTTP_CAINFO"], &[], Err("its index names the address of downloads");
};
