//! Canaries in a process tree of three levels: with the sandbox they are nowhere, without it they are where `exec` said.

use std::fs;

use claviger_tests::canary;

use crate::stage::{HARMLESS, PLANTED, Ran, Stage, Who};

/// Runs the tree; the memory of the command is searched here for the injected key.
fn look(stage: &Stage, options: &[&str]) -> Ran {
    stage.write("home/project/out/.keep", "");
    let out = stage.path("home/project/out");
    if rustix::process::geteuid().is_root() {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(&out, fs::Permissions::from_mode(0o777)).unwrap();
    }
    let state = stage.world.path().join("state");
    let look_in = format!("{}:{}", stage.path("home").display(), state.display());
    let (tree, look) = (stage.program("tree.sh"), stage.program("look.py"));
    let environment = [("OUT", out.to_str().unwrap()), ("LOOK_IN", &look_in)];
    let ran = stage.exec_with(&environment, options, &["sh", &tree, &look]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let echo = fs::read_to_string(out.join("echo.first")).unwrap();
    assert!(echo.contains("authorization: Bearer "), "the origin was reached and echoed: {echo}");
    let memory = fs::read(out.join("memory")).unwrap();
    assert!(memory.len() > 1 << 20, "the memory was read");
    assert!(contains(&memory, b"PARTS"), "and is that of the program");
    assert!(!contains(&memory, stage.world.canary.as_bytes()), "the injected key is in the memory of the command");
    canary::assert_absent(&stage.world.canary, "what the command printed", ran.stdout.as_bytes());
    canary::assert_absent(&stage.world.canary, "what was said", ran.stderr.as_bytes());
    canary::assert_absent(&stage.planted, "what was said", ran.stderr.as_bytes());
    ran
}

fn contains(bytes: &[u8], needle: &[u8]) -> bool {
    bytes.windows(needle.len()).any(|window| window == needle)
}

async fn nothing_is_found(who: Who) {
    let stage = Stage::new(who).await;
    if !stage.has_namespaces() {
        return;
    }
    let ran = look(&stage, &["--sandbox=require"]);
    let found = ran.json();
    for place in ["environ", "arguments", "files"] {
        assert_eq!(found[place], serde_json::json!([]), "{place}: {ran:?}");
    }
    assert!(found["readable"].as_u64().unwrap() >= 3, "what is harmless stays readable: {found}");
    for file in HARMLESS {
        let path = stage.path(file).display().to_string();
        assert_eq!(stage.exec(&[], &["cat", &path]).stdout, "harmless\n", "{file}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_sandbox_nothing_is_found() {
    nothing_is_found(Who::Caller).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_sandbox_a_user_finds_nothing() {
    nothing_is_found(Who::User).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_sandbox_what_was_said_is_found() {
    let stage = Stage::new(Who::User).await;
    let ran = look(&stage, &["--sandbox=off"]);
    let found = ran.json();
    let files: Vec<String> =
        found["files"].as_array().unwrap().iter().map(|path| path.as_str().unwrap().to_owned()).collect();
    let said = ran.stderr.lines().find(|line| line.contains("no sandbox")).unwrap_or_else(|| panic!("{ran:?}"));
    let home = stage.path("home").display().to_string();
    // Each planted file is found, and is said: itself, or the folder that it lies in.
    assert_eq!(files.len(), PLANTED.len(), "{files:?}");
    for path in &files {
        let short = path.replace(&home, "~");
        let is_said = said
            .split([' ', ','])
            .any(|word| word == short || (word.starts_with("~/") && short.starts_with(&format!("{word}/"))));
        assert!(is_said, "{short} is not in: {said}");
    }
    // And of what is said, everything that was planted can be found: the list does not cry wolf.
    for word in said.split([' ', ',']).filter(|word| word.starts_with("~/")) {
        let full = word.replace('~', &home);
        assert!(files.iter().any(|path| *path == full || path.starts_with(&format!("{full}/"))), "{word}");
    }
    assert_ne!(found["environ"], serde_json::json!([]), "the shell beside it can be read");
}

#[tokio::test(flavor = "multi_thread")]
async fn variables_that_stay_are_named() {
    let stage = Stage::new(Who::User).await;
    let environment = [("BILLING_API_KEY", "x-1"), ("LANG", "C")];
    let ran = stage.exec_with(&environment, &["--sandbox=off"], &["true"]);
    assert!(ran.stderr.contains("variables BILLING_API_KEY"), "{ran:?}");
    assert!(!ran.stderr.contains("LANG"), "{ran:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_covered_looks_empty_and_forgets() {
    let stage = Stage::new(Who::Caller).await;
    if !stage.has_namespaces() {
        return;
    }
    let script = r#"
        set -eu
        [ -f ~/.netrc ] && [ ! -s ~/.netrc ] || { echo "netrc is not empty"; exit 1; }
        [ -d ~/.aws ] && [ -z "$(ls -A ~/.aws)" ] || { echo "aws is not empty"; exit 1; }
        [ "$(cat ~/.docker/config.json)" = "{}" ] || { echo "docker's would not parse"; exit 1; }
        [ "$(cat .env)" = "KEY=hidden-by-claviger" ] || { echo ".env is not masked: $(cat .env)"; exit 1; }
        echo changed >~/.netrc; mkdir -p ~/.aws/cli; echo changed >~/.aws/credentials
        echo new >new.txt; mkdir -p sub; echo new >sub/new.txt; cat new.txt sub/new.txt
    "#;
    let ran = stage.exec(&["--sandbox=require"], &["sh", "-c", script]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "new\nnew\n"), "{ran:?}");
    for file in ["home/.netrc", "home/.aws/credentials"] {
        let text = fs::read_to_string(stage.path(file)).unwrap();
        assert_eq!(text, format!("KEY={}\n", stage.planted), "{file} outside");
    }
    assert_eq!(fs::read_to_string(stage.path("home/project/new.txt")).unwrap(), "new\n", "the project is the real one");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_changes_what_is_hidden() {
    let stage = Stage::new(Who::Caller).await;
    if !stage.has_namespaces() {
        return;
    }
    stage.write("home/more/key", "KEY=more\n");
    let planted = format!("KEY={}\n", stage.planted);
    for (options, file, expected) in [
        (vec!["--allow-read", "home/.aws"], "home/.aws/credentials", planted.as_str()),
        (vec!["--allow-read", "home/.aws/credentials"], "home/.aws/credentials", &planted),
        (vec!["--allow-read", "home/.netrc"], "home/.netrc", &planted),
        (vec!["--allow-read", "home/.netrc"], "home/.aws/credentials", ""),
        (vec!["--hide", "home/more"], "home/more/key", ""),
        (vec![], "home/more/key", "KEY=more\n"),
    ] {
        let mut all = vec!["--sandbox=require".to_owned()];
        all.extend(options.iter().map(|option| match option.strip_prefix("home/") {
            Some(_) => stage.path(option).display().to_string(),
            None => (*option).to_owned(),
        }));
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        let ran = stage.exec(&all, &["cat", &stage.path(file).display().to_string()]);
        assert_eq!(ran.stdout, expected, "{options:?} {file}: {ran:?}");
    }
    let ran = stage.exec(&["--hide", "/nowhere/at/all"], &["true"]);
    assert!(ran.code != Some(0) && ran.stderr.contains("there is no such file"), "{ran:?}");
}
