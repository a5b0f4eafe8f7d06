//! A listener with `enforce = false`: what rules refuse passes, and what they never said stays refused.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "support/load.rs"]
mod load;

use bytes::Bytes;
use claviger_policy::document::{Diagnostics, SourceFile, parse};
use claviger_policy::{BodyFacts, CredentialUse, Decision, Fact, Grant, Policy, Reason, Unenforced};
use load::{context, load, principal, target};

const CONFIG: &str = r#"
[service.api]
hosts = ["api.test"]
[service.plain]
hosts = ["plain.test"]
cleartext = true
[credential.main]
hosts = ["api.test"]
[credential.other]
hosts = ["api.test"]
[workload.app]
spiffe = "spiffe://acme.internal/app"
[workload.other]
spiffe = "spiffe://acme.internal/other"
[allow.read]
who = "app"
to = "api"
ops = ["GET /v1/**", "DELETE /v1/**"]
use = "main"
[allow.model]
who = "app"
to = "api"
ops = ["POST /v1/chat"]
when = ["body.model in [\"small\"]"]
use = "main"
[allow.night]
who = "app"
to = "api"
ops = ["GET /night"]
until = "2026-01-02T00:00:00Z"
use = "main"
[deny.no-deletes]
who = "*"
to = "api"
ops = ["DELETE /**"]
[deny.no-large]
who = "*"
to = "api"
ops = ["POST /v1/chat"]
when = ["body.model == \"large\""]
"#;

const NOON: &str = "2026-01-01T12:00:00Z";

fn unenforced(text: &str) -> (Option<Unenforced>, Vec<String>) {
    let mut out = Diagnostics::default();
    let mut root = parse(&SourceFile::new("c.toml", text), &mut out).unwrap();
    let mut found = None;
    for key in ["listener", "service"] {
        for (_, mut table) in root.named_tables(key, &mut out) {
            found = Unenforced::take(&mut table, &mut out);
        }
    }
    (found, out.iter().map(ToString::to_string).collect())
}

fn mode() -> Unenforced {
    unenforced("[listener.x]\nenforce = false\n").0.unwrap()
}

/// `rule credential (waived reason rule)`
fn told(grant: &Grant) -> String {
    let credential = match grant.credential() {
        CredentialUse::None => "none",
        CredentialUse::Named(name) => name,
    };
    let rule = grant.rule().map_or("-", |rule| rule);
    assert_eq!(grant.is_as_sent(), grant.rule().is_none());
    assert_eq!(grant.is_as_sent(), grant.path_pattern().is_none() && grant.operation().is_none());
    let waived = grant.waived().map_or(String::new(), |waived| {
        assert!(grant.observed().is_none());
        format!(" ({} {})", waived.reason.code(), waived.rule.as_deref().unwrap_or("-"))
    });
    format!("{} {rule} {credential}{waived}", grant.service())
}

fn decide(policy: &Policy, caller: &str, request: &str, now: &str, model: Option<&str>) -> String {
    let bound = policy.bind(&principal(&format!("spiffe://acme.internal/{caller}"), &[]));
    let (method, url) = request.split_once(' ').unwrap();
    let (target, context) = (target(policy, url), context(None, now));
    match policy.decide_unenforced(&mode(), &bound, target, method.parse().unwrap(), &context) {
        Decision::Grant(grant) => told(&grant),
        Decision::Denied(denial) => denial.reason.code().to_owned(),
        Decision::Pending(pending) => {
            let mut facts = BodyFacts::default();
            let Some(model) = model else { return format!("pending {}", pending.needs().join(" ")) };
            facts.set("body.model", Fact::Known(model.into()));
            let grant = pending.resolve(policy, &facts, Bytes::from_static(b"judged")).unwrap();
            assert_eq!(grant.body().unwrap(), "judged");
            told(&grant)
        }
    }
}

#[test]
fn what_rules_refuse_passes() {
    let policy = load(CONFIG);
    for (caller, request, now, model, expected) in [
        // What is allowed is as elsewhere.
        ("app", "GET https://api.test/v1/x", NOON, None, "api read main"),
        ("app", "POST https://api.test/v1/chat", NOON, Some("small"), "api model main"),
        // A deny over an allow: the allow's grant.
        ("app", "DELETE https://api.test/v1/x", NOON, None, "api read main (denied_by_rule no-deletes)"),
        // A deny over nothing, and nothing at all: as it was sent.
        ("app", "DELETE https://api.test/v2/x", NOON, None, "api - none (denied_by_rule no-deletes)"),
        ("app", "GET https://api.test/v2/x", NOON, None, "api - none (no_rule -)"),
        ("other", "GET https://api.test/v1/x", NOON, None, "api - none (no_rule -)"),
        ("app", "GET http://plain.test/x", NOON, None, "plain - none (no_rule -)"),
        // Bodies are judged as elsewhere.
        ("app", "POST https://api.test/v1/chat", NOON, None, "pending body.model"),
        ("app", "POST https://api.test/v1/chat", NOON, Some("medium"), "api - none (no_rule -)"),
        ("app", "POST https://api.test/v1/chat", NOON, Some("large"), "api - none (denied_by_rule no-large)"),
        // A rule that has ended.
        ("app", "GET https://api.test/night", NOON, None, "api night main"),
        ("app", "GET https://api.test/night", "2026-01-03T00:00:00Z", None, "api - none (no_rule -)"),
        // No service: nobody to pass it to.
        ("app", "GET https://elsewhere.test/x", NOON, None, "unknown_service"),
        ("app", "GET http://api.test/v1/x", NOON, None, "unknown_service"),
    ] {
        assert_eq!(decide(&policy, caller, request, now, model), expected, "{caller} {request} {model:?}");
    }
}

#[test]
fn a_body_that_cannot_be_read_is_waived_too() {
    let policy = load(CONFIG);
    let bound = policy.bind(&principal("spiffe://acme.internal/app", &[]));
    let target = target(&policy, "https://api.test/v1/chat");
    let decision = policy.decide_unenforced(&mode(), &bound, target, http::Method::POST, &context(None, NOON));
    let Decision::Pending(pending) = decision else { panic!("{decision:?}") };
    // A deny that asks for what is not known holds.
    assert_eq!(told(&pending.resolve_unread(&policy).unwrap()), "api - none (denied_by_rule no-large)");
}

#[test]
fn elsewhere_nothing_is_waived() {
    let policy = load(CONFIG);
    let other = load(CONFIG);
    let bound = policy.bind(&principal("spiffe://acme.internal/app", &[]));
    let target = target(&policy, "https://api.test/v1/chat");
    let context = context(None, NOON);
    // A wait that began where rules are enforced ends so.
    let Decision::Pending(pending) = policy.decide(&bound, target.clone(), http::Method::POST, &context) else {
        panic!("a body decides");
    };
    let denial = pending.resolve(&policy, &BodyFacts::default(), Bytes::new()).unwrap_err();
    assert_eq!(denial.reason, Reason::DeniedByRule);
    // Nobody knows whether the binding still holds.
    let stale = other.decide_unenforced(&mode(), &bound, target, http::Method::POST, &context);
    assert!(matches!(stale, Decision::Denied(denial) if denial.reason == Reason::StaleBinding));
}

#[test]
fn only_a_listener_that_says_so_yields_it() {
    let check = |text: &str, yields: bool, said: &[&str]| {
        let (found, findings) = unenforced(text);
        assert_eq!(found.is_some(), yields, "{text}");
        assert_eq!(findings.len(), said.len(), "{findings:?}");
        for (finding, said) in findings.iter().zip(said) {
            assert!(finding.contains(said), "{finding}");
        }
    };
    check("[listener.x]\n", false, &[]);
    check("[listener.x]\nenforce = true\n", false, &[]);
    check("[listener.x]\nenforce = \"no\"\n", false, &["c.toml:2:11: error: `listener.x.enforce`"]);
    check("[listener.x]\nenforce = false\n", true, &["c.toml:2:11: warning: `listener.x.enforce`: denials of policy"]);
    check("[service.x]\nenforce = false\n", false, &["c.toml:2:11: error: `service.x.enforce`: only a listener"]);
}
