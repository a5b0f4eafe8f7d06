//! A grant is made by a decision and by nothing else, and there is one of it.

#[test]
fn only_a_decision_makes_a_grant() {
    let cases = trybuild::TestCases::new();
    cases.pass("tests/ui/pass/*.rs");
    cases.compile_fail("tests/ui/fail/*.rs");
}
