//! However a session ends, nothing of it stays.

use rustix::process::{Pid, Signal, kill_process};

use crate::stage::{Stage, is_alive, wait_until};

fn kill(pid: i32, signal: Signal) {
    kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_of_what_was_killed() {
    for (own, command) in [(true, false), (false, true), (true, true)] {
        let stage = Stage::new().await;
        // The shell waits for a child of its own, so that it takes SIGTERM at once.
        let mut session = stage.start("sleep 1000 & wait $!");
        let pid = stage.command_pid();
        assert!(stage.left_behind().len() == 1 && is_alive(pid));
        let exec = i32::try_from(session.id()).unwrap();
        if own {
            kill(exec, Signal::KILL);
        }
        if command {
            // With its parent gone the janitor may have been there already.
            let _ = kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL);
        }
        let status = session.wait().unwrap();
        assert_eq!(status.code(), (!own).then_some(137));
        // A command without its proxy is ended; its files, the folder and the janitor are gone.
        wait_until("the command is gone", || !is_alive(pid));
        wait_until("the folder is gone", || stage.left_behind().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_janitor_left_is_swept_by_the_next_session() {
    let stage = Stage::new().await;
    let mut session = stage.start("sleep 1000 & wait $!");
    let (exec, pid) = (i32::try_from(session.id()).unwrap(), stage.command_pid());
    let is_janitor = |pid: &i32| {
        std::fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.contains("exec-janitor"))
    };
    let children = std::fs::read_to_string(format!("/proc/{exec}/task/{exec}/children")).unwrap();
    let janitor = children.split_whitespace().map(|pid| pid.parse().unwrap()).find(is_janitor).unwrap();
    kill(janitor, Signal::KILL);
    kill(exec, Signal::KILL);
    session.wait().unwrap();
    assert_eq!(stage.left_behind().len(), 1);
    kill(pid, Signal::KILL);
    assert_eq!(stage.exec(&["--", "true"]).code, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_session_ends_with_its_command_and_not_with_what_that_left_running() {
    let stage = Stage::new().await;
    let ran = stage.sh("sleep 1000 >/dev/null 2>&1 & echo $!");
    let left: i32 = ran.out.trim().parse().unwrap();
    assert!(ran.code == Some(0) && is_alive(left), "{}", ran.err);
    kill(left, Signal::KILL);
}
