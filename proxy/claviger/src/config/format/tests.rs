//! The form, and that nothing but the form changes.

use proptest::prelude::*;

use super::*;

fn formatted(text: &str) -> String {
    let mut out = Diagnostics::default();
    let formatted = format("claviger.toml", text, &mut out).unwrap_or_else(|| panic!("{out:?}\n{text}"));
    assert_eq!(format("claviger.toml", &formatted, &mut out).as_ref(), Some(&formatted), "not the same a second time");
    formatted
}

#[test]
fn the_form() {
    for (before, after) in [
        ("", ""),
        ("\n\n", ""),
        ("a=1", "a = 1\n"),
        ("a=1\r\nb=2\r\n", "a = 1\nb = 2\n"),
        ("\u{feff}a=1\n", "a = 1\n"),
        ("  a   =   1   \n", "a = 1\n"),
        ("a = 1\n\n\n\nb = 2\n\n", "a = 1\n\nb = 2\n"),
        // What stands together is aligned; a comment, a blank line or a long value ends it.
        ("a = 1\nlong = 2\n", "a    = 1\nlong = 2\n"),
        ("a = 1\n\nlong = 2\n", "a = 1\n\nlong = 2\n"),
        ("a = 1\n# x\nlong = 2\n", "a = 1\n# x\nlong = 2\n"),
        ("a = 1\nlong = [\n1]\nb = 2\n", "a = 1\nlong = [\n    1,\n]\nb = 2\n"),
        // Keys.
        ("a . b=1\n\"x y\"=2\n'q' = 3\n", "a.b   = 1\n\"x y\" = 2\n'q'   = 3\n"),
        ("[ a . b ]\n[[ c ]]\n", "[a.b]\n\n[[c]]\n"),
        // Tables.
        ("a=1\n[b]\nc=1\n[d]\n", "a = 1\n\n[b]\nc = 1\n\n[d]\n"),
        ("a=1\n# of b\n# too\n[b]\n", "a = 1\n\n# of b\n# too\n[b]\n"),
        ("# title\n\n[b]#x\n", "# title\n\n[b] #x\n"),
        // Lists and inline tables.
        ("a=[1,2,3]\n", "a = [1, 2, 3]\n"),
        ("a=[ 1 ,2, ]\n", "a = [1, 2]\n"),
        ("a=[]\nb=[ ]\nc={}\nd=[\n]\n", "a = []\nb = []\nc = {}\nd = []\n"),
        ("a={b=1,c={d=2}}\n", "a = { b = 1, c = { d = 2 } }\n"),
        ("a=[\n1,2,\n\n\n  3\n]\n", "a = [\n    1, 2,\n\n    3,\n]\n"),
        ("a=[ # x\n1 # y\n, 2 ]\n", "a = [\n    # x\n    1, # y\n    2,\n]\n"),
        (
            "a=[\n[1,\n2],\n{b=[\n3]}]\n",
            "a = [\n    [\n        1,\n        2,\n    ],\n    { b = [\n        3,\n    ] },\n]\n",
        ),
        // Strings are as they are.
        ("a='x'\nb=\"\"\"\n x\n\n\n y\"\"\"\n", "a = 'x'\nb = \"\"\"\n x\n\n\n y\"\"\"\n"),
        // A comment moves only when what stands before it does; those that began together stay together.
        ("a = 1      # x\n", "a = 1      # x\n"),
        ("a=1 # x\n", "a = 1 # x\n"),
        ("a=1    # x\nlonger=1    # y\n", "a      = 1 # x\nlonger = 1  # y\n"),
        ("a = 1  # x\nb = 1  # y\nlonger=1\n", "a      = 1 # x\nb      = 1 # y\nlonger = 1\n"),
        ("a = 1  # x\nb = 12345  # y\n", "a = 1  # x\nb = 12345  # y\n"),
        ("a = 1      # x\nlonger = 2 # y\n", "a      = 1 # x\nlonger = 2 # y\n"),
    ] {
        assert_eq!(formatted(before), after, "{before:?}");
    }
}

#[test]
fn what_is_not_toml_is_said_with_its_place() {
    let mut out = Diagnostics::default();
    assert_eq!(format("x.toml", "a = 1\nb = \n", &mut out), None);
    assert!(out.iter().next().unwrap().to_string().starts_with("x.toml:2:5: error: "), "{out:?}");
}

proptest! {
    /// White space, commas and line ends of all sorts, in a text that is often TOML.
    #[test]
    fn any_text_keeps_its_meaning_and_comes_to_rest(
        parts in prop::collection::vec(prop::sample::select(vec![
            "a", "b.c", "\"k\"", " = ", "=", "1", "'s'", "\"t\"", "\"\"\"m\n\"\"\"", "[", "]", "{", "}", ",", "\n", "\n\n", " ", "\t",
            "# c", "#d\n", "\r\n", "true", "[t]\n", "[[l]]\n", "x = [", "y = {", "z = [\n", "],\n", "1,\n", "k = 1\n", "é = 2\n",
        ]), 0..40)
    ) {
        let text = parts.concat();
        let mut out = Diagnostics::default();
        match format("x.toml", &text, &mut out) {
            Some(once) => {
                prop_assert!(same(&text, &once));
                prop_assert_eq!(format("x.toml", &once, &mut out), Some(once));
            }
            // Not TOML; never TOML that cannot be formatted.
            None => prop_assert!(toml::from_str::<toml::Table>(&text).is_err(), "{:?}", text),
        }
    }
}
