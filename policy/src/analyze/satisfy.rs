//! Whether the conditions of one rule can hold together at all.

use crate::Context;
use crate::compile::solve::{self, Solution};
use crate::condition::{Condition, Kind, Timed};
use crate::rule::Rule;
use crate::value::{Truth, ValueTest};

use super::contain::{self, Named, VALUE_KINDS, ValueKind};

/// Whether some value meets all of several tests. Ordered from the worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Satisfiable {
    /// None does.
    Never,
    /// No single text does, a list of texts may.
    ByList,
    /// One does, or it was not shown that none does.
    Perhaps,
}

/// The tests of one name that exclude each other, if there are any; else those that want a list.
pub(super) fn worst<'t>(tests: &[Named<'t>]) -> (Satisfiable, Option<&'t str>) {
    let mut worst = (Satisfiable::Perhaps, None);
    for (at, (name, test)) in tests.iter().enumerate() {
        // One test alone can be met, and each name is looked at once.
        let earlier = tests.get(..at).unwrap_or_default().iter().any(|(other, _)| other == name);
        let later = tests.get(at + 1..).unwrap_or_default().iter().filter(|(other, _)| other == name);
        let same: Vec<&ValueTest> = std::iter::once(*test).chain(later.map(|(_, test)| *test)).collect();
        if earlier || same.len() < 2 {
            continue;
        }
        let state = satisfiable(&same);
        if state < worst.0 {
            worst = (state, Some(&***name));
        }
    }
    worst
}

fn satisfiable(tests: &[&ValueTest]) -> Satisfiable {
    let of_kind = |kind: ValueKind| tests.iter().all(|test| contain::has_opinion(test, kind));
    let met = |kind: ValueKind| {
        contain::samples(tests.iter().copied(), kind)
            .any(|value| tests.iter().all(|test| test.holds(&value) == Truth::True))
    };
    if VALUE_KINDS.iter().any(|kind| *kind != ValueKind::Text && of_kind(*kind) && met(*kind)) {
        return Satisfiable::Perhaps;
    }
    if !of_kind(ValueKind::Text) || excludes_itself(tests) {
        return Satisfiable::Never;
    }
    match solve::value(tests) {
        Solution::Unlikely => Satisfiable::ByList,
        Solution::Impossible | Solution::Unproven | Solution::Found(_) => Satisfiable::Perhaps,
    }
}

/// Whether all that one test names is excluded by the others: then no text and no list of texts meets them.
fn excludes_itself(tests: &[&ValueTest]) -> bool {
    let mut named = tests.iter().filter_map(|test| match test {
        ValueTest::In { any, negated: false } => Some(any),
        ValueTest::In { .. } | ValueTest::Compare(..) => None,
    });
    named.any(|any| {
        any.iter().all(|literal| {
            let excluding = |test: &&ValueTest| matches!(test, ValueTest::In { any, negated: true } if contain::covered(literal, any));
            tests.iter().any(excluding)
        })
    })
}

/// Whether no address is in all the sets that a rule names.
pub(super) fn has_no_address(rule: &Rule) -> bool {
    let nets = contain::nets_of(rule);
    !nets.is_empty() && solve::address(&nets).is_none()
}

/// Whether two conditions on the time exclude each other: in one schedule, and not in one around it.
pub(super) fn has_no_time(rule: &Rule) -> bool {
    let conditions = || rule.request_conditions.iter();
    conditions().any(|inside| {
        conditions().any(|outside| match (&inside.kind, &outside.kind) {
            (Kind::Time { schedule: inner, negated: false }, Kind::Time { schedule: outer, negated: true }) => {
                outer.contains(inner)
            }
            _ => false,
        })
    })
}

/// How far ahead a moment is looked for.
const AHEAD: i64 = 2 * 366 * 86_400;

/// Whether a moment was found, from `now` on, at which `from`, `until` and all schedules hold.
pub(super) fn has_moment(rule: &Rule, now: i64) -> bool {
    if !rule.request_conditions.iter().any(Condition::is_time) {
        return true;
    }
    let mut at = rule.from.map_or(now, |from| from.max(now));
    let end = rule.until.unwrap_or(i64::MAX).min(at.saturating_add(AHEAD));
    while at < end {
        let context = Context { source_ip: None, now: at };
        let times = rule.request_conditions.iter().filter(|condition| condition.is_time());
        let all = times.map(|condition| condition.holds_for_request(&context)).fold(Timed::ALWAYS, Timed::and);
        if all.truth != Truth::False {
            return true;
        }
        // Each step goes to a later edge of a window.
        at = all.until.max(at.saturating_add(1));
    }
    false
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use super::*;
    use crate::AttributeValue;
    use crate::condition::{Names, parse};

    fn tests_of(texts: &[&str]) -> Vec<ValueTest> {
        let names = Names { schedules: &BTreeMap::new(), written: &[] };
        texts
            .iter()
            .map(|text| match parse(&format!("a {text}"), &names).unwrap().kind {
                Kind::Attribute { test, .. } => test,
                other => panic!("{other:?}"),
            })
            .collect()
    }

    #[test]
    fn conditions_that_exclude_each_other() {
        use Satisfiable::{ByList, Never, Perhaps};
        for (texts, expected) in [
            (&["== 'a'", "!= 'a'"][..], Never),
            (&["== 'a'", "!= 'b'"], Perhaps),
            (&["== 'a'", "== 'b'"], ByList),
            (&["in ['a', 'b']", "== 'b'"], Perhaps),
            (&["in ['a-*']", "not in ['a*']"], Never),
            (&["in ['a-*']", "not in ['a-1*']"], Perhaps),
            (&["in ['a-*', 'b']", "not in ['a-*']", "!= 'b'"], Never),
            (&["in ['a-*']", "in ['*-z']"], Perhaps),
            (&["in ['a-*']", "in ['b-*']"], ByList),
            (&["> 5", "< 6"], Never),
            (&["> 5", "< 7"], Perhaps),
            (&[">= 5", "<= 5", "!= 5"], Never),
            (&["== 'a'", "> 5"], Never),
            (&["== 'a'", "!= 5"], Never),
            (&["== true", "== false"], Never),
            (&["== true", "!= false"], Perhaps),
            (&["in ['a', 5]", "> 4"], Perhaps),
            (&["in ['a', 5]", "> 5"], Never),
            (&["!= 'a'", "!= 'b'"], Perhaps),
        ] {
            let tests = tests_of(texts);
            let tests: Vec<&ValueTest> = tests.iter().collect();
            assert_eq!(satisfiable(&tests), expected, "{texts:?}");
        }
    }

    /// Values over which containment is checked, lists among them.
    fn values() -> Vec<AttributeValue> {
        let texts = ["", "a", "b", "ab", "a-1", "a-1-z", "xaz"];
        let list = |texts: &[&str]| AttributeValue::Strings(texts.iter().map(|text| Arc::from(*text)).collect());
        let mut all: Vec<AttributeValue> = texts.iter().map(|text| (*text).into()).collect();
        all.extend([list(&[]), list(&["a", "b"]), list(&["a-1", "c"]), list(&["b", "xaz"]), true.into(), false.into()]);
        all.extend((-2..8).map(AttributeValue::Integer));
        all
    }

    #[test]
    fn containment_of_tests_holds_for_values() {
        use contain::Reading::{NotFalse, True};
        let texts = [
            "== 'a'",
            "!= 'a'",
            "in ['a', 'b']",
            "not in ['a', 'b']",
            "in ['a*']",
            "not in ['a-*']",
            "in ['a-1*', 'b']",
            "> 3",
            "<= 3",
            "== 3",
            "!= 3",
            "in [3, 4]",
            "in ['a', 3]",
            "not in ['a', 3]",
            "== true",
            "!= true",
        ];
        let tests = tests_of(&texts);
        let accepts = |reading, truth| if reading == True { truth == Truth::True } else { truth != Truth::False };
        let mut shown = 0;
        for (read, wanted) in [(True, True), (True, NotFalse), (NotFalse, NotFalse), (NotFalse, True)] {
            for (a, first) in tests.iter().zip(texts) {
                for (b, second) in tests.iter().zip(texts) {
                    for (c, third) in tests.iter().zip(texts) {
                        if !contain::value(&[a, b], read, c, wanted) {
                            continue;
                        }
                        shown += 1;
                        for value in values() {
                            let given = accepts(read, a.holds(&value)) && accepts(read, b.holds(&value));
                            let holds = accepts(wanted, c.holds(&value));
                            assert!(!given || holds, "{first}, {second} {read:?} → {third} {wanted:?}: {value:?}");
                        }
                    }
                }
            }
        }
        assert!(shown > 2_000, "{shown}");
    }
}
