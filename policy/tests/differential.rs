//! The compiled matcher against a naive evaluator that was written from the words of the design, and
//! shares no code with it: it keeps rules as data and asks all of them about each request.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

#[path = "support/load.rs"]
mod load;
#[path = "support/naive.rs"]
mod naive;

use load::try_load;
use naive::{compiled, config, naive, request, rule};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, max_global_rejects: 200_000, ..ProptestConfig::default() })]

    #[test]
    fn agrees_with_the_naive_evaluator(
        rules in prop::collection::vec(rule(2), 1..8),
        requests in prop::collection::vec(request(), 12),
    ) {
        let (policy, out) = try_load(&config(&rules));
        match policy {
            Some(policy) => for request in &requests {
                prop_assert_eq!(compiled(&policy, request), naive(&rules, request), "{:?}", request);
            },
            // Only a tie may keep a generated configuration from loading.
            None => prop_assert!(out.iter().all(|found| {
                found.severity == claviger_policy::document::Severity::Warning || found.message.contains("same priority")
            }), "{:?}", out),
        }
    }

    /// With one credential there is no tie, so that every generated configuration loads and is compared.
    #[test]
    fn agrees_where_nothing_can_tie(
        mut rules in prop::collection::vec(rule(2), 1..40),
        requests in prop::collection::vec(request(), 12),
    ) {
        for (at, rule) in rules.iter_mut().enumerate() {
            rule.priority = i64::try_from(at).unwrap() % 7;
            rule.credential = at % 7 % 3;
        }
        let (policy, out) = try_load(&config(&rules));
        prop_assert!(policy.is_some(), "{:?}", out);
        for request in &requests {
            prop_assert_eq!(compiled(policy.as_ref().unwrap(), request), naive(&rules, request), "{:?}", request);
        }
    }
}
