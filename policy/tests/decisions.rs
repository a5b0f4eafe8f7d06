//! What is allowed and what is not: each grant has its near misses.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::too_many_lines, reason = "tables of cases")]

#[path = "support/load.rs"]
mod load;

use claviger_policy::{AttributeValue, BodyFacts, Context, Decision, Effect, Fact, Reason};
use load::{context, load, outcome, principal, target};

const CONFIG: &str = r#"
[service.openai]
hosts = ["api.openai.test"]
operations = { chat = ["POST /v1/chat/completions", "POST /v1/responses"] }
[service.billing]
hosts = ["billing.internal:8443", "*.billing.internal"]
path_mode = "encoded-slash"
[service.drive]
hosts = ["shared.test"]
paths = ["/drive", "/files/v2"]
[service.mail]
hosts = ["shared.test"]
paths = ["/mail"]
[service.legacy]
hosts = ["legacy.internal"]
cleartext = true

[credential.research]
hosts = ["api.openai.test"]
[credential.premium]
hosts = ["api.openai.test"]
[credential.bill]
hosts = ["billing.internal:8443", "*.billing.internal"]

[workload.docs-ci]
spiffe = "spiffe://acme.internal/github/acme/docs"
match = { "github.ref" = ["refs/heads/main", "refs/heads/release-*"] }
[workload.payments]
spiffe = ["spiffe://acme.internal/payments/**", "spiffe://acme.internal/ops/*/payments"]
[workload.root]
spiffe = "spiffe://acme.internal/unix/root"
match = { "unix.uid" = 0 }
attested_by = "unix"
[workload.partner]
spiffe = "spiffe://partner.test/api"
foreign = true

[schedule.office]
days = ["mon", "tue", "wed", "thu", "fri"]
from = "07:00"
to = "19:00"
zone = "Europe/Berlin"

[allow.docs-llm]
who = "docs-ci"
to = "openai"
ops = ["@chat", "GET /v1/models/**"]
when = ["source.ip in 10.8.0.0/16", "time in office"]
use = "research"
[allow.docs-files]
who = "docs-ci"
to = "openai"
ops = ["GET /v1/files/*"]
use = "none"

[allow.pay]
who = "payments"
to = "billing"
ops = "*"
[deny.no-deletes]
who = "*"
to = "billing"
ops = ["DELETE /**"]
why = "billing records are immutable"
[deny.not-closed]
who = "payments"
to = "billing"
ops = ["* /closed/**"]
when = ["group != 'auditors'"]

[allow.models]
who = "payments"
to = "openai"
ops = ["@chat"]
when = ["body.model in ['small-*', 'tiny']"]
use = "research"
[deny.long]
who = "payments"
to = "openai"
ops = ["POST /v1/responses"]
when = ["body.max_tokens > 1000"]
[allow.boost]
who = "payments"
to = "openai"
ops = ["@chat"]
when = ["tier >= 3"]
priority = 10
use = "premium"

[allow.campaign]
who = "*"
to = ["drive", "mail"]
ops = ["GET /**"]
use = "none"
from = 2026-01-01T00:00:00Z
until = "2026-02-01T00:00:00+01:00"
[allow.partner]
who = "partner"
to = "billing"
ops = ["GET,DELETE /invoices/**"]
[allow.old]
who = "root"
to = "legacy"
ops = ["GET,PROPFIND /x"]
use = "none"
"#;

const OFFICE: &str = "2026-11-23T10:00:00+01:00";
const EVENING: &str = "2026-11-23T20:00:00+01:00";

#[test]
fn decisions() {
    let policy = load(CONFIG);
    let git = |reference: &str| vec![("github.ref", AttributeValue::from(reference))];
    let docs = principal("spiffe://acme.internal/github/acme/docs", &git("refs/heads/main"));
    let docs_release = principal("spiffe://acme.internal/github/acme/docs", &git("refs/heads/release-1"));
    let docs_branch = principal("spiffe://acme.internal/github/acme/docs", &git("refs/heads/mainx"));
    let docs_unattested = principal("spiffe://acme.internal/github/acme/docs", &[]);
    let docs_other = principal("spiffe://acme.internal/github/acme/docsx", &git("refs/heads/main"));
    let pay = principal("spiffe://acme.internal/payments/api/v1", &[]);
    let pay_ops = principal("spiffe://acme.internal/ops/eu/payments", &[("group", "auditors".into())]);
    let ops = principal("spiffe://acme.internal/ops/eu/west/payments", &[]);
    let partner = principal("spiffe://partner.test/api", &[]);
    let root = principal("spiffe://acme.internal/unix/root", &[("unix.uid", 0.into())]);
    let inside = Some("10.8.1.2");
    let chat = "POST https://api.openai.test/v1/chat/completions";
    for (who, request, ip, now, expected) in [
        (&docs, chat, inside, OFFICE, "docs-llm research"),
        (&docs_release, chat, inside, OFFICE, "docs-llm research"),
        (&docs, "POST https://api.openai.test/v1/responses", inside, OFFICE, "docs-llm research"),
        (&docs, "POST https://API.openai.test:443/v1/responses?x=//", inside, OFFICE, "docs-llm research"),
        (&docs, chat, Some("::ffff:10.8.1.2"), OFFICE, "docs-llm research"),
        // One dimension at a time.
        (&docs_branch, chat, inside, OFFICE, "no_rule"),
        (&docs_unattested, chat, inside, OFFICE, "no_rule"),
        (&docs_other, chat, inside, OFFICE, "no_rule"),
        (&docs, chat, Some("10.9.1.2"), OFFICE, "no_rule"),
        (&docs, chat, None, OFFICE, "no_rule"),
        (&docs, chat, inside, EVENING, "no_rule"),
        (&docs, "GET https://api.openai.test/v1/chat/completions", inside, OFFICE, "no_rule"),
        (&docs, "POST https://api.openai.test/v1/chat/completions/", inside, OFFICE, "no_rule"),
        (&docs, "POST https://api.openai.test/v1/chat", inside, OFFICE, "no_rule"),
        (&docs, "POST https://api.openai.test/V1/chat/completions", inside, OFFICE, "no_rule"),
        (&docs, "POST https://api.openai.test:8443/v1/chat/completions", inside, OFFICE, "unknown_service"),
        (&docs, "POST https://api.openai.test.evil.test/v1/chat/completions", inside, OFFICE, "unknown_service"),
        (&docs, "POST http://api.openai.test:443/v1/chat/completions", inside, OFFICE, "unknown_service"),
        // An escape of an unreserved character is that character.
        (&docs, "POST https://api.openai.test/v1/%63hat/completions", inside, OFFICE, "docs-llm research"),
        // `**` is also nothing, `*` is one segment that is not empty.
        (&docs, "GET https://api.openai.test/v1/models", inside, OFFICE, "docs-llm research"),
        (&docs, "GET https://api.openai.test/v1/models/", inside, OFFICE, "docs-llm research"),
        (&docs, "GET https://api.openai.test/v1/models/a/b", inside, OFFICE, "docs-llm research"),
        (&docs, "GET https://api.openai.test/v1/modelsx", inside, OFFICE, "no_rule"),
        (&docs, "GET https://api.openai.test/v1/files/1", None, EVENING, "docs-files none"),
        (&docs, "GET https://api.openai.test/v1/files/", None, EVENING, "no_rule"),
        (&docs, "GET https://api.openai.test/v1/files/1/2", None, EVENING, "no_rule"),
        // Denies win, also over a foreign workload, and match what is unknown.
        (&pay, "GET https://billing.internal:8443/a", None, OFFICE, "pay bill"),
        (&pay, "BREW https://billing.internal:8443/a", None, OFFICE, "pay bill"),
        (&pay, "GET https://eu.west.billing.internal/a%2Fb", None, OFFICE, "pay bill"),
        (&pay, "GET https://billing.internal/a", None, OFFICE, "unknown_service"),
        (&pay, "DELETE https://billing.internal:8443/a", None, OFFICE, "denied_by_rule no-deletes"),
        (&pay, "GET https://billing.internal:8443/closed/1", None, OFFICE, "denied_by_rule not-closed"),
        (&pay, "GET https://billing.internal:8443/%63losed/1", None, OFFICE, "denied_by_rule not-closed"),
        (&pay_ops, "GET https://billing.internal:8443/closed/1", None, OFFICE, "pay bill"),
        (&ops, "GET https://billing.internal:8443/a", None, OFFICE, "no_rule"),
        (&partner, "GET https://billing.internal:8443/invoices/1", None, OFFICE, "partner bill"),
        (&partner, "DELETE https://billing.internal:8443/invoices/1", None, OFFICE, "denied_by_rule no-deletes"),
        // `*` is this trust domain; paths divide a host; from and until.
        (&docs, "GET https://shared.test/mail/1", None, "2026-01-15T00:00:00Z", "campaign none"),
        (&docs, "GET https://shared.test/files/v2", None, "2026-01-15T00:00:00Z", "campaign none"),
        (&docs, "GET https://shared.test/files/v22", None, "2026-01-15T00:00:00Z", "unknown_service"),
        (&docs, "GET https://shared.test/mail/1", None, "2025-12-31T23:59:59Z", "no_rule"),
        (&docs, "GET https://shared.test/mail/1", None, "2026-01-31T22:59:59Z", "campaign none"),
        (&docs, "GET https://shared.test/mail/1", None, "2026-01-31T23:00:00Z", "no_rule"),
        (&partner, "GET https://shared.test/mail/1", None, "2026-01-15T00:00:00Z", "no_rule"),
        // The attestor counts.
        (&root, "GET http://legacy.internal/x", None, OFFICE, "no_rule"),
    ] {
        let bound = policy.bind(who);
        assert_eq!(outcome(&policy, &bound, request, &context(ip, now), None), expected, "{} {request}", who.id);
    }
    let root = std::sync::Arc::new(claviger_policy::Principal { attested_by: "unix".into(), ..(*root).clone() });
    for (request, expected) in [
        ("GET http://legacy.internal/x", "old none"),
        ("PROPFIND http://legacy.internal/x", "old none"),
        ("PROPPATCH http://legacy.internal/x", "no_rule"),
        ("GET https://legacy.internal:80/x", "unknown_service"),
    ] {
        assert_eq!(outcome(&policy, &policy.bind(&root), request, &context(None, OFFICE), None), expected, "{request}");
    }
}

#[test]
fn facts_of_a_body() {
    let policy = load(CONFIG);
    let pay = policy.bind(&principal("spiffe://acme.internal/payments/api", &[]));
    let boosted = policy.bind(&principal("spiffe://acme.internal/payments/api", &[("tier", 3.into())]));
    let facts = |model: Fact, tokens: Fact| {
        let mut facts = BodyFacts::default();
        facts.set("body.model", model);
        facts.set("body.max_tokens", tokens);
        facts
    };
    let known = |text: &str| Fact::Known(text.into());
    let number = |value: i64| Fact::Known(value.into());
    let (chat, responses) =
        ("POST https://api.openai.test/v1/chat/completions", "POST https://api.openai.test/v1/responses");
    for (bound, request, facts, expected) in [
        (&pay, chat, None, "pending body.model"),
        (&pay, responses, None, "pending body.max_tokens body.model"),
        (&pay, chat, Some(facts(known("small-2"), Fact::Unknown)), "models research"),
        (&pay, chat, Some(facts(known("tiny"), Fact::Unknown)), "models research"),
        (&pay, chat, Some(facts(known("tiny2"), Fact::Unknown)), "no_rule"),
        (&pay, chat, Some(facts(Fact::Unknown, Fact::Unknown)), "body_fact_unavailable"),
        (&pay, chat, Some(facts(number(1), Fact::Unknown)), "body_fact_unavailable"),
        (&pay, chat, Some(facts(Fact::Inapplicable, Fact::Unknown)), "no_rule"),
        (&pay, responses, Some(facts(known("tiny"), number(1000))), "models research"),
        (&pay, responses, Some(facts(known("tiny"), number(1001))), "denied_by_rule long"),
        (&pay, responses, Some(facts(known("tiny"), Fact::Unknown)), "denied_by_rule long"),
        (&pay, responses, Some(facts(known("tiny"), Fact::Inapplicable)), "models research"),
        // A rule of higher rank that needs no body settles it, unless a deny waits.
        (&boosted, chat, None, "boost premium"),
        (&boosted, responses, None, "pending body.max_tokens body.model"),
        (&boosted, responses, Some(facts(Fact::Unknown, number(1))), "boost premium"),
    ] {
        assert_eq!(outcome(&policy, bound, request, &context(None, OFFICE), facts.as_ref()), expected, "{request}");
    }
}

#[test]
fn a_grant_owns_what_was_judged() {
    let policy = load(CONFIG);
    let bound = policy.bind(&principal("spiffe://acme.internal/payments/api", &[]));
    let judge = |limit_reached: bool| {
        let target = target(&policy, "https://api.openai.test/v1/chat/completions?q=1");
        let decision = policy.decide(&bound, target, http::Method::POST, &context(None, OFFICE));
        let Decision::Pending(pending) = decision else { panic!("{decision:?}") };
        assert_eq!((pending.limit(), pending.needs()), (1 << 20, vec!["body.model"]));
        let mut facts = BodyFacts::default();
        facts.set("body.model", Fact::Known("tiny".into()));
        if limit_reached {
            return pending.resolve(&policy, &facts, vec![b' '; (1 << 20) + 1].into());
        }
        pending.resolve(&policy, &facts, bytes::Bytes::from_static(b"{\"model\":\"tiny\"}"))
    };
    let mut grant = judge(false).unwrap();
    // Neither query nor body: both may hold what is not for a log.
    assert_eq!(
        format!("{grant:?}"),
        "Grant { POST https://api.openai.test/v1/chat/completions by `models` with credential `research` }"
    );
    assert_eq!(grant.target().path_and_query(), "/v1/chat/completions?q=1");
    assert_eq!((&**grant.service(), grant.rule().map(|rule| &**rule)), ("openai", Some("models")));
    assert_eq!(grant.operation().map(|operation| &**operation), Some("POST /v1/chat/completions"));
    assert_eq!((grant.method(), grant.generation()), (&http::Method::POST, 7));
    assert_eq!(grant.take_body().unwrap().as_ref(), b"{\"model\":\"tiny\"}");
    assert!(grant.body().is_none());
    // More than the rule reads: its facts are unknown.
    assert_eq!(judge(true).unwrap_err().reason, Reason::BodyFactUnavailable);
}

#[test]
fn a_body_that_was_not_read_is_unknown() {
    let policy = load(CONFIG);
    for (attributes, path, expected) in [
        (vec![], "chat/completions", Err(Reason::BodyFactUnavailable)),
        (vec![("tier", 3.into())], "responses", Err(Reason::DeniedByRule)),
    ] {
        let bound = policy.bind(&principal("spiffe://acme.internal/payments/api", &attributes));
        let target = target(&policy, &format!("https://api.openai.test/v1/{path}"));
        let decision = policy.decide(&bound, target, http::Method::POST, &context(None, OFFICE));
        let Decision::Pending(pending) = decision else { panic!("{decision:?}") };
        let result = pending.resolve_unread(&policy).map(|_| ()).map_err(|denial| denial.reason);
        assert_eq!(result, expected, "{path}");
    }
}

#[test]
fn another_generation_binds_anew() {
    let (old, new) = (load(CONFIG), load(&CONFIG.replace("body.model in ['small-*', 'tiny']", "body.model == 'x'")));
    let bound = old.bind(&principal("spiffe://acme.internal/payments/api", &[]));
    let url = "https://api.openai.test/v1/chat/completions";
    // The same number is not the same policy.
    let decision = new.decide(&bound, target(&new, url), http::Method::POST, &context(None, OFFICE));
    assert!(matches!(&decision, Decision::Denied(denial) if denial.reason == Reason::StaleBinding), "{decision:?}");
    // A reload while the body is read: the new rules decide.
    for (model, expected) in [("tiny", Err(Reason::NoRule)), ("x", Ok(()))] {
        let decision = old.decide(&bound, target(&old, url), http::Method::POST, &context(None, OFFICE));
        let Decision::Pending(pending) = decision else { panic!("{decision:?}") };
        let mut facts = BodyFacts::default();
        facts.set("body.model", Fact::Known(model.into()));
        let result = pending.resolve(&new, &facts, bytes::Bytes::new());
        assert_eq!(result.map(|_| ()).map_err(|denial| denial.reason), expected, "{model}");
    }
}

#[test]
fn time_bounds_a_grant() {
    let text = r#"
[service.s]
hosts = ["s.test"]
[workload.w]
spiffe = "spiffe://acme.internal/w"
[schedule.office]
from = "07:00"
to = "19:00"
zone = "UTC"
[schedule.freeze]
days = ["mon"]
from = "12:00"
to = "13:00"
zone = "UTC"
[allow.plain]
who = "w"
to = "s"
ops = ["GET /plain"]
use = "none"
[allow.office]
who = "w"
to = "s"
ops = ["GET /office", "GET /frozen"]
when = ["time in office"]
use = "none"
until = 2026-11-30T00:00:00Z
[deny.freeze]
who = "w"
to = "s"
ops = ["* /frozen"]
when = ["time in freeze"]
[deny.later]
who = "w"
to = "s"
ops = ["* /plain"]
from = 2027-01-01T00:00:00Z
until = 2027-01-02T00:00:00Z
[deny.elsewhere]
who = "w"
to = "s"
ops = ["* /plain"]
when = ["source.ip in 10.0.0.0/8"]
from = 2026-12-01T00:00:00Z
"#;
    let policy = load(text);
    let bound = policy.bind(&principal("spiffe://acme.internal/w", &[]));
    let outside = Some("192.0.2.1");
    for (path, now, until) in [
        ("/plain", "2026-11-23T10:00:00Z", Some("2027-01-01T00:00:00Z")),
        ("/plain", "2027-01-02T00:00:00Z", None),
        ("/office", "2026-11-23T10:00:00Z", Some("2026-11-23T19:00:00Z")),
        ("/office", "2026-11-29T18:00:00Z", Some("2026-11-29T19:00:00Z")),
        ("/frozen", "2026-11-23T10:00:00Z", Some("2026-11-23T12:00:00Z")),
        ("/frozen", "2026-11-23T14:00:00Z", Some("2026-11-23T19:00:00Z")),
    ] {
        let target = target(&policy, &format!("https://s.test{path}"));
        let decision = policy.decide(&bound, target, http::Method::GET, &context(outside, now));
        let Decision::Grant(grant) = decision else { panic!("{path} {now}: {decision:?}") };
        let until = until.map(|until| until.parse::<jiff::Timestamp>().unwrap().as_second());
        assert_eq!(grant.valid_until(), until, "{path} {now}");
    }
}

#[test]
fn ties_and_observed_rules() {
    // Two prefixes of one group list: no single value, but a list of groups meets both.
    let text = r#"
[service.s]
hosts = ["s.test"]
[credential.a]
hosts = ["s.test"]
[credential.b]
hosts = ["s.test"]
[workload.w]
spiffe = "spiffe://acme.internal/w"
[workload.v]
spiffe = "spiffe://acme.internal/v"
[allow.a]
who = "w"
to = "s"
ops = ["GET /x"]
when = ["groups == 'a'"]
use = "a"
[allow.b]
who = "w"
to = "s"
ops = ["GET /*"]
when = ["groups == 'b'"]
use = "b"
[allow.b2]
who = "w"
to = "s"
ops = ["GET /x"]
when = ["groups == 'b'"]
use = "b"
[allow.v]
who = "v"
to = "s"
ops = ["GET /x", "GET /y"]
use = "a"
[allow.v-better]
who = "v"
to = "s"
ops = ["GET /x"]
use = "b"
priority = 1
enforce = false
[allow.v-new]
who = "v"
to = "s"
ops = ["GET /new"]
use = "b"
enforce = false
[allow.v-tie]
who = "v"
to = "s"
ops = ["GET /y"]
when = ["source.ip in 10.0.0.0/8"]
use = "b"
enforce = false
[deny.v-soon]
who = "v"
to = "s"
ops = ["GET /y"]
when = ["source.ip in 192.0.2.0/24"]
enforce = false
[deny.v-body]
who = "v"
to = "s"
ops = ["GET /y"]
when = ["source.ip in 198.51.100.0/24", "body.n > 5"]
enforce = false
"#;
    let policy = load(text);
    let context = |ip: Option<&str>| Context { source_ip: ip.map(|ip| ip.parse().unwrap()), now: 0 };
    let groups = |names: &[&str]| AttributeValue::Strings(names.iter().map(|name| (*name).into()).collect());
    for (names, expected) in [
        (&["a"][..], "a a"),
        (&["b"], "b b"),
        (&["a", "b"], "ambiguous a"),
        (&["b", "a", "c"], "ambiguous a"),
        (&[], "no_rule"),
    ] {
        let bound = policy.bind(&principal("spiffe://acme.internal/w", &[("groups", groups(names))]));
        assert_eq!(outcome(&policy, &bound, "GET https://s.test/x", &context(None), None), expected, "{names:?}");
    }
    let bound = policy.bind(&principal("spiffe://acme.internal/v", &[]));
    for (path, ip, allowed, observed) in [
        ("/x", None, true, Some(("v-better", Effect::Allow))),
        ("/new", None, false, Some(("v-new", Effect::Allow))),
        ("/other", None, false, None),
        ("/y", Some("10.0.0.1"), true, Some(("v-tie", Effect::Ambiguous))),
        ("/y", Some("192.0.2.1"), true, Some(("v-soon", Effect::Deny))),
        ("/y", Some("203.0.113.1"), true, None),
    ] {
        let target = target(&policy, &format!("https://s.test{path}"));
        let decision = policy.decide(&bound, target, http::Method::GET, &context(ip));
        let (got, seen) = match &decision {
            Decision::Grant(grant) => (true, grant.observed().cloned()),
            Decision::Denied(denial) => (false, denial.observed.clone()),
            Decision::Pending(_) => panic!("{path} {ip:?}"),
        };
        let seen = seen.as_ref().map(|observed| (&*observed.rule, observed.effect));
        assert_eq!((got, seen), (allowed, observed), "{path} {ip:?}");
    }
    // A rule that is only observed may ask for the body, and still changes nothing.
    let url = target(&policy, "https://s.test/y");
    let decision = policy.decide(&bound, url, http::Method::GET, &context(Some("198.51.100.1")));
    let Decision::Pending(pending) = decision else { panic!("{decision:?}") };
    let grant = pending.resolve_unread(&policy).unwrap();
    assert_eq!(grant.observed().map(|observed| observed.effect), Some(Effect::Deny));
}

#[test]
fn asked_attributes_have_places() {
    let policy = load(CONFIG);
    let asked: Vec<String> = policy
        .asked()
        .map(|asked| format!("{} {} {:?}", asked.location.to_string().replace("c.toml:", ""), asked.key, asked.wanted))
        .collect();
    let any = |key: &str, name: &str| format!("{key} Attribute {{ name: \"{name}\", of: [] }}");
    assert_eq!(
        asked,
        [
            any("27:11 workload.docs-ci.match.github.ref", "github.ref"),
            "32:11 workload.root.match.unix.uid Attribute { name: \"unix.uid\", of: [\"unix\"] }".to_owned(),
            "33:15 workload.root.attested_by Attestor(\"unix\")".to_owned(),
            "48:9 allow.docs-llm.when Address".to_owned(),
            any("86:9 allow.boost.when", "tier"),
            any("69:9 deny.not-closed.when", "group"),
        ]
    );
}
