//! `.env` files, as their many readers read them: where each value stands, and what it is.
//!
//! The dialects (Node's dotenv, python-dotenv, Ruby's, Go's, docker compose, a shell that sources the file) differ in
//! corners. What they agree on is read; where they would read different values, the value is [`Reading::Unclear`], and
//! nobody here decides for one of them. Bytes that are no text are kept as they are.

use std::ops::Range;

use claviger_contract::Secret;

/// One assignment.
#[derive(Debug)]
pub(crate) struct Entry {
    /// The variable.
    pub(crate) name: String,
    /// Its line, from 1.
    pub(crate) line: usize,
    /// The bytes of the value in the file, inside of its quotes.
    pub(crate) span: Range<usize>,
    /// The quote around it.
    pub(crate) quote: Option<u8>,
    /// What it says.
    pub(crate) reading: Reading,
}

/// What a value is.
#[derive(Debug)]
pub(crate) enum Reading {
    /// All readers read this; it may be empty.
    Value(Secret),
    /// It is made of other variables, or of what a command prints.
    Made,
    /// Readers differ about it.
    Unclear(&'static str),
}

/// All assignments of a file, in its order. `shell`: a shell reads it (`.envrc`), to which a backtick is a command.
pub(crate) fn parse(text: &[u8], shell: bool) -> Vec<Entry> {
    let mut parser = Parser { text, at: 0, line: 1, shell, hopeless: Vec::new() };
    if text.starts_with(b"\xef\xbb\xbf") {
        parser.at = 3;
    }
    let mut entries = Vec::new();
    while parser.at < text.len() {
        entries.extend(parser.entry());
        parser.end_line();
    }
    entries
}

/// The file with other values in some places: `(span, value)`, in the file's order. All else stays, byte for byte.
pub(super) fn replace(text: &[u8], with: &[(Range<usize>, &str)]) -> Vec<u8> {
    let (mut new, mut done) = (Vec::with_capacity(text.len()), 0);
    for (span, value) in with {
        new.extend_from_slice(text.get(done..span.start).unwrap_or_default());
        new.extend_from_slice(value.as_bytes());
        done = span.end;
    }
    new.extend_from_slice(text.get(done..).unwrap_or_default());
    new
}

struct Parser<'a> {
    text: &'a [u8],
    at: usize,
    line: usize,
    shell: bool,
    /// Quotes that are not closed any more from here on, so that a file of opened ones is not searched again and again.
    hopeless: Vec<u8>,
}

impl Parser<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t')) {
            self.at += 1;
        }
    }

    /// To the begin of the next line: after `\n`, `\r\n` or a lone `\r`.
    fn end_line(&mut self) {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let end = rest.iter().position(|byte| is_end(*byte)).unwrap_or(rest.len());
        let width = match rest.get(end..) {
            Some([b'\r', b'\n', ..]) => 2,
            Some([_, ..]) => 1,
            Some([]) | None => 0,
        };
        self.at += end + width;
        self.line += 1;
    }

    /// An assignment, if the line begins with one.
    fn entry(&mut self) -> Option<Entry> {
        self.blanks();
        let mut name = self.name()?;
        self.blanks();
        if name == "export" && !matches!(self.peek(), Some(b'=')) {
            name = self.name()?;
            self.blanks();
        }
        match (self.peek()?, self.text.get(self.at + 1)) {
            (b'=', _) => self.at += 1,
            // `NAME: value`, which some readers take too.
            (b':', Some(b' ' | b'\t')) if !self.shell => self.at += 1,
            _ => return None,
        }
        let line = self.line;
        self.blanks();
        let (span, quote, reading) = match self.peek() {
            Some(quote @ (b'"' | b'\'' | b'`')) => self.quoted(quote),
            Some(_) | None => self.bare(),
        };
        Some(Entry { name, line, span, quote, reading })
    }

    fn name(&mut self) -> Option<String> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
        let length = rest.iter().position(|byte| !is_part(byte)).unwrap_or(rest.len());
        let name =
            rest.get(..length).filter(|name| name.first().is_some_and(|b| b.is_ascii_alphabetic() || *b == b'_'))?;
        self.at += length;
        Some(String::from_utf8_lossy(name).into_owned())
    }

    fn bare(&mut self) -> (Range<usize>, Option<u8>, Reading) {
        let start = self.at;
        let rest = self.text.get(start..).unwrap_or_default();
        let line = rest.get(..rest.iter().position(|byte| is_end(*byte)).unwrap_or(rest.len())).unwrap_or_default();
        // A comment begins after a blank; some readers begin one at any `#`.
        let comment = line.iter().enumerate().position(|(at, byte)| {
            *byte == b'#' && (at == 0 || line.get(at - 1).is_some_and(|before| matches!(before, b' ' | b'\t')))
        });
        let value = line.get(..comment.unwrap_or(line.len())).unwrap_or_default().trim_ascii_end();
        self.at += line.len();
        let has = |wanted: &[u8]| value.iter().any(|byte| wanted.contains(byte));
        let reading = if is_made(value) || value.contains(&b'`') {
            Reading::Made
        } else if has(b"#") {
            Reading::Unclear("some readers take what follows `#` for a comment")
        } else if has(b"\\\"'") {
            Reading::Unclear("readers differ about quotes and backslashes within it")
        } else if self.shell && has(b" \t;&|<>()*?~") || value.contains(&b' ') {
            Reading::Unclear("it has blanks or signs outside of quotes")
        } else {
            Reading::Value(Secret::new(value.to_vec()))
        };
        (start..start + value.len(), None, reading)
    }

    fn quoted(&mut self, quote: u8) -> (Range<usize>, Option<u8>, Reading) {
        let opened = self.at;
        let start = opened + 1;
        let Some(length) = self.closing(start, quote) else {
            // The next line may be a good one again.
            let rest = self.text.get(opened..).unwrap_or_default();
            let end = rest.iter().position(|byte| is_end(*byte)).unwrap_or(rest.len());
            self.at += end;
            return (opened..opened + end, None, Reading::Unclear("its quote is not closed"));
        };
        let span = start..start + length;
        let value = self.text.get(span.clone()).unwrap_or_default();
        self.line += value.iter().enumerate().filter(|(at, byte)| ends_line(value, *at, **byte)).count();
        self.at = span.end + 1;
        let after = self.text.get(self.at..).unwrap_or_default();
        let after = after.get(..after.iter().position(|byte| is_end(*byte)).unwrap_or(after.len())).unwrap_or_default();
        let is_alone = matches!(after.trim_ascii_start().first(), None | Some(b'#'))
            || (self.shell && after.trim_ascii_start().starts_with(b";"));
        let reading = if !is_alone {
            Reading::Unclear("something follows its closing quote")
        } else if quote == b'`' && self.shell
            || (quote == b'"' && (is_made(value) || (self.shell && value.contains(&b'`'))))
        {
            Reading::Made
        } else {
            unescaped(value, quote, self.shell)
        };
        (span, Some(quote), reading)
    }

    /// How far the closing quote is; a backslash before one keeps it open, except for a shell's single quotes.
    fn closing(&mut self, start: usize, quote: u8) -> Option<usize> {
        if self.hopeless.contains(&quote) {
            return None;
        }
        let rest = self.text.get(start..).unwrap_or_default();
        let (mut at, escapes) = (0, quote == b'"' || (quote == b'\'' && !self.shell));
        while let Some(byte) = rest.get(at) {
            match byte {
                b'\\' if escapes => at += 1,
                byte if *byte == quote => return Some(at),
                _ => {}
            }
            at += 1;
        }
        self.hopeless.push(quote);
        None
    }
}

fn is_end(byte: u8) -> bool {
    matches!(byte, b'\n' | b'\r')
}

/// Whether a line ends here: `\r\n` counts once.
fn ends_line(text: &[u8], at: usize, byte: u8) -> bool {
    byte == b'\n' || (byte == b'\r' && text.get(at + 1) != Some(&b'\n'))
}

/// Whether other variables or commands are asked: `$NAME`, `${NAME}`, `$(command)`, `$$`.
fn is_made(value: &[u8]) -> bool {
    let asks = |next: &u8| next.is_ascii_alphanumeric() || matches!(next, b'_' | b'{' | b'(' | b'$');
    value.windows(2).any(|pair| matches!(pair, [b'$', next] if asks(next)))
}

/// What stands between quotes. All readers know `\n` in double quotes; about other backslashes they differ.
fn unescaped(value: &[u8], quote: u8, shell: bool) -> Reading {
    if !value.contains(&b'\\') || (quote == b'\'' && shell) {
        return Reading::Value(Secret::new(value.to_vec()));
    }
    let differ = Reading::Unclear("readers differ about backslashes within it");
    if quote != b'"' || shell {
        return differ;
    }
    // Of the right size from the start, so that no copy is left behind.
    let mut plain = Vec::with_capacity(value.len());
    let mut bytes = value.iter();
    while let Some(byte) = bytes.next() {
        match (byte, byte == &b'\\') {
            (_, true) => match bytes.next() {
                Some(b'n') => plain.push(b'\n'),
                Some(_) | None => {
                    drop(Secret::new(plain));
                    return differ;
                }
            },
            (byte, false) => plain.push(*byte),
        }
    }
    Reading::Value(Secret::new(plain))
}

#[cfg(test)]
mod tests;
