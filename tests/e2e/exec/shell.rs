//! In a terminal: Ctrl-C, Ctrl-Z and `fg`, and a command that has the terminal.

use std::process::Command;

use crate::stage::Stage;

/// What is interrupted below reads, and starts no process: a shell that is about to start one can lose an interrupt, with
/// and without a session around it.
///
/// Opens a terminal, runs a shell with job control in it, and types: each step waits for what the one before shows.
const TYPE: &str = r#"
import os, pty, select, sys, time
steps = [line.split("\t") for line in sys.argv[1].split("\n") if line]
pid, screen = pty.fork()
if pid == 0:
    os.execvp("bash", ["bash", "--noprofile", "--norc", "-i"])
shown, deadline = b"", time.time() + 60
def wait(text):
    global shown
    while text.encode() not in shown:
        if time.time() > deadline or not select.select([screen], [], [], max(0, deadline - time.time()))[0]:
            sys.exit("waited in vain for %r in:\n%s" % (text, shown.decode(errors="replace")))
        try:
            shown += os.read(screen, 4096)
        except OSError:
            sys.exit("the shell has ended:\n%s" % shown.decode(errors="replace"))
    shown = shown.split(text.encode(), 1)[1] if text else shown
for text, keys in steps:
    wait(text)
    os.write(screen, keys.encode().decode("unicode_escape").encode())
wait("ALL" + "-DONE")
"#;

fn type_into(stage: &Stage, steps: &[(&str, &str)]) {
    // Whatever prompt the machine's shell has by itself; what is waited for is never what was typed.
    let first = [("", r#"PS1="rea""dy> "\n"#)];
    let steps: Vec<String> = first.iter().chain(steps).map(|(text, keys)| format!("{text}\t{keys}")).collect();
    let binary = claviger_tests::binary();
    let mut command = Command::new("python3");
    command.args(["-c", TYPE, &steps.join("\n")]).current_dir(stage.world.path());
    command.env("C", format!("{} exec -c claviger.toml --sandbox off --quiet --", binary.display()));
    command.env("TMPDIR", stage.world.path().join("tmp")).env("TERM", "dumb").env_remove("CLAVIGER_CONFIG");
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    crate::stage::wait_until("nothing is left", || stage.left_behind().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_ends_the_command_and_not_before_it() {
    let stage = Stage::new().await;
    type_into(
        &stage,
        &[
            ("ready> ", r"$C sh -c 'echo up-$((40+2)); read line'\n"),
            ("up-42", r"\x03"),
            ("ready> ", r"echo code-$?\n"),
            (
                "code-130",
                r#"$C sh -c 'trap "echo caught-$((1+1)); exit 5" INT; echo up-$((40+3)); while :; do read line; done'\n"#,
            ),
            ("up-43", r"\x03"),
            ("caught-2", r"\n"),
            ("ready> ", r"echo code-$?\n"),
            ("code-5", r"echo ALL-$(echo DONE)\n"),
        ],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_z_stops_the_job_and_fg_goes_on() {
    let stage = Stage::new().await;
    type_into(
        &stage,
        &[
            (
                "ready> ",
                r"$C sh -c 'echo up-$((40+2)); read line; echo got-$line; curl -s -o /dev/null -w code-%{http_code} https://api.test/v1/x; exit 6'\n",
            ),
            ("up-42", r"\x1a"),
            ("Stopped", r"\n"),
            ("ready> ", r"echo mark-$((1+1)); fg\n"),
            // What `fg` prints when the job has the terminal: what is typed before may be taken for the shell's.
            ("mark-2", ""),
            ("exit 6'", r"word\n"),
            ("got-word", r"\n"),
            ("code-200", r"\n"),
            ("ready> ", r"echo code-$?\n"),
            ("code-6", r"echo ALL-$(echo DONE)\n"),
        ],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shell_in_a_session_has_the_terminal() {
    let stage = Stage::new().await;
    type_into(
        &stage,
        &[
            ("ready> ", r"$C bash --noprofile --norc -i\n"),
            ("bash-", r"sh -c 'echo up-$((40+2)); exec sleep 1000'\n"),
            ("up-42", r"\x1a"),
            ("Stopped", r"kill %1; test -t 0 && echo is-$((1+1))-terminal\n"),
            ("is-2-terminal", r"exit 4\n"),
            ("ready> ", r"echo code-$?\n"),
            ("code-4", r"echo ALL-$(echo DONE)\n"),
        ],
    );
}
