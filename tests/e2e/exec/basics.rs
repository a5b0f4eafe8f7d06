//! What passes through, what is printed, and what is said where nothing can be started.

use crate::stage::Stage;

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_exit_code_is_that_of_exec() {
    let stage = Stage::new().await;
    for (script, code) in
        [("exit 0", 0), ("exit 7", 7), ("exit 255", 255), ("kill -TERM $$", 143), ("kill -KILL $$", 137)]
    {
        let ran = stage.exec(&["--quiet", "--", "sh", "-c", script]);
        assert_eq!(ran.code, Some(code), "{script}: {}", ran.err);
        assert_eq!(ran.out, "", "{script}");
    }
    stage.world.write("text", "no program");
    for (program, code, said) in [
        ("no-such-program-anywhere", 127, "`no-such-program-anywhere` is not found"),
        ("./no-such-file", 127, "`./no-such-file` is not found"),
        ("./text", 126, "`./text` cannot be run"),
        ("/", 126, "`/` cannot be run"),
    ] {
        let ran = stage.exec(&["--", program]);
        assert_eq!(ran.code, Some(code), "{}", ran.err);
        assert!(ran.err.contains(said), "{}", ran.err);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn standard_streams_arguments_and_environment_pass() {
    let stage = Stage::new().await;
    let mut command =
        stage.command(&["--", "sh", "-c", "cat; echo \"$1|$2|$MINE\"; echo complaint >&2", "x", "a b", ""]);
    command.env("MINE", "kept").stdin(std::fs::File::open(stage.world.path().join("ca.pem")).unwrap());
    let ran = stage.check(command.output().unwrap());
    assert_eq!(ran.out, format!("{}a b||kept\n", stage.world.ca.pem()));
    assert!(ran.err.ends_with("complaint\n"), "{}", ran.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_printed_that_was_not_asked_for() {
    let stage = Stage::new().await;
    let ran = stage.exec(&["--", "true"]);
    // Without a sandbox it is said what stays readable, and no more.
    let lines: Vec<&str> = ran.err.lines().filter(|line| !line.contains("sandbox")).collect();
    assert_eq!((ran.code, ran.out.as_str(), lines), (Some(0), "", Vec::new()));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_session_folder_is_private_and_holds_no_key() {
    let stage = Stage::new().await;
    let ran = stage.sh("folder=$(dirname $SSL_CERT_FILE); stat -c %a $folder; stat -c %a $(dirname $folder); \
         grep -rl 'PRIVATE KEY' $folder || echo none; find $folder -type f -perm /077 | head -1");
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), "700\n700\nnone\n"), "{}", ran.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_started_is_said() {
    let stage = Stage::new().await;
    let check = |args: &[&str], said: &str| {
        let mut command = stage.world.command(args);
        let ran = stage.check(command.env("TMPDIR", stage.world.path().join("tmp")).output().unwrap());
        assert!(ran.err.contains(said), "{args:?}: {}", ran.err);
        ran.code
    };
    // Nothing was said about a configuration, and there is none.
    std::fs::rename(stage.world.path().join("claviger.toml"), stage.world.path().join("other.toml")).unwrap();
    assert_eq!(check(&["exec", "--", "true"], "`claviger init` writes one"), Some(125));
    assert_eq!(check(&["exec", "--config", "other.toml"], "there is no command"), Some(125));
    for (args, said) in [
        (&["--attr", "x", "--", "true"][..], "`x` is no attribute; write KEY=VALUE"),
        (&["--attr", "a=1", "--attr", "exec.a=2", "--", "true"], "attribute `a` is there twice"),
        (&["--attr", "a b=1", "--", "true"], "`a b` is no name of an attribute"),
        (&["--service", "apy", "--", "true"], "did you mean `api`?"),
    ] {
        let all: Vec<&str> =
            ["exec", "--config", "other.toml", "--sandbox", "off"].iter().chain(args).copied().collect();
        assert_eq!(check(&all, said), Some(125));
    }
    // A project's file counts only once it was allowed.
    std::fs::rename(stage.world.path().join("other.toml"), stage.world.path().join("claviger.toml")).unwrap();
    assert_eq!(check(&["exec", "--", "true"], "claviger config allow"), Some(125));
}
