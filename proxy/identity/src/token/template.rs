//! SPIFFE IDs with holes: `spiffe://acme.internal/github/{repository}`.
//!
//! Two callers must never get one ID by accident, so a filled template can be taken apart in one way only:
//! a segment has at most one hole, and only the last hole takes several segments (`acme/docs`).
//! Each segment of a value must be one that SPIFFE allows; nothing is escaped or replaced.

use std::borrow::Cow;

use claviger_policy::{SpiffeId, TrustDomain, check_segment};

/// A template whose holes are filled from `V`.
#[derive(Clone, Debug)]
pub(crate) struct Template<V> {
    pieces: Vec<Piece<V>>,
    last_hole: Option<usize>,
}

#[derive(Clone, Debug)]
enum Piece<V> {
    Literal(String),
    Hole { name: String, value: V },
}

impl<V> Template<V> {
    /// Parses a template of this trust domain; `hole` reads what stands in braces. The error is for the operator.
    pub(crate) fn parse(
        text: &str,
        trust_domain: &TrustDomain,
        hole: impl Fn(&str) -> Result<V, String>,
    ) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((literal, after)) = rest.split_once('{') {
            let (name, after) = after.split_once('}').ok_or("`{` has no `}`")?;
            if !literal.is_empty() {
                pieces.push(Piece::Literal(literal.to_owned()));
            }
            pieces.push(Piece::Hole { name: name.to_owned(), value: hole(name)? });
            rest = after;
        }
        if rest.contains('}') {
            return Err("`}` has no `{`".to_owned());
        }
        if !rest.is_empty() {
            pieces.push(Piece::Literal(rest.to_owned()));
        }
        let last_hole = pieces.iter().rposition(|piece| matches!(piece, Piece::Hole { .. }));
        let template = Self { pieces, last_hole };
        template.check(trust_domain)?;
        Ok(template)
    }

    /// The IDs that it can make, at least, as a pattern of policy: `*` where a hole is in a segment, `**` from the last
    /// one on, which takes several.
    pub(crate) fn pattern(&self) -> String {
        let mut text = String::new();
        for (at, piece) in self.pieces.iter().enumerate() {
            match piece {
                Piece::Literal(literal) => text.push_str(literal),
                Piece::Hole { .. } if Some(at) == self.last_hole => {
                    text.truncate(text.rfind('/').map_or(0, |slash| slash + 1));
                    text.push_str("**");
                    break;
                }
                Piece::Hole { .. } => text.push('*'),
            }
        }
        let is_free = |segment: &str| segment.contains('*') && segment != "**";
        let segments: Vec<&str> = text.split('/').map(|segment| if is_free(segment) { "*" } else { segment }).collect();
        segments.join("/")
    }

    /// The names in its braces.
    pub(crate) fn holes(&self) -> impl Iterator<Item = &V> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Literal(_) => None,
            Piece::Hole { value, .. } => Some(value),
        })
    }

    /// Fills the holes. The error names the hole that cannot be filled, never its value.
    pub(crate) fn expand<'v>(&self, fill: impl Fn(&V) -> Option<Cow<'v, str>>) -> Result<SpiffeId, String> {
        let mut text = String::new();
        for (at, piece) in self.pieces.iter().enumerate() {
            match piece {
                Piece::Literal(literal) => text.push_str(literal),
                Piece::Hole { name, value } => {
                    let value = fill(value).ok_or_else(|| format!("`{name}` is absent or no text"))?;
                    let one_segment = Some(at) != self.last_hole;
                    if one_segment && value.contains('/') {
                        return Err(format!("`{name}` has a `/`, which only the last `{{…}}` of `identity` may have"));
                    }
                    if let Some(wrong) = value.split('/').find_map(|segment| check_segment(segment).err()) {
                        return Err(format!("`{name}` cannot stand in a SPIFFE ID: {wrong}"));
                    }
                    text.push_str(&value);
                }
            }
        }
        SpiffeId::parse(&text).map_err(|error| format!("the identity is no SPIFFE ID: {error}"))
    }

    fn check(&self, trust_domain: &TrustDomain) -> Result<(), String> {
        let shape: String = self
            .pieces
            .iter()
            .map(|piece| match piece {
                Piece::Literal(literal) => literal.as_str(),
                Piece::Hole { .. } => "{}",
            })
            .collect();
        let segments = shape.strip_prefix("spiffe://").ok_or("an identity starts with `spiffe://`")?;
        let (domain, path) = segments.split_once('/').ok_or("an identity has a path")?;
        if domain.contains('{') {
            return Err("the trust domain cannot come from the proof".to_owned());
        }
        if path.split('/').any(|segment| segment.matches("{}").count() > 1) {
            return Err("a segment with two `{…}` could mean two callers; write them as two segments".to_owned());
        }
        let id = SpiffeId::parse(&shape.replace("{}", "x")).map_err(|error| error.to_string())?;
        if id.trust_domain() != trust_domain.as_str() {
            return Err(format!("the identity is outside of this trust domain, `{trust_domain}`"));
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Template<String>, String> {
        Template::parse(text, &TrustDomain::parse("acme").unwrap(), |name| Ok(name.to_owned()))
    }

    #[test]
    fn the_pattern_has_every_id_that_can_be_made() {
        for (text, pattern) in [
            ("spiffe://acme/x", "spiffe://acme/x"),
            ("spiffe://acme/x/{a}", "spiffe://acme/x/**"),
            ("spiffe://acme/{a}/y/{b}", "spiffe://acme/*/y/**"),
            ("spiffe://acme/ci-{a}/y-{b}-z/end", "spiffe://acme/*/**"),
        ] {
            assert_eq!(parse(text).unwrap().pattern(), pattern);
        }
    }

    #[test]
    fn only_templates_that_can_be_taken_apart() {
        for (text, accepted) in [
            ("spiffe://acme/x/{a}", true),
            ("spiffe://acme/{a}/{b}/c", true),
            ("spiffe://acme/fixed", true),
            ("spiffe://acme/x-{a}-y/{b}", true),
            ("spiffe://ACME/{a}", true),
            ("spiffe://acme/{a}-{b}", false),
            ("spiffe://{a}/x", false),
            ("spiffe://other/{a}", false),
            ("spiffe://acme", false),
            ("spiffe://acme/", false),
            ("spiffe://acme/{a", false),
            ("spiffe://acme/a}", false),
            ("spiffe://acme/{a}/../b", false),
            ("spiffe://acme//{a}", false),
            ("https://acme/{a}", false),
        ] {
            assert_eq!(parse(text).is_ok(), accepted, "{text}: {:?}", parse(text).err());
        }
    }

    #[test]
    fn values_are_checked_segment_by_segment() {
        for (template, a, b, expected) in [
            ("spiffe://acme/gh/{a}", "acme/docs", "", Some("spiffe://acme/gh/acme/docs")),
            ("spiffe://acme/gh/{a}/ci", "acme/docs", "", Some("spiffe://acme/gh/acme/docs/ci")),
            ("spiffe://acme/{a}/{b}", "x", "y/z", Some("spiffe://acme/x/y/z")),
            ("spiffe://acme/{a}/{b}", "x/y", "z", None),
            ("spiffe://acme/{a}", "..", "", None),
            ("spiffe://acme/{a}", "x/../y", "", None),
            ("spiffe://acme/{a}", "x//y", "", None),
            ("spiffe://acme/{a}", "/x", "", None),
            ("spiffe://acme/{a}", "x/", "", None),
            ("spiffe://acme/{a}", "", "", None),
            ("spiffe://acme/pre-{a}", "", "", None),
            ("spiffe://acme/{a}", "x y", "", None),
            ("spiffe://acme/{a}", "x%2fy", "", None),
            ("spiffe://acme/{a}", "ü", "", None),
            ("spiffe://acme/{a}", "x?y", "", None),
        ] {
            let filled = parse(template).unwrap().expand(|name| Some(if name == "a" { a.into() } else { b.into() }));
            assert_eq!(filled.as_ref().ok().map(SpiffeId::as_str), expected, "{template} {a:?} {b:?}: {filled:?}");
        }
        assert!(parse("spiffe://acme/{a}").unwrap().expand(|_| None).is_err());
    }
}
