//! Operations: sets of methods and path patterns.

use std::sync::Arc;

use http::Method;

use crate::PathMode;
use crate::document::nearest;
use crate::target::{check_path, could_be_key, decoded_eq, hash_segment};

/// How many leading segments of a path are hashed for the prefilter of a decision.
pub(crate) const HASHED_SEGMENTS: usize = 4;

/// The longest path pattern, in bytes.
const PATTERN_MAX: usize = 2_048;

/// The hash of no segment (the FNV-1a offset basis).
const EMPTY_HASH: u32 = 0x811c_9dc5;

const NAMED: [(&str, u16); 8] = [
    ("GET", 1),
    ("HEAD", 1 << 1),
    ("POST", 1 << 2),
    ("PUT", 1 << 3),
    ("DELETE", 1 << 4),
    ("OPTIONS", 1 << 5),
    ("PATCH", 1 << 6),
    ("TRACE", 1 << 7),
];
/// Every method that has no bit of its own.
pub(crate) const OTHER: u16 = 1 << 15;

/// The bit of a method.
pub(crate) fn method_bit(method: &Method) -> u16 {
    match *method {
        Method::GET => 1,
        Method::HEAD => 1 << 1,
        Method::POST => 1 << 2,
        Method::PUT => 1 << 3,
        Method::DELETE => 1 << 4,
        Method::OPTIONS => 1 << 5,
        Method::PATCH => 1 << 6,
        Method::TRACE => 1 << 7,
        _ => OTHER,
    }
}

/// A set of methods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Methods {
    pub(crate) mask: u16,
    /// The methods behind [`OTHER`]; `None`: every one.
    other: Option<Box<[Box<str>]>>,
}

impl Methods {
    pub(crate) const ANY: Self = Self { mask: u16::MAX, other: None };
    /// The methods whose requests have no body: GET, HEAD, TRACE (RFC 9110 §9.3).
    pub(crate) const BODILESS: u16 = 1 | 1 << 1 | 1 << 7;

    /// `GET`, `GET,POST`, or `*`.
    fn parse(text: &str) -> Result<Self, String> {
        if text == "*" {
            return Ok(Self::ANY);
        }
        let mut mask = 0;
        let mut other = Vec::new();
        for word in text.split(',') {
            if word.is_empty() || Method::from_bytes(word.as_bytes()).is_err() || word.contains('*') {
                return Err(format!("`{word}` is not a method; write `METHOD /path` or `METHOD,METHOD /path`"));
            }
            if word == "CONNECT" {
                return Err("`CONNECT` is no operation; it is decided by the requests inside the tunnel".into());
            }
            match NAMED.iter().find(|(name, _)| *name == word) {
                Some((_, bit)) => mask |= bit,
                None if word.bytes().any(|b| b.is_ascii_lowercase()) => {
                    let right = nearest(word, NAMED.iter().map(|(name, _)| *name)).unwrap_or("GET");
                    return Err(format!("`{word}` is not a method; did you mean `{right}`?"));
                }
                None => {
                    mask |= OTHER;
                    other.push(word.into());
                }
            }
        }
        Ok(Self { mask, other: Some(other.into()) })
    }

    pub(crate) fn contains(&self, method: &Method) -> bool {
        let bit = method_bit(method);
        self.mask & bit != 0
            && (bit != OTHER
                || self.other.as_ref().is_none_or(|names| names.iter().any(|name| name.as_ref() == method.as_str())))
    }

    /// A method that both have.
    pub(crate) fn common(&self, other: &Self) -> Option<Method> {
        let both = self.mask & other.mask;
        if let Some((name, _)) = NAMED.iter().find(|(_, bit)| both & bit != 0) {
            return name.parse().ok();
        }
        if both & OTHER == 0 {
            return None;
        }
        let names = match (&self.other, &other.other) {
            (None, None) => return Some(Method::GET),
            (Some(names), _) | (None, Some(names)) => names,
        };
        names.iter().filter_map(|name| name.parse().ok()).find(|method| self.contains(method) && other.contains(method))
    }

    /// The methods without a bit of their own; `None`: every one.
    pub(crate) fn others(&self) -> Option<&[Box<str>]> {
        self.other.as_deref()
    }

    /// The extension methods that are near a common one, for a warning.
    pub(crate) fn misspelt(&self) -> Option<(&str, &'static str)> {
        let near = |word: &str| nearest(word, NAMED.iter().map(|(name, _)| *name));
        self.other.iter().flatten().find_map(|word| near(word).map(|right| (word.as_ref(), right)))
    }
}

/// `/v1/models/*/**`: literal segments, `*` for one segment that is not empty, `**` for the rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PathPattern {
    text: Arc<str>,
    /// The hash of the leading literal segments, at most [`HASHED_SEGMENTS`].
    pub(crate) prefix_hash: u32,
    pub(crate) prefix_len: u8,
    /// The segments that a path has at least, or exactly; saturates.
    pub(crate) min_segments: u8,
    /// Whether it ends with `**`.
    pub(crate) open: bool,
}

impl PathPattern {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let Some(rest) = text.strip_prefix('/') else {
            return Err(format!("the path `{text}` does not begin with `/`"));
        };
        if text.contains('?') {
            return Err("a path pattern has no query".into());
        }
        // It stands in every record of a request that it allows.
        if text.len() > PATTERN_MAX {
            return Err(format!("the path is longer than {PATTERN_MAX} bytes; `*` and `**` stand for segments"));
        }
        check_path(text, PathMode::Opaque).map_err(|error| format!("the pattern `{text}` can never match: {error}"))?;
        let count = rest.split('/').count();
        for (at, segment) in rest.split('/').enumerate() {
            match segment {
                "**" if at + 1 != count => return Err("`**` may only stand at the end of a path".into()),
                "**" | "*" => {}
                _ if segment.contains('*') => {
                    return Err(format!(
                        "`*` stands for a whole segment, in `{segment}` it does not; a literal one is `%2A`"
                    ));
                }
                _ => {}
            }
        }
        Ok(Self::from_checked(text.into()))
    }

    fn from_checked(text: Arc<str>) -> Self {
        let (mut prefix_hash, mut prefix_len) = (EMPTY_HASH, 0_u8);
        for segment in segments(&text).take(HASHED_SEGMENTS) {
            if matches!(segment, "*" | "**") {
                break;
            }
            prefix_hash = hash_segment(prefix_hash, segment);
            prefix_len += 1;
        }
        let open = segments(&text).next_back() == Some("**");
        let count = segments(&text).count() - usize::from(open);
        let min_segments = u8::try_from(count).unwrap_or(u8::MAX);
        Self { text, prefix_hash, prefix_len, min_segments, open }
    }

    /// The pattern of everything below a prefix such as `/v1`, and of the prefix itself.
    pub(crate) fn below(prefix: &str) -> Result<Self, String> {
        if segments(prefix).any(|segment| segment.contains('*')) {
            return Err(format!("the prefix `{prefix}` has a `*`; it means the path and all below it anyway"));
        }
        Self::parse(&format!("{}/**", prefix.strip_suffix('/').unwrap_or(prefix)))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// Its text, to be kept without copying.
    pub(crate) fn text(&self) -> &Arc<str> {
        &self.text
    }

    /// Whether the pattern is within what a path mode passes.
    pub(crate) fn fits(&self, mode: PathMode) -> Result<(), crate::TargetError> {
        check_path(&self.text, mode)
    }

    pub(crate) fn matches(&self, path: &str) -> bool {
        let mut actual = segments(path);
        for wanted in segments(&self.text) {
            if wanted == "**" {
                return true;
            }
            match actual.next() {
                Some("") if wanted == "*" => return false,
                Some(_) if wanted == "*" => {}
                Some(segment) if decoded_eq(wanted, segment) => {}
                _ => return false,
            }
        }
        actual.next().is_none()
    }

    /// As [`matches`](Self::matches), of a path from a record, in which `*` is a segment that is not known: one that
    /// could be a key, for all others are shown.
    pub(crate) fn may_match(&self, recorded: &str) -> bool {
        let mut actual = segments(recorded);
        for wanted in segments(&self.text) {
            if wanted == "**" {
                return true;
            }
            match actual.next() {
                // The pattern of a rule that allowed it, whose rest is not known.
                Some("**") => return true,
                Some("") if wanted == "*" => return false,
                Some(_) if wanted == "*" => {}
                Some("*") if could_be_key(wanted) => {}
                Some(segment) if decoded_eq(wanted, segment) => {}
                _ => return false,
            }
        }
        matches!(actual.next(), None | Some("**"))
    }

    /// Whether every path that `other` matches is one of this pattern's. Exact, segment by segment.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        let mut inner = segments(&other.text);
        for outer in segments(&self.text) {
            if outer == "**" {
                return true;
            }
            match (outer, inner.next()) {
                (_, None | Some("**")) | ("*", Some("")) => return false,
                ("*", Some(_)) => {}
                (_, Some("*")) => return false,
                (literal, Some(segment)) if decoded_eq(literal, segment) => {}
                _ => return false,
            }
        }
        inner.next().is_none()
    }

    /// The pattern of the paths that both match; `None` if there are none. Exact.
    pub(crate) fn intersect(&self, other: &Self) -> Option<Self> {
        let (mut left, mut right) = (segments(&self.text), segments(&other.text));
        let mut both = String::new();
        loop {
            match (left.next(), right.next()) {
                (None, None) => break,
                (Some("**"), Some("**")) => {
                    both.push_str("/**");
                    break;
                }
                // One is open: what the other still wants is what both want.
                (Some("**"), rest) => {
                    push_rest(&mut both, rest, right);
                    break;
                }
                (rest, Some("**")) => {
                    push_rest(&mut both, rest, left);
                    break;
                }
                (Some(a), Some(b)) => {
                    let segment = match (a, b) {
                        ("*", "") | ("", "*") => return None,
                        ("*", other) | (other, "*") => other,
                        (a, b) if decoded_eq(a, b) => a,
                        _ => return None,
                    };
                    both.push('/');
                    both.push_str(segment);
                }
                (Some(_), None) | (None, Some(_)) => return None,
            }
        }
        // `/**` against `/**` alone, or against nothing, leaves the root.
        Some(Self::from_checked(if both.is_empty() { "/**".into() } else { both.into() }))
    }

    /// A path that the pattern matches.
    pub(crate) fn witness(&self) -> String {
        let mut path = String::new();
        for segment in segments(&self.text) {
            path.push('/');
            path.push_str(if matches!(segment, "*" | "**") { "x" } else { segment });
        }
        path
    }
}

fn push_rest<'a>(both: &mut String, first: Option<&'a str>, rest: impl Iterator<Item = &'a str>) {
    for segment in first.into_iter().chain(rest) {
        both.push('/');
        both.push_str(segment);
    }
}

/// The segments behind the leading `/`; of `/` one empty segment.
pub(crate) fn segments(path: &str) -> std::str::Split<'_, char> {
    path.strip_prefix('/').unwrap_or(path).split('/')
}

/// What a rule's `ops` or a service's `operations` name, resolved.
#[derive(Clone, Debug)]
pub(crate) struct Operation {
    /// As it was written: the ledger's path template.
    pub(crate) text: Arc<str>,
    pub(crate) methods: Methods,
    pub(crate) path: PathPattern,
}

impl Operation {
    /// `METHODS /path` or `*`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text == "*" {
            let path = PathPattern::from_checked("/**".into());
            return Ok(Self { text: text.into(), methods: Methods::ANY, path });
        }
        let mut words = text.split_ascii_whitespace();
        match (words.next(), words.next(), words.next()) {
            (Some(path), None, None) if path.starts_with('/') => {
                Err(format!("`{text}` has no method; write `GET {path}`, or `* {path}` for every method"))
            }
            (Some(methods), Some(path), None) => {
                let (methods, path) = (Methods::parse(methods)?, PathPattern::parse(path)?);
                Ok(Self { text: text.into(), methods, path })
            }
            _ => Err(format!("`{text}` is no operation; write `METHODS /path`, as `GET,HEAD /v1/models/**`, or `*`")),
        }
    }

    pub(crate) fn matches(&self, method: &Method, path: &str) -> bool {
        self.methods.contains(method) && self.path.matches(path)
    }

    /// As [`matches`](Self::matches), of a path from a record, in which `*` is a segment that is not known.
    pub(crate) fn may_match(&self, method: &Method, path: &str) -> bool {
        self.methods.contains(method) && self.path.may_match(path)
    }
}

/// What the prefilter knows of a path: how many segments, and the hashes of its first ones.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Probe {
    pub(crate) count: u8,
    pub(crate) hashes: [u32; HASHED_SEGMENTS + 1],
}

impl Probe {
    pub(crate) fn new(path: &str) -> Self {
        let mut hashes = [EMPTY_HASH; HASHED_SEGMENTS + 1];
        let mut hash = EMPTY_HASH;
        let mut all = segments(path);
        let mut count = 0_u8;
        for slot in hashes.iter_mut().skip(1) {
            let Some(segment) = all.next() else { break };
            hash = hash_segment(hash, segment);
            *slot = hash;
            count += 1;
        }
        if usize::from(count) == HASHED_SEGMENTS {
            let rest = all.take(usize::from(u8::MAX)).count();
            count = count.saturating_add(u8::try_from(rest).unwrap_or(u8::MAX));
        }
        Self { count, hashes }
    }
}

#[cfg(test)]
mod tests;
