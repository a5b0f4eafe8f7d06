//! Every mistake has a place, a reason and what to write instead.

use super::*;

#[test]
fn what_is_not_written_is_not_taken() {
    let (plan, found) = read("");
    assert!(plan.is_none() && found.is_empty());
    let plan = InjectionPlan::default();
    assert!(plan.is_empty() && plan.guards() && plan.body_limit().is_none());
}

#[test]
fn guard_and_body_limit() {
    assert!(!plan("inject = \"bearer\"\nguard = false").guards());
    assert!(plan("inject = \"bearer\"").guards());
    let limit =
        |more: &str| plan(&format!("inject = [{{ placeholder = \"CLAVIGER\", in = [\"body\"]{more} }}]")).body_limit();
    assert_eq!(limit(""), Some(64 << 10));
    assert_eq!(limit(", body_limit = \"1MiB\""), Some(1 << 20));
    assert_eq!(plan("inject = [{ placeholder = \"CLAVIGER\", in = [\"query\"] }]").body_limit(), None);
}

#[test]
fn one_injection_needs_no_list() {
    for one in ["\"bearer\"", "{ header = \"x-a\" }"] {
        assert!(!plan(&format!("inject = {one}")).is_empty());
        assert!(!plan(&format!("inject = [{one}]")).is_empty());
    }
}

/// The settings, where the error is, and words of it.
fn refused(settings: &str, place: &str, words: &[&str]) {
    let (plan, found) = read(settings);
    assert!(plan.is_none(), "{settings}: loads");
    let [error] = found.as_slice() else { panic!("{settings}: {found:#?}") };
    assert!(error.starts_with(&format!("claviger.toml:{place}: error: `")), "{settings}: {error}");
    for word in words {
        assert!(error.contains(word), "{settings}: `{word}` is not in: {error}");
    }
}

#[test]
#[allow(clippy::too_many_lines, reason = "one table")]
fn mistakes() {
    for (settings, place, words) in [
        ("inject = \"baerer\"", "1:10", ["`baerer` is not an injection", "did you mean `bearer`?"].as_slice()),
        ("inject = \"basic\"", "1:10", &["{ basic = \"USERNAME\" }"]),
        ("inject = \"query\"", "1:10", &["{ query = "]),
        ("inject = [\"sigv4\"]", "1:11", &["`sigv4` is not supported yet"]),
        ("inject = { sigv4 = { region = \"x\" } }", "1:10", &["not supported yet"]),
        ("inject = { client-certificate = false }", "1:33", &["`client-certificate` can only be `true`"]),
        ("inject = { client-certificate = true, from = \"x\" }", "1:10", &["fields of fixed names"]),
        (
            "inject = [\"client-certificate\", \"client-certificate\"]",
            "1:33",
            &["the client certificate is filled twice"],
        ),
        ("inject = { header = \"x-key\", from = \"private_key\" }", "1:37", &["a private key stays here"]),
        ("inject = []", "1:10", &["the list is empty"]),
        ("inject = 1", "1:10", &["expected an injection", "help: write"]),
        ("inject = { header = \"x-a\", query = \"k\" }", "1:10", &["`header` and `query` are two places"]),
        ("inject = { header = \"x a\" }", "1:21", &["`x a` is not the name of a header"]),
        ("inject = { header = \"Host\" }", "1:21", &["`host` is the proxy's own"]),
        ("inject = { header = \"Transfer-Encoding\" }", "1:21", &["the proxy's own"]),
        ("inject = { header = \"Cookie\" }", "1:21", &["write `{ cookie = "]),
        ("inject = { header = \"x-a\", prefix = \" a\" }", "1:37", &["is not a prefix"]),
        ("inject = { header = \"x-a\", prefix = \"a\\n\" }", "1:37", &["`a\\n` is not a prefix"]),
        ("inject = { header = \"x-a\", from = \"a b\" }", "1:35", &["not the name of a field"]),
        ("inject = { header = \"x-a\", form = \"a\" }", "1:28", &["unknown key", "did you mean `from`?"]),
        ("inject = { bearer = false }", "1:21", &["can only be `true`"]),
        ("inject = { basic = \"a:b\" }", "1:20", &["has a colon"]),
        ("inject = { basic = \"a\", as = \"user\" }", "1:30", &["`user` is not a value of this key"]),
        ("inject = { query = \"\" }", "1:20", &["not the name of a parameter"]),
        ("inject = { cookie = \"a=b\" }", "1:21", &["not the name of a cookie"]),
        ("inject = { path = \"bot{credential}\" }", "1:19", &["begins with `/`"]),
        ("inject = { path = \"/bot\" }", "1:19", &["no `{credential}`"]),
        ("inject = { path = \"/{credential}/x\" }", "1:19", &["last segment", "up to the segment"]),
        ("inject = { path = \"/{credential}{credential}\" }", "1:19", &["two marks"]),
        ("inject = { path = \"/{credential}\", placeholder = \"a/b\" }", "1:19", &["the placeholder has characters"]),
        (
            "inject = [{ path = \"/b{credential}\" }, { path = \"/bot{credential}\" }]",
            "1:49",
            &["can be the same segment"],
        ),
        ("inject = { placeholder = \"CLAVIGER\" }", "1:26", &["needs `in`"]),
        ("inject = { placeholder = \"SHORT\", in = [\"query\"] }", "1:26", &["8 to 256"]),
        ("inject = { placeholder = \"CLAVIGER KEY\", in = [\"query\"] }", "1:26", &["is not a placeholder"]),
        (
            "inject = { placeholder = \"CLAVIGER\", in = [\"path\"] }",
            "1:44",
            &["`path` is not a place", "`header:NAME`"],
        ),
        ("inject = { placeholder = \"CLAVIGER\", in = [\"header:host\"] }", "1:44", &["the proxy's own"]),
        ("inject = { placeholder = \"CLAVIGER\", in = [\"query\"], body_limit = 1 }", "1:67", &["leave it out"]),
        ("inject = { placeholder = \"CLAVIGER\", in = [\"body\"], body_limit = \"1GiB\" }", "1:66", &["16MiB"]),
        (
            "inject = [\"bearer\", { basic = \"u\" }]",
            "1:21",
            &["`authorization` is filled twice, first at claviger.toml:1:11"],
        ),
        (
            "inject = [{ header = \"X-A\" }, { header = \"x-a\" }]",
            "1:42",
            &["filled twice, first at claviger.toml:1:22"],
        ),
        ("inject = [{ query = \"key\" }, { query = \"Key\" }]", "1:40", &["filled twice"]),
        ("inject = [{ cookie = \"a\" }, { cookie = \"a\" }]", "1:40", &["filled twice"]),
        (
            "inject = [{ header = \"x-a\" }, { placeholder = \"CLAVIGER\", in = [\"header:x-a\"] }]",
            "1:65",
            &["filled twice"],
        ),
        (
            "inject = [{ placeholder = \"CLAVIGER\", in = [\"query\"] }, { placeholder = \"CLAVIGER_A\", in = [\"body\"] }]",
            "1:73",
            &["not distinct", "claviger.toml:1:27"],
        ),
        ("strip = [\"x y\"]", "1:10", &["not the name of a header"]),
        ("strip = [\"content-length\"]", "1:10", &["the proxy's own"]),
        (
            "strip = [\"x-a\"]\ninject = { placeholder = \"CLAVIGER\", in = [\"header:x-a\"] }",
            "1:10",
            &["holds a placeholder"],
        ),
        ("inject = { bearer = true, hosts = [] }", "1:10", &["the list of hosts is empty"]),
        (
            "inject = { bearer = true, hosts = [\"apu.test\"] }",
            "1:36",
            &["`apu.test` is no host of the service", "did you mean `api.test`?"],
        ),
        ("inject = { bearer = true, hosts = [\"api.test:8443\"] }", "1:36", &["is no host of the service"]),
        ("inject = { bearer = true, hosts = [\"other.example\"] }", "1:36", &["it has `api.test`, `elsewhere.test`"]),
        ("inject = { bearer = true, hosts = [\"https://api.test\"] }", "1:36", &["write a host without scheme"]),
        ("inject = { keep = \"authorization\" }", "1:10", &["`keep` needs `hosts`"]),
        (
            "inject = [\"bearer\", { keep = \"authorization\", hosts = [\"api.test\"] }]",
            "1:30",
            &["`authorization` is filled twice, first at claviger.toml:1:11"],
        ),
        (
            "inject = [\"bearer\", { keep = \"x-token\", hosts = [\"api.test\"] }]",
            "1:30",
            &["`x-token` passes as it is"],
        ),
        (
            "strip = [\"x-a\"]\ninject = { keep = \"x-a\", hosts = [\"api.test\"] }",
            "2:19",
            &["`x-a` is stripped at every host"],
        ),
        (
            "inject = [{ bearer = true, hosts = [\"a.wide.test\"] }, { basic = \"u\", hosts = [\"*.wide.test\"] }]",
            "1:55",
            &["`authorization` is filled twice"],
        ),
        ("inject = { basic = false }", "1:20", &["`basic` cannot be `false`"]),
        ("inject = { basic = true, as = \"username\" }", "1:31", &["the credential is the password"]),
        ("inject = { basic = 1 }", "1:20", &["expected a string"]),
        ("strip = [\"query:\"]", "1:10", &["is not the name of a parameter", "`query:NAME`"]),
        ("strip = [\"cookie:a b\"]", "1:10", &["is not the name of a cookie"]),
        ("strip = [\"body:a\"]", "1:10", &["`body:a` is not the name of a header"]),
    ] {
        refused(settings, place, words);
    }
    // A place that is missing has two errors: the unknown key, and the rule.
    let (plan, found) = read("inject = { haeder = \"x\" }");
    assert!(plan.is_none());
    assert!(found[0].contains("did you mean `header`?") && found[1].contains("this says no place"), "{found:#?}");
}

#[test]
fn different_cookies_may_differ_in_case() {
    assert!(!plan("inject = [{ cookie = \"a\" }, { cookie = \"A\" }]").is_empty());
}
