//! Explanations name the rule with its place, or the nearest allow and what failed first.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/load.rs"]
mod load;

use claviger_policy::{AttributeValue, Context};
use load::{context, load, principal, target};

const CONFIG: &str = r#"[service.api]
hosts = ["api.test"]
paths = ["/v1"]
[credential.key]
hosts = ["api.test"]
[workload.app]
spiffe = "spiffe://acme.internal/app"
match = { "github.ref" = "main" }
[workload.tool]
spiffe = "spiffe://acme.internal/tool"
attested_by = "unix"
[allow.read]
who = "app"
to = "api"
ops = ["GET /v1/models/**"]
when = ["source.ip in 10.0.0.0/8"]
until = 2026-12-01T00:00:00Z
[allow.write]
who = "app"
to = "api"
ops = ["POST /v1/models/*"]
when = ["body.model == 'x'"]
use = "none"
[allow.tools]
who = "tool"
to = "api"
ops = ["GET /v1/tools"]
[deny.frozen]
who = "*"
to = "api"
ops = ["* /v1/models/frozen/**"]
why = "frozen by legal"
[allow.new]
who = "app"
to = "api"
ops = ["GET /v1/new"]
enforce = false
"#;

fn check(id: &str, attributes: &[(&str, AttributeValue)], request: &str, context: &Context, expected: &str) {
    let policy = load(CONFIG);
    let bound = policy.bind(&principal(&format!("spiffe://acme.internal/{id}"), attributes));
    let (method, url) = request.split_once(' ').unwrap();
    let explanation = policy.explain(&bound, &target(&policy, url), &method.parse().unwrap(), context);
    assert_eq!(explanation.to_string(), expected.trim(), "{request}");
}

#[test]
fn explanations() {
    let main = [("github.ref", AttributeValue::from("main"))];
    let inside = context(Some("10.0.0.1"), "2026-11-23T10:00:00Z");
    let outside = context(Some("11.0.0.1"), "2026-11-23T10:00:00Z");
    let unknown = context(None, "2026-11-23T10:00:00Z");
    let late = context(Some("10.0.0.1"), "2026-12-01T00:00:00Z");
    let read = "GET https://api.test/v1/models?key=s3cret";
    let head = "denied: GET https://api.test/v1/models as spiffe://acme.internal/app\n  reason: no rule allows it (no_rule)\n  service: api\n  the caller is workload: `app`\n  nearest: allow `read` (c.toml:12)\n  it fails by";
    check(
        "app",
        &main,
        read,
        &inside,
        "allowed: GET https://api.test/v1/models as spiffe://acme.internal/app\n  service: api\n  the caller is workload: `app`\n  rule: allow `read` (c.toml:12)\n  operation: GET /v1/models/**\n  credential: key\n  time may change this at 2026-12-01T00:00:00Z",
    );
    check("app", &main, read, &outside, &format!("{head} condition: `source.ip in 10.0.0.0/8` is false"));
    check(
        "app",
        &main,
        read,
        &unknown,
        &format!("{head} condition: `source.ip in 10.0.0.0/8` is unknown, which an allow does not accept"),
    );
    check("app", &main, read, &late, &format!("{head} time: it ended at 2026-12-01T00:00:00Z"));
    let none = head.replace("workload: `app`", "workload: none");
    check(
        "app",
        &[],
        read,
        &inside,
        &format!("{none} who: workload `app` asks for attribute `github.ref`, which is not attested"),
    );
    check(
        "app",
        &[("github.ref", "dev".into())],
        read,
        &inside,
        &format!("{none} who: attribute `github.ref` of the caller does not match workload `app`"),
    );
    check(
        "apq",
        &main,
        read,
        &inside,
        &format!("{none} who: the caller's ID is none of workload `app`")
            .replace("acme.internal/app", "acme.internal/apq"),
    );
    check(
        "app",
        &main,
        "PUT https://api.test/v1/models",
        &inside,
        &format!("{head} operation: `PUT /v1/models` is none of `GET /v1/models/**`").replace("GET https", "PUT https"),
    );
    check(
        "tool",
        &[],
        "GET https://api.test/v1/tools",
        &inside,
        "denied: GET https://api.test/v1/tools as spiffe://acme.internal/tool\n  reason: no rule allows it (no_rule)\n  service: api\n  the caller is workload: none\n  nearest: allow `tools` (c.toml:24)\n  it fails by who: workload `tool` is attested by unix, the caller by `mesh`",
    );
    check(
        "app",
        &main,
        "GET https://api.test/v1/models/frozen/x",
        &inside,
        "denied: GET https://api.test/v1/models/frozen/x as spiffe://acme.internal/app\n  reason: a deny rule matches (denied_by_rule)\n  service: api\n  the caller is workload: `app`\n  rule: deny `frozen` (c.toml:28): frozen by legal",
    );
    check(
        "app",
        &main,
        "POST https://api.test/v1/models/m",
        &inside,
        "depends on the body: POST https://api.test/v1/models/m as spiffe://acme.internal/app\n  service: api\n  the caller is workload: `app`\n  needed facts: body.model",
    );
    check(
        "app",
        &main,
        "GET https://api.test/v1/new",
        &inside,
        "denied: GET https://api.test/v1/new as spiffe://acme.internal/app\n  reason: no rule allows it (no_rule)\n  service: api\n  the caller is workload: `app`\n  nearest: allow `read` (c.toml:12)\n  it fails by operation: `GET /v1/new` is none of `GET /v1/models/**`\n  observed only: rule `new` would have made it: allow",
    );
}

#[test]
fn unknown_services_are_helped() {
    let context = context(None, "2026-11-23T10:00:00Z");
    let text = |request: &str, help: &str| {
        let (method, url) = request.split_once(' ').unwrap();
        format!(
            "denied: {method} {url} as spiffe://acme.internal/app\n  reason: no service claims the target (unknown_service)\n  the caller is workload: none\n  help: {help}"
        )
    };
    for (request, help) in [
        ("GET https://apo.test/v1", "no service claims `apo.test:443`; did you mean `api.test:443`?"),
        (
            "GET https://elsewhere.example/v1",
            "no service claims `elsewhere.example:443`; add a `[service.NAME]` with this host",
        ),
        ("GET https://api.test/v2", "a service claims `api.test:443`, but none claims the path"),
        ("GET http://api.test:443/v1", "service `api` speaks https to `api.test:443`, the request is http"),
    ] {
        check("app", &[], request, &context, &text(request, help));
    }
}

/// A team may have written `why`: it does not steer the terminal of whoever asks, nor begin a line of ours.
#[test]
fn what_an_author_wrote_stays_in_its_line() {
    let cited = claviger_policy::Cited {
        kind: "deny",
        name: "x/closed".into(),
        file: "teams/x.toml".into(),
        line: 7,
        why: Some("a\u{1b}[2J\nallowed: b\u{9b}".into()),
    };
    assert_eq!(cited.to_string(), "deny `x/closed` (teams/x.toml:7): a [2J allowed: b ");
}
