//! An authorization server that people log in at: npm's oidc-provider, and a browser that does what it is told.

use std::{collections::BTreeMap, fs, process::Command};

use reqwest::header::{COOKIE, LOCATION, SET_COOKIE};
use serde_json::json;

use super::{
    Installed, TestCa,
    server::{Endpoint, Server},
};

/// Logs in whoever comes, by browser or device code, and rotates refresh tokens: one that is used twice ends the grant.
#[derive(Debug)]
pub struct LoginProvider {
    endpoint: Endpoint,
    server: Server,
}

impl LoginProvider {
    /// Access tokens last `ttl`, device codes `device_ttl` seconds. The clients are as oidc-provider has them.
    pub async fn start(ca: &TestCa, (ttl, device_ttl): (u32, u32), clients: serde_json::Value) -> Self {
        let endpoint = Endpoint::reserve("127.0.0.1");
        let files = ca.issue(&["localhost", "127.0.0.1"]);
        let settings = json!({
            "modules": Installed::node_modules_parent(),
            "port": endpoint.addr.port(),
            "issuer": endpoint.url(""),
            "cert": files.cert,
            "key": files.key,
            "ttl": ttl,
            "deviceTtl": device_ttl,
            "clients": clients,
        });
        let server = Server::spawn("oidc-login", |dir| {
            fs::write(dir.join("settings.json"), settings.to_string()).unwrap();
            let mut command = Command::new(Installed::node());
            command.arg(Installed::sources().join("oidc-login.mjs")).arg(dir.join("settings.json"));
            command
        });
        let discovery = "/.well-known/openid-configuration";
        let server = server.ready(async || endpoint.answers(ca.http(), discovery, 200).await).await;
        Self { endpoint, server }
    }

    /// Where it listens; also its issuer.
    pub fn url(&self, path: &str) -> String {
        self.endpoint.url(path)
    }

    /// `ADDRESS:PORT`.
    pub fn host(&self) -> String {
        self.endpoint.authority()
    }

    /// How many lines of what it wrote begin so: `granted CLIENT GRANT_TYPE`, `refused CLIENT ERROR`, `ended`.
    pub fn count(&self, begin: &str) -> usize {
        self.server.log().lines().filter(|line| line.starts_with(begin)).count()
    }

    /// What the server wrote.
    pub fn log(&self) -> String {
        self.server.log()
    }
}

/// A browser of somebody who logs in wherever they are sent: cookies and redirects, no more.
#[derive(Debug)]
pub struct Browser {
    http: reqwest::Client,
    cookies: BTreeMap<String, String>,
    /// Whether its user says no.
    pub denies: bool,
}

impl Browser {
    /// One that trusts this CA.
    pub fn new(ca: &TestCa) -> Self {
        let http = ca.http().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        Self { http, cookies: BTreeMap::new(), denies: false }
    }

    /// Goes there, and on to wherever it is sent; the last URL, status and page.
    pub async fn visit(&mut self, url: &str) -> (String, u16, String) {
        self.follow(self.http.get(url), url).await
    }

    /// Types a code into the page of a device login, and confirms it.
    pub async fn enter(&mut self, url: &str, code: &str) -> (u16, String) {
        let (_, status, page) = self.visit(url).await;
        assert_eq!(status, 200, "{page}");
        let xsrf = page.split("name=\"xsrf\" value=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
        let form = [("xsrf", xsrf), ("user_code", code), ("confirm", "yes")];
        let (_, status, page) = self.follow(self.http.post(url).form(&form), url).await;
        (status, page)
    }

    async fn follow(&mut self, request: reqwest::RequestBuilder, url: &str) -> (String, u16, String) {
        let mut url = reqwest::Url::parse(url).unwrap();
        let mut request = request;
        for _ in 0..20 {
            let cookies: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let answer = request.header(COOKIE, cookies.join("; ")).send().await.unwrap();
            for cookie in answer.headers().get_all(SET_COOKIE) {
                let pair = cookie.to_str().unwrap().split(';').next().unwrap();
                let (name, value) = pair.split_once('=').unwrap();
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
            let Some(next) = answer.headers().get(LOCATION).filter(|_| answer.status().is_redirection()) else {
                let status = answer.status().as_u16();
                return (url.into(), status, answer.text().await.unwrap());
            };
            let mut next = url.join(next.to_str().unwrap()).unwrap();
            if self.denies && next.path().starts_with("/interaction/") {
                next.set_query(Some("deny"));
            }
            url = next;
            request = self.http.get(url.clone());
        }
        panic!("too many redirects, the last to {url}");
    }
}
