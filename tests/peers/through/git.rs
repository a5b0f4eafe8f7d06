//! `git clone` and `git push` over HTTPS, against git's own HTTP backend with basic auth.

use base64::{Engine, engine::general_purpose::STANDARD};
use claviger_tests::{
    World,
    peers::{Client, GitHttps, Ran, Sees},
};

use crate::stage::{MODES, Mode, Stage, at};

const USER: &str = "builder";

async fn git() -> (GitHttps, Stage) {
    let world = World::new();
    let git = GitHttps::start(&world.ca, "git.test", USER, &world.canary).await;
    world.seal("git", &world.canary, &["git.test"]);
    let services = format!(
        r#"[service.git]
{}
inject = {{ basic = "{USER}" }}
secret = "secret://sealed/git"
operations = {{ fetch = ["GET /*/info/refs", "POST /*/git-upload-pack"], push = ["POST /*/git-receive-pack"] }}
[allow.fetch]
who = ["app", "reader"]
to = "git"
ops = ["@fetch"]
[allow.push]
who = "app"
to = "git"
ops = ["@push"]
"#,
        at(git.endpoint())
    );
    let stage = Stage::start(world, &services);
    (git, stage)
}

/// Clones, pushes and clones again.
async fn round_trip(stage: &Stage, mode: Mode, token: Option<&str>, repository: &str) -> Ran {
    let mut url = format!("{}/{repository}.git", stage.base(mode, "git", "git.test"));
    if let (Mode::Gateway | Mode::SecureGateway, Some(token)) = (mode, token) {
        url = url.replacen("://", &format!("://jwt:{token}@"), 1);
    }
    let (client, _) = stage.reach(mode, Client::shell("git_round_trip.sh"), token);
    stage.run(client.arg(url)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn clone_and_push_in_every_mode() {
    let (git, stage) = git().await;
    let app = stage.token("app");
    let basic = format!("Basic {}", STANDARD.encode(format!("{USER}:{}", stage.world.canary)));
    for mode in MODES {
        let name = format!("notes-{mode:?}").to_lowercase();
        let repository = git.repository(&name);
        let ran = round_trip(&stage, mode, Some(&app), &name).await;
        assert!(ran.status.success(), "{mode:?}: {}\n{}\n{}", ran.stdout, ran.stderr, git.log());
        assert!(ran.stdout.contains("without a password"), "{mode:?}: {}", ran.stdout);
        assert!(repository.join("refs/heads/main").exists(), "{mode:?}");
        let pushed = format!("/{name}.git/git-receive-pack");
        git.until(|seen| seen.iter().any(|request| request.uri == pushed)).await;
    }
    let seen = git.seen_in_all(&stage.world.ca, 1).await;
    for request in &seen {
        assert_eq!((&request.authorization, &*request.user), (&basic, USER), "{request:#?}");
        assert_eq!((request.status, &*request.proxy_authorization, &*request.host), (200, "", "git.test"));
        assert!(!format!("{request:?}").contains(&app), "the client's own token went upstream: {request:#?}");
    }
    stage.end(&[&basic["Basic ".len()..]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_only_fetch_cannot_push() {
    let (git, stage) = git().await;
    let repository = git.repository("notes");
    for mode in MODES {
        let ran = round_trip(&stage, mode, Some(&stage.token("reader")), "notes").await;
        assert!(!ran.status.success(), "{mode:?}: {}", ran.stdout);
        assert!(ran.home.path().join("work/.git").is_dir(), "{mode:?} cloned: {}", ran.stderr);
        assert!(ran.stderr.contains("403"), "{mode:?}: {}", ran.stderr);
    }
    let seen = git.seen_in_all(&stage.world.ca, MODES.len()).await;
    assert!(seen.iter().all(|request| !request.uri.ends_with("/git-receive-pack")), "{seen:#?}");
    assert!(seen.iter().filter(|request| request.uri.ends_with("/git-upload-pack")).count() >= MODES.len());
    assert!(!repository.join("refs/heads/main").exists());
    stage.end(&[]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_nothing_sees_nothing() {
    let (git, stage) = git().await;
    git.repository("notes");
    let other = stage.token("other");
    for (mode, token, shown) in [
        (Mode::Gateway, Some(&other), "403"),
        (Mode::SecureGateway, Some(&other), "403"),
        (Mode::Forward, Some(&other), "403"),
        // Git would ask its user for the password, if it could.
        (Mode::Gateway, None, "could not read Username"),
        (Mode::SecureGateway, None, "could not read Username"),
        (Mode::Forward, None, "407"),
    ] {
        let ran = round_trip(&stage, mode, token.map(String::as_str), "notes").await;
        assert!(!ran.status.success(), "{mode:?}: {}", ran.stdout);
        assert!(ran.stderr.contains(shown), "{mode:?} {}: {}", token.is_some(), ran.stderr);
        assert!(!ran.home.path().join("work").exists(), "{mode:?}");
    }
    assert_eq!(git.seen_in_all(&stage.world.ca, 0).await, []);
    stage.end(&[]);
}
