//! Encodings of a value: what an injection writes, and what the echo guard looks for, by the same code.
//!
//! All append to a given buffer, so that a caller who reserves enough leaves no unwiped copy behind.

/// The case of hexadecimal digits.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Case {
    Lower,
    Upper,
}

/// Which bytes a percent-encoder leaves as they are.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Keep {
    /// None: every byte is encoded.
    Nothing,
    /// RFC 3986 §2.3: letters, digits, `-`, `.`, `_`, `~`.
    Unreserved,
    /// Also `/`: Python's `quote`.
    Quote,
    /// Also `!`, `'`, `(`, `)`, `*`: JavaScript's `encodeURIComponent`.
    Component,
    /// Forms (WHATWG URL §5.2): letters, digits, `*`, `-`, `.`, `_`; a space is `+`.
    Form,
    /// What an injection keeps in a path segment: `Unreserved`, `:`, `@` and `=`.
    Segment,
    /// RFC 3986 §3.3: all that may stand in a path, `/` included.
    Path,
}

impl Keep {
    fn keeps(self, byte: u8) -> bool {
        let unreserved = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
        match self {
            Self::Nothing => false,
            Self::Unreserved => unreserved,
            Self::Quote => unreserved || byte == b'/',
            Self::Component => unreserved || b"!'()*".contains(&byte),
            Self::Form => (unreserved && byte != b'~') || byte == b'*',
            Self::Segment => unreserved || b":@=".contains(&byte),
            Self::Path => unreserved || b"!$&'()*+,;=:@/".contains(&byte),
        }
    }
}

/// Percent-encodes (RFC 3986 §2.1); at most three bytes for one.
pub(crate) fn percent(value: &[u8], keep: Keep, case: Case, out: &mut Vec<u8>) {
    for &byte in value {
        if keep.keeps(byte) {
            out.push(byte);
        } else if byte == b' ' && matches!(keep, Keep::Form) {
            out.push(b'+');
        } else {
            out.push(b'%');
            hex(&[byte], case, out);
        }
    }
}

/// Two digits for each byte.
pub(crate) fn hex(value: &[u8], case: Case, out: &mut Vec<u8>) {
    let letters = match case {
        Case::Lower => b'a',
        Case::Upper => b'A',
    };
    let digit = |nibble: u8| if nibble < 10 { b'0' + nibble } else { letters + nibble - 10 };
    out.extend(value.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]));
}

/// What a JSON writer escapes beyond what it must.
#[derive(Clone, Copy, Debug)]
pub(crate) enum JsonEscapes {
    /// Nothing: quote, backslash and control bytes only (RFC 8259 §7).
    Minimal,
    /// Also `/` as `\/`: PHP.
    Slash,
    /// Also `<`, `>`, `&` as `\u003c`: Go.
    Html,
    /// Also `+`, `'`, a backtick and the quote, as `\u002B`: .NET.
    NonAlphanumeric,
}

/// The inside of a JSON string; at most six bytes for one.
pub(crate) fn json(value: &[u8], escapes: JsonEscapes, out: &mut Vec<u8>) {
    let unicode = |byte: u8, case: Case, out: &mut Vec<u8>| {
        out.extend_from_slice(b"\\u00");
        hex(&[byte], case, out);
    };
    for &byte in value {
        match (byte, escapes) {
            (b'"' | b'+' | b'\'' | b'`' | b'<' | b'>' | b'&', JsonEscapes::NonAlphanumeric) => {
                unicode(byte, Case::Upper, out);
            }
            (b'<' | b'>' | b'&', JsonEscapes::Html) => unicode(byte, Case::Lower, out),
            (b'"' | b'\\', _) | (b'/', JsonEscapes::Slash) => out.extend_from_slice(&[b'\\', byte]),
            (b'\n', _) => out.extend_from_slice(b"\\n"),
            (b'\r', _) => out.extend_from_slice(b"\\r"),
            (b'\t', _) => out.extend_from_slice(b"\\t"),
            (0..=0x1f, _) => unicode(byte, Case::Lower, out),
            _ => out.push(byte),
        }
    }
}

/// A digit's value.
fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// Whether `+` is a space: in queries and forms, not in paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plus {
    Literal,
    Space,
}

/// The bytes that a percent-encoded text stands for; a `%` that begins no escape stands for itself.
pub(crate) fn decode(text: &[u8], plus: Plus) -> std::borrow::Cow<'_, [u8]> {
    if !text.iter().any(|byte| *byte == b'%' || (*byte == b'+' && plus == Plus::Space)) {
        return text.into();
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, behind @ ..] = rest {
        rest = behind;
        match (first, behind) {
            (b'%', [high, low, behind @ ..]) => match (nibble(*high), nibble(*low)) {
                (Some(high), Some(low)) => {
                    decoded.push(high * 16 + low);
                    rest = behind;
                }
                _ => decoded.push(b'%'),
            },
            (b'+', _) if plus == Plus::Space => decoded.push(b' '),
            _ => decoded.push(*first),
        }
    }
    decoded.into()
}
