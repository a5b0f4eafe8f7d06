//! Values in any file of the project that look like keys by how they begin. Only where they stand is told.

use aho_corasick::{AhoCorasick, MatchKind};

use super::known::Presets;
use super::value;

/// No file is searched that is larger, in bytes.
pub(super) const SIZE_MAX: u64 = 512 << 10;

/// No more is read of a project in all, in bytes.
pub(super) const TOTAL_MAX: u64 = 32 << 20;

/// One that was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    /// From 1.
    pub(super) line: usize,
    /// Whose key it looks like.
    pub(super) preset: &'static str,
}

/// What to look for.
#[derive(Debug)]
pub(super) struct Search {
    prefixes: Vec<(&'static str, String)>,
    automaton: Option<AhoCorasick>,
}

impl Search {
    pub(super) fn new(presets: &Presets) -> Self {
        // Two letters are no prefix to search texts for.
        let long = presets.prefixes().filter(|(_, prefix)| prefix.len() >= 3);
        let prefixes: Vec<_> = long.map(|(known, prefix)| (known.name, prefix.to_owned())).collect();
        let automaton = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .build(prefixes.iter().map(|(_, prefix)| prefix))
            .ok();
        Self { prefixes, automaton }
    }

    /// The places in a text, one for each line and preset. A text with a NUL is none.
    pub(super) fn look(&self, text: &[u8]) -> Vec<Seen> {
        let mut seen: Vec<Seen> = Vec::new();
        let Some(automaton) = self.automaton.as_ref().filter(|_| !text.contains(&0)) else { return seen };
        let (mut line, mut counted) = (1, 0);
        for found in automaton.find_iter(text) {
            let inside = found.start().checked_sub(1).and_then(|before| text.get(before));
            let rest = text.get(found.end()..).unwrap_or_default();
            let length = rest.iter().position(|byte| !is_part(*byte)).unwrap_or(rest.len());
            let key = rest.get(..length).unwrap_or_default();
            if inside.is_some_and(|byte| is_part(*byte) && *byte != b':') || !value::looks_random(key) {
                continue;
            }
            let between = text.get(counted..found.start()).unwrap_or_default();
            line += between.iter().filter(|byte| **byte == b'\n').count();
            counted = found.start();
            let Some((preset, _)) = self.prefixes.get(found.pattern().as_usize()) else { continue };
            let one = Seen { line, preset };
            if seen.last() != Some(&one) {
                seen.push(one);
            }
        }
        seen
    }
}

/// What keys are made of.
fn is_part(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~' | b'+')
}
