//! A real verifier takes what is minted: Envoy, which reads the served keys.

use std::collections::BTreeSet;

use claviger_tests::World;
use claviger_tests::peers::{JwtApi, Sees as _, TrustedIssuer};
use serde_json::json;

use crate::scene::{configure, get, part, port, told};

async fn envoy(world: &World, port: u16, cache: &'static str) -> JwtApi {
    let trusted = TrustedIssuer {
        issuer: "https://tokens.test".to_owned(),
        audience: "warehouse".to_owned(),
        keys: "https://tokens.test/.well-known/jwks.json".to_owned(),
        name: "tokens.test".to_owned(),
        port,
        cache,
    };
    JwtApi::trusting(&world.ca, "api.test", &trusted).await
}

#[tokio::test(flavor = "multi_thread")]
async fn envoy_verifies_a_token_of_each_algorithm() {
    for algorithm in ["ES256", "RS256", "EdDSA"] {
        let world = World::new();
        let keys = format!("algorithm = \"{algorithm}\"\n");
        // Claviger first, for its keys are fetched when Envoy starts; then where Envoy is.
        configure(&world, &keys, 1, "");
        let proxy = world.start();
        let issuer = port(&proxy);
        let envoy = envoy(&world, issuer, "600s").await;
        configure(&world, &keys, envoy.endpoint().addr.port(), "");
        assert!(world.run(&["reload", "--config", "claviger.toml"]).status.success(), "{}", proxy.output());
        let docs = world.issuer.token_with("docs", json!({"team": "writers"}));
        let (status, answer) = get(&proxy, &docs, "/api/v1/items").await;
        assert_eq!(status, 200, "{answer} {}", envoy.log());
        assert_eq!((&answer["client"], &answer["audience"]), (&"ci/docs".into(), &"warehouse".into()));
        let seen = envoy.seen_in_all(&world.ca, 1).await;
        let claims = part(&seen[0].authorization, 1);
        assert_eq!(claims["sub"], "spiffe://acme.test/ci/docs");
        assert_eq!(claims["team"], "writers");
        assert_eq!(part(&seen[0].authorization, 0)["alg"], algorithm);
        assert_ne!(seen[0].authorization, format!("Bearer {docs}"));
        // Another caller has another token; one without what a claim is made of has none, and nothing goes upstream.
        let (status, answer) =
            get(&proxy, &world.issuer.token_with("site", json!({"team": "builders"})), "/api/v1/x").await;
        assert_eq!((status, &answer["client"]), (200, &"ci/site".into()));
        let (status, _) = get(&proxy, &world.issuer.token("nobody"), "/api/v1/x").await;
        assert_eq!(status, 503);
        assert!(told(&proxy, "issuer_key_published").len() == 1, "a reload keeps the keys");
        proxy.stop();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_rotate_under_traffic_and_no_token_is_refused() {
    let world = World::new();
    let keys = "lifetime = \"10m\"\nrotate_every = \"12s\"\noverlap = \"6s\"\n";
    configure(&world, keys, 1, "");
    let proxy = world.start();
    let envoy = envoy(&world, port(&proxy), "1s").await;
    configure(&world, keys, envoy.endpoint().addr.port(), "");
    assert!(world.run(&["reload", "--config", "claviger.toml"]).status.success(), "{}", proxy.output());
    let deadline = tokio::time::Instant::now() + claviger_tests::PATIENCE;
    let (mut kids, mut after) = (BTreeSet::new(), 0);
    for caller in 0.. {
        // A caller of its own, and so a token of its own, each time; and one that is used all along.
        for sub in [format!("w{caller}"), "steady".to_owned()] {
            let proof = world.issuer.token_with(&sub, json!({"team": "t"}));
            let (status, answer) = get(&proxy, &proof, "/api/v1/items").await;
            assert_eq!(status, 200, "{answer}\n{}\n{}", proxy.output(), envoy.log());
        }
        kids.extend(
            envoy
                .seen()
                .iter()
                .filter(|seen| seen.status == 200)
                .map(|seen| part(&seen.authorization, 0)["kid"].as_str().unwrap().to_owned()),
        );
        after += usize::from(kids.len() > 1);
        if after > 20 {
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "no key was rotated:\n{}", proxy.output());
    }
    assert!(told(&proxy, "issuer_key_published").iter().any(|detail| detail.ends_with("by schedule")));
    assert!(!told(&proxy, "issuer_key_in_use").is_empty());
    assert!(told(&proxy, "issuer_failed").is_empty());
    proxy.stop();
}
