//! Who a session is: what its caller says of it selects among workloads that permit sessions, and no others.

use crate::stage::{RULE, Stage, WORKLOAD};

const GET: &str = "curl -s -o /dev/null -w '%{http_code}\\n' https://api.test/v1/x";

#[tokio::test(flavor = "multi_thread")]
async fn as_selects_among_workloads_that_permit_sessions() {
    let more = "[workload.agents]\nspiffe = \"spiffe://acme.test/agent/*\"\nexec = true\n[workload.prod]\nspiffe = \
                \"spiffe://acme.test/prod\"\n[allow.prod]\nwho = \"prod\"\nto = \"api\"\nops = [\"GET /v1/**\"]\n";
    let stage = Stage::with(&format!("{WORKLOAD}{RULE}{more}")).await;
    for (identity, code, said) in [
        (Some("dev"), 0, "200"),
        (Some("spiffe://acme.test/dev/ada"), 0, "200"),
        (Some("spiffe://acme.test/agent/7"), 0, "403"),
        (None, 125, "several workloads permit sessions, and `--as` names none of them"),
        (Some("agents"), 125, "more than one identity"),
        (Some("prod"), 125, "no workload `prod` permits sessions"),
        (Some("spiffe://acme.test/prod"), 125, "no workload with `exec = true` has the identity"),
        (Some("spiffe://acme.test/agent/7/8"), 125, "no workload with `exec = true` has the identity"),
        (Some("spiffe://other.test/dev/ada"), 125, "no workload with `exec = true` has the identity"),
        (Some("spiffe://acme.test//"), 125, "is no SPIFFE ID"),
    ] {
        let mut args = identity.map(|identity| vec!["--as", identity]).unwrap_or_default();
        args.extend(["--", "sh", "-c", GET]);
        let ran = stage.exec(&args);
        assert_eq!(ran.code, Some(code), "{identity:?}: {}", ran.err);
        assert!(format!("{}{}", ran.out, ran.err).contains(said), "{identity:?}: {} {}", ran.out, ran.err);
    }
    stage.configure("[workload.prod]\nspiffe = \"spiffe://acme.test/prod\"\n");
    let ran = stage.exec(&["--", "true"]);
    assert!(ran.code == Some(125) && ran.err.contains("write `exec = true` into"), "{}", ran.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn attributes_are_known_to_rules_and_attest_nothing() {
    let more = "match = { \"exec.task\" = \"review\" }\n";
    let stage = Stage::with(&format!("{WORKLOAD}{more}{RULE}when = [\"exec.level == \\\"high\\\"\"]\n")).await;
    for (attributes, code) in [
        (&["--attr", "task=review", "--attr", "level=high"][..], "200"),
        (&["--attr", "exec.task=review", "--attr", "level=high"], "200"),
        (&["--attr", "task=review"], "403"),
        (&["--attr", "task=reviews", "--attr", "level=high"], "403"),
        (&[], "403"),
    ] {
        let ran = stage.exec(&[attributes, &["--", "sh", "-c", GET]].concat());
        assert_eq!(ran.out.trim(), code, "{attributes:?}: {}", ran.err);
    }
    // Where no workload permits sessions nobody can have them, and a rule that asks is a mistake.
    stage.configure(&WORKLOAD.replace("exec = true", more));
    let checked = stage.world.run(&["check", "--config", "claviger.toml"]);
    let said = String::from_utf8_lossy(&checked.stderr);
    assert!(said.contains("sessions of `claviger exec` have it"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_for_some_services_reaches_no_others() {
    let other = "[service.other]\nhosts = [\"other.test\"]\n[allow.other]\nwho = \"dev\"\nto = \"other\"\nops = \
                 [\"*\"]\nuse = \"none\"\n";
    let stage = Stage::with(&format!("{WORKLOAD}{RULE}{other}")).await;
    let ran = stage.exec(&["--service", "api", "--", "sh", "-c", &format!("{GET}; curl -s https://other.test/x")]);
    assert!(
        ran.out.starts_with("200\n") && ran.out.contains("\"code\":\"outside_session\""),
        "{} {}",
        ran.out,
        ran.err
    );
    assert!(
        ran.err.contains("outside_session") && ran.err.contains("next: start the command with `--service`"),
        "{}",
        ran.err
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shared_claviger_knows_no_sessions() {
    let stage = Stage::new().await;
    let listener = "[listener.shared]\nmode = \"forward\"\nbind = \"127.0.0.1:0\"\nauthenticate = [\"ci\"]\n\
                    [attestor.ci]\nkind = \"jwt\"\nissuer = \"https://ci.test\"\naudience = \"claviger\"\njwks = \
                    \"jwks.json\"\nidentity = \"spiffe://acme.test/ci/{sub}\"\n";
    stage.configure(&format!("{WORKLOAD}{RULE}{listener}"));
    let proxy = stage.world.start();
    // A session beside it binds none of its listeners and does not meet it at the ledger.
    let shared = format!("http://claviger:$TOKEN@{}", proxy.address("shared"));
    let script = format!(
        "{GET}; TOKEN=$(echo $https_proxy | sed 's/.*:\\(clvx_[^@]*\\)@.*/\\1/'); \
         curl -s -o /dev/null -w '%{{http_connect}}\\n' --proxy \"{shared}\" https://api.test/v1/x; true"
    );
    let ran = stage.sh(&script);
    assert_eq!(ran.out, "200\n407\n", "{}", ran.err);
    drop(proxy);
}
