//! One configuration in several files.

use crate::stage::{PLATFORM, Stage};

#[tokio::test(flavor = "multi_thread")]
async fn files_are_included_watched_and_told_apart() {
    let stage = Stage::new().await;
    let text = format!("include = [\"conf.d/*.toml\", \"more/x.toml\"]\n{}", stage.platform());
    stage.world.configure(&text);
    let closed = |path: &str| format!("[deny.closed]\nwho = \"*\"\nto = \"api\"\nops = [\"GET {path}\"]\n");
    stage.world.write("conf.d/20.toml", closed("/v1/a"));
    // A path in a file is about the folder of that file.
    stage.world.write("conf.d/root.pem", stage.world.ca.pem());
    stage.world.write(
        "more/x.toml",
        "version = 1\n[service.more]\nhosts = [\"more.test\"]\nca = \"../conf.d/root.pem\"\n\
         [[test]]\nas = \"spiffe://acme.test/docs/x\"\nrequest = \"GET https://api.test/v1/a\"\nexpect = \"deny closed\"\n",
    );
    assert_eq!(stage.check(&[]), (0, Vec::new()));
    let proxy = stage.start();
    assert_eq!(stage.ask(&proxy, "docs/x", "GET", "/api/v1/a").await, 403);

    // A new file that matches, and a change of one that is there.
    stage.world.write("conf.d/10.toml", "[deny.more]\nwho = \"*\"\nto = \"api\"\nops = [\"GET /v1/b\"]\n");
    proxy.wait_for_line("generation 2 is in force");
    assert_eq!(stage.ask(&proxy, "docs/x", "GET", "/api/v1/b").await, 403);
    stage.world.write("conf.d/10.toml", "");
    proxy.wait_for_line("generation 3 is in force");
    assert_eq!(stage.ask(&proxy, "docs/x", "GET", "/api/v1/b").await, 200);

    // Names are defined once, in whichever file.
    stage.world.write("conf.d/10.toml", closed("/v1/c"));
    let said = proxy.wait_for_line("error:");
    let expected = "conf.d/20.toml:1:7: error: `deny.closed`: this is defined already, at conf.d/10.toml:1:7";
    assert_eq!(said, expected);
    proxy.wait_for_line("generation 3 stays");
    std::fs::remove_file(stage.world.path().join("conf.d/10.toml")).unwrap();
    proxy.wait_for_line("generation 4 is in force");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_included_file_may_not_say() {
    let stage = Stage::new().await;
    stage.world.configure(&format!("include = \"conf.d/*.toml\"\n{}", stage.platform()));
    // Behind the `include` that is put before all else.
    let line_of = |header: &str| (PLATFORM.lines().position(|line| line == header).unwrap() + 2).to_string();
    let main_only = "this may stand in the main file only";
    for (text, place, key, message) in [
        ("trust_domain = \"x\"\n", "1:1", "trust_domain", main_only),
        ("state_dir = \"x\"\n", "1:1", "state_dir", main_only),
        ("include = \"y/*.toml\"\n", "1:1", "include", main_only),
        ("[ledger]\nkeep = 1\n", "1:2", "ledger", main_only),
        ("[admin]\n", "1:2", "admin", main_only),
        ("[limits]\n", "1:2", "limits", main_only),
        ("version = 2\n", "1:11", "version", "this Claviger does not read version `2`"),
        ("[servise.x]\n", "1:2", "servise", "unknown key"),
        ("service = 1\n", "1:11", "service", "expected a table, found an integer"),
        ("test = 1\n", "1:8", "test", "expected a list of tables"),
        ("x = \n", "1:5", "", "string values must be quoted, expected literal string"),
        (
            "[service.api]\nhosts = [\"x.test\"]\n",
            "1:10",
            "service.api",
            "this is defined already, at claviger.toml:SERVICE:10",
        ),
        ("[team.ads]\nfiles = \"x\"\n", "1:7", "team.ads", "this is defined already, at claviger.toml:TEAM:7"),
    ] {
        let message = message.replace("SERVICE", &line_of("[service.api]")).replace("TEAM", &line_of("[team.ads]"));
        stage.world.write("conf.d/x.toml", text);
        let (code, found) = stage.check(&[]);
        let found = &found[0];
        assert_eq!(code, 2, "{text}");
        let at = format!("{}:{}", found["line"], found["column"]);
        let (file, said) = (found["file"].as_str().unwrap(), found["message"].as_str().unwrap());
        assert_eq!((file, at.as_str(), found["key"].as_str().unwrap(), said), ("conf.d/x.toml", place, key, &*message));
    }
    // One file speaks for one team, or for the platform.
    stage.world.write("conf.d/x.toml", "");
    for (from, to, message) in [
        ("teams/ads/*.toml", "teams/payments/*.toml", "`teams/payments/app.toml` is a file of team `ads` already"),
        ("teams/ads/*.toml", "conf.d/x.toml", "`conf.d/x.toml` is a file of the platform already"),
        (
            "spiffe://acme.test/ads/**",
            "spiffe://acme.test/**",
            "`spiffe://acme.test/payments/x` would be of this team and of team `ads` (claviger.toml:TEAM:7)",
        ),
    ] {
        let text = format!("include = \"conf.d/*.toml\"\n{}", stage.platform());
        stage.world.configure(&text.replace(from, to));
        let (code, found) = stage.check(&[]);
        let said: Vec<_> = found.iter().map(|one| one["message"].as_str().unwrap()).collect();
        let message = message.replace("TEAM", &line_of("[team.ads]"));
        assert!(code == 2 && said.contains(&&*message), "{said:#?}");
    }
}
