//! `claviger init --scrub`: what is replaced, what stays, byte for byte.

use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use crate::project::Project;

const PLACEHOLDER: &str = "sk-claviger-placeholder-0000000000000000000000000000";

/// A project whose key is sealed.
fn sealed(text: impl Fn(&str) -> String) -> (Project, String) {
    let mut project = Project::new();
    let key = project.key("sk-proj-");
    project.set("OPENAI_API_KEY", &key);
    project.run(&["init", "--yes"]).ok();
    project.write(".env", text(&key));
    (project, key)
}

#[test]
fn only_the_value_is_replaced() {
    for text in [
        "OPENAI_API_KEY=@",
        "OPENAI_API_KEY=@\n",
        "# a comment\r\nDEBUG=1\r\n\r\nexport OPENAI_API_KEY = \"@\"  # mine\r\nDB=postgres://u:hunter2hunter2@h/x\r\n",
        "OPENAI_API_KEY='@'\nLLM=`@`\nOTHER=\"a\nb\"\n\n\n",
        "\u{feff}A=${OPENAI_API_KEY}\nOPENAI_API_KEY: @\n  \t\nno assignment\n=x\n",
    ] {
        let (project, _) =
            sealed(|key| text.replace('@', key).replace(&format!("u:hunter2hunter2{key}h"), "u:hunter2hunter2@h"));
        std::fs::set_permissions(project.folder().join(".env"), std::fs::Permissions::from_mode(0o640)).unwrap();
        let said = project.run(&["init", "--scrub"]).ok();
        let expected =
            text.replace('@', PLACEHOLDER).replace(&format!("u:hunter2hunter2{PLACEHOLDER}h"), "u:hunter2hunter2@h");
        assert_eq!(project.read(".env"), expected, "{}", said.all());
        assert_eq!(project.mode(".env"), 0o640);
        assert!(
            said.out.contains("sealed as `openai`") && said.out.contains("no copy of what stood there was kept"),
            "{}",
            said.all()
        );
        assert_eq!(project.names(), [".env", "claviger.toml"]);
        // There is nothing more to do.
        let again = project.run(&["init", "--scrub"]).ok();
        assert!(again.out.contains("no .env file here holds a key"), "{}", again.all());
    }
}

#[test]
fn bytes_that_are_no_text_stay() {
    let (project, key) = sealed(|key| format!("OPENAI_API_KEY={key}\n"));
    let mut text = b"# \xff\xfe\nX=\xfd\nOPENAI_API_KEY=".to_vec();
    let before = text.len();
    text.extend(key.as_bytes());
    text.extend(b"\n\xfc");
    project.write(".env", &text);
    project.run(&["init", "--scrub"]).ok();
    let after = std::fs::read(project.folder().join(".env")).unwrap();
    assert_eq!(&after[..before], &text[..before]);
    assert_eq!(
        &after[before..],
        format!("{PLACEHOLDER}\n").as_bytes().iter().chain(b"\xfc").copied().collect::<Vec<_>>()
    );
}

#[test]
fn what_is_not_sealed_stays_and_is_told() {
    let (mut project, key) = sealed(|key| key.to_owned());
    let (other, token) = (project.key("sk-proj-"), project.key("ghp_"));
    let text = format!("OPENAI_API_KEY={other}\nTOKEN={token}\nLLM={key}\nDB=hunter2hunter2\nOPENAI_API_KEY=a b\n");
    project.write(".env", &text);
    let said = project.run(&["init", "--scrub"]);
    assert_eq!(said.code, 1, "{}", said.all());
    assert!(said.out.contains(".env:1 OPENAI_API_KEY stays: it is not sealed"), "{}", said.out);
    assert!(said.out.contains(".env:2 TOKEN stays: it is not sealed"), "{}", said.out);
    assert!(said.out.contains(".env:5 OPENAI_API_KEY stays: it has blanks"), "{}", said.out);
    assert!(said.out.contains(".env:3 LLM was replaced"), "{}", said.out);
    // Its shape is no known one's: it is named by nobody.
    assert_eq!(project.read(".env"), text.replace(&key, PLACEHOLDER));
}

#[test]
fn a_dry_run_changes_nothing() {
    let (project, key) = sealed(|key| format!("OPENAI_API_KEY={key}\n"));
    let said = project.run(&["init", "--scrub", "--dry-run"]).ok();
    assert!(said.out.contains("would be replaced") && said.out.contains("nothing was changed"), "{}", said.all());
    assert_eq!(project.read(".env"), format!("OPENAI_API_KEY={key}\n"));
    let told = project.run(&["init", "--scrub", "--dry-run", "-o", "json"]).ok().json();
    assert_eq!(told["files"][0]["replaced"][0]["secret"], "openai", "{told:#}");
    assert_eq!(told["dry_run"], true);
}

#[test]
fn named_files_only() {
    let (project, key) = sealed(|key| format!("OPENAI_API_KEY={key}\n"));
    project.write("a/settings.conf", format!("OPENAI_API_KEY={key}\n"));
    project.run(&["init", "--scrub", "a/settings.conf"]).ok();
    assert!(project.read("a/settings.conf").contains(PLACEHOLDER) && project.read(".env").contains(&key));
    let said = project.run(&["init", "--scrub", "none"]);
    assert!(said.code == 2 && said.err.contains("`none` is not a file"), "{}", said.all());
}

/// The key would stay under the other name.
#[test]
fn a_file_with_two_names_stays() {
    let (project, key) = sealed(|key| format!("OPENAI_API_KEY={key}\n"));
    std::fs::hard_link(project.folder().join(".env"), project.folder().join("copy")).unwrap();
    let said = project.run(&["init", "--scrub"]);
    assert!(said.code == 1 && said.err.contains("hard links"), "{}", said.all());
    assert!(project.read(".env").contains(&key) && project.read("copy").contains(&key));
}

fn git(project: &Project, args: &[&str]) {
    let mut git = Command::new("git");
    git.args(["-c", "user.name=x", "-c", "user.email=x@x.test"]).args(args);
    project.place(&mut git);
    let output = git.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn what_git_has_is_told() {
    let warned = |project: &Project| {
        project.write(".env", project.read(".env"));
        project.run(&["init", "--scrub", "--dry-run"]).ok().err
    };
    let (project, _) = sealed(|key| format!("OPENAI_API_KEY={key}\n"));
    assert_eq!(warned(&project), "");
    git(&project, &["init", "-q"]);
    assert_eq!(warned(&project), "");
    git(&project, &["add", ".env"]);
    let said = warned(&project);
    assert!(said.contains("is tracked by git") && said.contains("claviger secret rotate openai"), "{said}");
    git(&project, &["commit", "-qm", "x"]);
    git(&project, &["rm", "-q", "--cached", ".env"]);
    git(&project, &["commit", "-qm", "y"]);
    let said = warned(&project);
    assert!(said.contains("was committed once") && said.contains("claviger secret rotate openai"), "{said}");
}

/// Nothing that a repository brings with it is run.
#[test]
fn a_repository_runs_nothing() {
    let (project, _) = sealed(|key| format!("OPENAI_API_KEY={key}\n"));
    git(&project, &["init", "-q"]);
    let trap = project.folder().join("trap");
    project.write("trap", "#!/bin/sh\ntouch \"$HOME/sprung\"\n");
    std::fs::set_permissions(&trap, std::fs::Permissions::from_mode(0o755)).unwrap();
    git(&project, &["config", "core.fsmonitor", trap.to_str().unwrap()]);
    project.run(&["init", "--scrub"]).ok();
    assert!(!project.home().join("sprung").exists());
}

/// Whenever it is ended: the old file, or the new one.
#[test]
fn a_kill_leaves_the_old_or_the_new_file() {
    let padding = "# padding\n".repeat(20_000);
    let (project, key) = sealed(|_| String::new());
    let old = format!("OPENAI_API_KEY={key}\n{padding}");
    let new = old.replace(&key, PLACEHOLDER);
    for turn in 0..24_u64 {
        project.write(".env", &old);
        let mut child =
            project.command(&["init", "--scrub"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let until = std::time::Instant::now() + std::time::Duration::from_millis(turn * 8);
        while std::time::Instant::now() < until && child.try_wait().unwrap().is_none() {
            std::thread::yield_now();
        }
        let _ = child.kill();
        child.wait().unwrap();
        let now = project.read(".env");
        assert!(now == old || now == new, "a part of it, after {turn}");
        for name in project.names() {
            let text = std::fs::read(project.folder().join(&name)).unwrap();
            let text = String::from_utf8_lossy(&text);
            assert!(name == ".env" || !text.contains(&key), "`{name}` holds the key");
        }
    }
}
