mod issuer_errors;
mod refusals;
mod rotation;

use std::fs;

use claviger_contract::Secret;

use super::*;
use crate::SealedStore;
use crate::fixture::{Answer, CANARY, World, caller, settle, value};

impl World {
    fn sealed(&self) -> SealedStore {
        SealedStore::open(&self.path().join("state"))
    }

    fn seal(&self, name: &str, value: &str, hosts: &[&str]) {
        let hosts = hosts.iter().map(|host| (*host).to_owned()).collect();
        self.sealed().set(name, Secret::from(value.to_owned()), hosts, None).unwrap();
    }

    fn rotate(&self, name: &str, value: &str, proven: bool) {
        let how = crate::Rotate { proven, ..Default::default() };
        self.sealed().rotate(name, Secret::from(value.to_owned()), &how).unwrap();
    }

    fn load_after(&self, text: &str, previous: Option<&Credentials>) -> (Credentials, Diagnostics) {
        let mut out = Diagnostics::default();
        let mut root = self.document(text);
        let shorthands = self.shorthands(&mut root, &mut out);
        let credentials = Credentials::take(&mut root, shorthands, &self.env(), previous, &mut out);
        root.finish(&mut out);
        out.sort();
        (credentials, out)
    }

    /// As the composition root does it: `secret` and `hosts` of each service.
    fn shorthands(&self, root: &mut Table, out: &mut Diagnostics) -> Vec<ServiceSecret> {
        let services = root.named_tables("service", out);
        let one = |(service, mut table): (Located<String>, Table)| {
            let hosts = table.strings("hosts", out).unwrap();
            let hosts = hosts.iter().map(|host| HostPattern::parse(&host.value, 443).unwrap()).collect();
            let reference = table.string("secret", out).unwrap();
            ServiceSecret { service, reference, hosts, scheme: Scheme::Https }
        };
        services.into_iter().map(one).collect()
    }

    fn load(&self, text: &str) -> Credentials {
        let (credentials, out) = self.load_after(text, None);
        assert!(out.is_empty(), "{:?}", self.found(&out));
        credentials
    }

    /// Loads a text that must not load, and compares everything that was found.
    #[track_caller]
    fn refuses(&self, text: &str, expected: &[&str]) {
        let (_, out) = self.load_after(text, None);
        assert!(out.has_errors(), "loads: {text}");
        assert_eq!(self.found(&out), expected, "{text}");
    }
}

async fn lease(credentials: &Credentials, name: &str) -> Result<Arc<Lease>, CredentialError> {
    settle(credentials.lease_for(name, &caller(None), true)).await.1
}

fn hosts(credentials: &Credentials, name: &str) -> Vec<String> {
    let facts = credentials.facts().into_iter().find(|facts| facts.name.value == name).unwrap();
    facts.hosts.iter().map(ToString::to_string).collect()
}

const OAUTH2: &str = r#"
[credential.crm]
kind = "oauth2"
token_url = "https://login.crm.test/token"
client_id = "claviger"
client_secret = "secret://sealed/crm"
hosts = ["api.crm.test"]
"#;

#[tokio::test]
async fn a_sealed_value_is_at_hand_from_the_start() {
    let world = World::new();
    world.seal("openai", CANARY, &["api.openai.com"]);
    let credentials = world.load("[credential.openai]\nkind = \"static\"\nvalue = \"secret://sealed/openai\"\n");
    assert_eq!(hosts(&credentials, "openai"), ["api.openai.com:443"]);
    assert_eq!(credentials.fields("openai").unwrap(), [Arc::from("value")]);
    let (at_once, lease) = settle(credentials.lease_for("openai", &caller(None), true)).await;
    let lease = lease.unwrap();
    assert!(at_once);
    assert_eq!(value(&lease), CANARY);
    assert_eq!((lease.expires_at(), lease.is_renewable()), (None, false));
    assert_eq!(*lease.stamp().version, *world.sealed().list().unwrap()[0].version);
    assert_eq!(world.events.take(), ["minted"]);
    assert!(!format!("{credentials:?} {lease:?}").contains("canary"));
}

#[tokio::test]
async fn hosts_are_narrowed_and_never_widened() {
    let world = World::new();
    world.seal("x", "value-of-x", &["*.x.com", "y.com:8443"]);
    let load = |hosts: &str| {
        world.load_after(
            &format!("[credential.c]\nkind = \"static\"\nvalue = \"secret://sealed/x\"\nhosts = {hosts}\n"),
            None,
        )
    };
    let check = |written: &str, expected: &[&str], warnings: usize| {
        let (credentials, out) = load(written);
        assert!(!out.has_errors(), "{out:?}");
        assert_eq!(hosts(&credentials, "c"), expected, "{written}");
        assert_eq!(out.iter().count(), warnings, "{written}: {out:?}");
    };
    check(r#"["api.x.com"]"#, &["api.x.com:443"], 0);
    check(r#"["*.x.com", "y.com:8443"]"#, &["*.x.com:443", "y.com:8443"], 0);
    check(r#"["*.com"]"#, &["*.x.com:443"], 0);
    check(r#"["y.com:8443", "y.com"]"#, &["y.com:8443"], 1);
    for wider in
        [r#"["evil.com"]"#, r#"["y.com"]"#, r#"["x.com"]"#, r#"["http://api.x.com:443"]"#, r#"["api.x.com:8443"]"#]
    {
        let (credentials, out) = load(wider);
        assert!(out.has_errors() && credentials.facts().is_empty(), "{wider}");
    }
    let (credentials, _) = load(r#"["y.com:8443", "y.com"]"#);
    let lease = lease(&credentials, "c").await.unwrap();
    let to = |scheme, authority: &str| {
        let authority = claviger_policy::Authority::parse(authority, 443).unwrap();
        lease.bound_to(&claviger_policy::Target::parse(scheme, authority, "/", Default::default()).unwrap())
    };
    assert!(to(Scheme::Https, "y.com:8443"));
    assert!(!to(Scheme::Https, "y.com") && !to(Scheme::Http, "y.com:8443") && !to(Scheme::Https, "api.x.com"));
}

#[tokio::test]
async fn named_fields_go_where_all_of_them_may() {
    let world = World::new();
    world.seal("dd/api", "the-api-key", &["*.datadog.com", "a.com"]);
    world.seal("dd/app", "the-app-key", &["api.datadog.com"]);
    let credentials = world.load(
        "[credential.dd]\nkind = \"static\"\nvalue = { api = \"secret://sealed/dd/api\", app = \"secret://sealed/dd/app\" }\n",
    );
    assert_eq!(hosts(&credentials, "dd"), ["api.datadog.com:443"]);
    assert_eq!(credentials.fields("dd").unwrap(), [Arc::from("api"), Arc::from("app")]);
    let lease = lease(&credentials, "dd").await.unwrap();
    assert_eq!(crate::fixture::text(lease.field(Some("app")).unwrap()), "the-app-key");
    assert!(lease.field(None).is_none() && lease.field(Some("other")).is_none());
    assert_eq!(lease.stamp().version.split('.').count(), 2);
}

#[tokio::test]
async fn files_and_the_environment() {
    let world = World::new();
    fs::write(world.path().join("key.txt"), "from-a-file\n").unwrap();
    fs::create_dir(world.path().join("keys")).unwrap();
    fs::write(world.path().join("keys/a.json"), r#"{"token": "from-a-field"}"#).unwrap();
    for file in ["key.txt", "keys/a.json"] {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(world.path().join(file), fs::Permissions::from_mode(0o600)).unwrap();
    }
    let absolute = world.path().join("key.txt");
    let credentials = world.load(&format!(
        r#"
[store.keys]
kind = "file"
root = "keys"
bindings = {{ "a*" = ["a.com"], "a.json" = ["b.com"] }}
[store.vars]
kind = "env"
bindings = {{ "CARGO_PKG_*" = ["c.com"] }}
[credential]
relative = {{ kind = "static", value = "secret://file/key.txt", hosts = ["h.com"] }}
absolute = {{ kind = "static", value = "secret://file/{}", hosts = ["h.com"] }}
declared = {{ kind = "static", value = "secret://keys/a.json#token" }}
variable = {{ kind = "static", value = "secret://env/CARGO_PKG_NAME", hosts = ["h.com"] }}
prefixed = {{ kind = "static", value = "secret://vars/CARGO_PKG_NAME" }}
"#,
        absolute.display()
    ));
    for (name, expected, host) in [
        ("relative", "from-a-file", "h.com:443"),
        ("absolute", "from-a-file", "h.com:443"),
        ("declared", "from-a-field", "b.com:443"),
        ("variable", "claviger-credential", "h.com:443"),
        ("prefixed", "claviger-credential", "c.com:443"),
    ] {
        assert_eq!(value(&lease(&credentials, name).await.unwrap()), expected, "{name}");
        assert_eq!(hosts(&credentials, name), [host], "{name}");
    }
}

#[tokio::test]
async fn the_shorthand_is_a_static_credential_named_after_its_service() {
    let world = World::new();
    world.seal("openai", "sk-0123456789", &["api.openai.com", "other.com"]);
    let text = "[service.openai]\nhosts = [\"api.openai.com\"]\nsecret = \"secret://sealed/openai\"\n";
    let credentials = world.load(text);
    assert_eq!(hosts(&credentials, "openai"), ["api.openai.com:443"]);
    assert_eq!(value(&lease(&credentials, "openai").await.unwrap()), "sk-0123456789");
    world.refuses(
        &format!("{text}[credential.openai]\nkind = \"static\"\nvalue = \"secret://sealed/openai\"\n"),
        &["claviger.toml:3:10: error: `service.openai.secret`: this makes a credential named `openai`, and `[credential.openai]` is there\n  help: leave out one of them; the other stands at claviger.toml:4:13"],
    );
    world.refuses(
        "[service.billing]\nhosts = [\"b.com\"]\nsecret = \"secret://sealed/billing\"\n",
        &["claviger.toml:3:10: error: `service.billing.secret`: failed to read `secret://sealed/billing`: there is no secret `billing`\n  help: run `claviger secret set billing --for billing`"],
    );
    world.refuses(
        "[service.b]\nhosts = [\"b.com\"]\nsecret = \"secret://sealed/openai\"\n",
        &["claviger.toml:3:10: error: `service.b.secret`: `secret://sealed/openai` may go to `api.openai.com:443`, `other.com:443` only, which is none of these hosts\n  help: the configuration can narrow what a secret was sealed for, never widen it; set it anew to bind it elsewhere"],
    );
}

#[tokio::test]
async fn a_rotated_secret_is_noticed_without_a_restart() {
    let world = World::new();
    world.seal("x", "first-value", &["x.com"]);
    let credentials = world.load("[credential.c]\nkind = \"static\"\nvalue = \"secret://sealed/x\"\n");
    let tick = || credentials.keepers.values().for_each(|entry| entry.keeper.tick());
    let first = lease(&credentials, "c").await.unwrap();
    assert_eq!(world.events.take(), ["minted"]);
    tick();
    world.rotate("x", "second-value", false);
    tick();
    // The old value serves until the new one is read.
    let second = until(|| async { lease(&credentials, "c").await.ok().filter(|l| l.stamp() != first.stamp()) }).await;
    assert_eq!(value(&second), "second-value");
    assert_eq!(world.events.take(), ["refreshed"]);
    // Removed: no request is served any more.
    world.sealed().remove("x").unwrap();
    tick();
    let error = until(|| async { lease(&credentials, "c").await.err() }).await;
    assert_eq!(error.code(), "secret_missing");
    assert_eq!(error.to_string(), "credential `c`: failed to read `secret://sealed/x`: there is no secret `x`");
    assert_eq!(world.events.take(), ["failed", "invalidated"]);
    // Set again, for another host: only that one counts.
    world.seal("x", "third-value", &["y.com"]);
    world.clock.advance_ms(30_001);
    let third = lease(&credentials, "c").await.unwrap();
    assert_eq!(third.hosts, [crate::BoundHost::parse("y.com").unwrap()]);
    assert_eq!(world.events.take(), ["minted"]);
}

/// Yields to the runtime until the condition holds; fails the test if it never does.
async fn until<T, F: Future<Output = Option<T>>>(condition: impl Fn() -> F) -> T {
    for _ in 0..10_000 {
        if let Some(value) = condition().await {
            return value;
        }
        tokio::task::yield_now().await;
    }
    panic!("never");
}

#[tokio::test]
async fn a_reload_keeps_the_leases_of_what_stays_the_same() {
    let world = World::new();
    world.seal("crm", "client-secret", &["login.crm.test"]);
    world.seal("x", "first-value", &["x.com"]);
    let text = format!("{OAUTH2}[credential.c]\nkind = \"static\"\nvalue = \"secret://sealed/x\"\n");
    let before = world.load(&text);
    world.issuer.will([Answer::token("token-1", 3_600), Answer::token("token-2", 3_600)]);
    let (token, fixed) = (lease(&before, "crm").await.unwrap(), lease(&before, "c").await.unwrap());
    let (after, _) = world.load_after(&text, Some(&before));
    assert!(Arc::ptr_eq(&lease(&after, "crm").await.unwrap(), &token));
    assert!(Arc::ptr_eq(&lease(&after, "c").await.unwrap(), &fixed));
    // Any change of the credential's own configuration begins anew.
    let (changed, _) =
        world.load_after(&text.replace("client_id = \"claviger\"", "client_id = \"other\""), Some(&after));
    assert_eq!(value(&lease(&changed, "crm").await.unwrap()), "token-2");
    assert!(Arc::ptr_eq(&lease(&changed, "c").await.unwrap(), &fixed));
    // What was rotated meanwhile is new at once.
    world.rotate("x", "second-value", false);
    let (rotated, _) = world.load_after(&text, Some(&changed));
    assert_eq!(value(&lease(&rotated, "c").await.unwrap()), "second-value");
    assert_eq!(world.issuer.calls(), 2);
}

#[tokio::test]
async fn an_unknown_credential_is_an_error() {
    let world = World::new();
    let credentials = world.load("");
    assert_eq!(lease(&credentials, "nope").await.unwrap_err().to_string(), "there is no credential `nope`");
}

#[tokio::test]
async fn a_secret_file_for_everyone_is_a_warning() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::new();
    let path = world.path().join("key");
    fs::write(&path, "some-value").unwrap();
    let load = |mode| {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        world.load_after("[credential.c]\nkind = \"static\"\nvalue = \"secret://file/key\"\nhosts = [\"h\"]\n", None).1
    };
    assert!(load(0o640).is_empty());
    let out = load(0o644);
    assert!(!out.has_errors());
    assert_eq!(
        world.found(&out),
        [
            "claviger.toml:3:9: warning: `credential.c.value`: the secret file `key` may be read by everyone on this machine (mode 0644)\n  help: run `chmod o-r` on it, or seal the value instead"
        ]
    );
}
