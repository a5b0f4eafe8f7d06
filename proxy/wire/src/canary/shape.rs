//! How a canary comes to stand in a text that a service's clients take for a key.

use super::CANARY;

/// A placeholder in which a canary stands instead of its filler, of the same length where that has room for it. What the
/// clients of a service look at, the beginning, stays.
pub fn in_shape_of(placeholder: &str, canary: &str) -> String {
    format!("{}{canary}", kept(placeholder))
}

/// What of a placeholder stays. Its filler begins with our name, or behind the last separator.
pub(super) fn kept(placeholder: &str) -> &str {
    let named = placeholder.to_ascii_lowercase().find("claviger");
    let separator = placeholder.rfind(|letter: char| !letter.is_ascii_alphanumeric()).map(|at| at + 1);
    let filler = named.or(separator).unwrap_or(0);
    let end = placeholder.len().saturating_sub(CANARY).max(filler);
    placeholder.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_beginning_stays_and_the_length_where_it_can() {
        let canary = "clvgraaaaaaaaaabbbbbbbbbb";
        assert_eq!(canary.len(), CANARY);
        for (placeholder, expected) in [
            (
                "sk-claviger-placeholder-0000000000000000000000000000",
                "sk-claviger-placeholder-000clvgraaaaaaaaaabbbbbbbbbb",
            ),
            ("CLAVIGER000000000000000000000000", "CLAVIGEclvgraaaaaaaaaabbbbbbbbbb"),
            ("00000000000000000000000000000000", "0000000clvgraaaaaaaaaabbbbbbbbbb"),
            ("110201543:CLAVIGER-placeholder-00000000000000", "110201543:CLAVIGER-pclvgraaaaaaaaaabbbbbbbbbb"),
            ("AIzaSyCLAVIGER-placeholder-000000000000", "AIzaSyCLAVIGERclvgraaaaaaaaaabbbbbbbbbb"),
            // No room: longer than it was.
            ("glpat-CLAVIGER000000000000", "glpat-clvgraaaaaaaaaabbbbbbbbbb"),
            ("ACME_PLACEHOLDER", "ACME_clvgraaaaaaaaaabbbbbbbbbb"),
            ("PLACEHOLDER", "clvgraaaaaaaaaabbbbbbbbbb"),
            ("", "clvgraaaaaaaaaabbbbbbbbbb"),
        ] {
            let made = in_shape_of(placeholder, canary);
            assert_eq!(made, expected);
            assert!(made.len() == placeholder.len() || placeholder.len() < CANARY + 8, "{made}");
        }
    }

    #[test]
    fn every_preset_keeps_its_prefix() {
        for preset in crate::preset::all() {
            let client = preset.about().client;
            let Some(placeholder) = client.placeholder else { continue };
            let made = in_shape_of(&placeholder, "clvgraaaaaaaaaabbbbbbbbbb");
            let prefix: String = placeholder.chars().take_while(char::is_ascii_alphanumeric).take(4).collect();
            assert!(made.starts_with(&prefix) || placeholder.len() < CANARY + 8, "{placeholder}: {made}");
            // Nothing that the vendor would give out.
            let is_real = |real: &String| made.starts_with(real.as_str()) && !placeholder.starts_with(real.as_str());
            assert!(!client.prefixes.iter().any(is_real), "{made}");
        }
    }
}
