//! Path patterns by their segments, to find those that contain another: the rules that could cover one are few.

use std::collections::HashMap;

use crate::pattern::segments;
use crate::target::decoded;

/// Values by pattern.
#[derive(Debug)]
pub(super) struct Trie<T> {
    nodes: Vec<Node<T>>,
}

#[derive(Debug)]
struct Node<T> {
    /// By the decoded segment.
    literal: HashMap<Box<[u8]>, usize>,
    star: Option<usize>,
    /// Patterns that end here.
    here: Vec<T>,
    /// Patterns that end here with `**`.
    open: Vec<T>,
}

impl<T> Default for Node<T> {
    fn default() -> Self {
        Self { literal: HashMap::new(), star: None, here: Vec::new(), open: Vec::new() }
    }
}

impl<T> Default for Trie<T> {
    fn default() -> Self {
        Self { nodes: vec![Node::default()] }
    }
}

impl<T: Copy> Trie<T> {
    pub(super) fn insert(&mut self, pattern: &str, value: T) {
        let mut at = 0;
        for segment in segments(pattern) {
            let fresh = self.nodes.len();
            let Some(node) = self.nodes.get_mut(at) else { return };
            let next = match segment {
                "**" => {
                    node.open.push(value);
                    return;
                }
                "*" => *node.star.get_or_insert(fresh),
                literal => *node.literal.entry(decoded(literal).into()).or_insert(fresh),
            };
            if next == fresh {
                self.nodes.push(Node::default());
            }
            at = next;
        }
        if let Some(node) = self.nodes.get_mut(at) {
            node.here.push(value);
        }
    }

    /// The values of all patterns that contain this one: that match every path which it matches.
    pub(super) fn containing(&self, pattern: &str) -> Vec<T> {
        let mut found = Vec::new();
        self.walk(0, segments(pattern), &mut found);
        found
    }

    fn walk(&self, at: usize, mut rest: std::str::Split<'_, char>, found: &mut Vec<T>) {
        let Some(node) = self.nodes.get(at) else { return };
        found.extend(&node.open);
        let Some(segment) = rest.next() else {
            found.extend(&node.here);
            return;
        };
        if segment == "**" {
            return;
        }
        if segment != "*"
            && let Some(next) = node.literal.get(&*decoded(segment))
        {
            self.walk(*next, rest.clone(), found);
        }
        if !segment.is_empty()
            && let Some(next) = node.star
        {
            self.walk(next, rest, found);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::pattern::PathPattern;
    use crate::target::decoded_eq;

    /// Whether every path of `inner` is one of `outer`, written out.
    fn contains(outer: &PathPattern, inner: &PathPattern) -> bool {
        let (mut wanted, mut given) = (segments(outer.as_str()), segments(inner.as_str()));
        loop {
            match (wanted.next(), given.next()) {
                (Some("**"), _) | (None, None) => return true,
                (Some("*"), Some("" | "**")) | (Some(_), None) | (None, Some(_)) => return false,
                (Some("*"), Some(_)) => {}
                // A `*` of the inner pattern stands for more than one text.
                (Some(_), Some("*" | "**")) => return false,
                (Some(wanted), Some(given)) if decoded_eq(wanted, given) => {}
                (Some(_), Some(_)) => return false,
            }
        }
    }

    fn pattern() -> impl Strategy<Value = String> {
        let segment = prop_oneof![3 => Just("a"), 2 => Just("b"), 1 => Just("%61"), 2 => Just("*")];
        (prop::collection::vec(segment, 0..4), 0_u8..3).prop_map(|(segments, end)| {
            let mut text: String = segments.iter().map(|segment| format!("/{segment}")).collect();
            if text.is_empty() || end == 1 {
                text.push_str("/**");
            } else if end == 2 {
                text.push('/');
            }
            text
        })
    }

    proptest! {
        #[test]
        fn finds_what_contains(patterns in prop::collection::vec(pattern(), 0..12), inner in pattern()) {
            let parse = |text: &str| PathPattern::parse(text).unwrap();
            let mut trie = Trie::default();
            for (at, pattern) in patterns.iter().enumerate() {
                trie.insert(pattern, at);
            }
            let mut found = trie.containing(&inner);
            found.sort_unstable();
            let all = patterns.iter().enumerate();
            let expected: Vec<usize> =
                all.filter(|(_, outer)| contains(&parse(outer), &parse(&inner))).map(|(at, _)| at).collect();
            prop_assert_eq!(found, expected, "{:?} {}", patterns, inner);
        }

        #[test]
        fn containment_is_that_of_paths(outer in pattern(), inner in pattern(), path in "(/(a|b|c|%61|)){1,4}") {
            let (outer, inner) = (PathPattern::parse(&outer).unwrap(), PathPattern::parse(&inner).unwrap());
            if contains(&outer, &inner) && inner.matches(&path) {
                prop_assert!(outer.matches(&path), "{:?} {:?} {}", outer, inner, path);
            }
        }
    }
}
