//! A sidecar's neighbours: whoever is near is who the sidecar proves itself to be.

use std::net::IpAddr;
use std::sync::Arc;

use claviger_contract::Attested;
use claviger_identity::{Attestors, Chain, ConnectionFacts, Outcome};
use serde_json::{Value, json};

use crate::support::{NOW, TokenKey, World, attested, chain, told};
use crate::x509::{Authority, LeafParams};

const CLUSTER: &str = "https://kubernetes.default.svc.cluster.local";
const TOKENS: &str = "[attestor.own]\nkind = \"locality\"\ntoken = \"token\"\nverify = \"k8s\"\n\
    [attestor.k8s]\nkind = \"kubernetes\"\nissuer = \"https://kubernetes.default.svc.cluster.local\"\n\
    audience = \"claviger\"\njwks = \"keys.json\"\n";
const SVIDS: &str = "[attestor.own]\nkind = \"locality\"\nsvid = { certificate = \"svid.pem\", key = \"svid.key\" }\n\
    verify = \"mesh\"\n[attestor.mesh]\nkind = \"x509-svid\"\nbundle = { \"acme.internal\" = \"bundle.pem\" }\n";
const WORKER: &str = "spiffe://acme.internal/ns/billing/sa/worker";
const UNTRUSTED: &str = "identity_untrusted";

fn projected(account: &str, expires: i64) -> Value {
    json!({
        "aud": ["claviger"], "exp": expires, "iat": NOW, "iss": CLUSTER,
        "kubernetes.io": { "namespace": "billing", "serviceaccount": { "name": account, "uid": "e6a8680e" } },
        "sub": format!("system:serviceaccount:billing:{account}"),
    })
}

/// A caller at an address, or behind a Unix socket.
fn ask(world: &World, chain: &Chain, peer_ip: Option<&str>, token: Option<&str>) -> Outcome {
    let peer_ip = peer_ip.map(|text| text.parse::<IpAddr>().unwrap());
    let facts = ConnectionFacts { certificates: &[], unix_peer: None, peer_ip };
    world.run(chain.attest(&chain.attest_connection(&facts), token.map(str::as_bytes)))
}

struct Bench {
    world: World,
    key: TokenKey,
    attestors: Attestors,
}

impl Bench {
    fn new() -> Self {
        let (world, key) = (World::new(), TokenKey::new("k1"));
        // What wrote the file ended it with a line break.
        world.write("keys.json", key.set()).write("token", format!("{}\n", key.sign(&projected("worker", NOW + 600))));
        let attestors = world.attestors(TOKENS);
        Self { world, key, attestors }
    }

    fn chain(&self, names: &[&str]) -> Arc<Chain> {
        chain(&self.attestors, names)
    }

    fn renew(&self, claims: &Value) {
        self.world.write("token", self.key.sign(claims));
        self.attestors.look_at_files();
    }
}

#[test]
fn only_neighbours_are_known() {
    let bench = Bench::new();
    let own = bench.chain(&["own"]);
    for (peer, expected) in [
        (None, WORKER),
        (Some("127.0.0.1"), WORKER),
        (Some("127.8.8.8"), WORKER),
        (Some("::1"), WORKER),
        (Some("::ffff:127.0.0.1"), WORKER),
        // A host can be told to route to its loopback addresses from outside.
        (Some("10.0.0.7"), "absent"),
        (Some("::ffff:10.0.0.7"), "absent"),
        (Some("169.254.1.1"), "absent"),
        (Some("fe80::1"), "absent"),
        (Some("0.0.0.0"), "absent"),
    ] {
        assert_eq!(told(&ask(&bench.world, &own, peer, None)), expected, "{peer:?}");
    }
    assert!(own.takes_neighbours() && own.has_connection_attestor() && !own.takes_tokens());
    assert!(!bench.chain(&["k8s"]).takes_neighbours());
}

#[test]
fn the_principal_is_that_of_the_verified_token() {
    let bench = Bench::new();
    let own = bench.chain(&["own"]);
    let Attested { principal, proof } = attested(ask(&bench.world, &own, None, None));
    assert_eq!((principal.id.as_str(), &*principal.attested_by), (WORKER, "own"));
    assert_eq!(principal.attributes.get("k8s.service_account"), Some(&"worker".into()));
    assert_eq!(proof.expires_at, Some(NOW + 600 + 30), "the token's end, and the leeway");
    assert!(proof.token.is_some(), "for sources that exchange it");
    let names = bench.attestors.attribute_names();
    let of = |name: &str| names.iter().find(|(known, _)| **known == *name).unwrap().1.clone();
    assert_eq!(of("own"), of("k8s"));
}

/// It is verified as anybody's: what is in the file makes nobody by itself.
#[test]
fn a_token_that_does_not_verify_is_nobodys() {
    let stranger = TokenKey::new("k1");
    let claims = projected("worker", NOW + 600);
    let bench = Bench::new();
    let changed = |name: &str, value: Value| {
        let mut claims = claims.clone();
        claims[name] = value;
        bench.key.sign(&claims)
    };
    let own = bench.chain(&["own"]);
    for (about, token, expected) in [
        ("another key", stranger.sign(&claims), UNTRUSTED),
        ("another audience", changed("aud", json!("vault")), "identity_audience"),
        ("another subject", changed("sub", json!("system:serviceaccount:billing:admin")), "identity_malformed"),
        ("not signed", changed("aud", json!("claviger")).rsplit_once('.').unwrap().0.to_owned() + ".", UNTRUSTED),
        ("near", changed("aud", json!("claviger")), WORKER),
    ] {
        bench.world.write("token", token);
        bench.attestors.look_at_files();
        assert_eq!(told(&ask(&bench.world, &own, None, None)), expected, "{about}");
    }
    // No downgrade: whoever comes without a proof of its own is refused, not passed on.
    bench.world.write("token", stranger.sign(&claims));
    bench.attestors.look_at_files();
    let both = bench.chain(&["own", "k8s"]);
    let good = bench.key.sign(&claims);
    assert_eq!(told(&ask(&bench.world, &both, None, Some(&good))), UNTRUSTED);
}

#[test]
fn a_token_is_renewed_and_ends() {
    let bench = Bench::new();
    let own = bench.chain(&["own"]);
    let before = attested(ask(&bench.world, &own, None, None));
    let epoch = own.epoch();

    bench.renew(&projected("worker", NOW + 1_200));
    assert_ne!(own.epoch(), epoch, "kept verdicts are old");
    let after = attested(ask(&bench.world, &own, None, None));
    assert_eq!(after.proof.expires_at, Some(NOW + 1_230));
    assert_ne!(after.proof.digest, before.proof.digest);
    let connection = own.attest_connection(&ConnectionFacts::default());
    assert!(own.still_holds(&connection, &before), "what began with the old one goes on until that ends");

    // What is no token replaces nothing, and is told.
    bench.world.write("token", "");
    bench.attestors.look_at_files();
    assert!(bench.attestors.health()[0].1.ends_with("it holds no token"), "{:?}", bench.attestors.health());
    assert_eq!(told(&ask(&bench.world, &own, None, None)), WORKER);

    bench.world.clock.advance_ms(1_230 * 1_000 - 1);
    assert_eq!(told(&ask(&bench.world, &own, None, None)), WORKER);
    bench.world.clock.advance_ms(1);
    assert_eq!(told(&ask(&bench.world, &own, None, None)), "identity_expired");
    let complaints = bench.attestors.health();
    assert!(complaints.iter().any(|(_, what)| what.contains("token` has expired")), "{complaints:?}");
    bench.renew(&projected("worker", NOW + 5_000));
    assert_eq!(told(&ask(&bench.world, &own, None, None)), WORKER);

    // The file changes hands: another account is another principal, and what it began with ends.
    bench.renew(&projected("other", NOW + 5_000));
    assert_eq!(told(&ask(&bench.world, &own, None, None)), "spiffe://acme.internal/ns/billing/sa/other");
}

#[test]
fn keys_that_go_take_the_neighbours_along() {
    let bench = Bench::new();
    let own = bench.chain(&["own"]);
    let live = attested(ask(&bench.world, &own, None, None));
    let connection = own.attest_connection(&ConnectionFacts::default());
    assert!(own.still_holds(&connection, &live));
    let epoch = own.epoch();
    bench.world.write("keys.json", TokenKey::new("k1").set());
    bench.attestors.look_at_files();
    assert_ne!(own.epoch(), epoch);
    assert_eq!(told(&ask(&bench.world, &own, None, None)), UNTRUSTED);
    assert!(!own.still_holds(&connection, &live));
}

/// The order of the chain decides, as always.
#[test]
fn a_caller_with_a_proof_of_its_own() {
    let bench = Bench::new();
    let guest = bench.key.sign(&projected("guest", NOW + 600));
    let stranger = TokenKey::new("k1").sign(&projected("guest", NOW + 600));
    let mut foreign = projected("guest", NOW + 600);
    foreign["iss"] = json!("https://elsewhere.test");
    let foreign = bench.key.sign(&foreign);
    const GUEST: &str = "spiffe://acme.internal/ns/billing/sa/guest";
    for (names, token, expected) in [
        (&["k8s", "own"][..], None, WORKER),
        (&["k8s", "own"], Some(&guest), GUEST),
        (&["k8s", "own"], Some(&stranger), UNTRUSTED),
        (&["k8s", "own"], Some(&foreign), "identity_unknown_issuer"),
        (&["own", "k8s"], Some(&guest), WORKER),
        (&["own"], Some(&stranger), WORKER),
    ] {
        let outcome = ask(&bench.world, &bench.chain(names), Some("127.0.0.1"), token.map(String::as_str));
        assert_eq!(told(&outcome), expected, "{names:?}");
    }
    // From afar only one's own proof counts.
    let both = bench.chain(&["own", "k8s"]);
    assert_eq!(told(&ask(&bench.world, &both, Some("10.0.0.7"), Some(&guest))), GUEST);
}

#[test]
fn an_svid_and_its_key() {
    let world = World::new();
    let (root, other) = (Authority::root("acme.internal"), Authority::root("acme.internal"));
    let write = |leaf: &LeafParams, authority: &Authority, with_key: bool| {
        let (certificate, key) = authority.pem_pair(leaf);
        world.write("svid.pem", certificate);
        if with_key {
            world.write("svid.key", key);
        }
    };
    let id = "spiffe://acme.internal/payments/api";
    world.write("bundle.pem", root.pem());
    write(&LeafParams::new(id), &root, true);
    let attestors = world.attestors(SVIDS);
    let own = chain(&attestors, &["own"]);
    let first = attested(ask(&world, &own, Some("127.0.0.1"), None));
    assert_eq!((first.principal.id.as_str(), &*first.principal.attested_by), (id, "own"));
    assert!(first.proof.expires_at.is_some_and(|ends| ends > NOW) && first.proof.token.is_none());
    assert!(own.client_verifier().is_none(), "nobody else is asked for a certificate");

    // A certificate without its key is not passed on; the old pair holds until both are there.
    let renewed = "spiffe://acme.internal/payments/api2";
    write(&LeafParams::new(renewed), &root, false);
    attestors.look_at_files();
    assert_eq!(told(&ask(&world, &own, None, None)), id);
    assert!(attestors.health()[0].1.contains("the key is not the certificate's"), "{:?}", attestors.health());
    let connection = own.attest_connection(&ConnectionFacts::default());
    assert!(own.still_holds(&connection, &first));
    write(&LeafParams::new(renewed), &root, true);
    attestors.look_at_files();
    assert_eq!(told(&ask(&world, &own, None, None)), renewed);
    assert!(attestors.health().is_empty());
    assert!(!own.still_holds(&connection, &first), "another principal");

    // It is verified against the bundle, as anybody's.
    write(&LeafParams::new(id), &other, true);
    attestors.look_at_files();
    assert_eq!(told(&ask(&world, &own, None, None)), UNTRUSTED);
    assert!(attestors.health()[0].1.starts_with("its own SVID is refused: "), "{:?}", attestors.health());
    world.write("bundle.pem", other.pem());
    attestors.look_at_files();
    assert_eq!(told(&ask(&world, &own, None, None)), id);
    world.clock.advance_ms(90_000 * 1_000);
    assert_eq!(told(&ask(&world, &own, None, None)), "identity_expired");
}

#[test]
fn what_does_not_load() {
    let bench = Bench::new();
    let world = &bench.world;
    let root = Authority::root("acme.internal");
    let (certificate, key) = root.pem_pair(&LeafParams::new("spiffe://acme.internal/x"));
    let other = root.pem_pair(&LeafParams::new("spiffe://acme.internal/x")).1;
    world.write("bundle.pem", root.pem()).write("svid.pem", certificate).write("svid.key", key);
    world.write("other.key", other).write("broken", "x");
    let mut foreign = projected("worker", NOW + 600);
    foreign["iss"] = json!("https://elsewhere.test");
    world.write("foreign", bench.key.sign(&foreign));
    for (about, text, place, expected) in [
        ("no verifier", TOKENS.replace("verify =", "#"), "1:1", "name the attestor that verifies the token or SVID"),
        ("nothing to verify", TOKENS.replace("token =", "#"), "1:1", "write `token = \"FILE\"`, or `svid"),
        ("an unknown verifier", TOKENS.replace("verify = \"k8s\"", "verify = \"k9s\""), "4:10", "did you mean `k8s`?"),
        (
            "itself",
            TOKENS.replace("verify = \"k8s\"", "verify = \"own\""),
            "4:10",
            "there is no attestor `own` to verify with",
        ),
        (
            "a verifier of something else",
            format!(
                "{}{}",
                TOKENS.replace("verify = \"k8s\"", "verify = \"mesh\""),
                &SVIDS[SVIDS.find("[attestor.mesh]").unwrap()..]
            ),
            "4:10",
            "does not verify tokens\n  help: name one that does: `k8s`",
        ),
        ("a file that is not there", TOKENS.replace("\"token\"", "\"absent\""), "3:9", "failed to read"),
        ("a file without a token", TOKENS.replace("\"token\"", "\"broken\""), "3:9", "it holds no token"),
        (
            "another issuer's",
            TOKENS.replace("\"token\"", "\"foreign\""),
            "4:10",
            "of another issuer than attestor `k8s`",
        ),
        (
            "both",
            TOKENS.replace("verify", "svid = { certificate = \"svid.pem\", key = \"svid.key\" }\nverify"),
            "4:8",
            "`token` is there too",
        ),
        (
            "a word",
            format!(
                "{}loopback = \"mine\"\n{}",
                &TOKENS[..TOKENS.find("[attestor.k8s]").unwrap()],
                &TOKENS[TOKENS.find("[attestor.k8s]").unwrap()..]
            ),
            "5:12",
            "one of `private`, `shared`",
        ),
        ("an unknown key", TOKENS.replace("verify", "verifie"), "4:1", "did you mean `verify`?"),
        ("another's key", SVIDS.replace("\"svid.key\"", "\"other.key\""), "3:24", "the key is not the certificate's"),
        ("no key", SVIDS.replace(", key = \"svid.key\"", ""), "3:8", "`attestor.own.svid.key`: this key is required"),
        ("a key that is none", SVIDS.replace("\"svid.key\"", "\"broken\""), "3:42", "there is no private key in PEM"),
        (
            "a certificate that is none",
            SVIDS.replace("\"svid.pem\"", "\"broken\""),
            "3:24",
            "there is no certificate in PEM",
        ),
    ] {
        let (_, out) = world.take(&text);
        let found: Vec<String> = out.iter().map(ToString::to_string).collect();
        let right = found.iter().any(|it| it.contains(&format!("claviger.toml:{place}: ")) && it.contains(expected));
        assert!(out.has_errors() && right, "{about}: {found:#?}");
    }
}

/// A verifier that is wrong is reported once, at its own place.
#[test]
fn a_broken_verifier_is_one_error() {
    let bench = Bench::new();
    let (_, out) = bench.world.take(&TOKENS.replace("keys.json", "absent"));
    let found: Vec<String> = out.iter().map(ToString::to_string).collect();
    assert!(found.len() == 1 && found[0].contains("attestor.k8s.jwks"), "{found:?}");
}

/// In a pod loopback is the pod's; elsewhere everybody on the host is a neighbour, unless the file knows better.
#[test]
fn who_shares_loopback() {
    let bench = Bench::new();
    let jwt = "[attestor.own]\nkind = \"locality\"\ntoken = \"token\"\nverify = \"ci\"\n[attestor.ci]\nkind = \"jwt\"\n\
        issuer = \"https://kubernetes.default.svc.cluster.local\"\naudience = \"claviger\"\njwks = \"keys.json\"\n\
        identity = \"spiffe://acme.internal/{sub}\"\n";
    let private = |text: &str, word: &str| text.replacen("verify", &format!("loopback = \"{word}\"\nverify"), 1);
    for (text, strange) in [
        (TOKENS.to_owned(), false),
        (private(TOKENS, "shared"), true),
        (jwt.to_owned(), true),
        (private(jwt, "private"), false),
    ] {
        let attestors = bench.world.attestors(&text);
        let own = chain(&attestors, &["own"]);
        assert_eq!((own.takes_neighbours(), own.takes_strange_neighbours()), (true, strange), "{text}");
    }
}
