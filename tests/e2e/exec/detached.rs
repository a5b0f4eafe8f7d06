//! Sessions that go on in the background, and the environment that they print.

use std::process::{Command, Output};

use claviger_tests::canary;

use crate::stage::{Stage, wait_until};

fn script(stage: &Stage, shell: &str, script: &str) -> Output {
    let claviger = claviger_tests::binary();
    let mut command = Command::new(shell);
    command.args(["-c", script]).current_dir(stage.world.path()).env_clear();
    command.env("PATH", std::env::var_os("PATH").unwrap()).env("HOME", stage.world.path()).env("C", claviger);
    command.env("TMPDIR", stage.world.path().join("tmp")).env("API_KEY", "sk-of-the-caller").output().unwrap()
}

const GET: &str = "curl -s -o /dev/null -w '%{http_code}\\n' https://api.test";

#[tokio::test(flavor = "multi_thread")]
async fn shells_take_the_environment_and_end_the_session() {
    for shell in ["sh", "dash", "bash"] {
        let stage = Stage::new().await;
        let output = script(
            &stage,
            shell,
            &format!(
                "set -e; made=$($C exec -c claviger.toml --print-env --detach); eval \"$made\"; {GET}/v1/x; {GET}/no; \
                 log=$(echo $TMPDIR/claviger-exec-*/$CLAVIGER_EXEC_ID/log); \
                 timeout 60 sh -c \"until grep -q refused $log; do :; done\"; cat $log; $C exec --end $CLAVIGER_EXEC_ID; {GET}/v1/x || echo over"
            ),
        );
        let ran = stage.check(output);
        let lines: Vec<&str> = ran.out.lines().collect();
        assert_eq!(lines.first_chunk(), Some(&["200", "403"]), "{shell}: {} {}", ran.out, ran.err);
        assert!(ran.out.contains("claviger: refused GET https://api.test:443/no: denied"), "{}", ran.out);
        assert!(ran.out.ends_with("000\nover\n"), "{shell}: {} {}", ran.out, ran.err);
        assert_eq!(ran.err, "");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn github_gets_its_file_and_the_token_is_masked() {
    let stage = Stage::new().await;
    let output = script(&stage, "sh", "$C exec -c claviger.toml --detach --print-env github > github-env");
    let said = String::from_utf8(output.stderr).unwrap();
    let token = said.lines().find_map(|line| line.strip_prefix("::add-mask::")).unwrap();
    let env = std::fs::read_to_string(stage.world.path().join("github-env")).unwrap();
    assert!(token.starts_with("clvx_") && env.contains(&format!("https_proxy=http://claviger:{token}@127.0.0.1:")));
    assert!(!env.contains("\nNODE_OPTIONS="), "a runner refuses it");
    canary::assert_absent(&stage.world.canary, "the environment", env.as_bytes());
    let id = env.lines().find_map(|line| line.strip_prefix("CLAVIGER_EXEC_ID=")).unwrap();
    let ended = script(&stage, "sh", &format!("$C exec --end {id}; $C exec --end {id}"));
    let ended = stage.check(ended);
    assert!(ended.code == Some(125) && ended.err.contains("there is no detached session"), "{}", ended.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_detached_session_ends_in_time_and_with_its_process() {
    let stage = Stage::new().await;
    let output = script(&stage, "sh", "$C exec -c claviger.toml --detach --for 1s --print-env json");
    assert!(output.status.success() && output.stdout.starts_with(b"{\"remove\":"));
    wait_until("it has ended", || stage.left_behind().is_empty());
    let output = script(&stage, "sh", "$C exec -c claviger.toml --detach --while $$ >/dev/null; ls $TMPDIR");
    assert!(!output.stdout.is_empty(), "it is there while its shell is");
    wait_until("it has ended", || stage.left_behind().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_is_said() {
    let stage = Stage::new().await;
    for (arguments, said) in [
        ("--print-env", "add --detach"),
        ("--detach --as nobody", "no workload `nobody` permits sessions"),
        ("--detach --for 0s", "a session lasts from 1s to 30d"),
    ] {
        let output = script(&stage, "sh", &format!("$C exec -c claviger.toml {arguments}"));
        let ran = stage.check(output);
        assert!(
            ran.code != Some(0) && ran.out.is_empty() && ran.err.contains(said),
            "{arguments}: {} {}",
            ran.out,
            ran.err
        );
    }
}
