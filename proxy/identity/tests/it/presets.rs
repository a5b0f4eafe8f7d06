//! `kubernetes`, `github-actions` and `gitlab-ci`: tokens of the shapes that these issuers sign.

use claviger_policy::AttributeValue;
use claviger_policy::document::Severity;
use serde_json::{Value, json};

use crate::support::{NOW, TokenKey, World, attest_token, attested, chain, told};

const CLUSTER: &str = "https://kubernetes.default.svc.cluster.local";
const GITHUB_ISSUER: &str = "https://token.actions.githubusercontent.com";
const K8S: &str = "[attestor.a]\nkind = \"kubernetes\"\nissuer = \"https://kubernetes.default.svc.cluster.local\"\n\
    audience = \"claviger\"\njwks = \"keys.json\"\n";
/// The keys of these tests sign ES256, GitHub and GitLab RS256.
const GITHUB: &str = "[attestor.a]\nkind = \"github-actions\"\naudience = \"claviger\"\njwks = \"keys.json\"\n\
    require = { repository_owner_id = \"1234567\" }\nalgorithms = \"ES256\"\n";
const GITLAB: &str = "[attestor.a]\nkind = \"gitlab-ci\"\naudience = \"claviger\"\njwks = \"keys.json\"\n\
    require = { namespace_id = \"72\" }\nalgorithms = \"ES256\"\n";

const MALFORMED: &str = "identity_malformed";
const REFUSED: &str = "identity_refused";
const UNTRUSTED: &str = "identity_untrusted";

/// As the API server signs for a projected volume.
fn projected() -> Value {
    json!({
        "aud": ["claviger"], "exp": NOW + 3_607, "iat": NOW, "nbf": NOW, "iss": CLUSTER,
        "jti": "7ee52be0-9045-4653-aa5e-0da57b8dccdc",
        "kubernetes.io": {
            "namespace": "billing",
            "node": { "name": "node-1", "uid": "517eb86e-b863-451b-bf70-86cb61439a3a" },
            "pod": { "name": "worker-5d8f", "uid": "0d8b260e-ef0e-45fb-be8e-ff44f97722e8" },
            "serviceaccount": { "name": "worker", "uid": "e6a8680e-d103-4cce-80ea-03acbbeacf7d" },
            "warnafter": NOW + 3_000,
        },
        "sub": "system:serviceaccount:billing:worker",
    })
}

/// As GitHub signs for a job.
fn run() -> Value {
    json!({
        "jti": "4a576b35-ff09-41c5-af2c-ca62dd89b76a", "sub": "repo:acme/docs:ref:refs/heads/main", "aud": "claviger",
        "iss": GITHUB_ISSUER, "iat": NOW, "nbf": NOW - 300, "exp": NOW + 300,
        "ref": "refs/heads/main", "sha": "7f93a73b8273af5d35fcd70661704c1cadc57054", "repository": "acme/docs",
        "repository_id": "456789", "repository_owner": "acme", "repository_owner_id": "1234567",
        "repository_visibility": "private", "run_id": "13605384", "run_number": "27", "run_attempt": "1",
        "actor": "octocat", "actor_id": "583231", "workflow": "deploy", "head_ref": "", "base_ref": "",
        "event_name": "push", "ref_protected": "true", "ref_type": "branch", "runner_environment": "github-hosted",
        "workflow_ref": "acme/docs/.github/workflows/deploy.yml@refs/heads/main",
        "job_workflow_ref": "acme/ci/.github/workflows/release.yml@refs/heads/v2", "environment": "production",
    })
}

/// As GitLab signs for `id_tokens`.
fn job() -> Value {
    json!({
        "namespace_id": "72", "namespace_path": "acme/web", "project_id": "20", "project_path": "acme/web/shop",
        "user_id": "1", "user_login": "sample", "user_email": "sample@acme.test", "pipeline_id": "574",
        "pipeline_source": "push", "job_id": "302", "ref": "main", "ref_type": "branch", "ref_path": "refs/heads/main",
        "ref_protected": "true", "environment": "production", "environment_protected": "true",
        "job_project_id": "20", "job_project_path": "acme/web/shop", "job_namespace_id": "72",
        "deployment_tier": "production", "runner_id": 1, "runner_environment": "self-hosted",
        "sha": "714a629c0b401fdce83e847fc9589983fc6f46bc", "jti": "235b3a54", "iss": "https://gitlab.com",
        "iat": NOW, "nbf": NOW - 5, "exp": NOW + 3_600, "aud": "claviger",
        "sub": "project_path:acme/web/shop:ref_type:branch:ref:main",
    })
}

/// Claims with one changed, by a JSON pointer; null removes it.
fn with(mut claims: Value, pointer: &str, value: Value) -> Value {
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    let parent = claims.pointer_mut(parent).unwrap().as_object_mut().unwrap();
    if value.is_null() {
        parent.remove(name);
    } else {
        parent.insert(name.to_owned(), value);
    }
    claims
}

fn check(text: &str, cases: impl IntoIterator<Item = (&'static str, Value, &'static str)>) {
    let (world, key) = (World::new(), TokenKey::new("k1"));
    world.write("keys.json", key.set());
    let attestors = world.attestors(text);
    let listener = chain(&attestors, &["a"]);
    for (about, claims, expected) in cases {
        let outcome = world.run(attest_token(&listener, &key.sign(&claims)));
        assert_eq!(told(&outcome), expected, "{about}: {outcome:?}");
    }
}

#[test]
fn kubernetes_tokens() {
    let good = "spiffe://acme.internal/ns/billing/sa/worker";
    let changed = |pointer: &str, value| with(projected(), pointer, value);
    check(
        K8S,
        [
            ("a projected token", projected(), good),
            ("for the API server", changed("/aud", json!([CLUSTER])), "identity_audience"),
            ("of another cluster", changed("/iss", json!("https://oidc.eks.test/id/1")), "identity_unknown_issuer"),
            ("expired", changed("/exp", json!(NOW - 30)), "identity_expired"),
            ("`sub` of another account", changed("/sub", json!("system:serviceaccount:billing:admin")), MALFORMED),
            ("`sub` of a user", changed("/sub", json!("admin")), MALFORMED),
            ("no `sub`", changed("/sub", Value::Null), MALFORMED),
            ("another namespace than `sub`", changed("/kubernetes.io/namespace", json!("kube-system")), MALFORMED),
            ("no namespace", changed("/kubernetes.io/namespace", Value::Null), MALFORMED),
            ("no account", changed("/kubernetes.io/serviceaccount", Value::Null), MALFORMED),
            ("none of it", changed("/kubernetes.io", Value::Null), MALFORMED),
            ("not bound to a pod", changed("/kubernetes.io/pod", Value::Null), good),
            (
                "names with a dot at the top, which are not nested",
                with(changed("/kubernetes.io", Value::Null), "/kubernetes.io.namespace", json!("billing")),
                MALFORMED,
            ),
            (
                "a token of before projection",
                json!({
                    "iss": "kubernetes/serviceaccount", "sub": "system:serviceaccount:billing:worker",
                    "kubernetes.io/serviceaccount/namespace": "billing",
                }),
                "identity_unknown_issuer",
            ),
        ],
    );
    let spoof = |namespace: &str, account: &str| {
        let claims = changed("/kubernetes.io/namespace", json!(namespace));
        let claims = with(claims, "/kubernetes.io/serviceaccount/name", json!(account));
        with(claims, "/sub", json!(format!("system:serviceaccount:{namespace}:{account}")))
    };
    check(
        K8S,
        [
            ("near: other names", spoof("a", "b.c"), "spiffe://acme.internal/ns/a/sa/b.c"),
            ("a namespace that climbs", spoof("..", "worker"), REFUSED),
            ("a slash in a namespace", spoof("a/sa/b", "worker"), REFUSED),
            ("a colon", spoof("a", "b:c"), REFUSED),
            ("a space", spoof("a", "b c"), REFUSED),
            ("an empty name", spoof("a", ""), REFUSED),
        ],
    );
    check(
        &format!("{K8S}require = {{ \"k8s.namespace\" = [\"billing\", \"shop\"] }}\n"),
        [("a namespace that is meant", projected(), good), ("another", spoof("kube-system", "worker"), REFUSED)],
    );
}

/// Clusters call themselves by one name: only the key tells them apart.
#[test]
fn another_cluster_has_another_key() {
    let (world, ours, theirs) = (World::new(), TokenKey::new("k1"), TokenKey::new("k1"));
    world.write("keys.json", ours.set());
    let attestors = world.attestors(K8S);
    let listener = chain(&attestors, &["a"]);
    let told_of = |key: &TokenKey| told(&world.run(attest_token(&listener, &key.sign(&projected()))));
    assert_eq!(told_of(&theirs), UNTRUSTED);
    assert_eq!(told_of(&ours), "spiffe://acme.internal/ns/billing/sa/worker");
    // The cluster's signing key is rotated: for a while both are published, then the new one only.
    let both = json!({ "keys": [ours.jwk(), with(theirs.jwk(), "/kid", json!("k2"))] }).to_string();
    let renamed = |key: &TokenKey| key.sign_with(&json!({ "alg": "ES256", "kid": "k2" }), &projected());
    for (keys, of_old, of_new) in
        [(both, true, true), (json!({ "keys": [with(theirs.jwk(), "/kid", json!("k2"))] }).to_string(), false, true)]
    {
        world.write("keys.json", keys);
        attestors.look_at_files();
        assert_eq!(told_of(&ours) != UNTRUSTED, of_old);
        let outcome = world.run(attest_token(&listener, &renamed(&theirs)));
        assert_eq!(told(&outcome) != UNTRUSTED, of_new, "{outcome:?}");
    }
}

#[test]
fn github_tokens() {
    let good = "spiffe://acme.internal/github/acme/docs";
    let changed = |pointer: &str, value| with(run(), pointer, value);
    check(
        GITHUB,
        [
            ("a run", run(), good),
            (
                "`sub` with ids, as of new repositories",
                changed("/sub", json!("repo:acme@1234567/docs@456789:ref:refs/heads/main")),
                good,
            ),
            (
                "the audience that GitHub takes by itself",
                changed("/aud", json!("https://github.com/acme")),
                "identity_audience",
            ),
            ("another owner", changed("/repository_owner_id", json!("7654321")), REFUSED),
            (
                "an owner of our name",
                with(changed("/repository_owner_id", json!("9")), "/repository_owner", json!("acme")),
                REFUSED,
            ),
            ("our number, but as a number", changed("/repository_owner_id", json!(1_234_567)), REFUSED),
            ("no owner", changed("/repository_owner_id", Value::Null), REFUSED),
            (
                "an enterprise's own issuer",
                changed("/iss", json!(format!("{GITHUB_ISSUER}/acme"))),
                "identity_unknown_issuer",
            ),
            ("no repository", changed("/repository", Value::Null), REFUSED),
            ("a repository that climbs", changed("/repository", json!("acme/../other")), REFUSED),
            ("a repository with `@`", changed("/repository", json!("acme/docs@main")), REFUSED),
            (
                "a dotted repository",
                changed("/repository", json!("acme/.github")),
                "spiffe://acme.internal/github/acme/.github",
            ),
            ("expired", changed("/exp", json!(NOW - 30)), "identity_expired"),
        ],
    );
    check(
        &GITHUB.replace("algorithms = \"ES256\"\n", ""),
        [("an algorithm that GitHub does not use", run(), UNTRUSTED)],
    );
    check(
        &GITLAB.replace("algorithms = \"ES256\"\n", ""),
        [("an algorithm that GitLab does not use", job(), UNTRUSTED)],
    );
}

#[test]
fn gitlab_tokens() {
    let good = "spiffe://acme.internal/gitlab/acme/web/shop";
    let changed = |pointer: &str, value| with(job(), pointer, value);
    // Since 18.2.2 `project_*` and `namespace_*` of a merge request are the fork's, `job_*` the project's it runs in.
    let of_fork = with(
        with(changed("/namespace_id", json!("666")), "/project_path", json!("mallory/shop")),
        "/pipeline_source",
        json!("merge_request_event"),
    );
    check(
        GITLAB,
        [
            ("a job", job(), good),
            ("another namespace", changed("/namespace_id", json!("73")), REFUSED),
            ("a merge request of a fork", of_fork, REFUSED),
            ("no namespace", changed("/namespace_id", Value::Null), REFUSED),
            (
                "the audience that GitLab takes by itself",
                changed("/aud", json!("https://gitlab.com")),
                "identity_audience",
            ),
            ("another GitLab", changed("/iss", json!("https://gitlab.acme.test")), "identity_unknown_issuer"),
            ("a path that SPIFFE forbids", changed("/project_path", json!("acme/web shop")), REFUSED),
            ("expired", changed("/exp", json!(NOW - 30)), "identity_expired"),
        ],
    );
}

#[test]
fn what_tokens_yield() {
    let (world, key) = (World::new(), TokenKey::new("k1"));
    world.write("keys.json", key.set());
    for (text, claims, expected) in [
        (
            K8S,
            projected(),
            &[
                ("k8s.namespace", "billing"),
                ("k8s.service_account", "worker"),
                ("k8s.service_account_uid", "e6a8680e-d103-4cce-80ea-03acbbeacf7d"),
                ("k8s.pod", "worker-5d8f"),
                ("k8s.pod_uid", "0d8b260e-ef0e-45fb-be8e-ff44f97722e8"),
                ("k8s.node", "node-1"),
            ][..],
        ),
        (
            GITHUB,
            run(),
            &[
                ("github.repository", "acme/docs"),
                ("github.ref", "refs/heads/main"),
                ("github.ref_protected", "true"),
                ("github.environment", "production"),
                ("github.event_name", "push"),
                ("github.actor_id", "583231"),
                ("github.job_workflow_ref", "acme/ci/.github/workflows/release.yml@refs/heads/v2"),
                ("github.head_ref", ""),
            ],
        ),
        (
            GITLAB,
            job(),
            &[
                ("gitlab.project_path", "acme/web/shop"),
                ("gitlab.namespace_path", "acme/web"),
                ("gitlab.ref", "main"),
                ("gitlab.ref_protected", "true"),
                ("gitlab.environment", "production"),
                ("gitlab.pipeline_source", "push"),
            ],
        ),
    ] {
        let attestors = world.attestors(text);
        let names = attestors.attribute_names().remove(0).1;
        let principal = attested(world.run(attest_token(&chain(&attestors, &["a"]), &key.sign(&claims)))).principal;
        assert_eq!(&*principal.attested_by, "a");
        for (name, value) in expected {
            assert!(names.iter().any(|known| **known == **name), "{name}: {names:?}");
            assert_eq!(principal.attributes.get(name), Some(&AttributeValue::from(*value)), "{name}");
        }
    }
    // What the file adds stands beside what the kind yields; both may be called by name.
    let more = "attributes = { \"ci.attempt\" = \"run_attempt\" }\nidentity = \"spiffe://acme.internal/{github.actor_id}/{repository}\"\n";
    let attestors = world.attestors(&format!("{GITHUB}{more}"));
    let principal = attested(world.run(attest_token(&chain(&attestors, &["a"]), &key.sign(&run())))).principal;
    assert_eq!(principal.id.as_str(), "spiffe://acme.internal/583231/acme/docs");
    assert_eq!(principal.attributes.get("ci.attempt"), Some(&"1".into()));
    assert_eq!(principal.attributes.get("github.ref_type"), Some(&"branch".into()));
}

/// Without a key set in a file: what is fetched, and with what.
#[test]
fn a_pod_reads_its_clusters_keys_with_its_own_token() {
    let (world, key) = (World::new(), TokenKey::new("k1"));
    let keys = format!("{CLUSTER}/openid/v1/jwks");
    world.outbound.json(&keys, key.set());
    let ca = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n";
    world.write("ca.crt", ca).write("token", "the-pods-token\n");
    let text = K8S.replace("jwks = \"keys.json\"", "ca = \"ca.crt\"\njwks_token = \"token\"");
    let attestors = world.attestors(&text);
    assert_eq!(attestors.watched_files(), [world.path("ca.crt")]);
    let outcome = world.run(attest_token(&chain(&attestors, &["a"]), &key.sign(&projected())));
    assert_eq!(told(&outcome), "spiffe://acme.internal/ns/billing/sa/worker");
    let call = world.outbound.last();
    let (reach, request) = &*call;
    assert_eq!(request.headers["authorization"], "Bearer the-pods-token");
    assert!(request.headers["authorization"].is_sensitive());
    assert!(reach.allow_addresses.iter().any(|net| net.contains(&"10.96.0.1".parse::<std::net::IpAddr>().unwrap())));
    assert_eq!(reach.ca_pem.as_deref(), Some(ca.as_bytes()));
}

/// The token is for the host that the file names, not for one that a document names.
#[test]
fn a_discovery_document_gets_no_token_elsewhere() {
    let (world, key) = (World::new(), TokenKey::new("k1"));
    let document = json!({ "issuer": "https://eks.test/id/1", "jwks_uri": "https://elsewhere.test/keys" });
    world.outbound.json("https://eks.test/id/1/.well-known/openid-configuration", document.to_string());
    world.outbound.json("https://elsewhere.test/keys", key.set());
    world.write("token", "the-pods-token");
    let text = K8S.replace(CLUSTER, "https://eks.test/id/1").replace("jwks = \"keys.json\"", "jwks_token = \"token\"");
    let attestors = world.attestors(&text);
    let claims = with(projected(), "/iss", json!("https://eks.test/id/1"));
    let outcome = world.run(attest_token(&chain(&attestors, &["a"]), &key.sign(&claims)));
    assert_eq!(told(&outcome), "spiffe://acme.internal/ns/billing/sa/worker");
    assert_eq!(world.outbound.calls(), 2);
    assert!(!world.outbound.last().1.headers.contains_key("authorization"));
}

#[test]
fn what_does_not_load() {
    let world = World::new();
    world.write("keys.json", TokenKey::new("k").set());
    let pinned = |pin: &str| GITHUB.replace("repository_owner_id = \"1234567\"", pin);
    for (about, text, place, expected) in [
        ("nobody's tenant", GITHUB.replace("require =", "#"), "1:1", "write `require = { repository_owner_id"),
        (
            "nobody's tenant",
            GITLAB.replace("require =", "#"),
            "1:1",
            "write `require = { namespace_id = \"…\" }`; one of namespace_id, project_id",
        ),
        ("a pin of something else", pinned("ref = \"refs/heads/main\""), "1:1", "nothing here says whose are meant"),
        (
            "a pin that a fork passes",
            GITLAB.replace("namespace_id =", "job_namespace_id ="),
            "1:1",
            "nothing here says whose are meant",
        ),
        ("a number", pinned("repository_owner_id = 1234567"), "5:35", "write it in quotes"),
        ("a number among texts", pinned("repository_owner_id = [\"1\", 2]"), "5:35", "this claim is text"),
        ("a flag", GITLAB.replace("= \"72\"", "= \"72\", ref_protected = true"), "5:50", "this claim is text"),
        (
            "an attribute that is there",
            format!("{GITHUB}attributes = {{ \"github.ref\" = \"base_ref\" }}\n"),
            "7:16",
            "makes `github.ref` already",
        ),
        ("no issuer of a cluster", K8S.replace("issuer =", "#"), "1:1", "`attestor.a.issuer`: this key is required"),
        ("no audience", GITHUB.replace("audience =", "#"), "1:1", "`attestor.a.audience`: this key is required"),
        ("outside of a pod", K8S.replace("jwks =", "#"), "3:10", "or name the keys with `jwks`"),
        (
            "an identity elsewhere",
            format!("{GITHUB}identity = \"spiffe://other/{{repository}}\"\n"),
            "7:12",
            "outside of this trust domain",
        ),
    ] {
        let (_, out) = world.take(&text);
        let found: Vec<String> = out.iter().map(ToString::to_string).collect();
        let right = found.iter().any(|it| it.contains(&format!("claviger.toml:{place}: ")) && it.contains(expected));
        assert!(out.has_errors() && right, "{about}: {found:#?}");
    }
}

#[test]
fn names_are_worse_than_numbers() {
    let world = World::new();
    world.write("keys.json", TokenKey::new("k").set());
    let jwt = "[attestor.a]\nkind = \"jwt\"\nissuer = \"https://app.terraform.io\"\naudience = \"claviger\"\njwks = \"keys.json\"\n\
        require = { terraform_organization_name = \"acme\" }\nidentity = \"spiffe://acme.internal/tf/{terraform_workspace_id}\"\n";
    for (text, expected) in [
        (GITHUB.to_owned(), ""),
        (
            GITHUB.replace("repository_owner_id = \"1234567\"", "repository_owner = \"acme\""),
            "pin `repository_owner_id`",
        ),
        (
            GITHUB.replace("repository_owner_id = \"1234567\"", "\"github.repository\" = \"acme/docs\""),
            "pin `repository_owner_id`",
        ),
        (
            GITHUB
                .replace("repository_owner_id = \"1234567\"", "repository = \"acme/docs\", repository_id = \"456789\""),
            "",
        ),
        (GITLAB.to_owned(), ""),
        (GITLAB.replace("namespace_id = \"72\"", "namespace_path = \"acme\""), "pin `namespace_id`"),
        // One's own GitLab signs for nobody else.
        (GITLAB.replace("require = { namespace_id = \"72\" }", "issuer = \"https://gitlab.acme.test\""), ""),
        (
            GITHUB.replace(
                "require = { repository_owner_id = \"1234567\" }",
                "issuer = \"https://github.acme.test/_services/token\"",
            ),
            "",
        ),
        (jwt.to_owned(), "pin `terraform_organization_id`"),
        (K8S.to_owned(), ""),
    ] {
        let (_, out) = world.take(&text);
        assert!(!out.has_errors(), "{text}: {out:?}");
        let found: Vec<String> =
            out.iter().filter(|one| one.severity == Severity::Warning).map(ToString::to_string).collect();
        assert_eq!(found.is_empty(), expected.is_empty(), "{text}: {found:?}");
        assert!(
            found.iter().all(|it| it.contains(expected) && it.contains("is a name, which can be given up")),
            "{found:?}"
        );
    }
}

/// The first of two attestors of one issuer would judge all its tokens.
#[test]
fn one_issuer_is_judged_once() {
    use claviger_policy::document::{Diagnostics, SourceFile, parse};
    let world = World::new();
    world.write("keys.json", TokenKey::new("k").set());
    let attestors = world.attestors(&format!(
        "{K8S}{}{}",
        K8S.replace("[attestor.a]", "[attestor.b]"),
        GITHUB.replace("[attestor.a]", "[attestor.c]")
    ));
    let mut out = Diagnostics::default();
    let names = |text: &str, out: &mut Diagnostics| {
        parse(&SourceFile::new("claviger.toml", text), out).unwrap().strings("authenticate", out).unwrap()
    };
    let fine = names("authenticate = [\"a\", \"c\"]\n", &mut out);
    attestors.chain(&fine, "listener.x.authenticate", &mut out);
    assert!(out.is_empty(), "{out:?}");
    let twice = names("authenticate = [\"a\", \"c\", \"b\"]\n", &mut out);
    attestors.chain(&twice, "listener.x.authenticate", &mut out);
    let found: Vec<String> = out.iter().map(ToString::to_string).collect();
    assert!(
        found.len() == 1
            && found[0].contains("claviger.toml:1:27: ")
            && found[0].contains("`b` is never asked: `a` judges"),
        "{found:?}"
    );
}
