//! How somebody logs in: by a browser here, or by a code elsewhere.

use claviger_tests::PATIENCE;

use crate::scene::{Running, Scene};

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_by_browser_is_taken_up_by_the_running_proxy() {
    let scene = Scene::new().await;
    let proxy = scene.world.start();
    assert_eq!(scene.get(&proxy).await, 503);
    scene.wait_for_detail(&proxy, &["run `claviger login calendar`"]);
    let output = scene.log_in().await;
    let said = text(&output.stdout);
    assert!(said.contains("logged in for credential `calendar`: sealed `secret://sealed/calendar`"), "{said}");
    assert!(said.contains("granted: openid calendar\n"), "{said}");
    assert!(said.contains("the running process took version"), "{said}");
    assert_eq!(scene.get(&proxy).await, 200);
    // The token of the login serves; none was asked for besides.
    assert_eq!(scene.renewals(), 0);
    scene.assert_hidden(&output);
    scene.assert_unharmed();
    let listed = scene.world.run(&["secret", "list", "--config", "claviger.toml"]);
    let listed = text(&listed.stdout);
    assert!(listed.contains("login of `calendar`") && listed.contains(&scene.gate.host()), "{listed}");
}

/// A service is as good a name as its credential.
#[tokio::test(flavor = "multi_thread")]
async fn a_login_by_the_name_of_the_service_asks_for_the_scope_that_is_named() {
    let scene = Scene::new().await;
    let output = scene.log_in_with(&["login", "api", "--no-browser", "--scope", "openid"]).await;
    assert!(text(&output.stdout).contains("granted: openid\n"), "{output:?}");
    let proxy = scene.world.start();
    assert_eq!(scene.get(&proxy).await, 200);
}

/// A client without a secret, as a program on somebody's machine is.
#[tokio::test(flavor = "multi_thread")]
async fn a_public_client_logs_in_and_renews() {
    let scene = Scene::new().await;
    let configuration = scene.configuration("state", "auth = \"none\"\n", "sealed");
    let configuration = configuration
        .replace("client_id = \"app\"\nclient_secret = \"secret://sealed/client\"", "client_id = \"desktop\"");
    scene.world.configure(&configuration);
    scene.log_in().await;
    let proxy = scene.world.start();
    assert_eq!(scene.get(&proxy).await, 200);
    scene.refuse(&scene.arrived());
    assert_eq!(scene.get(&proxy).await, 200);
    assert_eq!(scene.server.count("granted desktop refresh_token"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_is_denied_changes_nothing() {
    let scene = Scene::new().await;
    let mut login = Running::start(&scene.world, &["login", "calendar", "--no-browser"]);
    let url = login.line_with("https://").trim().to_owned();
    let mut browser = scene.browser();
    browser.denies = true;
    let (_, status, page) = browser.visit(&url).await;
    assert_eq!((status, page.contains("did not work")), (400, true), "{page}");
    let output = login.end();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("the login was refused with `access_denied`"), "{output:?}");
    let listed = scene.world.run(&["secret", "list", "--config", "claviger.toml"]);
    assert!(!text(&listed.stdout).contains("calendar"), "{listed:?}");
}

/// Any page can send a browser to the loopback address: what is not ours is told nothing, and ends nothing.
#[tokio::test(flavor = "multi_thread")]
async fn answers_that_nobody_asked_for_are_no_answers() {
    let scene = Scene::new().await;
    let mut login = Running::start(&scene.world, &["login", "calendar", "--no-browser"]);
    let url = login.line_with("https://").trim().to_owned();
    let at = login.line_with("waiting at ").trim().trim_start_matches("waiting at ").to_owned();
    assert!(at.starts_with("http://127.0.0.1:") && url.contains("code_challenge_method=S256"), "{at} {url}");
    let mut browser = scene.browser();
    for (query, expected) in [
        ("?code=stolen", 400),
        ("?code=stolen&state=guessed", 400),
        ("?error=access_denied", 400),
        ("", 404),
        ("/elsewhere?code=stolen", 404),
    ] {
        assert_eq!(browser.visit(&format!("{at}{query}")).await.1, expected, "{query}");
    }
    // Who connects and says nothing keeps nobody from logging in.
    let silent =
        tokio::net::TcpStream::connect(at.trim_start_matches("http://").split('/').next().unwrap()).await.unwrap();
    let (_, status, _) = browser.visit(&url).await;
    assert_eq!(status, 200);
    assert!(login.end().status.success());
    drop(silent);
}

/// RFC 9207: an answer that names another issuer is not redeemed.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_of_another_issuer_is_not_redeemed() {
    let scene = Scene::new().await;
    scene.world.configure(&scene.configuration("state", "issuer = \"https://127.0.0.1\"\n", "sealed"));
    let mut login = Running::start(&scene.world, &["login", "calendar", "--no-browser"]);
    let url = login.line_with("https://").trim().to_owned();
    let (_, status, _) = scene.browser().visit(&url).await;
    assert_eq!(status, 400);
    let output = login.end();
    assert!(text(&output.stderr).contains("names another issuer"), "{output:?}");
    assert_eq!(scene.gate.came().requests, 0, "no code was redeemed");
}

/// The endpoints are not named, but their server is: it says where they are, and what it calls itself.
#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_says_itself_where_to_log_in() {
    let scene = Scene::new().await;
    let named = scene.configuration("state", "", "sealed");
    let unnamed: Vec<&str> = named.lines().filter(|line| !line.contains("_url = ")).collect();
    let issuer = format!("issuer = \"{}\"\n", scene.server.url(""));
    scene.world.configure(&format!("{}\n{issuer}", unnamed.join("\n")));
    scene.log_in().await;
    let proxy = scene.world.start();
    assert_eq!(scene.get(&proxy).await, 200);
    scene.refuse(&scene.arrived());
    assert_eq!(scene.get(&proxy).await, 200);
    assert_eq!(scene.renewals(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_by_device_code_waits_for_the_other_device() {
    let scene = Scene::new().await;
    let mut login = Running::start(&scene.world, &["login", "calendar", "--device"]);
    let page = login.line_with("enter the code:");
    let page = page.split_whitespace().nth(2).unwrap().to_owned();
    login.line_with("\n");
    let code = login.line_with("-").trim().to_owned();
    let (status, answer) = scene.browser().enter(&page, &code).await;
    assert_eq!(status, 200, "{answer}");
    let output = login.end();
    assert!(output.status.success(), "{output:?}");
    scene.assert_hidden(&output);
    let proxy = scene.world.start();
    assert_eq!(scene.get(&proxy).await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_code_that_nobody_enters_expires() {
    let scene = Scene::with_lives(600, 1).await;
    let begun = std::time::Instant::now();
    let output = Running::start(&scene.world, &["login", "calendar", "--device"]).end();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("the code expired before anybody entered it"), "{output:?}");
    assert!(begun.elapsed() < PATIENCE);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_logged_in_for_is_told() {
    let scene = Scene::new().await;
    let check = |args: &[&str], code: i32, expected: &str| {
        let output = Running::start(&scene.world, args).end();
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        assert!(text(&output.stderr).contains(expected), "{output:?}");
    };
    check(&["login", "calender"], 2, "did you mean `calendar`?");
    check(&["login", "nothing-like-it"], 2, "there are `calendar`");
    check(&["logout", "calendar"], 1, "there is no secret `calendar`");
    check(&["login", "calendar", "--no-browser", "--timeout", "0"], 1, "nobody logged in within 0 s");
    scene
        .world
        .configure(&scene.configuration("state", "", "sealed").replace("authorization_url", "# authorization_url"));
    check(&["login", "calendar", "--no-browser"], 1, "has no `authorization_url`");
}
