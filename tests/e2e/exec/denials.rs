//! What was refused is told on stderr, and what is told to be typed next works.

use crate::stage::{Stage, WORKLOAD, next_commands};

#[tokio::test(flavor = "multi_thread")]
async fn the_next_command_works_when_the_session_has_ended() {
    let stage = Stage::with(WORKLOAD).await;
    let ran = stage.sh("curl -s https://api.test/v1/models; curl -s https://nowhere.test/ ; true");
    assert!(ran.out.contains("\"code\":\"denied\""), "{} {}", ran.out, ran.err);
    assert!(ran.err.contains("claviger: refused GET https://api.test:443/v1/models: denied"), "{}", ran.err);
    let next = next_commands(&ran.err);
    let [suggest, explain] = next.as_slice() else { panic!("{}", ran.err) };
    let run = |command: &str| {
        let mut words = command.split(' ');
        assert_eq!(words.next(), Some("claviger"), "{command}");
        let output = stage.world.run(&words.collect::<Vec<_>>());
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), format!("{}{}", text(&output.stdout), text(&output.stderr)))
    };
    let (code, said) = run(suggest);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("[allow.") && said.contains("ops = [\"GET /v1/models\"]"), "{said}");
    let (code, said) = run(explain);
    assert!(code == Some(0) && said.contains("unknown_service"), "{said}");
    // The rule that is suggested is the one that was missing.
    let rule: String = run(suggest)
        .1
        .lines()
        .skip_while(|line| !line.starts_with('['))
        .take_while(|line| !line.starts_with('#'))
        .fold(String::new(), |all, line| all + line + "\n");
    stage.configure(&format!("{WORKLOAD}{rule}"));
    let ran = stage.sh("curl -s -o /dev/null -w '%{http_code}' https://api.test/v1/models");
    assert_eq!(ran.out, "200", "{}\n{rule}", ran.err);
    let (code, said) = run("claviger ledger --config claviger.toml query --decision deny");
    assert!(code == Some(0) && said.contains("/v1/models") && said.contains("nowhere.test"), "{said}");
    let (code, said) = run("claviger ledger --config claviger.toml verify");
    assert!(code == Some(0) && said.starts_with("ok: "), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_that_is_added_holds_in_the_session_that_missed_it() {
    let stage = Stage::with(WORKLOAD).await;
    let rule = crate::stage::RULE.replace('\n', "\\n");
    let script = format!(
        "curl -s -o /dev/null -w '%{{http_code}} ' https://api.test/v1/x; printf '{rule}' > rule; \
         cat claviger.toml rule > next && mv next claviger.toml; \
         until [ \"$(curl -s -o /dev/null -w '%{{http_code}}' https://api.test/v1/x)\" = 200 ]; do sleep 0.1; done; echo then"
    );
    let ran = stage.sh(&script);
    assert_eq!(ran.out, "403 then\n", "{}", ran.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn quiet_tells_nothing_and_suspensions_hold() {
    let stage = Stage::new().await;
    let get = "curl -s -o /dev/null -w '%{http_code}' https://api.test/v1/x";
    assert_eq!(stage.sh(get).out, "200");
    let suspended = stage.world.run(&[
        "suspend",
        "credential",
        "api",
        "--config",
        "claviger.toml",
        "--for",
        "1h",
        "--reason",
        "test",
    ]);
    assert!(suspended.status.success(), "{}", String::from_utf8_lossy(&suspended.stderr));
    let ran = stage.exec(&["--quiet", "--", "sh", "-c", get]);
    assert_eq!(ran.out, "403", "{}", ran.err);
    assert!(!ran.err.contains("refused"), "{}", ran.err);
    assert!(stage.sh(get).err.contains(": suspended"));
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_at_once_have_ledgers_of_their_own() {
    let stage = Stage::new().await;
    let get = "curl -s -o /dev/null -w '%{http_code}' https://api.test/v1/x";
    let mut first = stage.start("until [ -e over ]; do sleep 0.05; done");
    let second = stage.command(&["--", "sh", "-c", get]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&second.stdout), "200");
    stage.world.write("over", "");
    assert!(first.wait().unwrap().success());
    let ledgers = std::fs::read_dir(stage.world.path().join("state/ledger/exec")).unwrap();
    let names = ledgers.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| name.ends_with(".jsonl")).collect();
    names.sort();
    assert_eq!(names, ["1.jsonl", "2.jsonl"]);
    // Read together: nothing else has run here.
    let tail = stage.world.run(&["ledger", "--config", "claviger.toml", "tail"]);
    let shown = String::from_utf8_lossy(&tail.stdout).into_owned();
    assert_eq!(shown.matches("GET api.test:443/v1/").count(), 1, "{shown} {tail:?}");
    assert_eq!(shown.matches("started").count(), 2, "{shown}");
}
