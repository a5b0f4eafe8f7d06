//! `claviger secret`: values come from stdin, go into the sealed store, and are never shown.

use std::os::unix::fs::PermissionsExt;
use std::process::Output;

use claviger_tests::World;
use serde_json::Value;

/// A configuration whose secret is not there yet.
const CONFIG: &str = r#"version = 1
trust_domain = "acme.test"
state_dir = "state"

[listener.local]
mode = "gateway"
bind = "unix:claviger.sock"
authenticate = ["kernel"]

[attestor.kernel]
kind = "unix-peer"
identity = "spiffe://acme.test/unix/{user}"

[service.openai]
preset = "openai"
secret = "secret://sealed/openai"

[service.broken]
hosts = ["https://broken.test"]

[allow.all]
who = "*"
to = "openai"
ops = "*"
"#;

fn world() -> World {
    let world = World::new();
    world.configure(CONFIG);
    world
}

fn secret(world: &World, args: &[&str], input: &str) -> (i32, String, String) {
    let output: Output = world.run_with_input(&[&["secret", "--config", "claviger.toml"], args].concat(), input);
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let (out, err) = (text(output.stdout), text(output.stderr));
    assert!(!out.contains(&world.canary) && !err.contains(&world.canary), "{args:?} shows the value");
    (output.status.code().unwrap(), out, err)
}

fn listed(world: &World) -> Vec<Value> {
    let (code, out, err) = secret(world, &["list", "-o", "json"], "");
    assert_eq!((code, err.as_str()), (0, ""));
    serde_json::from_str(&out).unwrap()
}

/// The file refers to a secret that is to be set, and has a mistake elsewhere: the hosts are found all the same.
#[test]
fn a_secret_from_setting_to_removal() {
    let world = world();
    assert_eq!(secret(&world, &["list"], ""), (0, String::new(), String::new()));
    let (code, out, err) =
        secret(&world, &["set", "openai", "--for", "openai", "--owner", "ml@acme.test"], &world.canary);
    assert_eq!((code, err.as_str()), (0, ""));
    let (first, second) = out.split_once('\n').unwrap();
    assert!(first.starts_with("sealed `openai` (version ") && first.ends_with(") for api.openai.com:443"), "{out}");
    assert_eq!(second, "refer to it as secret://sealed/openai\n");
    let before = listed(&world);
    assert_eq!(before.len(), 1);
    let version = before[0]["version"].as_str().unwrap();
    let expected = serde_json::json!({
        "name": "openai", "version": version, "created": before[0]["created"], "owner": "ml@acme.test",
        "hosts": ["api.openai.com:443"],
    });
    assert_eq!(before[0], expected);
    let (_, table, _) = secret(&world, &["list"], "");
    let words: Vec<&str> = table.split_whitespace().collect();
    assert!(words[2].ends_with('s') || words[2].ends_with('m'), "its age: {words:?}");
    assert_eq!((&words[..2], &words[3..]), (&["openai", version][..], &["ml@acme.test", "api.openai.com:443"][..]));

    // Another value, the same hosts and owner.
    let other = format!("{}-other", world.canary);
    let (code, out, err) = secret(&world, &["rotate", "openai", "--no-probe"], &format!("{other}\r\n"));
    assert_eq!((code, err.as_str()), (0, ""));
    let after = listed(&world);
    let rotated = after[0]["version"].as_str().unwrap();
    assert!(out.starts_with(&format!("rotated `openai` (version {rotated}); version {version} is kept beside it\n")));
    assert_ne!(rotated, version);
    assert_eq!((&after[0]["hosts"], &after[0]["owner"]), (&before[0]["hosts"], &before[0]["owner"]));

    let two = ["set", "team/two", "--host", "a.test", "--host", "*.b.test:8443"];
    assert_eq!(secret(&world, &two, &world.canary).0, 0);
    assert_eq!(listed(&world)[1]["hosts"], serde_json::json!(["a.test:443", "*.b.test:8443"]));
    claviger_tests::canary::assert_absent_below(&world.canary, world.path());

    assert_eq!(secret(&world, &["remove", "openai"], ""), (0, "removed `openai`\n".to_owned(), String::new()));
    assert_eq!(listed(&world).len(), 1);
}

#[test]
fn what_is_refused() {
    let world = world();
    for (args, input, code, expected) in [
        (
            &["set", "x", "--for", "opanai"][..],
            "v",
            2,
            "error: `service.opanai`: there is no service `opanai`\n  help: did you mean `openai`?",
        ),
        (&["set", "x", "--for", "crm"], "v", 2, "help: define `[service.crm]`, or name the hosts with `--host`"),
        (
            &["set", "x", "--for", "broken"],
            "v",
            2,
            "claviger.toml:19:10: error: `service.broken.hosts`: `https://broken.test`: write a host",
        ),
        (&["set", "x", "--host", "a.test/x"], "v", 1, "`a.test/x` is not a host"),
        (
            &["set", "x", "--host", "a.test"],
            "",
            1,
            "claviger: the value is empty; pipe it in, or type it at the prompt",
        ),
        (&["set", "x", "--host", "a.test"], "\n", 1, "claviger: the value is empty"),
        (&["set", "../x", "--host", "a.test"], "v", 1, "`../x` is not a name of this store"),
        (&["set", ".x", "--host", "a.test"], "v", 1, "`.x` is not a name of this store"),
        (&["rotate", "x"], "v", 1, "claviger: there is no secret `x`"),
        (&["remove", "x"], "", 1, "claviger: there is no secret `x`"),
    ] {
        let (got, out, err) = secret(&world, args, input);
        assert_eq!((got, out.as_str()), (code, ""), "{args:?}: {err}");
        assert!(err.contains(expected), "{args:?}: {err}");
    }
    assert!(listed(&world).is_empty());
    // A wrong state folder is not passed over for another.
    world.configure(&CONFIG.replace("state_dir = \"state\"", "state_dir = 1"));
    let (code, _, err) = secret(&world, &["set", "x", "--host", "a.test"], "v");
    assert!(code == 2 && err.contains("claviger.toml:3:13: error: `state_dir`: expected a string"), "{err}");
}

/// One newline at the end is the shell's, all else is the value's.
#[test]
fn the_value_is_what_was_piped_in() {
    let world = world();
    world.configure(&CONFIG.replace("[service.broken]\nhosts = [\"https://broken.test\"]\n", ""));
    let check = || {
        let output = world.run(&["check", "--config", "claviger.toml"]);
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let missing = "claviger.toml:16:10: error: `service.openai.secret`: failed to read `secret://sealed/openai`: \
                   there is no secret `openai`\n  help: run `claviger secret set openai --for openai`\n";
    assert_eq!(check(), (2, missing.to_owned()));
    let set = ["set", "openai", "--for", "openai"];
    for (value, expected) in [("twelve-bytes", 0), ("eleven-byte", 2), ("eleven-byte\n", 2), ("eleven-byte\n\n", 0)] {
        assert_eq!(secret(&world, &set, value).0, 0);
        let (code, err) = check();
        assert_eq!(code, expected, "{value:?}: {err}");
        let short = "claviger.toml:14:10: error: `service.openai.guard`: the value of credential `openai` is too short to \
                     be found in answers\n";
        assert!(code == 0 || err.starts_with(short), "{err}");
    }
    world.configure(
        &CONFIG
            .replace("[service.broken]\nhosts = [\"https://broken.test\"]\n", "")
            .replace("preset =", "guard = false\npreset ="),
    );
    assert_eq!(secret(&world, &set, "short").0, 0);
    assert_eq!(check(), (0, String::new()));
}

#[test]
fn a_key_that_others_may_read_is_refused_with_what_to_do() {
    let world = world();
    assert_eq!(secret(&world, &["set", "openai", "--for", "openai"], &world.canary).0, 0);
    let key = world.path().join("state/keys/sealed.key");
    let mode = |mode: u32| std::fs::set_permissions(&key, std::fs::Permissions::from_mode(mode)).unwrap();
    assert_eq!(key.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    for bits in [0o640, 0o604, 0o644] {
        mode(bits);
        let said = format!(
            "the key file `state/keys/sealed.key` may be read by others than its owner (mode {bits:04o}); \
             run `chmod 600 state/keys/sealed.key`"
        );
        for args in [&["list"][..], &["rotate", "openai"], &["set", "two", "--host", "a.test"]] {
            let (code, out, err) = secret(&world, args, "another-value");
            assert_eq!((code, out.as_str(), err), (1, "", format!("claviger: {said}\n")), "{args:?}");
        }
        let check = world.run(&["check", "--config", "claviger.toml"]);
        assert!(String::from_utf8(check.stderr).unwrap().contains(&said));
    }
    mode(0o600);
    assert_eq!(listed(&world).len(), 1);
    // Without the key nothing can be read, and no new key hides that.
    std::fs::remove_file(&key).unwrap();
    let (code, _, err) = secret(&world, &["set", "two", "--host", "a.test"], "another-value");
    assert!(code == 1 && err.contains("is missing; restore it"), "{err}");
    assert!(!key.exists());
}
