//! Sessions of `claviger exec`: who starts one says who it is, so that only what permits sessions can be it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/load.rs"]
mod load;

use std::sync::Arc;

use claviger_policy::{Principal, SpiffeId};
use load::{context, load, outcome, principal};

const CONFIG: &str = r#"
[service.api]
hosts = ["api.test"]

[workload.agent]
spiffe = "spiffe://acme.internal/dev/*"
exec = true
[workload.reviewer]
spiffe = "spiffe://acme.internal/dev/*"
match = { "exec.task" = "review" }
exec = true
[workload.production]
spiffe = "spiffe://acme.internal/**"
[workload.attested]
spiffe = "spiffe://acme.internal/**"
attested_by = "mesh"

[allow.agent]
who = "agent"
to = "api"
ops = ["GET /agent/**"]
use = "none"
[allow.reviewer]
who = "reviewer"
to = "api"
ops = ["GET /review/**"]
use = "none"
[allow.production]
who = "production"
to = "api"
ops = ["GET /production/**"]
use = "none"
[allow.attested]
who = "attested"
to = "api"
ops = ["GET /attested/**"]
use = "none"
[allow.anyone]
who = "*"
to = "api"
ops = ["GET /anyone/**"]
use = "none"
[deny.no-secrets]
who = "production"
to = "api"
ops = ["GET /*/secret"]
"#;

#[test]
fn a_session_is_what_permits_it_and_denies_hold_anyway() {
    let policy = load(CONFIG);
    let attested = |task: &str| principal("spiffe://acme.internal/dev/ada", &[("exec.task", task.into())]);
    let session =
        |task: &str| Arc::new(Principal { attested_by: Principal::EXEC_SESSION.into(), ..(*attested(task)).clone() });
    let named = |name: &str| Arc::new(Principal { attested_by: name.into(), ..(*attested("fix")).clone() });
    for (who, path, expected) in [
        (session("fix"), "/agent/1", "agent none"),
        (session("fix"), "/review/1", "no_rule"),
        (session("review"), "/review/1", "reviewer none"),
        (session("fix"), "/production/1", "no_rule"),
        (session("fix"), "/attested/1", "no_rule"),
        (session("fix"), "/anyone/1", "anyone none"),
        (session("fix"), "/agent/secret", "denied_by_rule no-secrets"),
        // The same identity, attested: all of it.
        (attested("fix"), "/agent/1", "agent none"),
        (attested("fix"), "/production/1", "production none"),
        (attested("fix"), "/attested/1", "attested none"),
        (attested("fix"), "/production/secret", "denied_by_rule no-secrets"),
        // An attestor that is called as sessions begin is another.
        (named("exec"), "/production/1", "production none"),
    ] {
        let request = format!("GET https://api.test{path}");
        let found = outcome(&policy, &policy.bind(&who), &request, &context(None, "2026-01-15T00:00:00Z"), None);
        assert_eq!(found, expected, "{} {path}", who.attested_by);
    }
}

#[test]
fn what_may_be_a_session_is_told() {
    let policy = load(CONFIG);
    let names: Vec<String> = policy.exec_workloads().map(|(name, _, _)| name.to_string()).collect();
    assert_eq!(names, ["agent", "reviewer"]);
    for (id, permitted) in [
        ("spiffe://acme.internal/dev/ada", true),
        ("spiffe://acme.internal/dev/ada/x", false),
        ("spiffe://acme.internal/prod", false),
        ("spiffe://other.test/dev/ada", false),
    ] {
        assert_eq!(policy.permits_exec(&SpiffeId::parse(id).unwrap()), permitted, "{id}");
    }
}
