//! What does not load, and what is said about it.

use std::fs;

use super::OAUTH2;
use crate::fixture::{CANARY, World};

#[tokio::test]
async fn what_is_wrong_with_a_credential() {
    let world = World::new();
    world.seal("x", "value-of-x", &["x.com"]);
    let one = |keys: &str, expected: &str| world.refuses(&format!("[credential.c]\n{keys}\n"), &[expected]);
    one("value = \"secret://sealed/x\"", "claviger.toml:1:1: error: `credential.c.kind`: this key is required");
    one(
        "kind = \"statik\"",
        "claviger.toml:2:8: error: `credential.c.kind`: `statik` is no kind of credential\n  help: did you mean `static`?",
    );
    one(
        "kind = \"vault-dynamic\"",
        "claviger.toml:2:8: error: `credential.c.kind`: `vault-dynamic` is no kind of credential\n  help: write one of `static`, `oauth2`, `federation`, `vault`, `x509`, `jwt`, `github-app`",
    );
    one("kind = \"static\"", "claviger.toml:1:1: error: `credential.c.value`: this key is required");
    one(
        "kind = \"static\"\nvalue = 7",
        "claviger.toml:3:9: error: `credential.c.value`: expected a reference or a table of references\n  help: write `value = \"secret://STORE/NAME\"`",
    );
    one(
        "kind = \"static\"\nvalue = {}",
        "claviger.toml:3:9: error: `credential.c.value`: the table names no field\n  help: write `value = { NAME = \"secret://…\" }`",
    );
    one(
        "kind = \"static\"\nvalue = \"secret://sealed/y\"",
        "claviger.toml:3:9: error: `credential.c.value`: failed to read `secret://sealed/y`: there is no secret `y`\n  help: run `claviger secret set y --for SERVICE`",
    );
    one(
        "kind = \"static\"\nvalue = { a = \"secret://sealed/x\", b = \"secret://sealed/y\" }",
        "claviger.toml:3:40: error: `credential.c.value.b`: failed to read `secret://sealed/y`: there is no secret `y`\n  help: run `claviger secret set y --for SERVICE`",
    );
    one(
        "kind = \"static\"\nvalue = \"secret://seald/x\"",
        "claviger.toml:3:9: error: `credential.c.value`: there is no store `seald`\n  help: did you mean `sealed`?",
    );
    one(
        "kind = \"static\"\nvalue = \"secret://vault/kv/x\"",
        "claviger.toml:3:9: error: `credential.c.value`: there is no store `vault`\n  help: `sealed`, `env` and `file` are there; others are defined as `[store.NAME]`",
    );
    one(
        "kind = \"static\"\nvalue = \"secret://env/CLAVIGER_NOT_SET\"\nhosts = [\"h\"]",
        "claviger.toml:3:9: error: `credential.c.value`: failed to read `secret://env/CLAVIGER_NOT_SET`: there is no secret `CLAVIGER_NOT_SET`\n  help: set the environment variable `CLAVIGER_NOT_SET` where the proxy is started",
    );
    one(
        "kind = \"static\"\nvalue = \"secret://env/A-B\"\nhosts = [\"h\"]",
        "claviger.toml:3:9: error: `credential.c.value`: `A-B` is not a name of this store: a variable has letters, digits and `_`, and begins with none of the digits",
    );
    one(
        "kind = \"static\"\nvalue = \"secret://env/CARGO_PKG_NAME\"",
        "claviger.toml:1:1: error: `credential.c.hosts`: no host is named that the credential may go to\n  help: write `hosts = [\"api.example.com\"]`",
    );
    one(
        "kind = \"static\"\nvalue = \"secret://sealed/x\"\nhosts = []",
        "claviger.toml:1:1: error: `credential.c.hosts`: the list is empty, so that the credential may go nowhere\n  help: leave the key out if the secret is sealed with its hosts, or name them",
    );
    one(
        "kind = \"static\"\nvalue = \"secret://sealed/x\"\nhosts = [\"https://x.com/v1\"]",
        "claviger.toml:4:10: error: `credential.c.hosts`: `https://x.com/v1` is not a host: write a host without scheme and path, as `api.example.com` or `api.example.com:8443`",
    );
    one(
        "kind = \"static\"\nvalue = \"secret://sealed/x\"\nhosts = [\"evil.com\"]",
        "claviger.toml:4:10: error: `credential.c.hosts`: `secret://sealed/x` may go to `x.com:443` only, which is none of these hosts\n  help: the configuration can narrow what a secret was sealed for, never widen it; set it anew to bind it elsewhere",
    );
    one(
        "kind = \"static\"\nvalue = \"secret://sealed/x\"\nhsots = [\"x.com\"]",
        "claviger.toml:4:1: error: `credential.c.hsots`: unknown key\n  help: did you mean `hosts`?",
    );
    one(
        "kind = \"static\"\nvalue = \"secret://sealed/x\"\nserve_until = \"9s\"",
        "claviger.toml:4:15: error: `credential.c.serve_until`: `9s` is under 10s, so that the value would be fetched all the time",
    );
}

#[tokio::test]
async fn what_is_wrong_with_a_store() {
    let world = World::new();
    let one = |text: &str, expected: &str| world.refuses(text, &[expected]);
    one(
        "[store.v]\nkind = \"conjur\"\naddress = \"https://v\"",
        "claviger.toml:2:8: error: `store.v.kind`: stores of kind `conjur` are not supported yet\n  help: supported are `sealed`, `env`, `file` and `vault`",
    );
    one(
        "[store.v]\nkind = \"fiel\"",
        "claviger.toml:2:8: error: `store.v.kind`: `fiel` is no kind of store\n  help: did you mean `file`?",
    );
    one("[store.v]\nroot = \"x\"", "claviger.toml:1:1: error: `store.v.kind`: this key is required");
    one(
        "[store.env]\nkind = \"file\"",
        "claviger.toml:1:8: error: `store.env`: `env` is the name of the built-in store of that kind\n  help: give the store another name",
    );
    one(
        "[store.v]\nkind = \"env\"\nroot = \"x\"",
        "claviger.toml:3:1: error: `store.v.root`: unknown key\n  help: known here: bindings, kind",
    );
    one(
        "[store.v]\nkind = \"sealed\"\nbindings = {}",
        "claviger.toml:3:1: error: `store.v.bindings`: unknown key\n  help: known here: key_file, kind, path",
    );
    one(
        "[store.v]\nkind = \"file\"\nbindings = { a = [\"h\"] }",
        "claviger.toml:3:12: error: `store.v.bindings`: names need a `root` that they are relative to\n  help: write `root = \"FOLDER\"`",
    );
    one(
        "[store.v]\nkind = \"env\"\nbindings = { \"A*B\" = [\"h\"] }",
        "claviger.toml:3:14: error: `store.v.bindings.A*B`: `*` may only stand at the end, as in `OPENAI_*`",
    );
    one(
        "[store.v]\nkind = \"env\"\nbindings = { A = [\"h/\"] }",
        "claviger.toml:3:19: error: `store.v.bindings.A`: `h/` is not a host: write a host without scheme and path, as `api.example.com` or `api.example.com:8443`",
    );
    one(
        "[store.v]\nkind = \"env\"\nbindings = { OTHER = [\"h\"] }\n[credential.c]\nkind = \"static\"\nvalue = \"secret://v/CARGO_PKG_NAME\"\nhosts = [\"h\"]",
        "claviger.toml:6:9: error: `credential.c.hosts`: `secret://v/CARGO_PKG_NAME` is bound to no host\n  help: name it in `bindings` of its store; several fields must have a host in common",
    );
    fs::create_dir(world.path().join("dir")).unwrap();
    one(
        "[store.v]\nkind = \"file\"\nroot = \".\"\n[credential.c]\nkind = \"static\"\nvalue = \"secret://v//etc/passwd\"\nhosts = [\"h\"]",
        "claviger.toml:6:9: error: `credential.c.value`: `/etc/passwd` is not a name of this store: the store has a `root`; write a path below it, without a leading `/`",
    );
    let (_, out) =
        world.load_after("[credential.c]\nkind = \"static\"\nvalue = \"secret://file/dir\"\nhosts = [\"h\"]", None);
    assert_eq!(
        world.found(&out),
        [
            "claviger.toml:3:9: error: `credential.c.value`: failed to read `secret://file/dir`: `dir` is not a regular file"
        ]
    );
}

#[tokio::test]
async fn a_value_in_the_place_of_a_reference_is_never_shown() {
    let world = World::new();
    let said = "expected a reference, `secret://STORE/NAME`; a value itself must not be written here\n  help: seal the value with `claviger secret set NAME --for SERVICE` and write `secret://sealed/NAME`";
    for (text, key) in [
        (format!("[credential.c]\nkind = \"static\"\nhosts = [\"h\"]\nvalue = \"{CANARY}\""), "credential.c.value"),
        (OAUTH2.replace("secret://sealed/crm", CANARY), "credential.crm.client_secret"),
        (format!("[service.s]\nhosts = [\"h\"]\nsecret = \"{CANARY}\""), "service.s.secret"),
    ] {
        let (credentials, out) = world.load_after(&text, None);
        let found = world.found(&out);
        assert!(found.len() == 1 && found[0].ends_with(&format!("`{key}`: {said}")), "{found:?}");
        assert!(!format!("{credentials:?} {out:?}").contains("canary"));
    }
}

#[tokio::test]
async fn what_is_wrong_with_oauth2() {
    let world = World::new();
    world.seal("crm", "client-secret", &["login.crm.test"]);
    world.seal("elsewhere", "client-secret", &["other.test"]);
    world.load(OAUTH2);
    let with = |from: &str, to: &str, expected: &str| world.refuses(&OAUTH2.replace(from, to), &[expected]);
    with(
        "client_id = \"claviger\"\n",
        "",
        "claviger.toml:2:1: error: `credential.crm.client_id`: this key is required",
    );
    with(
        "hosts = [\"api.crm.test\"]\n",
        "",
        "claviger.toml:2:1: error: `credential.crm.hosts`: no host is named that the credential may go to\n  help: write `hosts = [\"api.example.com\"]`",
    );
    with(
        "kind = \"oauth2\"\n",
        "kind = \"oauth2\"\ngrant = \"password\"\n",
        "claviger.toml:4:9: error: `credential.crm.grant`: `password` is no grant\n  help: write one of `client_credentials`, `refresh_token`, `jwt_bearer`, `token_exchange`",
    );
    with(
        "kind = \"oauth2\"\n",
        "kind = \"oauth2\"\nauth = \"client_secret_bsaic\"\n",
        "claviger.toml:4:8: error: `credential.crm.auth`: `client_secret_bsaic` is not a value of this key\n  help: did you mean `client_secret_basic`? it is one of `client_secret_basic`, `client_secret_post`, `private_key_jwt`, `tls_client_auth`, `self_signed_tls_client_auth`, `none`",
    );
    with(
        "kind = \"oauth2\"\n",
        "kind = \"oauth2\"\nparameters = { scope = \"x\" }\n",
        "claviger.toml:4:16: error: `credential.crm.parameters.scope`: this parameter is not free: a key of the credential sets it",
    );
    with(
        "kind = \"oauth2\"\n",
        "kind = \"oauth2\"\nscope = [\"a\", \"b\\n\"]\n",
        "claviger.toml:4:15: error: `credential.crm.scope`: a scope has visible ASCII without `\"` and `\\`",
    );
    with(
        "secret://sealed/crm",
        "secret://sealed/nope",
        "claviger.toml:6:17: error: `credential.crm.client_secret`: failed to read `secret://sealed/nope`: there is no secret `nope`\n  help: run `claviger secret set nope --host login.crm.test:443`",
    );
    with(
        "secret://sealed/crm",
        "secret://sealed/elsewhere",
        "claviger.toml:6:17: error: `credential.crm.client_secret`: `secret://sealed/elsewhere` may go to `other.test:443` only, not to `login.crm.test:443`\n  help: bind it there: `claviger secret set elsewhere --host login.crm.test:443`, or `bindings` of a store that has them",
    );
}

#[tokio::test]
async fn what_is_wrong_with_a_token_endpoint() {
    let world = World::new();
    world.seal("crm", "client-secret", &["login.crm.test"]);
    let url = "https://login.crm.test/token";
    let with = |from: &str, to: &str, expected: &str| world.refuses(&OAUTH2.replace(from, to), &[expected]);
    with(
        url,
        "http://login.crm.test/token",
        "claviger.toml:4:13: error: `credential.crm.token_url`: a token endpoint is called over https:// only\n  help: write `https://HOST/PATH`",
    );
    with(
        url,
        "http://127.0.0.1:1/token",
        "claviger.toml:4:13: error: `credential.crm.token_url`: a token endpoint is called over https:// only\n  help: write `https://HOST/PATH`",
    );
    with(
        url,
        "https://u:p@login.crm.test/token",
        "claviger.toml:4:13: error: `credential.crm.token_url`: a token endpoint must not hold a user or a password\n  help: write `https://HOST/PATH`",
    );
    with(
        url,
        "https://login.crm.test/token#x",
        "claviger.toml:4:13: error: `credential.crm.token_url`: a token endpoint has no fragment (RFC 6749 §3.2)\n  help: write `https://HOST/PATH`",
    );
    with(
        url,
        "login.crm.test",
        "claviger.toml:4:13: error: `credential.crm.token_url`: this is not a URL: relative URL without a base\n  help: write `https://HOST/PATH`",
    );
}

#[tokio::test]
async fn cleartext_is_for_a_listed_loopback_that_the_secret_names() {
    let world = World::new();
    world.seal("crm", "client-secret", &["login.crm.test"]);
    let listed = OAUTH2.replace("https://login.crm.test/token", "http://127.0.0.1:9/token")
        + "allow_addresses = [\"127.0.0.1\"]\n";
    world.refuses(&listed, &["claviger.toml:6:17: error: `credential.crm.client_secret`: `secret://sealed/crm` may go to `login.crm.test:443` only, not to `http://127.0.0.1:9`\n  help: bind it there: `claviger secret set crm --host http://127.0.0.1:9`, or `bindings` of a store that has them"]);
    world.seal("crm", "client-secret", &["http://127.0.0.1:9"]);
    world.load(&listed);
}
