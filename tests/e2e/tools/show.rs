//! `config show`: what holds, with where it is from; no secret; and it loads again.

use crate::prepared::Prepared;
use crate::project::ProjectFolder;

const EXAMPLE: &str = include_str!("../../../config.example.toml");
const BASE: &str = include_str!("../config/base.toml");

fn shown(prepared: &Prepared, file: &str) -> String {
    let output = prepared.run(&["config", "show", "--config", file]);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// A text without its comments.
fn said(text: &str) -> String {
    format!("{:#?}", toml::from_str::<toml::Table>(text).unwrap())
}

#[test]
fn what_is_shown_loads_and_shows_the_same() {
    for text in [EXAMPLE, BASE] {
        let prepared = Prepared::new();
        prepared.0.write("original.toml", text);
        let once = shown(&prepared, "original.toml");
        prepared.loads(&once);
        let twice = shown(&prepared, "claviger.toml");
        assert_eq!(said(&once), said(&twice));
        // Nothing that was written is lost.
        let (before, after) = (toml::from_str(text).unwrap(), toml::from_str(&once).unwrap());
        contains(&after, &before, "");
    }
}

fn contains(all: &toml::Table, some: &toml::Table, path: &str) {
    // What is included stands there itself.
    for (key, value) in some.iter().filter(|(key, _)| *key != "include") {
        let path = format!("{path}.{key}");
        match (all.get(key), value) {
            (Some(toml::Value::Table(all)), toml::Value::Table(some)) => contains(all, some, &path),
            (Some(toml::Value::Array(all)), toml::Value::Array(some)) if all.iter().all(toml::Value::is_table) => {
                assert_eq!(all.len(), some.len(), "{path}");
            }
            (found, value) => assert_eq!(found, Some(value), "{path}"),
        }
    }
}

#[test]
fn the_environment_has_no_part_in_it() {
    let prepared = Prepared::new();
    prepared.0.configure(&BASE.replace("state_dir = \"state\"\n", ""));
    let with = |variables: &[(&str, &str)]| {
        let mut command = prepared.0.command(&["config", "show", "--config", "claviger.toml"]);
        let output = command.envs(variables.iter().copied()).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let without = with(&[]);
    assert_eq!((without.0, without.2.as_str()), (Some(0), ""));
    assert_eq!(without, with(&[("KEY", "value-of-twelve"), ("XDG_STATE_HOME", "/elsewhere"), ("HOME", "/nowhere")]));
    // Not even files that it names are looked at.
    std::fs::remove_file(prepared.0.path().join("gateway.key")).unwrap();
    assert_eq!(without, with(&[]));
}

#[test]
fn files_presets_and_defaults_say_where_they_are_from() {
    let project = ProjectFolder::new();
    project.write("conf.d/llm.toml", "[service.llm]\npreset = \"openai\"\nca = \"ca.pem\"\nhttp2 = false\n");
    assert_eq!(project.allow().code, 0);
    let said = project.run(&["config", "show"]);
    assert_eq!((said.code, said.err.as_str()), (0, ""));
    for part in [
        "version      = 1\ntrust_domain = \"acme.test\"\nstate_dir    = \"state\"\n\n[listener.gateway]\n",
        "[service.llm]  # from conf.d/llm.toml:1\npreset           = \"openai\"\nca               = \"conf.d/ca.pem\"\n\
         http2            = false\nhosts            = [\"api.openai.com\"]  # preset\n",
        "guard            = true  # default\n",
        "[service.api]  # from conf.d/api.toml:1\n",
        "secret           = \"secret://env/KEY\"\n",
        "[team.pay]\n",
        "files           = \"teams/pay/*.toml\"\n",
        "# [workload.\"pay/payer\"]  # from teams/pay/who.toml:1\n# spiffe  = \"spiffe://acme.test/pay/payer\"\n",
        "[limits]  # default\n",
        "headers_max         = 128\n",
    ] {
        assert!(said.out.contains(part), "{part}\n--- is not in\n{}", said.out);
    }
    assert!(!said.out.contains("include"), "{}", said.out);
    // A path of an included file is written as the main file would write it.
    assert!(said.out.contains("ca               = \"conf.d/../ca.pem\"\n"), "{}", said.out);
    project.write("shown.toml", &said.out);
    let again = project.run(&["check", "--config", "shown.toml"]);
    assert!(!again.err.contains("error: ") || again.err.contains("conf.d/ca.pem"), "{again:?}");

    let json = project.run(&["config", "show", "-o", "json"]).json();
    assert_eq!(json["configuration"]["service"]["llm"]["hosts"], serde_json::json!(["api.openai.com"]));
    assert_eq!(json["configuration"]["workload"]["pay/payer"]["foreign"], false);
    let origin = |key: &str| json["origins"][key].as_str().unwrap_or_default().to_owned();
    assert_eq!(origin("service.llm.http2"), "conf.d/llm.toml:4");
    assert_eq!(origin("service.llm.guard"), "default");
    assert_eq!(origin("workload.pay/payer.spiffe"), "teams/pay/who.toml:2");
    assert_eq!(origin("trust_domain"), "claviger.toml:2");
    assert!(origin("service.llm.hosts").starts_with("preset:openai:"), "{json}");
}

/// A value in the place of a reference, behind a misspelt key, or in a URL, is a mistake that must not spread.
#[test]
fn what_may_be_a_secret_is_not_shown() {
    let prepared = Prepared::new();
    let secret = &prepared.0.canary;
    let text = BASE
        .replace("value = \"secret://vars/KEY\"", &format!("value = \"{secret}\""))
        .replace("client_secret = \"secret://env/CRM_SECRET\"", &format!("client_secrt = \"{secret}\""))
        .replace("https://login.test/token", "https://user:hunter2hunter2@login.test/token")
        .replace("kind = \"env\"\n", &format!("kind = \"env\"\nvalues = {{ KEY = [\"{secret}\"] }}\n"));
    prepared.0.configure(&text);
    for args in [&[][..], &["-o", "json"]] {
        let output = prepared.run(&[&["config", "show", "--config", "claviger.toml"], args].concat());
        assert!(output.status.success(), "{output:?}");
        claviger_tests::canary::assert_absent(secret, "what is shown", &output.stdout);
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(!text.contains("hunter2"), "{text}");
        assert_eq!(text.matches("not shown").count(), 4, "{text}");
    }
}

/// What a kind of attestor knows of its issuer is filled in, as a table of its own would say it.
#[test]
fn presets_of_attestors_are_filled_in() {
    let prepared = Prepared::new();
    prepared.0.write("original.toml", EXAMPLE);
    let said = shown(&prepared, "original.toml");
    let expected = "[attestor.github]\nkind            = \"github-actions\"\naudience        = \"claviger\"\n\
                    require         = { repository_owner_id = \"1234567\" }\n\
                    issuer          = \"https://token.actions.githubusercontent.com\"  # preset\n\
                    algorithms      = [\"RS256\"]  # preset\n\
                    identity        = \"spiffe://acme.internal/github/{github.repository}\"  # preset\n";
    assert!(said.contains(expected), "{said}");
}
