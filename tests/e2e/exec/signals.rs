//! Signals that are sent to `claviger exec` alone reach its command.

use rustix::process::{Pid, Signal, kill_process};

use crate::stage::{Stage, wait_until};

#[tokio::test(flavor = "multi_thread")]
async fn signals_are_passed_on() {
    for (signal, name, number) in [
        (Signal::TERM, "TERM", 15),
        (Signal::INT, "INT", 2),
        (Signal::HUP, "HUP", 1),
        (Signal::QUIT, "QUIT", 3),
        (Signal::USR1, "USR1", 10),
        (Signal::USR2, "USR2", 12),
    ] {
        let stage = Stage::new().await;
        // One command takes the signal, the other dies of it.
        let taken = format!("trap 'echo got {name}; exit 9' {name}; : > trapped; while :; do sleep 0.05; done");
        for (script, code, out) in
            [(taken.as_str(), 9, format!("got {name}\n")), ("exec sleep 1000", 128 + number, String::new())]
        {
            std::fs::remove_file(stage.world.path().join("started")).ok();
            let script = format!("{script} # {name}");
            let session = stage.start(&script);
            if code == 9 {
                let trapped = stage.world.path().join("trapped");
                wait_until("the command has its trap", || trapped.exists());
            } else {
                let pid = stage.command_pid();
                wait_until("the command sleeps", || name_of(pid) == "sleep");
            }
            kill_process(Pid::from_raw(i32::try_from(session.id()).unwrap()).unwrap(), signal).unwrap();
            let ran = stage.check(session.wait_with_output().unwrap());
            assert_eq!((ran.code, ran.out), (Some(code), out), "{name}: {}", ran.err);
        }
    }
}

fn name_of(pid: i32) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim().to_owned()
}
