//! Values as TOML, and names.

use std::fmt::Write as _;

use crate::AttributeValue;

/// A basic string (TOML 1.0, String).
pub(super) fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                quoted.push('\\');
                quoted.push(c);
            }
            c if c.is_control() => {
                // Control characters are below U+10000.
                let _ = write!(quoted, "\\u{:04X}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// A value of `match`.
pub(super) fn value(value: &AttributeValue) -> String {
    match value {
        AttributeValue::String(text) => quoted(text),
        AttributeValue::Integer(number) => number.to_string(),
        AttributeValue::Boolean(flag) => flag.to_string(),
        AttributeValue::Strings(texts) => {
            let texts: Vec<String> = texts.iter().map(|text| quoted(text)).collect();
            format!("[{}]", texts.join(", "))
        }
    }
}

/// A name has 64 characters; this leaves room for a number behind it.
const SLUG_MAX: usize = 56;

/// A bare key: lower-case letters, digits and `-`.
pub(super) fn slug(text: &str) -> String {
    let mut slug = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            'a'..='z' | '0'..='9' => slug.push(c),
            'A'..='Z' => slug.push(c.to_ascii_lowercase()),
            _ if slug.is_empty() || slug.ends_with('-') => {}
            _ => slug.push('-'),
        }
    }
    // All of it is ASCII.
    slug.truncate(SLUG_MAX);
    slug.trim_end_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_values() {
        for (text, name) in [("/ci/App", "ci-app"), ("x--y_z.", "x-y-z"), ("///", ""), ("ünï", "n")] {
            assert_eq!(slug(text), name, "{text}");
        }
        assert_eq!(slug(&"ab-".repeat(40)).len(), 56);
        assert_eq!(quoted("a\"b\\c\nd\u{7f}é"), "\"a\\\"b\\\\c\\u000Ad\\u007Fé\"");
        assert_eq!(value(&7.into()), "7");
        assert_eq!(value(&true.into()), "true");
    }
}
