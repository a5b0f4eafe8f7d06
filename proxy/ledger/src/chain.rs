//! The hash chain: each line carries the hash of the one before and its own.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};

/// What precedes the hash at the end of a line.
pub(crate) const HASH_KEY: &[u8] = b",\"hash\":\"";
/// What precedes the hash of the line before.
pub(crate) const PREV_KEY: &[u8] = b",\"prev\":\"";
const LINE_END: &[u8] = b"\"}";
const HEX_LEN: usize = 64;

/// The `hash` of a line: lower-case hexadecimal, as it is written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Link([u8; HEX_LEN]);

impl Link {
    /// What the first record of a chain follows.
    pub(crate) const GENESIS: Self = Self([b'0'; HEX_LEN]);

    pub(crate) fn of(bytes: &[u8]) -> Self {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut hex = [b'0'; HEX_LEN];
        for (pair, byte) in hex.chunks_exact_mut(2).zip(digest(&SHA256, bytes).as_ref()) {
            if let [high, low] = pair {
                *high = DIGITS.get(usize::from(byte >> 4)).copied().unwrap_or(b'0');
                *low = DIGITS.get(usize::from(byte & 15)).copied().unwrap_or(b'0');
            }
        }
        Self(hex)
    }

    /// Upper-case digits are refused: one digest has one spelling, so that no edited byte goes unseen.
    pub(crate) fn parse(hex: &[u8]) -> Option<Self> {
        let hex: [u8; HEX_LEN] = hex.try_into().ok()?;
        hex.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')).then_some(Self(hex))
    }

    fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The last record of a chain. Kept elsewhere (a ticket, another machine, a transparency log), it
/// anchors the chain: whoever cuts records off its end is found.
///
/// Shape: `SEQ:HASH`, as `1042:9f86d0…`; `0:000…` for an empty chain.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Head {
    pub(crate) seq: u64,
    pub(crate) link: Link,
}

impl Head {
    pub(crate) const GENESIS: Self = Self { seq: 0, link: Link::GENESIS };

    /// The sequence number of the last record, from 1; 0 if there is none.
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// The hash of the last record: 64 hexadecimal digits.
    pub fn hash(&self) -> &str {
        self.link.as_str()
    }

    /// Appends a record with its line break to `line`, and moves on to it.
    ///
    /// `body` is the record's fields as a JSON object with at least one field.
    pub(crate) fn append(&mut self, body: &[u8], line: &mut Vec<u8>) {
        let start = line.len();
        let seq = self.seq + 1;
        line.extend_from_slice(b"{\"seq\":");
        line.extend_from_slice(itoa::Buffer::new().format(seq).as_bytes());
        line.push(b',');
        line.extend_from_slice(body.get(1..body.len().saturating_sub(1)).unwrap_or_default());
        line.extend_from_slice(PREV_KEY);
        line.extend_from_slice(&self.link.0);
        line.push(b'"');
        let link = Link::of(line.get(start..).unwrap_or_default());
        line.extend_from_slice(HASH_KEY);
        line.extend_from_slice(&link.0);
        line.extend_from_slice(b"\"}\n");
        *self = Self { seq, link };
    }
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.seq, self.hash())
    }
}

impl fmt::Debug for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not `SEQ:HASH`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an anchor is a number, `:` and 64 hexadecimal digits in lower case")]
pub struct HeadError;

impl std::str::FromStr for Head {
    type Err = HeadError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (seq, hash) = text.split_once(':').ok_or(HeadError)?;
        let link = Link::parse(hash.as_bytes()).ok_or(HeadError)?;
        Ok(Self { seq: seq.parse().map_err(|_| HeadError)?, link })
    }
}

/// The parts of a line that the chain is made of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sealed {
    pub(crate) prev: Link,
    pub(crate) link: Link,
    /// Whether `link` is the hash of the line's bytes.
    pub(crate) intact: bool,
}

impl Sealed {
    /// Reads a line without its line break; `None` if it does not end as a record does.
    pub(crate) fn read(line: &[u8]) -> Option<Self> {
        let rest = line.strip_suffix(LINE_END)?;
        let (rest, hash) = rest.split_at_checked(rest.len().checked_sub(HEX_LEN)?)?;
        let link = Link::parse(hash)?;
        let hashed = rest.strip_suffix(HASH_KEY)?;
        let rest = hashed.strip_suffix(b"\"")?;
        let (rest, prev) = rest.split_at_checked(rest.len().checked_sub(HEX_LEN)?)?;
        rest.strip_suffix(PREV_KEY)?;
        Some(Self { prev: Link::parse(prev)?, link, intact: Link::of(hashed) == link })
    }
}

/// The sequence number with which a line starts, spelled as it is written.
pub(crate) fn read_seq(line: &[u8]) -> Option<u64> {
    let rest = line.strip_prefix(b"{\"seq\":")?;
    let digits = rest.iter().position(|b| !b.is_ascii_digit())?;
    let (digits, rest) = rest.split_at_checked(digits)?;
    rest.strip_prefix(b",")?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_hashes_to_what_sha256sum_says() {
        let mut head = Head::GENESIS;
        let mut line = Vec::new();
        head.append(br#"{"at":"x","type":"t"}"#, &mut line);
        let hashed = format!(r#"{{"seq":1,"at":"x","type":"t","prev":"{}""#, "0".repeat(64));
        // printf '%s' '{"seq":1,…"' | sha256sum
        let known = "27e5bf669b395170efec7f3ed643136c4cdcd3759f8d10e44a34881071b7cf5d";
        assert_eq!(String::from_utf8(line.clone()).unwrap(), format!("{hashed},\"hash\":\"{known}\"}}\n"));
        assert_eq!((head.seq(), head.hash()), (1, known));

        let sealed = Sealed::read(line.trim_ascii_end()).unwrap();
        assert!(sealed.intact);
        assert_eq!((sealed.prev, sealed.link), (Link::GENESIS, head.link));
        assert_eq!(read_seq(&line), Some(1));
    }

    #[test]
    fn heads_have_one_spelling() {
        let head: Head = format!("7:{}", "ab".repeat(32)).parse().unwrap();
        assert_eq!(head.to_string(), format!("7:{}", "ab".repeat(32)));
        for wrong in ["", "7", "7:ab", &format!("x:{}", "ab".repeat(32)), &format!("7:{}", "AB".repeat(32))] {
            assert_eq!(wrong.parse::<Head>(), Err(HeadError), "{wrong}");
        }
    }
}
