//! What a path and a query may hold, and how segments are compared.

use std::borrow::Cow;

use super::{PATH_AND_QUERY_MAX, PathMode, TargetError};

/// Checks `path?query`; returns where the path ends.
pub(super) fn check(text: &str, mode: PathMode) -> Result<usize, TargetError> {
    if text.len() > PATH_AND_QUERY_MAX {
        return Err(TargetError::Length);
    }
    plain(text).map_or_else(|| whole(text, mode), Ok)
}

/// As [`check`], of whatever there is.
pub(super) fn whole(text: &str, mode: PathMode) -> Result<usize, TargetError> {
    if !text.starts_with('/') {
        return Err(TargetError::NotAbsolute);
    }
    check_bytes(text)?;
    let path_end = text.find('?').unwrap_or(text.len());
    let (path, query) = text.split_at(path_end);
    check_structure(path, mode)?;
    check_escapes(query)?;
    Ok(path_end)
}

/// Where the path ends, of a text that is nothing but plain: most are, and one look is enough for them. What this passes,
/// the whole check would pass in any mode.
pub(super) fn plain(text: &str) -> Option<usize> {
    const UNRESERVED: u8 = 1;
    const SLASH: u8 = 2;
    const DOT: u8 = 4;
    const QUERY: u8 = 8;
    let kind = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'~' => UNRESERVED,
        b'/' => SLASH,
        b'.' => DOT,
        b'=' | b'&' => QUERY,
        _ => 0,
    };
    let (first, rest) = text.as_bytes().split_first()?;
    if *first != b'/' {
        return None;
    }
    let mut before = SLASH;
    for (at, byte) in rest.iter().enumerate() {
        let this = kind(*byte);
        // A segment that is empty, or begins with a dot, is for the whole check.
        if this & (UNRESERVED | SLASH | DOT) == 0 || (before == SLASH && this != UNRESERVED) {
            let is_plain_query = |query: &[u8]| query.iter().all(|byte| kind(*byte) & (UNRESERVED | DOT | QUERY) != 0);
            return (*byte == b'?' && is_plain_query(rest.get(at + 1..)?)).then_some(at + 1);
        }
        before = this;
    }
    Some(text.len())
}

/// Checks a path alone, as a pattern or a prefix has it.
pub(crate) fn check_path(path: &str, mode: PathMode) -> Result<(), TargetError> {
    check_bytes(path)?;
    check_structure(path, mode)
}

fn check_bytes(text: &str) -> Result<(), TargetError> {
    for byte in text.bytes() {
        match byte {
            0..=0x1f | 0x7f => return Err(TargetError::Control),
            0x80..=0xff => return Err(TargetError::NotAscii),
            b'#' => return Err(TargetError::Fragment),
            b' ' => return Err(TargetError::Character),
            _ => {}
        }
    }
    Ok(())
}

fn check_structure(path: &str, mode: PathMode) -> Result<(), TargetError> {
    let opaque = mode == PathMode::Opaque;
    check_escapes(path)?;
    for byte in path.bytes() {
        match byte {
            b'\\' => return Err(TargetError::Backslash),
            b';' if !opaque => return Err(TargetError::Parameter),
            b'"' | b'<' | b'>' | b'^' | b'`' | b'{' | b'}' => return Err(TargetError::Character),
            _ => {}
        }
    }
    if !opaque && path.contains("//") {
        return Err(TargetError::EmptySegment);
    }
    if has_dot_segment(path) {
        return Err(TargetError::DotSegment);
    }
    if !opaque && !is_utf8(path) {
        // Overlong forms of a dot or slash, which lax decoders take for one (RFC 3629 §3).
        return Err(TargetError::Escape);
    }
    let mut bytes = Decoded::new(path.as_bytes());
    while let Some(byte) = bytes.next() {
        if !bytes.was_escape {
            continue;
        }
        match byte {
            0..=0x1f | 0x7f => return Err(TargetError::Control),
            b'\\' if !opaque => return Err(TargetError::Backslash),
            b'/' if mode == PathMode::Strict => return Err(TargetError::EncodedSlash),
            b'%' if !opaque && doubly_encoded(bytes.rest) => return Err(TargetError::DoubleEscape),
            _ => {}
        }
    }
    Ok(())
}

/// Whether the path's escapes stand for UTF-8. Most paths have none, and cost one look.
fn is_utf8(path: &str) -> bool {
    if !path.contains('%') {
        return true;
    }
    let decoded: Vec<u8> = Decoded::new(path.as_bytes()).collect();
    std::str::from_utf8(&decoded).is_ok()
}

/// `%` must be followed by two hexadecimal digits.
fn check_escapes(text: &str) -> Result<(), TargetError> {
    for (at, _) in text.match_indices('%') {
        let digits = text.as_bytes().get(at + 1..at + 3).unwrap_or_default();
        if digits.len() != 2 || !digits.iter().all(u8::is_ascii_hexdigit) {
            return Err(TargetError::Escape);
        }
    }
    Ok(())
}

/// Whether what follows `%25` makes a second escape that this canonicaliser would refuse.
fn doubly_encoded(rest: &[u8]) -> bool {
    match rest {
        [high, low, ..] => match (hex(*high), hex(*low)) {
            (Some(high), Some(low)) => matches!(high * 16 + low, 0..=0x1f | 0x7f | b'.' | b'/' | b'\\' | b'%'),
            _ => false,
        },
        _ => false,
    }
}

/// `.` or `..` between slashes, however written: encoded dots, encoded slashes and backslashes as
/// separators, and a `;` parameter behind it.
fn has_dot_segment(path: &str) -> bool {
    let mut dots = 0_usize;
    let mut only_dots = true;
    let mut in_parameter = false;
    for byte in Decoded::new(path.as_bytes()) {
        match byte {
            b'/' | b'\\' => {
                if only_dots && (1..=2).contains(&dots) {
                    return true;
                }
                (dots, only_dots, in_parameter) = (0, true, false);
            }
            b';' => in_parameter = true,
            _ if in_parameter => {}
            b'.' => dots += 1,
            _ => only_dots = false,
        }
    }
    only_dots && (1..=2).contains(&dots)
}

/// The bytes of a text with its escapes resolved, once.
struct Decoded<'a> {
    rest: &'a [u8],
    was_escape: bool,
}

impl<'a> Decoded<'a> {
    fn new(text: &'a [u8]) -> Self {
        Self { rest: text, was_escape: false }
    }
}

impl Iterator for Decoded<'_> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        if let [b'%', high, low, rest @ ..] = self.rest
            && let (Some(high), Some(low)) = (hex(*high), hex(*low))
        {
            (self.rest, self.was_escape) = (rest, true);
            return Some(high * 16 + low);
        }
        let (first, rest) = self.rest.split_first()?;
        (self.rest, self.was_escape) = (rest, false);
        Some(*first)
    }
}

fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// Whether two segments name the same: `%61` is `a` (RFC 3986 §6.2.2), so that a deny of `/admin`
/// also hits `/%61dmin`, which is sent as it was written.
pub(crate) fn decoded_eq(a: &str, b: &str) -> bool {
    a == b || ((a.contains('%') || b.contains('%')) && Decoded::new(a.as_bytes()).eq(Decoded::new(b.as_bytes())))
}

/// The bytes that a segment names.
pub(crate) fn decoded(segment: &str) -> Cow<'_, [u8]> {
    if segment.contains('%') { Decoded::new(segment.as_bytes()).collect() } else { segment.as_bytes().into() }
}

/// Continues an FNV-1a hash over `/` and a decoded segment. Not secret-keyed: a collision only costs
/// the exact comparison that follows every hit.
pub(crate) fn hash_segment(hash: u32, segment: &str) -> u32 {
    let step = |hash: u32, byte: u8| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    Decoded::new(segment.as_bytes()).fold(step(hash, b'/'), step)
}

/// The longest segment that is shown in a ledger when no rule names it.
const SHOWN_MAX: usize = 24;

pub(super) fn redact(path: &str) -> String {
    let mut shown = String::with_capacity(path.len());
    for segment in path.split('/').skip(1) {
        shown.push('/');
        shown.push_str(if is_word(segment) { segment } else { "*" });
    }
    shown
}

/// Whether a segment is recorded as `*`.
pub(crate) fn could_be_key(segment: &str) -> bool {
    !is_word(segment)
}

/// Lower-case words joined by `-`, `_` or `.`, and versions such as `v1`, `v1beta2`: no key looks so.
fn is_word(segment: &str) -> bool {
    if segment.is_empty() {
        return true;
    }
    if segment.len() > SHOWN_MAX {
        return false;
    }
    let version = segment.strip_prefix('v').is_some_and(|rest| {
        rest.starts_with(|c: char| c.is_ascii_digit())
            && rest.len() <= 10
            && rest.bytes().all(|b| b.is_ascii_digit() || b == b'.' || b"alphbet".contains(&b))
    });
    let words = segment.split(['-', '_', '.']).all(|word| {
        // A lower-case run as long as this is rather random than a word.
        (1..=16).contains(&word.len()) && word.bytes().all(|b| b.is_ascii_lowercase())
    });
    version || words
}
