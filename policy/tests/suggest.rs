//! The rule that is missing, from requests as the ledger remembers them.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

#[path = "support/load.rs"]
mod load;

use std::sync::Arc;

use claviger_policy::{AttributeValue, Authority, Principal, Recorded, SuggestFor, Suggestion, Unsuggested};
use load::{context, load, principal, try_load};

const CONFIG: &str = r#"
[service.api]
hosts = ["api.test", "*.api.test"]
[service.open]
hosts = ["open.test"]
[credential.first]
hosts = ["api.test"]
[credential.main]
hosts = ["api.test", "*.api.test"]
[workload.app]
spiffe = "spiffe://acme.internal/ci/app"
match = { "ci.ref" = "main" }
[workload.apps]
spiffe = ["spiffe://acme.internal/ci/app", "spiffe://acme.internal/ci/other"]
[workload.all]
spiffe = "spiffe://acme.internal/ci/*"
match = { "ci.groups" = "x", "ci.uid" = 7, "ci.flag" = true }
[allow.app-api]
who = "app"
to = "api"
ops = ["GET /v1/**"]
use = "main"
priority = 5
[allow.office]
who = "app"
to = "api"
ops = ["PUT /v1/**"]
until = "2026-01-01T00:00:00Z"
use = "main"
priority = -3
[deny.frozen]
who = "*"
to = "api"
ops = ["* /v1/frozen/**", "DELETE /v1/items/Zz99"]
"#;

fn caller(name: &str, attributes: &[(&str, AttributeValue)]) -> Arc<Principal> {
    principal(&format!("spiffe://acme.internal/ci/{name}"), attributes)
}

fn request(caller: &Arc<Principal>, method: &str, host: &str, path: &str) -> Recorded {
    Recorded {
        principal: caller.clone(),
        method: method.parse().unwrap(),
        authority: Authority::parse(host, 443).unwrap(),
        path: path.to_owned(),
        context: context(Some("10.0.0.1"), "2026-11-23T10:00:00Z"),
    }
}

/// What is suggested, and that the configuration with it allows every request.
fn suggested(requests: &[Recorded], given: &SuggestFor<'_>) -> Suggestion {
    let policy = load(CONFIG);
    let suggestion = policy.suggest(requests, given).unwrap_or_else(|why| panic!("{why:?}"));
    let (after, found) = try_load(&format!("{CONFIG}\n{suggestion}"));
    let found: Vec<String> = found.iter().map(ToString::to_string).collect();
    let after = after.unwrap_or_else(|| panic!("{found:?}\n{suggestion}"));
    for request in requests {
        assert!(!policy.explain_recorded(request).unwrap().allowed);
        let explanation = after.explain_recorded(request).unwrap();
        assert!(explanation.allowed && *explanation.rule.unwrap().name == *suggestion.name, "{suggestion}");
    }
    suggestion
}

#[test]
fn suggestions() {
    let main = [("ci.ref", AttributeValue::from("main"))];
    let why = SuggestFor { why: "request 7", ..SuggestFor::default() };
    let check = |requests: &[Recorded], given: &SuggestFor<'_>, expected: &str, notes: &[&str]| {
        let suggestion = suggested(requests, given);
        assert_eq!(suggestion.to_string(), expected);
        assert_eq!(suggestion.notes, notes);
    };
    // A workload that is exactly the caller.
    let app = caller("app", &main);
    check(
        &[request(&app, "POST", "api.test", "/v1/items/*")],
        &why,
        "[allow.app-api-2]\nwho = \"app\"\nto = \"api\"\nops = [\"POST /v1/items/*\"]\nuse = \"main\"\nwhy = \"request 7\"\n",
        &[
            "the rule covers every host of service `api`: `api.test:443`, `*.api.test:443`",
            "`use`: `first` may go there too",
        ],
    );
    // Only one of the credentials may go to this host.
    check(
        &[request(&app, "POST", "eu.api.test", "/v1/x")],
        &why,
        "[allow.app-api-2]\nwho = \"app\"\nto = \"api\"\nops = [\"POST /v1/x\"]\nuse = \"main\"\nwhy = \"request 7\"\n",
        &["the rule covers every host of service `api`: `api.test:443`, `*.api.test:443`"],
    );
    // None may go there; below all others of the service, which has none.
    check(
        &[request(&app, "POST", "open.test", "/")],
        &SuggestFor { lowest: true, ..why.clone() },
        "[allow.app-open]\nwho = \"app\"\nto = \"open\"\nops = [\"POST /\"]\nuse = \"none\"\npriority = -1\nwhy = \"request 7\"\n",
        &["no credential may go to `open.test:443`: with `use = \"none\"` nothing is injected"],
    );
    // Several at once, below all others of the service.
    check(
        &[
            request(&app, "POST", "api.test", "/b"),
            request(&app, "GET", "api.test", "/b"),
            request(&app, "GET", "api.test", "/a"),
        ],
        &SuggestFor { lowest: true, ..why.clone() },
        "[allow.app-api-2]\nwho = \"app\"\nto = \"api\"\nops = [\n    \"GET /a\",\n    \"GET,POST /b\",\n]\nuse = \"main\"\npriority = -4\nwhy = \"request 7\"\n",
        &[
            "the rule covers every host of service `api`: `api.test:443`, `*.api.test:443`",
            "`use`: `first` may go there too",
        ],
    );
    // A rule that has ended, and a deny of some of the paths.
    check(
        &[request(&app, "PUT", "api.test", "/v1/x"), request(&app, "DELETE", "api.test", "/v1/items/*")],
        &why,
        "[allow.app-api-2]\nwho = \"app\"\nto = \"api\"\nops = [\n    \"DELETE /v1/items/*\",\n    \"PUT /v1/x\",\n]\nuse = \"main\"\nwhy = \"request 7\"\n",
        &[
            "allow `office` (c.toml:24) fails by time (it ended at 2026-01-01T00:00:00Z): this rule has no such condition",
            "deny `frozen` (c.toml:31) refuses some of these paths, and always wins",
            "the rule covers every host of service `api`: `api.test:443`, `*.api.test:443`",
            "`use`: `first` may go there too",
        ],
    );
}

#[test]
fn new_workloads() {
    let check = |caller: &Arc<Principal>, given: &SuggestFor<'_>, expected: &str, notes: usize| {
        let suggestion = suggested(&[request(caller, "POST", "eu.api.test", "/v1/x")], given);
        let text = suggestion.to_string();
        let (workload, rule) = text.split_once("\n\n").unwrap();
        assert_eq!(workload, expected);
        assert!(rule.contains(&format!("\nwho = \"{}\"\n", suggestion.workload.unwrap().name)), "{rule}");
        assert_eq!(suggestion.notes.len(), notes + 1, "{:?}", suggestion.notes);
    };
    let plain = SuggestFor::default();
    check(&caller("new", &[]), &plain, "[workload.new]\nspiffe = \"spiffe://acme.internal/ci/new\"", 0);
    // The short name is taken: by another ID, or by the same with other attributes.
    let topic = [("ci.ref", AttributeValue::from("a\"b\\c"))];
    check(
        &caller("app", &topic),
        &plain,
        "[workload.ci-app]\nspiffe = \"spiffe://acme.internal/ci/app\"\nmatch = { \"ci.ref\" = \"a\\\"b\\\\c\" }",
        0,
    );
    // Nobody asks for `ci.actor`; lists and patterns cannot be asked for as they are.
    let many = [
        ("ci.actor", AttributeValue::from("jane")),
        ("ci.flag", true.into()),
        ("ci.groups", AttributeValue::Strings(["x".into()].into())),
        ("ci.ref", "a*b".into()),
        ("ci.uid", 7.into()),
    ];
    check(
        &caller("New_One", &many),
        &SuggestFor { several_attestors: true, ..plain.clone() },
        "[workload.new-one]\nspiffe = \"spiffe://acme.internal/ci/New_One\"\nmatch = { \"ci.flag\" = true, \"ci.uid\" = 7 }\nattested_by = \"mesh\"",
        2,
    );
    check(
        &principal("spiffe://acme.internal", &[]),
        &plain,
        "[workload.acme-internal]\nspiffe = \"spiffe://acme.internal\"",
        0,
    );
}

#[test]
fn where_none_helps() {
    let policy = load(CONFIG);
    let app = caller("app", &[("ci.ref", "main".into())]);
    let why = |method: &str, host: &str, path: &str| {
        policy.suggest(&[request(&app, method, host, path)], &SuggestFor::default()).unwrap_err()
    };
    assert!(matches!(why("GET", "api.test", "/v1/x"), Unsuggested::Allowed(Some(rule)) if *rule.name == *"app-api"));
    let Unsuggested::Denied(denies) = why("GET", "api.test", "/v1/frozen/x") else { panic!("a deny holds") };
    assert_eq!((denies.len(), &*denies[0].name, denies[0].line), (1, "frozen", 31));
    assert!(matches!(why("GET", "elsewhere.test", "/"), Unsuggested::UnknownService(Some(_))));
    assert!(matches!(why("GET", "api.test", "/a;b"), Unsuggested::Target(_)));
    assert!(matches!(why("brew", "api.test", "/v2/x"), Unsuggested::Method(_)));
    assert!(matches!(policy.suggest(&[], &SuggestFor::default()), Err(Unsuggested::UnknownService(None))));
}

/// What could be a key is not recorded: a rule that names one may match, one that names a word does not.
#[test]
fn masked_segments() {
    let policy = load(CONFIG);
    let app = caller("app", &[("ci.ref", "main".into())]);
    let denies = |path: &str| {
        let explanation = policy.explain_recorded(&request(&app, "DELETE", "api.test", path)).unwrap();
        (explanation.masked, explanation.denies.len())
    };
    assert_eq!(denies("/v1/items/*"), (true, 1));
    assert_eq!(denies("/v1/*/x"), (true, 0), "`frozen` would be shown");
    assert_eq!(denies("/v1/items/other"), (false, 0));
}
