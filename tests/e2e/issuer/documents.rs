//! What is served, what the command prints, and keys that several processes share.

use std::io::{Read as _, Write as _};

use claviger_tests::World;
use serde_json::Value;

use crate::scene::{client, configure, get, port, told, wait_for};

fn run(world: &World, args: &[&str]) -> (bool, String, String) {
    let output = world.run(args);
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.success(), text(&output.stdout), text(&output.stderr))
}

fn document(world: &World, which: &str) -> Value {
    let (worked, printed, said) = run(world, &["issuer", which, "--config", "claviger.toml"]);
    assert!(worked, "{said}");
    serde_json::from_str(&printed).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_are_served_and_printed_the_same() {
    let world = World::new();
    configure(&world, "", 1, "");
    let proxy = world.start();
    let http = client(&world, port(&proxy));
    let base = format!("https://tokens.test:{}", port(&proxy));
    for (path, which) in [("/.well-known/openid-configuration", "discovery"), ("/.well-known/jwks.json", "jwks")] {
        let answer = http.get(format!("{base}{path}")).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["content-type"], "application/json");
        assert_eq!(answer.headers()["cache-control"], "public, max-age=900");
        let served: Value = answer.json().await.unwrap();
        assert_eq!(served, document(&world, which));
        assert_eq!(http.head(format!("{base}{path}")).send().await.unwrap().status(), 200);
        assert_eq!(http.post(format!("{base}{path}")).send().await.unwrap().status(), 405);
    }
    assert_eq!(http.get(format!("{base}/metrics")).send().await.unwrap().status(), 404);
    let text = document(&world, "jwks").to_string();
    for private in ["\"d\"", "\"p\"", "\"q\"", "\"k\""] {
        assert!(!text.contains(private), "{text}");
    }
    // What is sealed is no key that anybody reads.
    let sealed = std::fs::read(world.path().join("state/sealed/.issuer-keys.age")).unwrap();
    assert!(sealed.starts_with(b"age-encryption.org/v1"));
    proxy.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn rotated_by_hand_while_two_processes_run() {
    let world = World::new();
    configure(&world, "", 1, "");
    let proxy = world.start();
    let http = client(&world, port(&proxy));
    let url = format!("https://tokens.test:{}/.well-known/jwks.json", port(&proxy));
    let served = async || -> Value { http.get(&url).send().await.unwrap().json().await.unwrap() };
    let first = served().await["keys"][0]["kid"].clone();
    let (worked, printed, said) = run(&world, &["issuer", "rotate", "--config", "claviger.toml"]);
    assert!(worked, "{said}");
    assert!(printed.starts_with("The next key is published.\nissuer https://tokens.test\n"), "{printed}");
    assert!(printed.contains("  next     ES256 ") && printed.contains("  signs    ES256 "), "{printed}");
    wait_for(&proxy, "issuer_key_published", 2).await;
    let both = served().await;
    assert_eq!(both["keys"].as_array().unwrap().len(), 2);
    assert_eq!(both["keys"][0]["kid"], first);
    let (_, again, _) = run(&world, &["issuer", "rotate", "--config", "claviger.toml"]);
    assert!(again.starts_with("The next key was published before."), "{again}");
    // A compromise: both are gone, also from what runs.
    let (worked, printed, said) = run(&world, &["issuer", "rotate", "--compromised", "--config", "claviger.toml"]);
    assert!(worked, "{said}");
    assert!(printed.starts_with("All keys were taken back"), "{printed}");
    wait_for(&proxy, "issuer_key_withdrawn", 2).await;
    let one = served().await;
    assert_eq!(one["keys"].as_array().unwrap().len(), 1);
    assert!(both["keys"].as_array().unwrap().iter().all(|key| key["kid"] != one["keys"][0]["kid"]));
    assert!(told(&proxy, "issuer_key_published").last().unwrap().ends_with("because of a compromise"));
    let shown = run(&world, &["issuer", "show", "-o", "json", "--config", "claviger.toml"]).1;
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!((&shown["keys"][0]["kid"], &shown["keys"][0]["state"]), (&one["keys"][0]["kid"], &"signs".into()));
    proxy.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_and_flooding_readers_stop_nobody() {
    let world = World::new();
    configure(&world, "", 1, "");
    let proxy = world.start();
    let address = proxy.address("issuer").to_owned();
    // As many as are served at a time, none of which says anything.
    let idle: Vec<_> = (0..256).map(|_| std::net::TcpStream::connect(&address).unwrap()).collect();
    let mut rude = std::net::TcpStream::connect(&address).unwrap();
    rude.write_all(&[0x16, 3, 1, 0xff, 0xff]).unwrap();
    let http = client(&world, port(&proxy));
    let url = format!("https://tokens.test:{}/.well-known/jwks.json", port(&proxy));
    // They are let go in their time, and who comes after them is served.
    assert_eq!(http.get(url).send().await.unwrap().status(), 200);
    let mut rest = Vec::new();
    let first = idle.into_iter().next().unwrap();
    first.set_read_timeout(Some(claviger_tests::PATIENCE)).unwrap();
    assert_eq!((&first).read_to_end(&mut rest).unwrap_or(0), 0);
    // Nobody's requests waited for that.
    let (status, _) = get(&proxy, &world.issuer.token("x"), "/api/v1/x").await;
    assert_eq!(status, 503);
    proxy.stop();
}

#[test]
fn without_an_issuer_the_command_says_so_and_kind_jwt_does_not_load() {
    let world = World::new();
    configure(&world, "", 1, "");
    let text = std::fs::read_to_string(world.path().join("claviger.toml")).unwrap();
    let (before, after) = text.split_once("[issuer]").unwrap();
    let rest = after.split_once("[listener.gateway]").unwrap().1;
    world.configure(&format!("{before}[listener.gateway]{rest}"));
    let (worked, _, said) = run(&world, &["issuer", "show", "--config", "claviger.toml"]);
    assert!(!worked && said.contains("the configuration has no `[issuer]`"), "{said}");
    let (worked, printed, said) = run(&world, &["check", "--config", "claviger.toml"]);
    assert!(!worked, "{printed}");
    assert!(
        format!("{printed}{said}").contains("there is no `[issuer]` that would mint the tokens"),
        "{printed}{said}"
    );
    assert!(!world.path().join("state/sealed/.issuer-keys.age").exists(), "looking makes no key");
}
