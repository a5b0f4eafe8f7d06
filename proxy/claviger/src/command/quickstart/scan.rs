//! Looks for the demo key, or a part of it, in everything that was written.
//!
//! Deliberately not the echo guard of the proxy: what is to be shown is that the guard and all else
//! did their work, so it is looked for by other means.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::io;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;

/// So many characters of a form in a row are found, wherever they stand in it: half a key is a leak too.
const FRAGMENT: usize = 16;

/// How a piece of the key was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// As it is.
    Plain,
    /// Standard or URL-safe, at any of the three alignments.
    Base64,
    /// In either case.
    Hex,
}

/// How the text around it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Writing {
    /// As it is.
    Verbatim,
    /// With `%2F` or the like.
    Percent,
    /// With `\/`, `\u002f` or the like.
    Json,
    /// With line breaks or blanks in between.
    Broken,
}

/// Every fragment of every form of the key.
pub(crate) struct Needles {
    fragments: HashMap<[u8; FRAGMENT], Form>,
}

impl Needles {
    /// The fragments of a value.
    pub(crate) fn of(value: &[u8]) -> Self {
        let mut needles = Self { fragments: HashMap::new() };
        needles.add(Form::Plain, &one_alphabet(value));
        needles.add(Form::Hex, hex(value).as_bytes());
        for lead in 0..3 {
            needles.add(Form::Base64, base64(value, lead).as_bytes());
        }
        needles
    }

    fn add(&mut self, form: Form, written: &[u8]) {
        for fragment in written.windows(FRAGMENT) {
            if let Ok(fragment) = fragment.try_into() {
                self.fragments.entry(fragment).or_insert(form);
            }
        }
    }

    fn find(&self, text: &[u8]) -> Option<Form> {
        text.windows(FRAGMENT).find_map(|window| self.fragments.get(window).copied())
    }

    /// The first form in which the key, or a part of it, stands in a text.
    pub(crate) fn look(&self, text: &[u8]) -> Option<(Form, Writing)> {
        let readings = [
            (Writing::Verbatim, Cow::Borrowed(text)),
            (Writing::Percent, Cow::Owned(percent_decoded(text))),
            (Writing::Json, Cow::Owned(json_unescaped(text))),
            (Writing::Broken, Cow::Owned(text.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect())),
        ];
        readings.into_iter().find_map(|(writing, reading)| {
            let form = self.find(&one_alphabet(&reading)).or_else(|| self.find(&reading.to_ascii_lowercase()));
            form.map(|form| (form, writing))
        })
    }
}

/// A place where the key was found.
#[derive(Debug)]
pub(crate) struct Finding {
    place: String,
    form: Form,
    writing: Writing,
}

impl fmt::Display for Finding {
    /// Says where and how, and nothing of what.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let form = match self.form {
            Form::Plain => "as it is",
            Form::Base64 => "in base64",
            Form::Hex => "in hex",
        };
        let writing = match self.writing {
            Writing::Verbatim => "",
            Writing::Percent => ", percent-encoded",
            Writing::Json => ", JSON-escaped",
            Writing::Broken => ", with blanks in between",
        };
        write!(f, "{}: {form}{writing}", self.place)
    }
}

/// One search, and how much it has seen.
pub(crate) struct Scan<'a> {
    needles: &'a Needles,
    pub(crate) bytes: usize,
    pub(crate) files: usize,
    pub(crate) findings: Vec<Finding>,
}

impl<'a> Scan<'a> {
    pub(crate) fn new(needles: &'a Needles) -> Self {
        Self { needles, bytes: 0, files: 0, findings: Vec::new() }
    }

    /// Searches a text that is in no file.
    pub(crate) fn text(&mut self, place: &str, text: &[u8]) {
        self.bytes += text.len();
        if let Some((form, writing)) = self.needles.look(text) {
            self.findings.push(Finding { place: place.to_owned(), form, writing });
        }
    }

    /// Searches every file below a folder, its name too. Links are not followed: they lead out.
    pub(crate) fn folder(&mut self, folder: &Path) -> io::Result<()> {
        self.below(folder, folder)
    }

    fn below(&mut self, root: &Path, folder: &Path) -> io::Result<()> {
        let mut entries = fs::read_dir(folder)?.collect::<io::Result<Vec<_>>>()?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let path = entry.path();
            let name = path.strip_prefix(root).unwrap_or(&path).display().to_string();
            self.text("a file's name", name.as_bytes());
            let kind = entry.file_type()?;
            if kind.is_dir() {
                self.below(root, &path)?;
            } else if kind.is_file() {
                self.text(&name, &fs::read(&path)?);
                self.files += 1;
            }
        }
        Ok(())
    }
}

/// Base64 has two alphabets: searched as one, a text and the fragments agree whichever was used.
fn one_alphabet(text: &[u8]) -> Vec<u8> {
    let one = |byte: &u8| match *byte {
        b'-' => b'+',
        b'_' => b'/',
        byte => byte,
    };
    text.iter().map(one).collect()
}

fn hex(value: &[u8]) -> String {
    value.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The characters that depend on the value alone when `lead` bytes (mod 3) stand before it.
fn base64(value: &[u8], lead: usize) -> String {
    let mut text = vec![0; lead];
    text.extend_from_slice(value);
    let encoded = STANDARD_NO_PAD.encode(&text);
    let whole = (lead * 8).div_ceil(6)..text.len() * 8 / 6;
    encoded.get(whole).unwrap_or_default().to_owned()
}

/// Decodes what can be decoded and leaves the rest.
fn percent_decoded(text: &[u8]) -> Vec<u8> {
    decoded(text, |rest| match rest {
        [b'%', digits @ ..] => Some((u8::try_from(number(digits, 2)?).ok()?, 3)),
        _ => None,
    })
}

fn json_unescaped(text: &[u8]) -> Vec<u8> {
    decoded(text, |rest| match rest {
        [b'\\', b'u', digits @ ..] => Some((u8::try_from(number(digits, 4)?).ok()?, 6)),
        [b'\\', byte @ (b'/' | b'\\' | b'"'), ..] => Some((*byte, 2)),
        _ => None,
    })
}

/// Replaces each escape, which `unescape` reads from the front of what is left.
fn decoded(mut rest: &[u8], unescape: impl Fn(&[u8]) -> Option<(u8, usize)>) -> Vec<u8> {
    let mut out = Vec::with_capacity(rest.len());
    while let [first, ..] = rest {
        let (byte, length) = unescape(rest).unwrap_or((*first, 1));
        out.push(byte);
        rest = rest.get(length..).unwrap_or_default();
    }
    out
}

fn number(digits: &[u8], count: usize) -> Option<u32> {
    let digits = digits.get(..count).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))?;
    u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests;
