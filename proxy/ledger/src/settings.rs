//! `[ledger]`.

use std::path::{Path, PathBuf};

use claviger_contract::path;
use claviger_policy::document::{Diagnostics, Table, nearest};

/// Where records go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sink {
    /// A file that rotates.
    File,
    /// Standard output, for a container's log collector. Its chain starts anew with each process.
    Stdout,
}

impl Sink {
    const WORDS: [(&'static str, Self); 2] = [("file", Self::File), ("stdout", Self::Stdout)];
}

/// The validated settings of the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerSettings {
    /// `sinks`: where records go, each once; at least one. Default: `["file"]`.
    pub sinks: Vec<Sink>,
    /// `path`: the file. Default: `ledger/ledger.jsonl` in the state folder.
    pub path: PathBuf,
    /// `rotate_size`: a new file before this one would exceed so many bytes. Default: 64 MiB.
    pub rotate_size: u64,
    /// `keep`: how many full files stay. Default: 16.
    pub keep: usize,
    /// `required`: nothing is sent before its `decided` record is durable. Default: `false`.
    pub required: bool,
    /// `ring`: slots per data core, rounded up to a power of two. An open request holds one. Default: 16384.
    pub ring: usize,
}

impl LedgerSettings {
    /// The defaults, with the file under `state_dir`.
    pub fn new(state_dir: &Path) -> Self {
        Self {
            sinks: vec![Sink::File],
            path: state_dir.join("ledger").join("ledger.jsonl"),
            rotate_size: 64 << 20,
            keep: 16,
            required: false,
            ring: 16_384,
        }
    }

    /// Takes the root key `ledger`.
    pub fn take(root: &mut Table, state_dir: &Path, out: &mut Diagnostics) -> Self {
        let mut settings = Self::new(state_dir);
        let Some(mut table) = root.table("ledger", out) else { return settings };
        take_sinks(&mut table, &mut settings.sinks, out);
        if let Some(written) = table.string("path", out) {
            settings.path = path::resolve(&written);
            if settings.path.file_name().is_none() {
                out.error(&written.location, table.key_of("path"), format!("`{}` names no file", written.value))
                    .help("write the path of a file, as `/var/lib/claviger/ledger/ledger.jsonl`");
            }
        }
        if let Some(size) = table.size("rotate_size", out) {
            if (64 << 10..=1 << 40).contains(&size.value) {
                settings.rotate_size = size.value;
            } else {
                let message = format!("`{}` bytes is not from 64KiB to 1024GiB", size.value);
                out.error(&size.location, table.key_of("rotate_size"), message).help("the default is `64MiB`");
            }
        }
        if let Some(keep) = table.integer("keep", 1..=10_000, out) {
            settings.keep = usize::try_from(keep.value).unwrap_or(settings.keep);
        }
        if let Some(ring) = table.integer("ring", 64..=1 << 20, out) {
            settings.ring = usize::try_from(ring.value).unwrap_or(settings.ring).next_power_of_two();
        }
        if let Some(required) = table.boolean("required", out) {
            settings.required = required.value;
            if required.value && !settings.sinks.contains(&Sink::File) {
                out.error(&required.location, table.key_of("required"), "only a file can make records durable")
                    .help("add `\"file\"` to `ledger.sinks`, or leave out `required`");
            }
        }
        table.finish(out);
        settings
    }
}

fn take_sinks(table: &mut Table, sinks: &mut Vec<Sink>, out: &mut Diagnostics) {
    let key = table.key_of("sinks");
    let location = table.location().clone();
    let Some(written) = table.strings("sinks", out) else { return };
    sinks.clear();
    if written.is_empty() {
        out.error(&location, key.clone(), "a ledger needs a sink").help("write `[\"file\"]`, `[\"stdout\"]` or both");
    }
    for word in written {
        let Some((_, sink)) = Sink::WORDS.iter().find(|(known, _)| *known == word.value) else {
            let diagnostic = out.error(&word.location, key.clone(), format!("`{}` is not a sink", word.value));
            match nearest(&word.value, Sink::WORDS.iter().map(|(known, _)| *known)) {
                Some(near) => diagnostic.help(format!("did you mean `{near}`?")),
                None => diagnostic.help("write `file` or `stdout`"),
            };
            continue;
        };
        if sinks.contains(sink) {
            out.error(&word.location, key.clone(), format!("`{}` is written twice", word.value));
        } else {
            sinks.push(*sink);
        }
    }
}

#[cfg(test)]
mod tests {
    use claviger_policy::document::{SourceFile, parse};

    use super::*;

    fn take(text: &str) -> (LedgerSettings, Vec<String>) {
        let mut out = Diagnostics::default();
        let mut root = parse(&SourceFile::new("/etc/claviger/claviger.toml", text), &mut out).unwrap();
        let settings = LedgerSettings::take(&mut root, Path::new("/var/lib/claviger"), &mut out);
        root.finish(&mut out);
        (settings, out.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn defaults() {
        let (settings, errors) = take("");
        assert_eq!(errors, [] as [&str; 0]);
        assert_eq!(settings.path, Path::new("/var/lib/claviger/ledger/ledger.jsonl"));
        assert_eq!((settings.sinks, settings.required), (vec![Sink::File], false));
        assert_eq!((settings.rotate_size, settings.keep, settings.ring), (64 << 20, 16, 16_384));
    }

    #[test]
    fn every_key() {
        let (settings, errors) = take(
            "[ledger]\nsinks = [\"stdout\", \"file\"]\npath = \"log/l.jsonl\"\nrotate_size = \"1MiB\"\nkeep = 3\n\
             required = true\nring = 1000\n",
        );
        assert_eq!(errors, [] as [&str; 0]);
        let expected = LedgerSettings {
            sinks: vec![Sink::Stdout, Sink::File],
            path: "/etc/claviger/log/l.jsonl".into(),
            rotate_size: 1 << 20,
            keep: 3,
            required: true,
            ring: 1_024,
        };
        assert_eq!(settings, expected);
    }

    #[test]
    fn errors_have_a_place_and_a_remedy() {
        let check = |text: &str, expected: &[&str]| {
            let (_, errors) = take(&format!("[ledger]\n{text}\n"));
            assert_eq!(errors.len(), 1, "{errors:?}");
            for part in expected {
                assert!(errors[0].contains(part), "{} lacks {part}", errors[0]);
            }
        };
        check("sink = \"file\"", &[":2:1:", "`ledger.sink`: unknown key", "did you mean `sinks`?"]);
        check("sinks = []", &["`ledger.sinks`: a ledger needs a sink", "help: "]);
        check("sinks = [\"fiel\"]", &[":2:10:", "`fiel` is not a sink", "did you mean `file`?"]);
        check("sinks = [\"kafka\"]", &["`kafka` is not a sink", "write `file` or `stdout`"]);
        check("sinks = [\"file\", \"file\"]", &[":2:18:", "`file` is written twice"]);
        check("sinks = \"stdout\"\nrequired = true", &[":3:12:", "only a file can make records durable", "help: "]);
        check("path = \"/\"", &["`/` names no file"]);
        check("rotate_size = 10", &["`ledger.rotate_size`", "is not from 64KiB"]);
        check("rotate_size = \"64 parsecs\"", &["is not a size"]);
        check("keep = 0", &["`0` is not from 1 to 10000"]);
        check("ring = 1", &["`1` is not from 64 to"]);
        check("required = \"yes\"", &["expected `true` or `false`"]);
    }
}
