//! What the command says and does: probes, two at once, values and stores that are wrong, a death in between.

use std::io::Write;
use std::process::Stdio;

use claviger_tests::{Origin, World, canary};
use serde_json::Value;

use crate::keyring::Keyring;
use crate::rotation::{CHECK, secret, world};

fn listed(world: &World) -> Value {
    let (code, out, err) = secret(world, &["list", "-o", "json"], "");
    assert_eq!((code, err.as_str()), (0, ""));
    serde_json::from_str::<Value>(&out).unwrap()[0].clone()
}

/// A probe is sent once, as the service would inject it, and its answer decides.
#[tokio::test(flavor = "multi_thread")]
async fn a_probe_decides() {
    let (world, keyring, port) = world().await;
    let next = canary::canary();
    let text = world.usual(port, "");
    let check = "check = { call = \"GET /v1/check?full=1\", headers = { x-version = \"7\" } }";
    world.configure(&text.replace("inject = [\"bearer\"]", &format!("inject = [\"bearer\"]\n{check}")));
    let before = listed(&world);
    let unchanged = |args: &[&str], expected: &str| {
        let (code, out, err) = secret(&world, &[&["rotate", "api"], args].concat(), &next);
        assert!(code == 1 && err.contains("nothing was changed") && err.contains(expected), "{args:?}: {out}{err}");
        assert_eq!(listed(&world), before);
    };
    unchanged(&[], "does not take the value (`GET /v1/check?full=1`: it answered 401)");
    unchanged(&["--force"], "it answered 401");
    let checked = keyring.checked();
    assert_eq!(checked.len(), 2);
    for (key, headers) in checked {
        assert_eq!((key.as_str(), &headers["x-version"]), (&*next, &"7".parse().unwrap()));
        assert!(headers["user-agent"].to_str().unwrap().starts_with("claviger/"));
    }
    keyring.answer_checks(Some(403));
    unchanged(&[], "it answered 403");
    for status in [500, 302, 404, 429] {
        keyring.answer_checks(Some(status));
        unchanged(&[], &format!("it answered {status}"));
        assert_eq!(keyring.checked().len(), if status == 500 { 2 } else { 1 }, "nothing is followed or repeated");
    }
    // Nobody answers, or not as the host that is meant.
    let other = Origin::start(&world.ca, &["other.test"], &["http/1.1"], claviger_tests::origin::echo(&next)).await;
    for (wrong, expected) in [
        (text.replace(&format!("127.0.0.1:{port}"), "127.0.0.1:1"), "failed to connect"),
        (text.replace(&port.to_string(), &other.port().to_string()), "certificate"),
        (text.replace("allow_addresses = [\"127.0.0.1\"]\n", ""), "127.0.0.1"),
    ] {
        world.configure(&wrong.replace("inject = [\"bearer\"]", CHECK));
        unchanged(&[], expected);
    }
    assert!(other.seen().is_empty());
    world.configure(&text.replace("inject = [\"bearer\"]", CHECK));
    keyring.answer_checks(Some(503));
    let (code, out, err) = secret(&world, &["rotate", "api", "--force"], &next);
    assert!(code == 0 && out.starts_with("rotated `api`"), "{out}{err}");
    assert_eq!(
        err,
        "claviger: whether service `api` takes the value is not known (`GET /v1/check`: it answered 503)\n"
    );
    assert_eq!(listed(&world)["rotating"]["probed"], false);
}

/// One secret of several services: any refusal decides, then any yes.
#[tokio::test(flavor = "multi_thread")]
async fn every_service_that_uses_it_is_asked() {
    let world = World::new();
    let next = canary::canary();
    let (first, one) = Keyring::start(&world, &[&next]).await;
    let (second, two) = Keyring::start(&world, &[&next]).await;
    world.seal("api", &world.canary, &["api.test"]);
    let service = |name: &str, port: u16, path: &str| {
        format!(
            "[service.{name}]\nhosts = [\"api.test\"]\npaths = [\"{path}\"]\nconnect = \"127.0.0.1:{port}\"\nca = \"ca.pem\"\n\
             allow_addresses = [\"127.0.0.1\"]\n{CHECK}\n"
        )
    };
    let text = world.usual(1, &service("two", two.port(), "/v2"));
    let (head, tail) = text.split_once("[service.api]").unwrap();
    let rest = tail.split_once("[allow.app-api]").unwrap().1;
    let credential = "[credential.api]\nkind = \"static\"\nvalue = \"secret://sealed/api\"\n";
    world.configure(&format!(
        "{head}{}{credential}[allow.app-api]\nuse = \"api\"{}",
        service("api", one.port(), "/v1"),
        rest.replace("check = \"GET /v1/check\"", "check = \"GET /v2/check\"")
    ));
    second.take(&[]);
    let (code, _, err) = secret(&world, &["rotate", "api"], &next);
    assert!(code == 1 && err.contains("service `two` does not take the value"), "{err}");
    assert_eq!((first.checked().len(), second.seen().len()), (1, 1));
    second.take(&[&next]);
    first.answer_checks(Some(500));
    let (code, out, err) = secret(&world, &["rotate", "api"], &next);
    assert_eq!(code, 0, "{err}");
    assert!(out.starts_with("service `two` takes the value (`GET /v2/check`: 200)\nrotated `api`"), "{out}");
    assert!(err.contains("whether service `api` takes the value is not known"), "{err}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_probed_says_why() {
    let (world, _, port) = world().await;
    let usual = world.usual(port, "");
    let check = |args: &[&str], config: &str, expected: &str| {
        world.configure(config);
        let next = canary::canary();
        let (code, out, err) = secret(&world, &[&["rotate", "api", "--at-once"], args].concat(), &next);
        assert!(code == 0 && out.starts_with(expected), "{args:?}: {out}{err}");
    };
    check(&[], &usual, "not probed: no service that uses it has a `check`\n");
    check(&["--no-probe"], &usual, "rotated `api` (version ");
    let unused = usual.replace("secret = \"secret://sealed/api\"\n", "");
    check(&[], &unused, "not probed: no service of the configuration uses it\n");
    check(&[], &usual.replace("hosts = [\"api.test\"]", "hosts = 7"), "not probed: the configuration has errors");
    let output =
        world.run_with_input(&["secret", "--state-dir", "state", "rotate", "api", "--at-once"], "another-value");
    assert!(output.stdout.starts_with(b"not probed: no configuration says where the value is used\n"), "{output:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_is_shown_and_admits_no_other() {
    let (world, keyring, _) = world().await;
    let (first, second, third) = (world.canary.clone(), canary::canary(), canary::canary());
    keyring.take(&[&first, &second, &third]);
    let before = listed(&world);
    assert!(before.get("rotating").is_none());
    let (code, _, err) = secret(&world, &["rotate", "api", "--finish"], "");
    assert_eq!((code, err.as_str()), (1, "claviger: no rotation of `api` is open\n"));
    let (code, _, err) = secret(&world, &["rotate", "api"], &first);
    assert_eq!(
        (code, err.as_str()),
        (1, "claviger: nothing was changed: the new value of `api` is the one in force\n")
    );

    assert_eq!(secret(&world, &["rotate", "api"], &second).0, 0);
    let during = listed(&world);
    let rotating = &during["rotating"];
    assert_eq!(
        (&rotating["previous_version"], &rotating["previous_created"]),
        (&before["version"], &before["created"])
    );
    assert_eq!((&rotating["since"], &rotating["probed"]), (&during["created"], &true.into()));
    let (_, text, _) = secret(&world, &["list"], "");
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!((lines.len(), lines[0][0], lines[0][1]), (2, "api", during["version"].as_str().unwrap()));
    assert_eq!(
        (lines[1][0], &lines[1][2..5]),
        (before["version"].as_str().unwrap(), &["previous;", "rotating", "since"][..])
    );

    keyring.checked();
    let (code, _, err) = secret(&world, &["rotate", "api"], &third);
    let open = "claviger: nothing was changed: a rotation of `api` is open: the previous value, version";
    assert!(code == 1 && err.starts_with(open) && err.contains("rotate api --finish`"), "{err}");
    assert!(keyring.checked().is_empty(), "nobody is asked in vain");
    let (code, out, _) = secret(&world, &["rotate", "api", "--abort"], "");
    assert!(code == 0 && out.contains("is as before"), "{out}");
    assert_eq!(listed(&world), before);
    assert_eq!(secret(&world, &["rotate", "api"], &second).0, 0);
    assert_eq!(secret(&world, &["rotate", "api", "--finish"], "").0, 0);
    assert!(listed(&world).get("rotating").is_none());
    for args in [&["--finish", "--abort"][..], &["--finish", "--no-probe"], &["--force", "--no-probe"]] {
        assert_eq!(secret(&world, &[&["rotate", "api"], args].concat(), "").0, 2, "{args:?}");
    }
}

/// Of several at once one wins; the value that all wanted to replace is kept.
#[tokio::test(flavor = "multi_thread")]
async fn of_rotations_at_once_one_wins() {
    let (world, _, _) = world().await;
    let before = listed(&world);
    let outcomes: Vec<(i32, String)> = std::thread::scope(|scope| {
        let one = || {
            let (code, _, err) = secret(&world, &["rotate", "api", "--no-probe"], &canary::canary());
            (code, err)
        };
        let all: Vec<_> = (0..6).map(|_| scope.spawn(one)).collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert_eq!(outcomes.iter().filter(|(code, _)| *code == 0).count(), 1, "{outcomes:?}");
    let lost = |(code, err): &&(i32, String)| *code == 1 && err.contains("nothing was changed");
    assert_eq!(outcomes.iter().filter(lost).count(), 5, "{outcomes:?}");
    assert_eq!(listed(&world)["rotating"]["previous_version"], before["version"]);
}

/// Whenever it is killed, the file is the one before or the one after, and the next command works.
#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_is_killed_leaves_one_state_or_the_other() {
    let (world, _, _) = world().await;
    let before = listed(&world)["version"].clone();
    let (file, beside) = (world.path().join("state/sealed/api.age"), world.path().join("state/sealed/.api.age.tmp"));
    let inode = || std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(&file).unwrap());
    for round in 0..24_u32 {
        let old = inode();
        let mut command = world.command(&["secret", "--config", "claviger.toml", "rotate", "api", "--no-probe"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(canary::canary().as_bytes()).unwrap();
        // Once early, then while the new file is written beside the old one, then when it has just taken its place.
        let deadline = std::time::Instant::now() + claviger_tests::PATIENCE;
        let met = |round: u32| match round % 3 {
            0 => true,
            1 => beside.exists() || inode() != old,
            _ => inode() != old,
        };
        while !met(round) {
            assert!(std::time::Instant::now() < deadline, "the file is never written");
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let now = listed(&world);
        if now["version"] == before {
            assert!(now.get("rotating").is_none() && round % 3 != 2, "{now}");
        } else {
            assert_eq!(now["rotating"]["previous_version"], before);
            assert_eq!(secret(&world, &["rotate", "api", "--abort"], "").0, 0);
        }
    }
    assert_eq!(secret(&world, &["rotate", "api", "--no-probe"], &canary::canary()).0, 0);
    assert!(!beside.exists());
}

/// The store is the one that the configuration names; another kind of store is changed where it is kept.
#[tokio::test(flavor = "multi_thread")]
async fn a_secret_of_another_store() {
    let (world, _, port) = world().await;
    let stores = "[store.second]\nkind = \"sealed\"\npath = \"second\"\nkey_file = \"second.key\"\n\
                  [store.mounted]\nkind = \"file\"\nroot = \"secrets\"\nbindings = { \"*\" = [\"api.test\"] }\n";
    world.configure(&world.usual(port, stores).replace("secret://sealed/api", "secret://second/api"));
    let value = canary::canary();
    let (code, out, err) = secret(&world, &["set", "secret://second/api", "--for", "api"], &value);
    assert!(code == 0 && out.ends_with("refer to it as secret://second/api\n"), "{out}{err}");
    let next = canary::canary();
    assert_eq!(secret(&world, &["rotate", "secret://second/api"], &next).0, 0);
    assert!(world.path().join("second/api.age").exists());
    let (_, out, _) = secret(&world, &["list", "--store", "second", "-o", "json"], "");
    assert!(serde_json::from_str::<Value>(&out).unwrap()[0].get("rotating").is_some());
    assert!(listed(&world).get("rotating").is_none(), "the default store has another secret of that name");
    assert_eq!(secret(&world, &["remove", "secret://second/api"], "").0, 0);
    for (name, expected) in [
        (
            "secret://mounted/api",
            "there is no sealed store `mounted`; a secret of another store is changed where it is kept",
        ),
        ("secret://env/API", "there is no sealed store `env`"),
        ("secret://third/api", "there is no sealed store `third`"),
        ("secret://second/api#field", "a secret is changed as a whole"),
        ("secret://second/", "the reference has no name"),
    ] {
        let (code, _, err) = secret(&world, &["rotate", name], "some-new-value");
        assert!(code == 2 && err.contains(expected), "{name}: {err}");
    }
}

/// A value that a guarded service could not look for in answers would stop the next reload.
#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_is_too_short_is_refused_before_it_is_in_force() {
    let (world, keyring, _) = world().await;
    let before = listed(&world);
    for args in [&["rotate", "api"][..], &["rotate", "api", "--no-probe"]] {
        let (code, _, err) = secret(&world, args, "eleven-byte");
        assert!(code == 1 && err.contains("nothing was changed: the value is too short"), "{err}");
    }
    assert_eq!(listed(&world), before);
    assert!(keyring.checked().is_empty());
}

/// `--for` binds to what the service is, in clear text too; `set --probe` asks before it seals.
#[tokio::test(flavor = "multi_thread")]
async fn a_cleartext_service_and_a_probe_before_sealing() {
    let world = World::new();
    let key = world.canary.clone();
    let origin = Origin::start_cleartext(claviger_tests::origin::echo(&key)).await;
    let text = world.usual(origin.port(), "").replace("ca = \"ca.pem\"\n", "cleartext = true\n");
    world.configure(
        &text.replace("inject = [\"bearer\"]", CHECK).replace("hosts = [\"api.test\"]", "hosts = [\"api.test:8080\"]"),
    );
    let (code, _, err) = secret(&world, &["set", "api", "--for", "api", "--probe"], "not-the-key-at-all");
    assert!(code == 1 && err.contains("does not take the value"), "{err}");
    assert_eq!(secret(&world, &["list"], "").1, "");
    let (code, out, err) = secret(&world, &["set", "api", "--for", "api", "--probe"], &key);
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(out.contains(" for http://api.test:8080\n"), "{out}");
    let proxy = world.start();
    let request = crate::reload::client().get(proxy.gateway("/api/v1/x")).bearer_auth(world.token("app"));
    assert_eq!(request.send().await.unwrap().status(), 200);
}
