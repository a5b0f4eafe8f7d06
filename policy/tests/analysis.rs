//! What `analyze` says of rules, against the naive evaluator: a rule that is called without effect can be removed, and
//! no decision changes.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stderr, reason = "a test fails by panicking")]

#[path = "support/load.rs"]
mod load;
#[path = "support/naive.rs"]
mod naive;

use std::collections::BTreeSet;

use claviger_policy::analyze::{Code, Options};
use load::try_load;
use naive::{Attribute, Request, Rule, config, naive, request, rule};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

/// Before every time that the generated rules name, so that none has expired.
const OPTIONS: Options = Options { now: -100, soon: 10, attestors: Vec::new(), named_workloads: Vec::new() };

/// The rules that are called without effect.
fn without_effect(rules: &[Rule]) -> Option<BTreeSet<usize>> {
    let (policy, _) = try_load(&config(rules));
    let found = policy?.analyze(&OPTIONS);
    let codes = [Code::NeverMatches, Code::Shadowed, Code::Redundant];
    let named = found.iter().filter(|finding| codes.contains(&finding.code));
    Some(named.map(|finding| finding.subject.split_once(".r").unwrap().1.parse().unwrap()).collect())
}

fn without(rules: &[Rule], removed: &BTreeSet<usize>) -> Vec<Rule> {
    let kept = rules.iter().enumerate().filter(|(at, _)| !removed.contains(at));
    kept.map(|(_, rule)| rule.clone()).collect()
}

fn check(rules: &[Rule], requests: &[Request]) -> Result<(), TestCaseError> {
    let Some(named) = without_effect(rules) else { return Ok(()) };
    let each = named.iter().map(|at| BTreeSet::from([*at]));
    for removed in each.chain([named.clone()]) {
        let fewer = without(rules, &removed);
        for request in requests {
            prop_assert_eq!(naive(rules, request), naive(&fewer, request), "without {:?}: {:?}", removed, request);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn what_is_without_effect_can_be_removed(
        rules in prop::collection::vec(rule(3), 2..9),
        requests in prop::collection::vec(request(), 60),
    ) {
        check(&rules, &requests)?;
    }

    /// With credentials by priority nothing ties, so that every generated configuration loads.
    #[test]
    fn what_is_without_effect_can_be_removed_where_nothing_ties(
        mut rules in prop::collection::vec(rule(3), 2..25),
        requests in prop::collection::vec(request(), 60),
    ) {
        for (at, rule) in rules.iter_mut().enumerate() {
            rule.priority = i64::try_from(at).unwrap() % 5;
            rule.credential = at % 5 % 2;
        }
        check(&rules, &requests)?;
    }
}

/// Every request of a small world.
fn universe() -> Vec<Request> {
    let paths: [&[&str]; 7] = [&["x"], &["z"], &["x", "x"], &["x", "z"], &["z", "x"], &["z", "z"], &["x", "z", "z"]];
    let attributes = || {
        let many = [vec![], vec!["p", "q"], vec!["q", "r"]].map(Attribute::Many);
        [Attribute::None, Attribute::One("p"), Attribute::One("r")].into_iter().chain(many)
    };
    let mut all = Vec::new();
    for (workload_path, foreign) in [("/a/1", false), ("/a/1/2", false), ("/b", false), ("/c", false), ("/c", true)] {
        for (attribute, path) in attributes().flat_map(|attribute| paths.map(|path| (attribute.clone(), path))) {
            for (method, ip) in ["GET", "POST", "BREW"]
                .iter()
                .flat_map(|method| [None, Some(10), Some(11), Some(12)].map(|ip| (*method, ip)))
            {
                for body in [None, Some(None), Some(Some(-1)), Some(Some(0)), Some(Some(3))] {
                    let (attribute, path) = (attribute.clone(), path.to_vec());
                    all.push(Request { workload_path, foreign, attribute, service: 0, method, path, ip, now: 0, body });
                }
            }
        }
    }
    all
}

/// How many rules that could be removed are not named: the price of naming only what is proven.
#[test]
fn most_of_what_could_be_removed_is_named() {
    let mut runner = TestRunner::deterministic();
    let universe = universe();
    let (mut truly, mut named, mut configurations) = (0, 0, 0);
    while configurations < 60 {
        let mut rules = prop::collection::vec(rule(2), 6).new_tree(&mut runner).unwrap().current();
        for rule in &mut rules {
            (rule.to, rule.from, rule.until) = (0, None, None);
            rule.path.truncate(2);
            for segment in &mut rule.path {
                *segment = if segment.starts_with('*') { *segment } else { "x" };
            }
        }
        let Some(found) = without_effect(&rules) else { continue };
        configurations += 1;
        // Beneath all of them everything is allowed: a deny that denies only what nobody allows today is no mistake.
        let beneath =
            Rule { deny: false, who: Vec::new(), when: Vec::new(), priority: -1, path: vec!["**"], ..rules[0].clone() };
        let beneath = Rule { methods: vec!["GET", "POST", "BREW"], credential: 0, from: None, until: None, ..beneath };
        let answers = |rules: &[Rule]| -> Vec<String> {
            let all: Vec<Rule> = rules.iter().cloned().chain([beneath.clone()]).collect();
            universe.iter().map(|request| naive(&all, request)).collect()
        };
        let before = (answers(&rules), universe.iter().map(|request| naive(&rules, request)).collect::<Vec<_>>());
        // One after the other, the last first, as it is done by hand: of two that do the same one stays.
        let mut removed = BTreeSet::new();
        for at in (0..rules.len()).rev() {
            removed.insert(at);
            let fewer = without(&rules, &removed);
            let same = if rules[at].deny {
                answers(&fewer) == before.0
            } else {
                universe.iter().zip(&before.1).all(|(request, answer)| naive(&fewer, request) == *answer)
            };
            if !same {
                removed.remove(&at);
            }
        }
        truly += removed.len();
        named += found.len().min(removed.len());
    }
    eprintln!("{named} of {truly} rules that could be removed are named, in {configurations} configurations");
    assert!(truly >= 40 && named * 100 >= truly * 90, "{named} of {truly}");
}
