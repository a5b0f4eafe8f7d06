//! Every error that a table can hold points at its place and says what to write.

use crate::support::{TokenKey, World};
use crate::x509::Authority;

const JWT: &str = "[attestor.a]\nkind = \"jwt\"\nissuer = \"https://i.test\"\naudience = \"c\"\njwks = \"keys.json\"\n\
    identity = \"spiffe://acme.internal/{sub}\"\n";
const X509: &str = "[attestor.a]\nkind = \"x509-svid\"\nbundle = { \"acme.internal\" = \"bundle.pem\" }\n";
const UNIX: &str = "[attestor.a]\nkind = \"unix-peer\"\nidentity = \"spiffe://acme.internal/unix/{uid}\"\n";

#[test]
fn errors_have_places_and_help() {
    let world = World::new();
    world.write("keys.json", TokenKey::new("k").set()).write("bundle.pem", Authority::root("acme.internal").pem());
    world.write("broken", "x");
    let without = |text: &str, key: &str| -> String {
        text.lines().filter(|line| !line.starts_with(key)).map(|line| format!("{line}\n")).collect()
    };
    for (about, text, place, expected) in [
        ("no kind", "[attestor.a]\nx = 1\n".to_owned(), "1:1", "`attestor.a.kind`: this key is required"),
        ("an unknown kind", "[attestor.a]\nkind = \"jwd\"\n".to_owned(), "2:8", "did you mean `jwt`?"),
        (
            "a kind that is nearly there",
            "[attestor.a]\nkind = \"github-action\"\n".to_owned(),
            "2:8",
            "did you mean `github-actions`?",
        ),
        ("an unknown key", format!("{JWT}audiense = \"x\"\n"), "7:1", "did you mean `audience`?"),
        ("an unknown key", format!("{X509}crl = []\n"), "4:1", "did you mean `crls`?"),
        ("an unknown key", format!("{UNIX}requires = {{}}\n"), "4:1", "did you mean `require`?"),
        ("an unknown requirement", format!("{UNIX}require = {{ user = \"x\" }}\n"), "4:13", "unknown key"),
        ("no issuer", without(JWT, "issuer"), "1:1", "`attestor.a.issuer`: this key is required"),
        ("no audience", without(JWT, "audience"), "1:1", "`attestor.a.audience`: this key is required"),
        ("no identity", without(JWT, "identity"), "1:1", "`attestor.a.identity`: this key is required"),
        ("an empty audience", JWT.replace("\"c\"", "[]"), "1:1", "an audience is empty"),
        ("a symmetric algorithm", format!("{JWT}algorithms = [\"ES256\", \"HS256\"]\n"), "7:24", "shared secret"),
        ("none", format!("{JWT}algorithms = [\"none\"]\n"), "7:15", "`none` is no signature"),
        ("an unknown algorithm", format!("{JWT}algorithms = [\"ES256K\"]\n"), "7:15", "write some of RS256"),
        (
            "another trust domain",
            JWT.replace("acme.internal", "other.internal"),
            "6:12",
            "outside of this trust domain, `acme.internal`",
        ),
        ("no SPIFFE ID", JWT.replace("spiffe://", "https://"), "6:12", "starts with `spiffe://`"),
        ("a claim that cannot be named", JWT.replace("{sub}", "{a..b}"), "6:12", "is not the name of a claim"),
        ("two holes in a segment", JWT.replace("{sub}", "{a}-{b}"), "6:12", "write them as two segments"),
        ("a file that is not there", JWT.replace("keys.json", "absent"), "5:8", "failed to read"),
        ("a file that is no key set", JWT.replace("keys.json", "broken"), "5:8", "failed to use"),
        ("two sources of keys", format!("{JWT}jwks_url = \"https://x.test/\"\n"), "7:12", "write one of the two"),
        ("an issuer in the clear", without(JWT, "jwks").replace("https", "http"), "3:10", "is not an `https://` URL"),
        (
            "a key URL in the clear",
            format!("{}jwks_url = \"http://x.test/\"\n", without(JWT, "jwks")),
            "6:12",
            "is not an `https://` URL",
        ),
        (
            "a shared issuer",
            JWT.replace("https://i.test", "https://token.actions.githubusercontent.com"),
            "3:10",
            "write `require = { repository_owner_id",
        ),
        (
            "a token for keys that stand in a file",
            format!("{JWT}jwks_token = \"x\"\n"),
            "7:14",
            "`attestor.a.jwks_token`: this is for keys that are fetched, and `jwks` is a file",
        ),
        (
            "a shared issuer, slash",
            JWT.replace("https://i.test", "https://gitlab.com/"),
            "3:10",
            "signs tokens for everybody",
        ),
        ("too much leeway", format!("{JWT}leeway = \"1h\"\n"), "7:10", "`3600s` is not from 0s to 300s"),
        (
            "a requirement without values",
            format!("{JWT}require = {{ a = [] }}\n"),
            "7:17",
            "a list of them that is not empty",
        ),
        (
            "a requirement that is a table",
            format!("{JWT}require = {{ a = {{}} }}\n"),
            "7:17",
            "expected a string, an integer",
        ),
        (
            "an attribute of another attestor",
            format!("{JWT}attributes = {{ \"unix.uid\" = \"uid\" }}\n"),
            "7:16",
            "that a token cannot yield",
        ),
        (
            "an attribute that is no claim",
            format!("{JWT}attributes = {{ \"a\" = \"\" }}\n"),
            "7:22",
            "is not the name of a claim",
        ),
        ("no bundle", without(X509, "bundle"), "1:1", "`attestor.a.bundle`: this key is required"),
        (
            "the Workload API",
            "[attestor.a]\nkind = \"x509-svid\"\nbundle = \"workload-api\"\n".to_owned(),
            "3:10",
            "is not supported as a source of bundles yet\n  help: write a file",
        ),
        (
            "a bundle without a domain",
            "[attestor.a]\nkind = \"x509-svid\"\nbundle = \"bundle.pem\"\n".to_owned(),
            "3:10",
            "belongs to a trust domain",
        ),
        (
            "no domain at all",
            "[attestor.a]\nkind = \"x509-svid\"\nbundle = {}\n".to_owned(),
            "3:10",
            "there is no trust domain",
        ),
        (
            "56 a domain twice",
            X509.replace(" }", ", \"ACME.internal\" = \"bundle.pem\" }"),
            "3:44",
            "`acme.internal` is there twice",
        ),
        ("a domain that is none", X509.replace("acme.internal", "acme:1"), "3:12", "a trust domain has only"),
        ("a bundle that is none", X509.replace("bundle.pem", "broken"), "3:30", "there is no certificate in PEM in it"),
        (
            "a list that is none",
            format!("{X509}crls = [\"broken\"]\n"),
            "4:9",
            "a revocation list in it cannot be read",
        ),
        ("an unknown hole", UNIX.replace("{uid}", "{name}"), "3:12", "there are uid, gid, user, exe_name"),
        (
            "an id that is none",
            format!("{UNIX}require = {{ uid = [-1] }}\n"),
            "4:19",
            "expected an id or a list of ids",
        ),
        ("a relative path", format!("{UNIX}require = {{ exe = \"curl\" }}\n"), "4:19", "is not an absolute path"),
    ] {
        let (_, out) = world.take(&text);
        let found: Vec<String> = out.iter().map(ToString::to_string).collect();
        assert!(out.has_errors(), "{about}");
        let right = found.iter().any(|it| it.contains(&format!("claviger.toml:{place}: ")) && it.contains(expected));
        assert!(right, "{about}: {found:#?}");
    }
}

#[test]
fn what_loads() {
    let world = World::new();
    world.write("keys.json", TokenKey::new("k").set());
    for text in [
        JWT.to_owned(),
        JWT.replace(
            "jwks = \"keys.json\"",
            "jwks_url = \"http://127.0.0.1:8080/keys\"\nallow_addresses = [\"127.0.0.1\"]",
        ),
        JWT.replace("jwks = \"keys.json\"", "keys_max_age = \"1h\"\nleeway = \"10s\"\nmax_lifetime = \"1h\""),
        // With its key set in a file the issuer may be any text.
        JWT.replace("https://i.test", "kubernetes/serviceaccount"),
        JWT.replace("https://i.test", "https://token.actions.githubusercontent.com")
            + "require = { repository_owner_id = \"1\" }\n",
        JWT.replace("https://i.test", "https://gitlab.com.acme.test"),
        UNIX.to_owned(),
    ] {
        let (attestors, out) = world.take(&text);
        assert!(out.is_empty(), "{text}: {out:?}");
        assert_eq!(attestors.attribute_names().len(), 1);
        assert_eq!(world.outbound.calls(), 0, "loading makes no call");
    }
}
