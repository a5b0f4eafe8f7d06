//! `.env` files as the command sees them: what is plainly no secret stays, since programs need it; all else is replaced.

use std::fmt::Write;
use std::path::Path;

use super::readable::tells_of_a_secret;
use crate::command::init::dotenv::{Entry, Reading, parse};

/// What stands where a value was.
const HIDDEN: &str = "hidden-by-claviger";

/// A larger file is no `.env` that anybody wrote.
const LARGEST: u64 = 1 << 20;

/// The longest value that can be plain.
const LONGEST: usize = 120;

/// A run of letters and digits from this length on may be a key; from the other one on if both are in it.
const LONG_RUN: usize = 16;
const LONG_MIXED_RUN: usize = 8;

/// What the file is to look like: its variables, without comments, in which old keys like to stay. Nothing, if it cannot
/// be read, and of an `.envrc`, which is a program.
pub(super) fn masked(path: &Path) -> String {
    if path.file_name().is_some_and(|name| name == ".envrc") {
        return String::new();
    }
    let Ok(text) = crate::os::read_regular(path, LARGEST) else { return String::new() };
    let mut shown = String::new();
    for entry in parse(&text, false) {
        let quote = entry.quote.map(|quote| char::from(quote).to_string()).unwrap_or_default();
        let _ = writeln!(shown, "{}={quote}{}{quote}", entry.name, plain(&text, &entry).unwrap_or(HIDDEN));
    }
    shown
}

/// The value as it is written, if it is no secret beyond doubt.
fn plain<'a>(text: &'a [u8], entry: &Entry) -> Option<&'a str> {
    let written = std::str::from_utf8(text.get(entry.span.clone())?).ok()?;
    let is_clear = matches!(entry.reading, Reading::Value(_));
    (is_clear && !tells_of_a_secret(&entry.name) && is_plain(written)).then_some(written)
}

/// Words, numbers, hosts and paths. Not what could be a key, nor what has a place for one: a user in a URL, a query.
fn is_plain(value: &str) -> bool {
    let is_usual = |c: char| c.is_ascii_alphanumeric() || " ._-:/,*[]".contains(c);
    let could_be_key = |run: &str| {
        let has = |what: fn(&char) -> bool| run.chars().any(|c| what(&c));
        run.len() >= LONG_RUN
            || (run.len() >= LONG_MIXED_RUN && has(char::is_ascii_digit) && has(char::is_ascii_alphabetic))
    };
    value.len() <= LONGEST
        && value.chars().all(is_usual)
        && !value.split(|c: char| !c.is_ascii_alphanumeric()).any(could_be_key)
        // Words joined by dashes or dots are no key; a key may be joined by them all the same.
        && !value.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '-')).any(is_dense)
}

/// Long, and letters and digits by turns: what is random looks so, what was written does not.
fn is_dense(run: &str) -> bool {
    let kinds: Vec<u8> = run.bytes().map(|byte| u8::from(byte.is_ascii_digit())).collect();
    run.len() >= LONG_RUN && kinds.windows(2).filter(|pair| pair.first() != pair.last()).count() > 4
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::{is_plain, masked};

    #[test]
    fn what_is_plain_stays() {
        for (value, expected) in [
            ("", true),
            ("3000", true),
            ("true", true),
            ("development", true),
            ("us-east-1", true),
            ("postgres://localhost:5432/shop", true),
            ("https://api.example.com/v1", true),
            ("a,b,c", true),
            ("2026-11-22", true),
            ("my-service-staging-eu", true),
            ("postgres://app:hunter2@db/shop", false),
            ("https://hooks.test/?key=1", false),
            ("sk-proj-1a2b3c4d5e6f", false),
            ("AKIAIOSFODNN7EXAMPLE", false),
            ("deadbeef1234", false),
            ("abcdefghijklmnopqrstuvwx", false),
            ("1a-2b-3c-4d-5e-6f", false),
            ("p@ssw0rd!", false),
            ("-----BEGIN PRIVATE KEY-----", true),
        ] {
            assert_eq!(is_plain(value), expected, "{value}");
        }
    }

    #[test]
    fn a_file_keeps_its_names_and_what_is_plain() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".env");
        let text = "# OPENAI_API_KEY=sk-old\nPORT=3000\nexport MODE=\"development\"\nAPI_KEY=short\n\
            DATABASE_URL=postgres://a:b@db/x\nnot a line\nOTHER='1a2b3c4d5e6f7a8b'\n";
        std::fs::write(&path, text).unwrap();
        assert_eq!(
            masked(&path),
            "PORT=3000\nMODE=\"development\"\nAPI_KEY=hidden-by-claviger\nDATABASE_URL=hidden-by-claviger\n\
             OTHER='hidden-by-claviger'\n"
        );
        let program = folder.path().join(".envrc");
        std::fs::write(&program, "export PORT=3000\n").unwrap();
        assert_eq!(masked(&program), "");
        assert_eq!(masked(&folder.path().join("absent")), "");
    }
}
