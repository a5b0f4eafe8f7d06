//! Tests of values: known, unknown, inapplicable.

use std::fmt;

use crate::{AttributeValue, Fact};

/// Three-valued truth (Kleene's strong logic). Ordered, so that "all of" is the least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Truth {
    False,
    Unknown,
    True,
}

impl Truth {
    fn not(self) -> Self {
        match self {
            Self::False => Self::True,
            Self::Unknown => Self::Unknown,
            Self::True => Self::False,
        }
    }
}

impl From<bool> for Truth {
    fn from(value: bool) -> Self {
        if value { Self::True } else { Self::False }
    }
}

/// One value that a test names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Literal {
    /// Exactly this text.
    Text(Box<str>),
    /// A text in which `*` stands for any run of characters, also none.
    Glob(Box<str>),
    Integer(i64),
    Boolean(bool),
}

impl Literal {
    /// A text of a list: a glob if it has a `*`.
    pub(crate) fn listed(text: &str) -> Self {
        if text.contains('*') { Self::Glob(text.into()) } else { Self::Text(text.into()) }
    }

    /// `None` if value and literal are of different kinds.
    fn matches(&self, value: &AttributeValue) -> Option<bool> {
        let text = |text: &str| match self {
            Self::Text(wanted) => Some(wanted.as_ref() == text),
            Self::Glob(glob) => Some(glob_matches(glob, text)),
            Self::Integer(_) | Self::Boolean(_) => None,
        };
        match (value, self) {
            (AttributeValue::String(value), _) => text(value),
            // An empty list is known: nothing in it matches a text.
            (AttributeValue::Strings(values), Self::Text(_) | Self::Glob(_)) => {
                Some(values.iter().any(|value| text(value) == Some(true)))
            }
            (AttributeValue::Integer(value), Self::Integer(wanted)) => Some(value == wanted),
            (AttributeValue::Boolean(value), Self::Boolean(wanted)) => Some(value == wanted),
            (AttributeValue::Strings(_) | AttributeValue::Integer(_) | AttributeValue::Boolean(_), _) => None,
        }
    }
}

impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) | Self::Glob(text) => write!(f, "\"{text}\""),
            Self::Integer(value) => write!(f, "{value}"),
            Self::Boolean(value) => write!(f, "{value}"),
        }
    }
}

/// How two integers compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// A test of one value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ValueTest {
    /// Any of these matches (for a list: any element of it); or, negated, none does.
    In { any: Box<[Literal]>, negated: bool },
    /// An integer comparison.
    Compare(Order, i64),
}

impl ValueTest {
    /// The bytes of what it names.
    pub(crate) fn size(&self) -> usize {
        match self {
            Self::In { any, .. } => any
                .iter()
                .map(|literal| match literal {
                    Literal::Text(text) | Literal::Glob(text) => text.len() + 1,
                    Literal::Integer(_) | Literal::Boolean(_) => 1,
                })
                .sum(),
            Self::Compare(..) => 1,
        }
    }

    /// A value of another kind than what is asked for is a failed fact: unknown.
    pub(crate) fn holds(&self, value: &AttributeValue) -> Truth {
        match self {
            Self::In { any, negated } => {
                let mut truth = Truth::Unknown;
                for literal in any {
                    match literal.matches(value) {
                        Some(true) => {
                            truth = Truth::True;
                            break;
                        }
                        Some(false) => truth = Truth::False,
                        None => {}
                    }
                }
                if *negated { truth.not() } else { truth }
            }
            Self::Compare(order, wanted) => match value {
                AttributeValue::Integer(value) => Truth::from(match order {
                    Order::Less => value < wanted,
                    Order::LessOrEqual => value <= wanted,
                    Order::Greater => value > wanted,
                    Order::GreaterOrEqual => value >= wanted,
                }),
                AttributeValue::String(_) | AttributeValue::Strings(_) | AttributeValue::Boolean(_) => Truth::Unknown,
            },
        }
    }

    /// An inapplicable fact makes the predicate false, also a negated one.
    pub(crate) fn holds_for_fact(&self, fact: &Fact) -> Truth {
        match fact {
            Fact::Known(value) => self.holds(value),
            Fact::Unknown => Truth::Unknown,
            Fact::Inapplicable => Truth::False,
        }
    }
}

/// `*` is any run of characters; linear but for the last `*`, which backtracks.
pub(crate) fn glob_matches(glob: &str, text: &str) -> bool {
    let mut parts = glob.split('*');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = rest.get(at + part.len()..).unwrap_or_default(),
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// A text that both globs match; `None` if there is none. Exact: a walk over pairs of places.
pub(crate) fn glob_intersection(a: &str, b: &str) -> Option<String> {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let width = b.len() + 1;
    // For each pair of places: the pair it was reached from and the character that was written.
    let mut reached: Vec<Option<(usize, Option<char>)>> = vec![None; (a.len() + 1) * width];
    let mut open = vec![(0_usize, 0_usize)];
    if let Some(start) = reached.first_mut() {
        *start = Some((0, None));
    }
    while let Some((i, j)) = open.pop() {
        let from = i * width + j;
        let mut visit = |to: (usize, usize), wrote: Option<char>| {
            if let Some(slot @ None) = reached.get_mut(to.0 * width + to.1) {
                *slot = Some((from, wrote));
                open.push(to);
            }
        };
        match (a.get(i), b.get(j)) {
            (None, None) => return Some(trace(&reached, from)),
            (Some('*'), other) => {
                visit((i + 1, j), None);
                match other {
                    Some('*') => visit((i, j + 1), None),
                    Some(c) => visit((i, j + 1), Some(*c)),
                    None => {}
                }
            }
            (other, Some('*')) => {
                visit((i, j + 1), None);
                if let Some(c) = other {
                    visit((i + 1, j), Some(*c));
                }
            }
            (Some(x), Some(y)) if x == y => visit((i + 1, j + 1), Some(*x)),
            _ => {}
        }
    }
    None
}

fn trace(reached: &[Option<(usize, Option<char>)>], mut at: usize) -> String {
    let mut text: Vec<char> = Vec::new();
    while at != 0 {
        let Some(Some((from, wrote))) = reached.get(at) else { break };
        text.extend(wrote);
        at = *from;
    }
    text.iter().rev().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs() {
        for (glob, text, expected) in [
            ("main", "main", true),
            ("main", "main2", false),
            ("*", "", true),
            ("release-*", "release-1", true),
            ("release-*", "xrelease-1", false),
            ("*-x", "a-x", true),
            ("*-x", "a-xy", false),
            ("a*b*c", "abc", true),
            ("a*b*c", "a1b2b3c", true),
            ("a*b*c", "a1c", false),
            ("a*a", "a", false),
            ("ab*ba", "aba", false),
        ] {
            assert_eq!(glob_matches(glob, text), expected, "{glob} {text}");
        }
    }

    #[test]
    fn intersections_of_globs() {
        for (a, b, expected) in [
            ("a*", "*b", true),
            ("a*", "b*", false),
            ("refs/heads/*", "refs/heads/main", true),
            ("refs/tags/*", "refs/heads/*", false),
            ("*x*", "y*y", true),
            ("a", "a", true),
            ("a", "", false),
            ("*", "*", true),
            ("", "", true),
        ] {
            let witness = glob_intersection(a, b);
            assert_eq!(witness.is_some(), expected, "{a} {b}");
            if let Some(text) = witness {
                assert!(glob_matches(a, &text) && glob_matches(b, &text), "{a} {b} {text}");
            }
        }
    }

    #[test]
    fn tests_of_values() {
        let text = |words: &[&str], negated| ValueTest::In {
            any: words.iter().map(|word| Literal::listed(word)).collect(),
            negated,
        };
        let groups = |names: &[&str]| AttributeValue::Strings(names.iter().map(|name| (*name).into()).collect());
        for (test, value, expected) in [
            (text(&["a", "b-*"], false), "a".into(), Truth::True),
            (text(&["a", "b-*"], false), "b-1".into(), Truth::True),
            (text(&["a", "b-*"], false), "c".into(), Truth::False),
            (text(&["a"], true), "a".into(), Truth::False),
            (text(&["a"], true), "c".into(), Truth::True),
            // Another kind is a failed fact, negated or not.
            (text(&["1"], false), 1.into(), Truth::Unknown),
            (text(&["1"], true), 1.into(), Truth::Unknown),
            // A list holds if any element does; negated, if none does.
            (text(&["a"], false), groups(&["x", "a"]), Truth::True),
            (text(&["a"], true), groups(&["x", "a"]), Truth::False),
            (text(&["a"], true), groups(&["x"]), Truth::True),
            (text(&["a"], false), groups(&[]), Truth::False),
            (ValueTest::Compare(Order::Less, 5), 4.into(), Truth::True),
            (ValueTest::Compare(Order::Less, 5), 5.into(), Truth::False),
            (ValueTest::Compare(Order::LessOrEqual, 5), 5.into(), Truth::True),
            (ValueTest::Compare(Order::Greater, 5), 5.into(), Truth::False),
            (ValueTest::Compare(Order::GreaterOrEqual, 5), 5.into(), Truth::True),
            (ValueTest::Compare(Order::GreaterOrEqual, 5), "6".into(), Truth::Unknown),
        ] {
            assert_eq!(test.holds(&value), expected, "{test:?} {value:?}");
        }
        assert_eq!(text(&["a"], true).holds_for_fact(&Fact::Inapplicable), Truth::False);
        assert_eq!(text(&["a"], true).holds_for_fact(&Fact::Unknown), Truth::Unknown);
    }
}
