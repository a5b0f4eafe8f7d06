//! `claviger preset`: what is known of services by name, and whether it is right.

use std::process::Output;

use claviger_tests::origin::{full, handler};
use claviger_tests::{Origin, World};
use http::{Response, StatusCode};
use serde_json::Value;

const GOOD: &str = "good-key-0123456789";

fn said(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn all_presets_are_right_and_listed() {
    let world = World::new();
    let (code, out, err) = said(&world.run(&["preset", "test"]));
    assert_eq!((code, err.as_str()), (0, ""));
    let (_, listed, _) = said(&world.run(&["preset", "list", "-o", "json"]));
    let listed: Value = serde_json::from_str(&listed).unwrap();
    let presets = listed["presets"].as_array().unwrap();
    assert!(presets.len() >= 25, "{listed}");
    for preset in presets {
        let name = preset["name"].as_str().unwrap();
        assert!(out.contains(&format!("{name}: ok\n")), "{name}: {out}");
        assert!(preset["documentation"].as_str().unwrap().starts_with("https://"), "{preset}");
        assert!(!preset["operations"].as_array().unwrap().is_empty(), "{preset}");
    }
    let (code, out, _) = said(&world.run(&["preset", "list"]));
    assert!(code == 0 && out.lines().count() == presets.len(), "{out}");
}

#[test]
fn one_of_your_own_becomes_a_service() {
    let world = World::new();
    let text = "title = \"Acme\"\ndocumentation = \"https://docs.acme.test/auth\"\nhosts = [\"api.acme.test\"]\n\
                inject = [{ header = \"x-acme-key\" }]\n\n[operations]\nread = [\"GET /v1/**\"]\n";
    world.write("acme.toml", text);
    let file = "acme.toml";
    assert_eq!(said(&world.run(&["preset", "test", "--file", file])).1, "acme: ok\n");
    let (code, service, _) = said(&world.run(&["preset", "show", "--file", file, "-o", "toml"]));
    assert_eq!(code, 0);
    assert_eq!(
        service,
        "[service.acme]\nhosts = [\"api.acme.test\"]\ninject = [{ header = \"x-acme-key\" }]\n\n\
         [service.acme.operations]\nread = [\"GET /v1/**\"]\n"
    );
    // What is wrong has its place.
    world.write("acme.toml", text.replace("x-acme-key", "host").replace("https://", "http://"));
    let (code, out, err) = said(&world.run(&["preset", "test", "--file", file]));
    assert_eq!((code, out.as_str()), (2, ""));
    for part in ["acme.toml:4:", "`host` is the proxy's own", "is no https:// link", "2 errors in presets"] {
        assert!(err.contains(part), "{part}: {err}");
    }
}

#[test]
fn wrong_calls_say_what_is_right() {
    let world = World::new();
    for (args, words) in [
        (&["show", "opnai"][..], "did you mean `openai`?"),
        (&["test", "zzzzzz"], "`claviger preset list` shows them all"),
        (&["test", "--file", "nowhere.toml"], "failed to read `nowhere.toml`"),
        (&["test", "--secret", "secret://env/KEY"], "`--secret` and `--host` are for one preset"),
        (&["test", "openai", "--secret", "hunter2hunter2"], "a text that is not shown is no reference"),
    ] {
        let all: Vec<&str> = ["preset"].iter().chain(args).copied().collect();
        let (code, _, err) = said(&world.run(&all));
        assert!(code == 2 && err.contains(words), "{all:?}: {code}: {err}");
        assert!(!err.contains("hunter2"), "{err}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_is_asked_whether_it_takes_a_secret() {
    let answer = handler(|request| async move {
        let shown = request.headers().get("authorization").and_then(|value| value.to_str().ok());
        let is_check = (request.method().as_str(), request.uri().path()) == ("GET", "/v1/models");
        let status = match (is_check, shown == Some(&format!("Bearer {GOOD}"))) {
            (false, _) => StatusCode::NOT_FOUND,
            (true, false) => StatusCode::UNAUTHORIZED,
            (true, true) => StatusCode::OK,
        };
        Response::builder().status(status).body(full("")).unwrap()
    });
    let origin = Origin::start_cleartext(answer).await;
    let host = format!("localhost:{}", origin.port());
    let run = |preset: &str, host: &str, value: &str| {
        let args = ["preset", "test", preset, "--host", host, "--secret", "secret://env/KEY"];
        said(&World::new().command(&args).env("KEY", value).output().unwrap())
    };
    let (code, out, err) = run("vllm", &host, GOOD);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    assert_eq!(out, "vllm: ok\nGET /v1/models: 200, the service takes the secret\n");
    let (code, out, _) = run("vllm", &host, "bad-key-0123456789");
    assert_eq!(code, 3);
    assert!(out.ends_with("the service does not take the secret: it answered 401\n"), "{out}");
    // Another call is answered 404, which says nothing of the secret.
    let (code, _, err) = run("llama-cpp", &host, GOOD);
    assert!(code == 1 && err.contains("is not known: it answered 404"), "{code}: {err}");
    // It has no call that could say it.
    let (code, _, err) = run("ollama", &host, GOOD);
    assert!(code == 1 && err.contains("the preset has no `check`"), "{code}: {err}");
}
