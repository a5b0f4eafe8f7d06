//! Machines without user namespaces: Landlock alone, and what is said of it.

use crate::stage::{Stage, Who};

/// Whether this kernel has Landlock with rules for TCP, by what the session itself says of it.
fn has_landlock(stage: &Stage) -> bool {
    let ran = stage.exec(&["--sandbox=require"], &["true"]);
    if ran.code == Some(0) {
        return true;
    }
    assert!(ran.stderr.contains("Landlock") || ran.stderr.contains("unshare"), "{ran:?}");
    eprintln!("skipped: {}", ran.stderr);
    false
}

#[tokio::test(flavor = "multi_thread")]
async fn landlock_hides_logins_and_lets_only_the_proxy_be_reached() {
    let stage = Stage::new(Who::WithoutNamespaces).await;
    if !has_landlock(&stage) {
        return;
    }
    let planted = format!("KEY={}\n", stage.planted);
    for (file, is_hidden) in [
        ("home/.aws/credentials", true),
        ("home/.netrc", true),
        ("home/.ssh/id_ed25519", true),
        ("home/.claude/.credentials.json", true),
        // A project takes new files, which Landlock cannot grant beside a hidden one.
        ("home/project/.env", false),
    ] {
        let path = stage.path(file).display().to_string();
        let ran = stage.exec(&["--sandbox=require"], &["cat", &path]);
        assert_eq!(ran.stdout, if is_hidden { "" } else { &planted }, "{file}: {ran:?}");
        assert!(ran.stderr.contains("half a sandbox, by Landlock alone"), "{ran:?}");
        assert!(ran.stderr.contains("~/project/.env"), "what stays readable is said: {ran:?}");
        assert!(!ran.stderr.contains("~/.netrc"), "and nothing else: {ran:?}");
    }
    let script = r#"
        curl -sS https://api.test/v1/x >/dev/null && echo proxied
        curl -sS --noproxy '*' https://203.0.113.7/ 2>/dev/null || echo stopped
        echo new >new.txt && cat new.txt
        python3 -c '
import socket
for family, kind, protocol in [(2, 2, 0), (2, 3, 6), (2, 1, 262), (10, 2, 0), (17, 3, 0)]:
    try:
        socket.socket(family, kind, protocol)
        print("made", family, kind, protocol)
    except OSError:
        pass
'
        cat /proc/$PPID/environ 2>/dev/null | grep -c sk-
    "#;
    let ran = stage.exec(&["--sandbox=require"], &["sh", "-c", script]);
    assert_eq!(ran.stdout, "proxied\nstopped\nnew\n0\n", "{ran:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn require_is_not_content_with_nothing() {
    // The one thing that is nothing everywhere: to ask for none.
    let stage = Stage::new(Who::Caller).await;
    let ran = stage.exec(&["--sandbox=off"], &["true"]);
    assert_eq!(ran.code, Some(0));
    assert!(ran.stderr.contains("no sandbox (--sandbox=off)"), "{ran:?}");
    let wrong = stage.exec(&["--sandbox=sometimes"], &["true"]);
    assert_eq!(wrong.code, Some(2), "{wrong:?}");
}
