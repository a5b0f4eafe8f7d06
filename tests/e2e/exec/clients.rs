//! Unmodified clients in a session, and others that are not of it.

use std::process::Command;

use claviger_tests::canary;

use crate::stage::Stage;

#[tokio::test(flavor = "multi_thread")]
async fn clients_find_the_proxy_and_trust_it() {
    let stage = Stage::new().await;
    for (client, script) in [
        ("curl", "curl -s -o /dev/null -w '%{http_code}\\n' https://api.test/v1/x"),
        ("python", "python3 -c 'import urllib.request as r; print(r.urlopen(\"https://api.test/v1/x\").status)'"),
        // Without credentials git asks first, and sends the proof only after 407.
        (
            "git",
            "git ls-remote https://api.test/v1/x.git >/dev/null 2>said; grep -q 'info/refs\\|valid\\|not found' said || cat said; \
             echo 200",
        ),
    ] {
        let ran = stage.sh(script);
        assert_eq!(ran.out.lines().last(), Some("200"), "{client}: {} {}", ran.out, ran.err);
        assert!(!ran.err.contains("no_identity"), "{client}: {}", ran.err);
    }
    let seen = stage.origin.seen();
    let bearer = format!("Bearer {}", stage.world.canary);
    assert!(seen.len() >= 3 && seen.iter().all(|seen| seen.header("authorization") == Some(bearer.as_str())));
    assert!(seen.iter().all(|seen| !format!("{:?}", seen.headers).contains("clvx_")));
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_else_on_the_machine_is_served() {
    let stage = Stage::new().await;
    let session =
        stage.start("echo $https_proxy > proxy.tmp && mv proxy.tmp proxy; until [ -e over ]; do sleep 0.05; done");
    let file = stage.world.path().join("proxy");
    crate::stage::wait_until("the command has written", || file.exists());
    let proxy = std::fs::read_to_string(file).unwrap().trim().to_owned();
    let (proof, address) = proxy.strip_prefix("http://").unwrap().split_once('@').unwrap();
    let token = proof.strip_prefix("claviger:").unwrap();
    let ask = |proxy: &str| {
        let mut curl = Command::new("curl");
        curl.args(["-s", "-k", "-o", "/dev/null", "-w", "%{http_connect} %{http_code}", "--proxy", proxy]);
        let output =
            curl.arg("https://api.test/v1/x").env_clear().env("PATH", std::env::var_os("PATH").unwrap()).output();
        String::from_utf8(output.unwrap().stdout).unwrap()
    };
    assert_eq!(ask(&format!("http://{address}")), "407 000");
    let near = format!("{}{}", &token[..token.len() - 1], if token.ends_with('A') { "B" } else { "A" });
    for wrong in ["x", "clvx_", &near, &token.to_ascii_lowercase(), &token[5..]] {
        assert_eq!(ask(&format!("http://claviger:{wrong}@{address}")), "407 000", "{wrong}");
    }
    assert_eq!(ask(&format!("http://other:{token}@{address}")), "200 200", "the token is the proof, not the user");
    stage.world.write("over", "");
    std::fs::remove_file(stage.world.path().join("proxy")).unwrap();
    let output = session.wait_with_output().unwrap();
    assert!(output.status.success());
    // The token is for the command's environment and nothing else.
    canary::assert_absent(token, "stderr", &output.stderr);
    canary::assert_absent(token, "stdout", &output.stdout);
    canary::assert_absent_below(token, &stage.world.path().join("state"));
    stage.check(output);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_base_url_carries_the_proof_in_its_path() {
    let stage = Stage::new().await;
    let ran = stage.sh(
        "get() { curl -s --noproxy '*' -H 'authorization: Bearer sk-placeholder' -w ' %{http_code}\\n' -o /dev/null \"$1\"; }; \
         API_BASE=$CLAVIGER_BASE_URL/api/v1; get $API_BASE/x; get $(echo $API_BASE | sed 's,/clvx_[^/]*,,')/x; get $(echo $API_BASE | sed 's,clvx_.,clvx_-,')/x; \
         get $API_BASE/../x",
    );
    let codes: Vec<&str> = ran.out.split_whitespace().collect();
    assert_eq!(codes.first(), Some(&"200"), "{} {}", ran.out, ran.err);
    assert_eq!(codes.get(1..3), Some(["401", "401"].as_slice()), "{} {}", ran.out, ran.err);
    let ledger = std::fs::read_to_string(stage.world.path().join("state/ledger/exec/1.jsonl")).unwrap();
    assert!(!ledger.contains("clvx_") && ledger.contains("exec-gateway"), "{ledger}");
    assert!(!ran.err.contains("clvx_"), "{}", ran.err);
}
