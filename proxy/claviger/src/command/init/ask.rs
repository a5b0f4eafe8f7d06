//! Consent: one question for each key, one for the file.

use std::io::{BufRead, IsTerminal};

use claviger_contract::Secret;

use super::known::Known;
use super::value;
use crate::command::Failure;
use crate::console;

/// What was answered about a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Yes,
    No,
    /// Under another name.
    Named(String),
}

/// Whether somebody is there to be asked, and sees what is asked.
pub(super) fn is_possible() -> bool {
    std::io::stdin().is_terminal() && std::io::stdout().is_terminal()
}

/// A yes, a no, or another name.
pub(super) fn seal(question: &str) -> Result<Answer, Failure> {
    loop {
        console::out_raw(&format!("{question} [Y/n/another name] "));
        let answer = line()?;
        match answer.as_str() {
            "" | "y" | "Y" | "yes" => return Ok(Answer::Yes),
            "n" | "N" | "no" => return Ok(Answer::No),
            name if is_name(name) => return Ok(Answer::Named(name.to_owned())),
            _ => console::out("  a name has up to four segments of letters, digits, `-`, `_` and `.`, joined by `/`"),
        }
    }
}

/// A yes or a no; `yes` is what Enter means.
pub(super) fn agreed(question: &str) -> Result<bool, Failure> {
    console::out_raw(&format!("{question} [Y/n] "));
    Ok(matches!(line()?.as_str(), "" | "y" | "Y" | "yes"))
}

/// A key that is typed and not shown; `None`: nothing was.
pub(super) fn value(service: &str, preset: &Known) -> Result<Option<Secret>, Failure> {
    let question = format!(
        "  no key for it was found: type or paste one for `{service}` (it is not shown), or Enter to go on without: "
    );
    // Before it is asked for, so that not even a key that is typed too early is shown.
    let _silence = Silence::keep();
    loop {
        console::out_raw(&question);
        let typed = rpassword::read_password().map_err(|error| Failure::doing("read the key")(&error))?;
        let typed = Secret::new(typed.into_bytes());
        if typed.is_empty() {
            return Ok(None);
        }
        if typed.len() >= value::SHORTEST && value::is_plain(&typed) {
            let described = value::describe(&typed, preset.prefix_of(&typed));
            console::out(&format!("  taken: {described}"));
            return Ok(Some(typed));
        }
        console::out(&format!("  that is no key: it has fewer than {} characters, or blanks", value::SHORTEST));
    }
}

/// The end of the input is a no to everything.
fn line() -> Result<String, Failure> {
    let mut answer = String::new();
    let read = std::io::stdin().lock().read_line(&mut answer);
    if read.map_err(|error| Failure::doing("read the answer")(&error))? == 0 {
        console::out("");
        return Err(Failure::Other("nothing was changed".to_owned()));
    }
    Ok(answer.trim().to_owned())
}

/// The terminal shows nothing of what is typed until this is dropped.
struct Silence(Option<rustix::termios::Termios>);

impl Silence {
    fn keep() -> Self {
        let stdin = std::io::stdin();
        let Ok(before) = rustix::termios::tcgetattr(&stdin) else { return Self(None) };
        let mut silent = before.clone();
        silent.local_modes.remove(rustix::termios::LocalModes::ECHO);
        let _ = rustix::termios::tcsetattr(&stdin, rustix::termios::OptionalActions::Now, &silent);
        Self(Some(before))
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            let _ = rustix::termios::tcsetattr(std::io::stdin(), rustix::termios::OptionalActions::Now, before);
        }
    }
}

/// As the sealed store wants names.
pub(super) fn is_name(name: &str) -> bool {
    let plain = |segment: &str| {
        (1..=64).contains(&segment.len())
            && segment.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
            && !segment.starts_with('.')
            && !segment.ends_with(".age")
    };
    name.split('/').count() <= 4 && name.split('/').all(plain)
}
