//! Values that were found lying about. All that is asked of one is asked here, so that nothing else sees its bytes.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use claviger_contract::Secret;

/// The echo guard finds no shorter one in answers, in bytes.
pub(super) const SHORTEST: usize = 12;

/// What stands in a value that is an example, and no key.
const DUMMIES: [&str; 11] = [
    "your",
    "xxxx",
    "changeme",
    "change_me",
    "change-me",
    "placeholder",
    "example",
    "dummy",
    "replace",
    "insert",
    "****",
];

/// Whether both are the same value.
pub(super) fn same(one: &Secret, other: &Secret) -> bool {
    verify_slices_are_equal(bytes(one), bytes(other)).is_ok()
}

/// A copy, which is wiped like the value itself.
pub(super) fn copy(value: &Secret) -> Secret {
    Secret::new(bytes(value).to_vec())
}

/// Whether it is this text, which is no secret.
pub(super) fn is_text(value: &Secret, text: &str) -> bool {
    bytes(value) == text.as_bytes()
}

/// Whether it is a placeholder of a workload's own.
pub(super) fn is_canary(value: &Secret) -> bool {
    std::str::from_utf8(bytes(value)).is_ok_and(claviger_wire::is_canary)
}

/// Whether it begins so. Prefixes are public: the provider documents them.
pub(super) fn begins_with(value: &Secret, prefix: &str) -> bool {
    bytes(value).starts_with(prefix.as_bytes())
}

/// Whether it stands for a key in an example: `your-key-here`, `xxxxxxxx`, `<token>`.
pub(super) fn is_dummy(value: &Secret) -> bool {
    let value = bytes(value);
    let lower = zeroize::Zeroizing::new(value.to_ascii_lowercase());
    let has = |word: &str| lower.windows(word.len()).any(|window| window == word.as_bytes());
    let (first, last) = (value.first(), value.last());
    first == last && value.iter().all(|byte| Some(byte) == first)
        || (first == Some(&b'<') && last == Some(&b'>'))
        || DUMMIES.iter().any(|word| has(word))
}

/// Whether it can be a key: no blanks but line ends (a private key has them), no other control characters.
pub(super) fn is_plain(value: &Secret) -> bool {
    let is_pem = bytes(value).starts_with(b"-----BEGIN ");
    bytes(value).iter().all(|byte| byte.is_ascii_graphic() || (is_pem && matches!(byte, b' ' | b'\n' | b'\r')))
}

/// Whether what follows a prefix looks random: at least 12 characters as keys have them, and not only words.
pub(super) fn looks_random(rest: &[u8]) -> bool {
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.~+/=:".contains(byte);
    let has = |is: fn(&u8) -> bool| rest.iter().any(is);
    rest.len() >= 12
        && rest.iter().all(is_part)
        && has(u8::is_ascii_alphabetic)
        && (has(u8::is_ascii_digit) || (has(u8::is_ascii_lowercase) && has(u8::is_ascii_uppercase)))
}

/// Whether it is a key of those that begin so.
pub(super) fn is_key_of(value: &Secret, prefix: &str) -> bool {
    bytes(value).strip_prefix(prefix.as_bytes()).is_some_and(looks_random)
}

/// What may be said of it: its length, and the public prefix that it has.
pub(super) fn describe(value: &Secret, prefix: Option<&str>) -> String {
    let length = std::str::from_utf8(bytes(value)).map_or(value.len(), |text| text.chars().count());
    let count = crate::command::plural(length, "character");
    match prefix {
        Some(prefix) => format!("{count}, begins with `{prefix}`"),
        None => count,
    }
}

/// The host of an `https://` URL that was given as a variable; a password in it is not looked at.
pub(super) fn host(value: &Secret) -> Option<String> {
    super::logins::host_of(std::str::from_utf8(bytes(value)).ok()?)
}

/// Hands the value's bytes to nobody but the comparisons above.
#[allow(clippy::disallowed_methods, reason = "values that were found are compared and described, here only")]
fn bytes(value: &Secret) -> &[u8] {
    value.expose()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::from(text.to_owned())
    }

    #[test]
    fn examples_are_no_keys() {
        for text in ["your-api-key", "sk-xxxxxxxxxxxx", "<token>", "CHANGEME", "aaaaaaaaaaaaaaaa", "sk-…-example", ""]
        {
            assert!(is_dummy(&secret(text)), "{text}");
        }
        for text in ["sk-proj-4fK2jd8sQ0wLm3", "ghp_16C7e42F292c6912E7710c838347Ae178B4a", "ab"] {
            assert!(!is_dummy(&secret(text)), "{text}");
        }
    }

    #[test]
    fn keys_are_told_from_words() {
        for (text, expected) in [
            ("sk-4fK2jd8sQ0wL", true),
            ("sk-abcdefghijkLM", true),
            ("sk-4fK2jd8sQ0w", false),
            ("sk-your-key-goes-here", false),
            ("sk-123456789012", false),
            ("sk-4fK2jd8s Q0wLm3", false),
            ("pk-4fK2jd8sQ0wLm3", false),
        ] {
            assert_eq!(is_key_of(&secret(text), "sk-"), expected, "{text}");
        }
    }

    #[test]
    fn a_description_has_nothing_of_the_value() {
        assert_eq!(describe(&secret("sk-proj-4fK2jd8s"), Some("sk-proj-")), "16 characters, begins with `sk-proj-`");
        assert_eq!(describe(&secret("hunter2"), None), "7 characters");
        assert_eq!(describe(&secret("ü"), None), "1 character");
    }

    #[test]
    fn signs_that_no_key_has() {
        for (text, expected) in [
            ("abc/+=", true),
            ("a b", false),
            ("a\nb", false),
            ("-----BEGIN PRIVATE KEY-----\nMIG\n-----END PRIVATE KEY-----\n", true),
            ("ü", false),
        ] {
            assert_eq!(is_plain(&secret(text)), expected, "{text}");
        }
    }
}
