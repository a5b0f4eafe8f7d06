//! Attestors in order: absent leads to the next, bad to refusal.

use claviger_identity::{ConnectionFacts, UnixPeer, looks_like_token};
use claviger_policy::document::{Diagnostics, SourceFile, parse};
use rustls::pki_types::CertificateDer;
use serde_json::{Value, json};

use crate::support::{NOW, TokenKey, World, chain, told};
use crate::x509::{Authority, LeafParams};

const TEXT: &str = "\
    [attestor.mesh]\nkind = \"x509-svid\"\nbundle = { \"acme.internal\" = \"bundle.pem\" }\n\
    [attestor.one]\nkind = \"jwt\"\nissuer = \"https://one.test\"\naudience = \"claviger\"\njwks = \"one.json\"\n\
    identity = \"spiffe://acme.internal/one/{sub}\"\n\
    [attestor.two]\nkind = \"jwt\"\nissuer = \"https://two.test\"\naudience = \"claviger\"\njwks = \"two.json\"\n\
    identity = \"spiffe://acme.internal/two/{sub}\"\n\
    [attestor.svid]\nkind = \"jwt-svid\"\naudience = \"claviger\"\nbundle = { \"acme.internal\" = \"svid.json\" }\n\
    [attestor.local]\nkind = \"unix-peer\"\nidentity = \"spiffe://acme.internal/unix/{uid}\"\nrequire = { uid = [7] }\n";

const MESH: &str = "spiffe://acme.internal/mesh";
const ONE: &str = "spiffe://acme.internal/one/a";
const TWO: &str = "spiffe://acme.internal/two/a";
const SVID: &str = "spiffe://acme.internal/svid";
const LOCAL: &str = "spiffe://acme.internal/unix/7";

/// About, attestors, certificates, peer, token, what is expected.
type Case<'a> = (&'a str, &'a [&'a str], &'a [CertificateDer<'static>], Option<UnixPeer>, Option<&'a String>, &'a str);

#[test]
fn the_order_decides() {
    let world = World::new();
    let root = Authority::root("acme.internal");
    let (one, two, svid) = (TokenKey::new("k"), TokenKey::new("k"), TokenKey::new("k"));
    world.write("bundle.pem", root.pem()).write("one.json", one.set()).write("two.json", two.set());
    world.write("svid.json", json!({ "keys": [svid.jwk_for("jwt-svid")] }).to_string());
    let attestors = world.attestors(TEXT);

    let good_leaf = [root.leaf(&LeafParams::new(MESH))];
    let foreign_leaf = [root.leaf(&LeafParams::new("spiffe://other.internal/x"))];
    let claims = |issuer: &str, expires: i64| -> Value {
        json!({ "iss": issuer, "sub": "a", "aud": "claviger", "exp": expires })
    };
    let of_one = one.sign(&claims("https://one.test", NOW + 60));
    let expired_of_one = one.sign(&claims("https://one.test", NOW - 60));
    let forged_of_one = two.sign(&claims("https://one.test", NOW + 60));
    let of_two = two.sign(&claims("https://two.test", NOW + 60));
    let of_nobody = two.sign(&claims("https://three.test", NOW + 60));
    let of_svid = svid.sign(&json!({ "sub": SVID, "aud": "claviger", "exp": NOW + 60 }));
    let peer = |uid| Some(UnixPeer { uid, gid: 7, pid: 1, exe: None });
    let garbage = "hunter2".to_owned();

    let all = &["mesh", "one", "two", "svid", "local"][..];
    let cases: &[Case<'_>] = &[
        ("nothing", all, &[], None, None, "absent"),
        ("a certificate", all, &good_leaf, None, None, MESH),
        ("a certificate and a token", all, &good_leaf, None, Some(&of_one), MESH),
        ("a token first", &["one", "mesh"], &good_leaf, None, Some(&of_one), ONE),
        ("the second issuer's", all, &[], None, Some(&of_two), TWO),
        ("the third's", all, &[], None, Some(&of_svid), SVID),
        ("a peer", all, &[], peer(7), None, LOCAL),
        ("a token and a peer", all, &[], peer(7), Some(&of_one), ONE),
        ("a peer first", &["local", "one"], &[], peer(7), Some(&of_one), LOCAL),
        ("a peer that is not one of those", all, &[], peer(8), None, "identity_refused"),
        // No downgrade: what is shown and bad is never passed over.
        ("an expired token and a good peer", all, &[], peer(7), Some(&expired_of_one), "identity_expired"),
        ("a forged token and a good peer", all, &[], peer(7), Some(&forged_of_one), "identity_untrusted"),
        ("a token that is none, and a good peer", all, &[], peer(7), Some(&garbage), "identity_malformed"),
        ("a bad peer before a good token", &["local", "one"], &[], peer(8), Some(&of_one), "identity_refused"),
        ("nobody's token", all, &[], None, Some(&of_nobody), "identity_unknown_issuer"),
        ("nobody's token and a good peer", all, &[], peer(7), Some(&of_nobody), "identity_unknown_issuer"),
        ("nobody's certificate and a good token", all, &foreign_leaf, None, Some(&of_one), "identity_untrusted"),
        ("near: a good token before it", &["one", "mesh"], &foreign_leaf, None, Some(&of_one), ONE),
        ("nobody's certificate", all, &foreign_leaf, None, None, "identity_untrusted"),
        // What a chain does not take is not looked at.
        ("a token where none is taken", &["mesh", "local"], &[], peer(7), Some(&garbage), LOCAL),
        ("a certificate where none is taken", &["one"], &good_leaf, None, None, "absent"),
        ("a peer where none is taken", &["one"], &[], peer(7), None, "absent"),
    ];
    for (about, names, certificates, unix_peer, token, expected) in cases {
        let listener = chain(&attestors, names);
        let facts = ConnectionFacts { certificates, unix_peer: unix_peer.clone(), peer_ip: None };
        let connection = listener.attest_connection(&facts);
        // Twice: what is remembered says the same.
        for _ in 0..2 {
            let outcome = world.run(listener.attest(&connection, token.map(|token| token.as_bytes())));
            assert_eq!(told(&outcome), *expected, "{about}: {outcome:?}");
        }
        // And by the chain of the next generation, with the proofs of the chain before.
        let next = chain(&world.attestors(TEXT), names);
        let outcome = world.run(next.attest(&connection, token.map(|token| token.as_bytes())));
        assert_eq!(told(&outcome), *expected, "{about}, after a reload: {outcome:?}");
    }
}

#[test]
fn what_a_chain_takes() {
    let world = World::new();
    let key = TokenKey::new("k");
    world.write("bundle.pem", Authority::root("acme.internal").pem());
    world.write("one.json", key.set()).write("two.json", key.set()).write("svid.json", key.set());
    let (attestors, _) = world.take(TEXT);
    for (names, verifier, tokens, peer) in [
        (&["mesh"][..], true, false, false),
        (&["one"], false, true, false),
        (&["svid"], false, true, false),
        (&["local"], false, false, true),
        (&["one", "mesh", "local"], true, true, true),
        (&[], false, false, false),
    ] {
        let listener = chain(&attestors, names);
        let found = (listener.client_verifier().is_some(), listener.takes_tokens(), listener.takes_unix_peer());
        assert_eq!(found, (verifier, tokens, peer), "{names:?}");
        assert_eq!(listener.has_connection_attestor(), verifier || peer, "{names:?}");
    }
}

#[test]
fn unknown_names_point_at_their_place() {
    let world = World::new();
    let attestors =
        world.attestors("[attestor.local]\nkind = \"unix-peer\"\nidentity = \"spiffe://acme.internal/unix/{uid}\"\n");
    let mut out = Diagnostics::default();
    let source = SourceFile::new("claviger.toml", "authenticate = [\"local\", \"lokal\", \"x\", \"local\"]\n");
    let names = parse(&source, &mut out).unwrap().strings("authenticate", &mut out).unwrap();
    assert!(attestors.chain(&names, "listener.egress.authenticate", &mut out).is_none());
    let found: Vec<String> = out.iter().map(ToString::to_string).collect();
    assert_eq!(
        found,
        [
            "claviger.toml:1:26: error: `listener.egress.authenticate`: there is no attestor `lokal`\n  help: did you mean `local`?",
            "claviger.toml:1:35: error: `listener.egress.authenticate`: there is no attestor `x`\n  help: define `[attestor.x]`",
            "claviger.toml:1:40: error: `listener.egress.authenticate`: `local` is there twice",
        ]
    );
}

#[test]
fn what_looks_like_a_token() {
    let token = TokenKey::new("k").sign(&json!({}));
    for (text, expected) in [
        (token.as_str(), true),
        ("eyJhbGciOiJub25lIn0..", true),
        ("sk-proj-aaaa.bbbb.cccc", false),
        ("sk-1234567890", false),
        ("a.b.c", false),
        ("..", false),
        ("", false),
    ] {
        assert_eq!(looks_like_token(text.as_bytes()), expected, "{text}");
    }
}
