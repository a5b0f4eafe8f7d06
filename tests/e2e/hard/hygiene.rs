//! Promise 1 for what an operating system keeps of a process.

use std::os::unix::process::ExitStatusExt;

use claviger_tests::{World, canary};
use rustix::process::Signal;

use crate::wire::client;

/// Killed by its own abort, with backtraces asked for: no core, nothing in what it wrote, nothing of it in `/proc`.
#[tokio::test(flavor = "multi_thread")]
async fn promise_1_no_core_no_environment_no_arguments() {
    let (world, _origin) = World::with_keyed_origin().await;
    let mut command = world.command(&["run", "--config", "claviger.toml", "--cores", "2"]);
    command.env("RUST_BACKTRACE", "1").env("RUST_LOG", "trace");
    let proxy = world.start_command(command);
    let answer = client().get(proxy.gateway("/api/v1/x")).bearer_auth(world.token("app")).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let process = format!("/proc/{}", proxy.pid());
    for file in ["cmdline", "environ", "comm", "status", "maps"] {
        // What belongs to a process that is not dumpable is for root only: then there is nothing to see.
        if let Ok(bytes) = std::fs::read(format!("{process}/{file}")) {
            canary::assert_absent(&world.canary, file, &bytes);
        }
    }
    let owner = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(format!("{process}/mem")).unwrap());
    assert_eq!(owner, 0, "the memory of a process that is not dumpable is root's");
    proxy.records("finished", 1);
    proxy.signal(Signal::ABORT);
    let folder = world.path().to_owned();
    let status = proxy.stop();
    assert_eq!(status.signal(), Some(Signal::ABORT.as_raw()));
    assert!(!status.core_dumped());
    for entry in std::fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().file_name().to_string_lossy().into_owned();
        assert!(!name.starts_with("core"), "{name}");
    }
}

/// Errors that a configuration can provoke name places and keys, never what the secret is.
#[tokio::test(flavor = "multi_thread")]
async fn promise_1_errors_do_not_show_what_they_are_about() {
    let (world, origin) = World::with_keyed_origin().await;
    let secret = &world.canary;
    // A secret pasted where a reference belongs is a likely mistake.
    for (what, text) in [
        ("a value for a reference", world.usual(origin.port(), "").replace("secret://sealed/api", secret)),
        (
            "… of a credential",
            format!("{}[credential.x]\nkind = \"static\"\nvalue = \"{secret}\"\n", world.usual(1, "")),
        ),
        (
            "… as a client secret",
            format!(
                "{}[credential.x]\nkind = \"oauth2\"\ntoken_url = \"https://l.test/t\"\nclient_id = \"c\"\nclient_secret = \"{secret}\"\n",
                world.usual(1, "")
            ),
        ),
        ("behind secret://", world.usual(origin.port(), "").replace("sealed/api", secret)),
        (
            "in a token URL",
            format!(
                "{}[credential.x]\nkind = \"oauth2\"\ntoken_url = \"https://u:{secret}@l.test/t\"\nclient_id = \"c\"\nclient_secret = \"secret://sealed/api\"\n",
                world.usual(1, "")
            ),
        ),
    ] {
        world.configure(&text);
        for command in ["check", "run"] {
            let output = world.run(&[command, "--config", "claviger.toml"]);
            assert!(!output.status.success(), "{what}");
            let said = [output.stdout, output.stderr].concat();
            assert!(String::from_utf8_lossy(&said).contains("claviger.toml:"), "{what}");
            canary::assert_absent(secret, &format!("the errors of `{command}`: {what}"), &said);
        }
    }
}
