//! What is told, and how it looks.

use std::env;
use std::io::IsTerminal;

use crate::console;

/// Tells a story in numbered steps, and remembers what it told: that is searched for the key too.
pub(crate) struct Story {
    told: String,
    steps: u32,
    styled: bool,
}

/// What a line is, which decides how it looks on a terminal.
#[derive(Clone, Copy)]
enum Tone {
    Heading,
    Plain,
    Command,
    Good,
}

impl Story {
    pub(crate) fn new() -> Self {
        let plain = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || env::var_os("TERM").is_some_and(|terminal| terminal == "dumb");
        Self { told: String::new(), steps: 0, styled: !plain && std::io::stdout().is_terminal() }
    }

    /// All that was told so far.
    pub(crate) fn told(&self) -> &str {
        &self.told
    }

    /// A line of its own, as at the beginning and the end.
    pub(crate) fn heading(&mut self, text: &str) {
        self.line("", Tone::Heading, text);
    }

    /// The next step.
    pub(crate) fn step(&mut self, title: &str) {
        self.steps += 1;
        self.blank();
        let title = format!("{}. {title}", self.steps);
        self.line("", Tone::Heading, &title);
    }

    pub(crate) fn blank(&mut self) {
        self.line("", Tone::Plain, "");
    }

    pub(crate) fn say(&mut self, text: &str) {
        self.line("   ", Tone::Plain, text);
    }

    /// Something that was to be shown, and was.
    pub(crate) fn shown(&mut self, text: &str) {
        self.line("   ", Tone::Good, text);
    }

    /// A command as a user would type it.
    pub(crate) fn command(&mut self, text: &str) {
        self.line("   ", Tone::Command, &format!("$ {text}"));
    }

    /// What a command printed, or a text to copy.
    pub(crate) fn block(&mut self, text: &str) {
        for line in text.trim_end().lines() {
            self.line(if line.is_empty() { "" } else { "     " }, Tone::Plain, line);
        }
    }

    fn line(&mut self, indent: &str, tone: Tone, text: &str) {
        let mark = if matches!(tone, Tone::Good) { "✓ " } else { "" };
        self.told.push_str(&format!("{indent}{mark}{text}\n"));
        let (on, off) = match tone {
            _ if !self.styled => ("", ""),
            Tone::Heading => ("\x1b[1m", "\x1b[0m"),
            Tone::Command => ("\x1b[36m", "\x1b[0m"),
            Tone::Plain | Tone::Good => ("", ""),
        };
        let mark = if self.styled && !mark.is_empty() { "\x1b[32m✓\x1b[0m " } else { mark };
        console::out(&format!("{indent}{mark}{on}{text}{off}"));
    }
}
