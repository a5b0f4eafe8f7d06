//! The forms compiled for search: one vectorised pass finds both whole occurrences and a live partial one.

use std::fmt;
use std::ops::Range;

use aho_corasick::Span;
use aho_corasick::packed;
use zeroize::Zeroizing;

use super::forms::Form;

/// How much of a form the vectorised search looks for; what follows is compared at each hit.
const HEAD: usize = 4;

/// Sorted by head and grouped by it.
pub(super) struct Needles {
    /// The distinct first bytes of the forms, sorted.
    heads: Zeroizing<Vec<[u8; HEAD]>>,
    /// For each head, the forms that begin with it.
    groups: Vec<Vec<Form>>,
    /// `None` where the machine has no vector instructions, or there are too many heads for them.
    search: Option<packed::Searcher>,
    /// Which bytes a form begins with, for the search without vector instructions.
    first: [bool; 256],
    shortest: usize,
    longest: usize,
}

impl Needles {
    pub(super) fn new(mut forms: Vec<Form>) -> Self {
        forms.retain(|form| form.len() >= HEAD);
        forms.sort_by(|a, b| a.as_slice().cmp(b.as_slice()));
        forms.dedup_by(|a, b| a.as_slice() == b.as_slice());
        let shortest = forms.iter().map(|form| form.len()).min().unwrap_or(usize::MAX);
        let longest = forms.iter().map(|form| form.len()).max().unwrap_or(0);
        let mut heads = Zeroizing::new(Vec::with_capacity(forms.len()));
        let mut groups: Vec<Vec<Form>> = Vec::new();
        for form in forms {
            let Some(head) = form.first_chunk::<HEAD>().copied() else { continue };
            match groups.last_mut() {
                Some(group) if heads.last() == Some(&head) => group.push(form),
                _ => {
                    heads.push(head);
                    groups.push(vec![form]);
                }
            }
        }
        let search = packed::Searcher::new(heads.iter());
        let begins = |byte: usize| heads.iter().any(|[first, ..]| usize::from(*first) == byte);
        let first = std::array::from_fn(begins);
        Self { heads, groups, search, first, shortest, longest }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.heads.is_empty()
    }

    /// The length of the longest form, in bytes; 0 if there is none.
    pub(super) fn longest(&self) -> usize {
        self.longest
    }

    /// Reports, in order, the longest form at each place before `starts_below` where one stands, and
    /// returns where the longest suffix begins that may be the beginning of a form: the end if none may.
    ///
    /// With `starts_below` less than the text's length the returned place means nothing.
    pub(super) fn scan(&self, text: &[u8], starts_below: usize, mut found: impl FnMut(Range<usize>)) -> usize {
        if self.is_empty() {
            return text.len();
        }
        let searched = text.get(..starts_below.saturating_add(HEAD - 1)).unwrap_or(text);
        let mut live = text.len();
        let mut from = 0;
        while let Some((start, group)) = self.next_head(searched, from) {
            let rest = text.get(start..).unwrap_or_default();
            let mut longest = 0;
            for form in self.groups.get(group).into_iter().flatten() {
                if rest.len() < form.len() {
                    if live == text.len() && form.starts_with(rest) {
                        live = start;
                    }
                } else if form.len() > longest && rest.starts_with(form) {
                    longest = form.len();
                }
            }
            if longest > 0 {
                found(start..start + longest);
            }
            from = start + 1;
        }
        if live == text.len() { self.live_within_head(text) } else { live }
    }

    /// The suffixes that are too short for the search.
    fn live_within_head(&self, text: &[u8]) -> usize {
        (1..HEAD)
            .rev()
            .filter_map(|length| text.len().checked_sub(length))
            .find(|start| {
                let suffix = text.get(*start..).unwrap_or_default();
                self.heads.iter().any(|head| head.starts_with(suffix))
            })
            .unwrap_or(text.len())
    }

    /// The next place at or behind `from` where a form may begin, and which group of forms that is.
    fn next_head(&self, text: &[u8], from: usize) -> Option<(usize, usize)> {
        if text.len().saturating_sub(from) < HEAD {
            return None;
        }
        if let Some(search) = &self.search {
            let hit = search.find_in(text, Span { start: from, end: text.len() })?;
            return Some((hit.start(), hit.pattern().as_usize()));
        }
        text.get(from..)?.windows(HEAD).enumerate().find_map(|(at, window)| {
            let first = window.first().is_some_and(|byte| self.first.get(usize::from(*byte)) == Some(&true));
            let group = first.then(|| self.heads.binary_search_by(|head| head.as_slice().cmp(window)).ok());
            group.flatten().map(|group| (from + at, group))
        })
    }

    /// The length of the shortest form; anything shorter holds none.
    pub(super) fn shortest(&self) -> usize {
        self.shortest
    }
}

impl fmt::Debug for Needles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Needles(…)")
    }
}

#[cfg(test)]
impl Needles {
    /// Whether a form begins with this and goes on.
    pub(super) fn begins(&self, text: &[u8]) -> bool {
        self.groups.iter().flatten().any(|form| form.len() > text.len() && form.starts_with(text))
    }
}
