#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

mod filling;
mod hosts;
mod properties;
mod settings;

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use claviger_policy::document::{self, Diagnostics, SourceFile};
use claviger_policy::{
    Attributes, Authority, Context, CredentialFacts, Decision, Grant, HostPattern, Inputs, Policy, Principal, Scheme,
    ServiceRoute, SpiffeId, TrustDomain,
};
use http::Request;
use http::request::Parts;

use super::*;

/// The credential of the tests: fields, a host, and a value that every encoding changes.
const API: &str = "sk-live/+0123456789";
const APP: &str = "app=key&9876543210";

fn lease() -> Lease {
    Lease::for_test("key", &[("value", API), ("app", APP)], &["api.test"])
}

fn table(text: &str) -> document::Table {
    let mut out = Diagnostics::default();
    document::parse(&SourceFile::new("claviger.toml", text), &mut out).unwrap_or_else(|| panic!("{text}: {out:?}"))
}

/// The hosts of the service whose injections are read.
static HOSTS: LazyLock<Vec<HostPattern>> = LazyLock::new(|| {
    let hosts = ["api.test", "elsewhere.test", "open.test", "*.wide.test"];
    hosts.map(|host| HostPattern::parse(host, 443).unwrap()).to_vec()
});

fn read(text: &str) -> (Option<InjectionPlan>, Vec<String>) {
    let mut out = Diagnostics::default();
    let mut table = table(text);
    let plan = InjectionPlan::take(&mut table, &HOSTS, Scheme::Https, &mut out);
    table.finish(&mut out);
    (plan, out.iter().map(ToString::to_string).collect())
}

fn plan(text: &str) -> InjectionPlan {
    match read(text) {
        (Some(plan), found) if found.is_empty() => plan,
        (_, found) => panic!("{text}: {found:#?}"),
    }
}

/// A policy that allows everything with the credential `key`, and at other hosts with none or another.
static POLICY: LazyLock<Policy> = LazyLock::new(|| {
    let mut out = Diagnostics::default();
    let mut root = table(
        "[service.api]\nhosts = [\"api.test\", \"elsewhere.test\", \"*.wide.test\"]\n[service.open]\nhosts = [\"open.test\"]\n\
         [workload.me]\nspiffe = \"spiffe://acme.test/me\"\n\
         [allow.api]\nwho = \"me\"\nto = \"api\"\nops = [\"*\"]\nuse = \"key\"\n\
         [allow.open]\nwho = \"me\"\nto = \"open\"\nops = [\"*\"]\nuse = \"none\"\n",
    );
    let mut name = table("name = \"key\"");
    let name = name.required_string("name", &mut out).unwrap();
    let hosts =
        ["api.test", "elsewhere.test", "*.wide.test"].map(|host| HostPattern::parse(host, 443).unwrap()).to_vec();
    let services = root
        .named_tables("service", &mut out)
        .into_iter()
        .filter_map(|(name, mut table)| ServiceRoute::take(name, &mut table, &mut out))
        .collect();
    let inputs = Inputs {
        trust_domain: TrustDomain::parse("acme.test").unwrap(),
        services,
        credentials: vec![CredentialFacts { name, hosts }],
        teams: Vec::new(),
        generation: 1,
    };
    let policy = claviger_policy::compile(&mut root, inputs, &mut out);
    policy.unwrap_or_else(|| panic!("{:?}", out.iter().map(ToString::to_string).collect::<Vec<_>>()))
});

/// What policy says to `METHOD https://host/path`.
fn grant(method: &http::Method, uri: &http::Uri) -> Grant {
    let principal = Arc::new(Principal {
        id: SpiffeId::parse("spiffe://acme.test/me").unwrap(),
        attributes: Attributes::default(),
        attested_by: "mesh".into(),
    });
    let authority = Authority::parse(uri.authority().unwrap().as_str(), 443).unwrap();
    let path = uri.path_and_query().unwrap().as_str();
    let target = POLICY.canonicalize(Scheme::Https, authority, path).unwrap();
    let context = Context { source_ip: None, now: 0 };
    match POLICY.decide(&POLICY.bind(&principal), target, method.clone(), &context) {
        Decision::Grant(grant) => grant,
        refused => panic!("{refused:?}"),
    }
}

/// `METHOD URI` and a line for each header; an empty line, and the body.
fn head(text: &str) -> (Parts, Option<Bytes>) {
    let (head, body) = text.split_once("\n\n").map_or((text, None), |(head, body)| (head, Some(body)));
    let mut lines = head.lines().map(str::trim);
    let (method, uri) = lines.next().unwrap().split_once(' ').unwrap();
    let mut request = Request::builder().method(method).uri(uri);
    for line in lines {
        let (name, value) = line.split_once(':').unwrap();
        request = request.header(name, value.trim());
    }
    (request.body(()).unwrap().into_parts().0, body.map(|body| Bytes::copy_from_slice(body.as_bytes())))
}

/// The same as text; headers sorted, `Host` left out.
fn text_of(injected: Injected) -> String {
    let (_, _, head, body) = injected.into_parts();
    assert_eq!(head.headers.get_all("host").iter().collect::<Vec<_>>(), [head.uri.host().unwrap()]);
    let name = |name: &http::HeaderName| name.as_str().to_owned();
    let value = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let mut lines: Vec<String> = head
        .headers
        .iter()
        .filter(|(name, _)| *name != "host")
        .map(|(n, v)| format!("\n{}: {}", name(n), value(v)))
        .collect();
    lines.sort();
    let body = body.map(|body| format!("\n\n{}", String::from_utf8_lossy(&body))).unwrap_or_default();
    format!("{} {}{}{body}", head.method, head.uri, lines.concat())
}

fn api() -> Authority {
    Authority::parse("api.test", 443).unwrap()
}

fn send_with(lease: Option<Lease>, plan: &InjectionPlan, request: &str) -> Result<Injected, InjectError> {
    let (head, body) = head(request);
    inject(grant(&head.method, &head.uri), lease.map(Arc::new), plan, Box::new(head), body)
}

/// At `open.test` nothing is injected.
fn send(plan: &InjectionPlan, request: &str) -> Result<Injected, InjectError> {
    let lease = (!request.contains("https://open.test")).then(lease);
    send_with(lease, plan, request)
}

/// Plan, request, and what is sent: a request, or a code.
fn check(settings: &str, request: &str, expected: &str) {
    let trimmed = |text: &str| {
        let (head, body) = text.split_once("\n\n").map_or((text, String::new()), |(h, b)| (h, format!("\n\n{b}")));
        head.lines().map(str::trim).collect::<Vec<_>>().join("\n") + &body
    };
    let sent = match send(&plan(settings), request) {
        Ok(injected) => text_of(injected),
        Err(error) => error.code().to_owned(),
    };
    assert_eq!(sent, trimmed(expected), "{settings}\n{request}");
}
