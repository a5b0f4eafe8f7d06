//! `check`, `explain`, `ca`, and what all commands have in common.

use std::process::Output;

use claviger_tests::World;
use serde_json::{Value, json};

use crate::prepared::{Prepared, client};

const BASE: &str = include_str!("base.toml");
const APP: &str = "spiffe://acme.test/ci/app";

fn prepared() -> Prepared {
    let prepared = Prepared::new();
    prepared.0.configure(BASE);
    prepared
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn check_tells_people_and_programs_the_same() {
    let prepared = prepared();
    let check = |text: &str, args: &[&str]| {
        prepared.0.configure(text);
        let output = prepared.run(&[&["check", "--config", "claviger.toml"], args].concat());
        (code(&output), out(&output), err(&output))
    };
    let held = "credential `api`: proxy-held\ncredential `crm`: proxy-held\n";
    let fine = &format!("claviger.toml: ok, 3 listeners, 2 services, 0 warnings\n{held}");
    for args in [&[][..], &["--strict"], &["-o", "text"]] {
        assert_eq!(check(BASE, args), (0, fine.clone(), String::new()), "{args:?}");
    }
    let (code, json, errors) = check(BASE, &["-o", "json"]);
    let notes: Value = serde_json::from_str(&json).unwrap();
    let told: Vec<_> =
        notes.as_array().unwrap().iter().map(|one| (&one["severity"], &one["key"], &one["message"])).collect();
    let note = |key: &str| [json!("note"), json!(key), json!("proxy-held")];
    let expected = [note("credential.api"), note("credential.crm")];
    assert_eq!(told, expected.iter().map(|[a, b, c]| (a, b, c)).collect::<Vec<_>>());
    assert_eq!((code, errors.as_str()), (0, ""));

    let dubious = BASE.replace("ops = [\"GET /contacts\"]", "ops = [\"GETT /contacts\"]");
    let warning =
        "claviger.toml:93:8: warning: `allow.contacts.ops`: `GETT` is an unusual method\n  help: did you mean `GET`?\n";
    let said = format!("claviger.toml: ok, 3 listeners, 2 services, 1 warning\n{held}");
    assert_eq!(check(&dubious, &[]), (0, said.clone(), warning.to_owned()));
    assert_eq!(check(&dubious, &["--strict"]), (1, said, warning.to_owned()));

    let wrong = dubious.replace("[limits]", "[limit]").replace("mode = \"forward\"", "mode = \"forwards\"");
    let first = "claviger.toml:11:8: error: `listener.forward.mode`: `forwards` is not a value of this key\n  \
                 help: did you mean `forward`? it is one of `gateway`, `forward`\n";
    let last = "claviger.toml:116:2: error: `limit`: unknown key\n  help: did you mean `limits`?\n";
    for args in [&[][..], &["--strict"]] {
        assert_eq!(check(&wrong, args), (2, String::new(), format!("{first}{warning}{last}")), "{args:?}");
    }
    let (code, json, errors) = check(&wrong, &["-o", "json"]);
    assert_eq!((code, errors.as_str()), (2, ""));
    let expected = serde_json::json!([
        {
            "severity": "error", "file": "claviger.toml", "line": 11, "column": 8, "key": "listener.forward.mode",
            "message": "`forwards` is not a value of this key",
            "help": "did you mean `forward`? it is one of `gateway`, `forward`", "team": null,
        },
        {
            "severity": "warning", "file": "claviger.toml", "line": 93, "column": 8, "key": "allow.contacts.ops",
            "message": "`GETT` is an unusual method", "help": "did you mean `GET`?", "team": null,
        },
        {
            "severity": "error", "file": "claviger.toml", "line": 116, "column": 2, "key": "limit",
            "message": "unknown key", "help": "did you mean `limits`?", "team": null,
        },
    ]);
    assert_eq!(serde_json::from_str::<Value>(&json).unwrap(), expected);
}

/// What cannot be read at all has no place.
#[test]
fn check_of_what_is_no_text() {
    let prepared = Prepared::new();
    prepared.0.write("bytes.toml", b"version = \xff\xfe");
    prepared.0.write("zeros.toml", [0_u8; 64]);
    prepared.0.write("nothing.toml", "");
    for (file, expected) in [
        ("missing.toml", "failed to read `missing.toml`: No such file or directory (os error 2)"),
        (".", "failed to read `.`: Is a directory (os error 21)"),
        ("bytes.toml", "failed to read `bytes.toml`: stream did not contain valid UTF-8"),
        ("zeros.toml", "zeros.toml:1:65: error: key with no value, expected `=`\n"),
        ("nothing.toml", "nothing.toml:1:1: error: `version`: this key is required\n  help: write `version = 1`\n"),
    ] {
        let output = prepared.run(&["check", "-c", file]);
        assert_eq!((code(&output), out(&output).as_str()), (2, ""), "{file}");
        assert!(err(&output).contains(expected), "{file}: {}", err(&output));
        let json: Value = serde_json::from_str(&out(&prepared.run(&["check", "-o", "json", "-c", file]))).unwrap();
        let first = &json[0];
        assert_eq!(first["severity"], "error");
        assert_eq!(first["file"].is_null(), expected.starts_with("failed"), "{first}");
    }
}

/// A key in one line breaks PEM; what a parser says of it would show it.
#[test]
fn check_never_shows_a_broken_key() {
    let prepared = Prepared::new();
    let key = std::fs::read_to_string(prepared.0.path().join("gateway.key")).unwrap();
    let secret: Vec<&str> = key.lines().filter(|line| !line.contains("-----")).collect();
    let one_line = format!("-----BEGIN PRIVATE KEY-----{}", secret.join(""));
    let unclosed = key.replace("-----END PRIVATE KEY-----", "");
    for (broken, message) in [(one_line.as_str(), "is not valid PEM"), (&unclosed, "is not valid PEM")] {
        prepared.0.write("broken", broken);
        for (from, to) in [
            ("key = \"gateway.key\"", "key = \"broken\""),
            ("certificate = \"gateway.pem\"", "certificate = \"broken\""),
            ("connect = \"127.0.0.1:8443\"", "ca = \"broken\""),
            ("\"acme.test\" = \"bundle.pem\"", "\"acme.test\" = \"broken\""),
            ("jwks = \"jwks.json\"", "jwks = \"broken\""),
        ] {
            let checked = prepared.check(&BASE.replacen(from, to, 1));
            assert_eq!(checked.code, 2, "{to}");
            let first = &checked.findings[0];
            if to.starts_with("key") || to.starts_with("cert") {
                assert_eq!(first.message, format!("`broken` {message}"));
            }
            let shown = format!("{checked:?}");
            assert!(secret.iter().all(|line| !shown.contains(&line[..16])), "{to}: {shown}");
        }
    }
}

#[test]
fn explain_before_a_request() {
    let prepared = prepared();
    let noon = ["--attr", "ci.ref=refs/heads/main", "--source-ip", "10.0.0.1", "--at", "2026-11-23T10:00:00+01:00"];
    let ask = |command: &str, args: &[&str], request: &[&str]| {
        let base = [command, "--config", "claviger.toml", "--as", APP];
        let output = prepared.run(&[&base[..], args, request].concat());
        assert_eq!(err(&output), "", "{request:?}");
        (code(&output), out(&output))
    };
    let allowed = "allowed: GET https://api.test/v1/models as spiffe://acme.test/ci/app
  service: api
  the caller is workload: `app`
  rule: allow `read` (claviger.toml:82)
  operation: GET /v1/**
  credential: api
  time may change this at 2026-11-23T18:00:00Z
";
    for (command, method) in [("explain", "GET"), ("can-i", "GET"), ("explain", "get")] {
        let request = [method, "https://api.test/v1/models?key=in-query"];
        assert_eq!(ask(command, &noon, &request), (0, allowed.to_owned()));
    }
    let denied = |request: [&str; 2], args: &[&str], lines: &str| {
        let expected = format!("denied: {} {} as {APP}\n{lines}", request[0], request[1]);
        assert_eq!(ask("explain", args, &request), (1, expected));
    };
    denied(
        ["POST", "https://api.test/v1/models"],
        &noon,
        "  reason: no rule allows it (no_rule)\n  service: api\n  the caller is workload: `app`\n  \
         nearest: allow `read` (claviger.toml:82)\n  \
         it fails by operation: `POST /v1/models` is none of `GET /v1/**`\n",
    );
    denied(
        ["DELETE", "https://crm.test/contacts"],
        &[],
        "  reason: a deny rule matches (denied_by_rule)\n  service: crm\n  the caller is workload: none\n  \
         rule: deny `drop` (claviger.toml:95)\n",
    );
    denied(
        ["GET", "https://crn.test/"],
        &[],
        "  reason: no service claims the target (unknown_service)\n  the caller is workload: none\n  \
         help: no service claims `crn.test:443`; did you mean `crm.test:443`?\n",
    );
    let (code, text) = ask("explain", &["--attr", "ci.ref=x"], &["GET", "https://crm.test/contacts"]);
    assert!(code == 1 && text.contains("it fails by who: "), "{text}");
}

/// A denial ends with 1; a call that makes no sense must not look like one.
#[test]
fn a_wrong_call_ends_with_2() {
    let prepared = prepared();
    for (args, expected) in [
        (&["explain", "--as", "app", "GET", "https://crm.test/"][..], "claviger: `app`: a SPIFFE ID starts with"),
        (&["explain", "--as", APP, "GET", "crm.test"], "claviger: `crm.test` does not begin with https:// or http://"),
        (&["explain", "--as", APP, "GET", "https://crm.test/../x"], "claviger: `https://crm.test/../x`: the path has"),
        (&["explain", "--as", APP, "GET", "https://"], "claviger: `https://`: "),
        (&["explain", "--as", APP, "G T", "https://crm.test/"], "claviger: `G T` is no method"),
        (&["explain", "--as", APP, "--at", "noon", "GET", "https://crm.test/"], "claviger: `noon` is no RFC 3339 time"),
        (&["explain", "--as", APP, "--attr", "x", "GET", "https://crm.test/"], "claviger: `x` is not NAME=VALUE"),
        (&["explain", "--as", APP, "--source-ip", "x", "GET", "https://crm.test/"], "invalid value 'x'"),
        (&["explain", "--as", APP, "GET"], "required arguments were not provided"),
        (&["explain", "GET", "https://crm.test/"], "required arguments were not provided"),
        (
            &["explain", "xyz"],
            "claviger: `xyz` is no request id; to ask before a request is made: claviger explain --as",
        ),
        (&["explain"], "required arguments were not provided"),
        (&["frobnicate"], "unrecognized subcommand 'frobnicate'"),
        (&["secret", "set", "x", "a-value", "--for", "api"], "unexpected argument 'a-value'"),
        (&["secret", "set", "x"], "required arguments were not provided"),
        (&["secret", "set", "x", "--for", "api", "--host", "api.test"], "cannot be used with"),
        (&["check", "-o", "yaml"], "invalid value 'yaml'"),
        (&["run", "--cores", "many"], "invalid value 'many'"),
        (&[], "Usage: claviger <COMMAND>"),
    ] {
        let mut command = prepared.command(args);
        let output = command.env("CLAVIGER_CONFIG", "claviger.toml").output().unwrap();
        assert_eq!((code(&output), out(&output).as_str()), (2, ""), "{args:?}");
        assert!(err(&output).contains(expected), "{args:?}: {}", err(&output));
    }
}

#[test]
fn every_command_refuses_a_wrong_configuration_with_2() {
    let prepared = prepared();
    prepared.0.configure(&BASE.replace("version = 1", "version = 2"));
    for args in [
        &["check"][..],
        &["run"],
        &["explain", "--as", APP, "GET", "https://crm.test/"],
        &["explain", "01900000000070008000000000000000"],
        &["ledger", "verify"],
        &["ledger", "tail"],
        &["ca"],
    ] {
        let output = prepared.command(args).env("CLAVIGER_CONFIG", "claviger.toml").output().unwrap();
        let said = err(&output);
        assert_eq!(code(&output), 2, "{args:?}: {said}");
        let first = "claviger.toml:1:11: error: `version`: this Claviger does not read version `2`\n  help: write `version = 1`\n";
        let place = if args == ["explain", "01900000000070008000000000000000"] { said.find(first) } else { Some(0) };
        assert!(place.is_some() && said.contains(first), "{args:?}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn explain_after_a_request() {
    let (world, _origin) = World::with_keyed_origin().await;
    let proxy = world.start();
    let client = client();
    for path in ["/api/v1/models?key=in-query", "/api/v2/models"] {
        let answer = client.get(proxy.gateway(path)).bearer_auth(world.token("app")).send().await.unwrap();
        assert!(answer.headers().contains_key("claviger-request-id"), "{path}");
        let _ = answer.bytes().await;
    }
    proxy.records("finished", 2);
    let ids: Vec<String> =
        proxy.records("decided", 2).iter().map(|record| record["id"].as_str().unwrap().to_owned()).collect();
    let explain = |id: &str| world.run(&["explain", "--config", "claviger.toml", id]);
    let allowed = explain(&ids[0]);
    assert_eq!(code(&allowed), 0, "{}", err(&allowed));
    let text = out(&allowed);
    for part in [ids[0].as_str(), "allow", "app-api", "spiffe://acme.test/ci/app", "api.test", "200"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("in-query") && text.lines().count() == 2, "{text}");
    let denied = out(&explain(&ids[1]));
    assert!(denied.contains("no_rule") && denied.contains("deny"), "{denied}");
    // Nobody made this one.
    let mut other = ids[0].clone();
    let last = if other.ends_with('0') { '1' } else { '0' };
    other.replace_range(3..4, &last.to_string());
    let unknown = explain(&other);
    assert_eq!(code(&unknown), 1);
    assert!(err(&unknown).contains(&format!("has no request `{other}`")), "{}", err(&unknown));
}

#[test]
fn versions_and_help() {
    let world = World::new();
    for args in [&["--version"][..], &["-V"]] {
        let output = world.run(args);
        assert_eq!(code(&output), 0);
        assert_eq!(out(&output), format!("claviger {}\n", env!("CARGO_PKG_VERSION")));
    }
    for command in ["run", "check", "explain", "secret", "ledger", "ca", "quickstart"] {
        let output = world.run(&[command, "--help"]);
        assert_eq!((code(&output), err(&output).as_str()), (0, ""), "{command}");
        assert!(out(&output).contains(&format!("Usage: claviger {command}")), "{}", out(&output));
        assert!(out(&world.run(&["--help"])).contains(command));
    }
}

/// `--config`, then the environment, then the project's folder, then the XDG folder.
#[test]
fn where_the_configuration_is_found() {
    let prepared = Prepared::new();
    let world = &prepared.0;
    let folder = |name: &str| {
        let folder = world.path().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        folder
    };
    let minimal = "version = 1\ntrust_domain = \"acme.test\"\nstate_dir = \"s\"\n";
    // Told apart by their one warning.
    for file in ["given.toml", "environment.toml", "xdg/claviger/claviger.toml"] {
        folder("xdg/claviger");
        world.write(file, minimal);
    }
    folder(".config/claviger");
    world.write(".config/claviger/claviger.toml", minimal);
    let xdg = world.path().join("xdg").display().to_string();
    let found = |args: &[&str], variables: &[(&str, &str)]| {
        let output = world.command(args).envs(variables.iter().copied()).output().unwrap();
        (code(&output), err(&output))
    };
    let home = world.path().join(".config/claviger/claviger.toml").display().to_string();
    let of_xdg = format!("{xdg}/claviger/claviger.toml");
    let environment = ("CLAVIGER_CONFIG", "environment.toml");
    for (args, variables, file) in [
        (&["check", "--config", "given.toml"][..], &[environment, ("XDG_CONFIG_HOME", &xdg)][..], "given.toml"),
        (&["--config", "given.toml", "check"], &[], ""),
        (&["check"], &[environment, ("XDG_CONFIG_HOME", &xdg)], "environment.toml"),
        (&["check"], &[("CLAVIGER_CONFIG", ""), ("XDG_CONFIG_HOME", &xdg)], &of_xdg),
        (&["check"], &[("XDG_CONFIG_HOME", &xdg)], &of_xdg),
        // XDG: a relative path is invalid and ignored.
        (&["check"], &[("XDG_CONFIG_HOME", "xdg")], &home),
        (&["check"], &[], &home),
    ] {
        let (code, said) = found(args, variables);
        if file.is_empty() {
            assert!(code == 2 && said.contains("unexpected argument '--config'"), "{said}");
            continue;
        }
        assert_eq!(code, 0, "{args:?} {variables:?}: {said}");
        assert!(said.starts_with(&format!("{file}:1:1: warning: `listener`: ")), "{variables:?}: {said}");
    }
    // One in the folder comes before the user's own, and is not used before it is allowed; what is named is.
    world.configure(minimal);
    let (refused, said) = found(&["check"], &[("XDG_CONFIG_HOME", &xdg)]);
    assert!(refused == 2 && said.contains("was found in the folder of a project, and nobody has allowed it"), "{said}");
    for (args, variables) in [(&["check", "--config", "given.toml"][..], &[][..]), (&["check"], &[environment])] {
        assert_eq!(found(args, variables).0, 0, "{args:?}");
    }
    std::fs::remove_file(world.path().join("claviger.toml")).unwrap();
    std::fs::remove_file(&home).unwrap();
    for args in
        [&["check"][..], &["run"], &["ca"], &["ledger", "tail"], &["explain", "--as", APP, "GET", "https://x.test/"]]
    {
        let (code, said) = found(args, &[]);
        assert_eq!(code, 2, "{args:?}");
        let expected = format!(
            "claviger: no configuration found: neither --config nor $CLAVIGER_CONFIG is set, and `{home}` does not exist\n  \
             help: `claviger init` writes one for this project, `claviger quickstart` shows a working one, config.example.toml has every key\n"
        );
        assert_eq!(said, expected, "{args:?}");
    }
}

/// The certificate is made once, and is what forward listeners' leaves chain to.
#[test]
fn ca_prints_the_certificate_for_clients() {
    use x509_parser::prelude::{FromDer, X509Certificate};
    let prepared = prepared();
    let ca = || prepared.run(&["ca", "--config", "claviger.toml"]);
    let first = ca();
    assert_eq!((code(&first), err(&first).as_str()), (0, ""));
    assert_eq!(out(&first), out(&ca()), "made anew");
    let (_, pem) = x509_parser::pem::parse_x509_pem(&first.stdout).unwrap();
    let (_, certificate) = X509Certificate::from_der(&pem.contents).unwrap();
    assert!(certificate.is_ca());
    assert!(!out(&first).contains("PRIVATE"));
    assert_eq!(std::fs::read_to_string(prepared.0.path().join("state/ca.pem")).unwrap(), out(&first));
}
