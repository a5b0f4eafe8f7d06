//! The echo guard: an upstream that reflects the injected value does not thereby hand it to the client.
//!
//! Each value of at least [`GUARDED_MIN`] bytes is compiled into the forms in which servers reflect
//! what they were sent: plain; base64, standard and URL-safe, in all three alignments; hexadecimal;
//! percent-encoded by the usual rules; escaped as a JSON string; and base64 escaped once more by JSON
//! or a URL. Every occurrence is overwritten by `*` at the same length, so that no framing changes.
//!
//! What it cannot see, and no scanner of bytes can:
//! - a value that was cut, split by other text (also base64 with line breaks), reversed or hashed;
//! - compressed or encrypted content: the wire asks guarded upstreams for the identity encoding;
//! - encodings that are not listed: UTF-16, HTML entities, base32, a second layer of escapes;
//! - the up to four bits of a value's first and last byte that share a base64 character with a neighbour;
//! - header names and the reason phrase, which hold no header value: the wire forwards no reason phrase.
//!
//! Memory: the forms are wiped when the last guard or scanner is dropped. The search library keeps
//! its own copy of the first four bytes of each form, and that copy is freed without being wiped.

mod forms;
mod needles;
mod scanner;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use claviger_contract::Secret;
use http::HeaderValue;

use self::needles::Needles;
pub use self::scanner::EchoScanner;

/// The shortest value that is guarded, in bytes: a shorter one occurs by chance, and masking it would damage answers.
pub const GUARDED_MIN: usize = 12;

/// Whether the guard can look for this value. A guarded service refuses a credential that it cannot.
pub fn can_guard(value: &Secret) -> bool {
    value.len() >= GUARDED_MIN
}

/// The compiled forms of a lease's values. Cheap to clone; compile it once per lease.
#[derive(Clone)]
pub struct EchoGuard {
    needles: Arc<Needles>,
}

impl EchoGuard {
    /// Compiles the forms of each value that [`can_guard`] accepts; shorter ones are not looked for.
    pub fn new(values: &[&Secret]) -> Self {
        let mut all = Vec::new();
        for value in values.iter().filter(|value| can_guard(value)) {
            #[allow(clippy::disallowed_methods, reason = "the forms of the value are what the guard looks for")]
            forms::compile(value.expose(), &mut all);
        }
        Self { needles: Arc::new(Needles::new(all)) }
    }

    /// Whether there is nothing to look for: the caller may leave the guard out.
    pub fn is_empty(&self) -> bool {
        self.needles.is_empty()
    }

    /// The value with every occurrence masked; `None` if there is none and the value may pass as it is.
    ///
    /// For each value of an answer's headers and trailers.
    pub fn mask_header(&self, value: &HeaderValue) -> Option<HeaderValue> {
        if value.len() < self.needles.shortest() {
            return None;
        }
        let mut spans = Vec::new();
        self.needles.scan(value.as_bytes(), usize::MAX, |span| spans.push(span));
        if spans.is_empty() {
            return None;
        }
        let mut bytes = value.as_bytes().to_vec();
        spans.into_iter().for_each(|span| mask(&mut bytes, span));
        // `*` is allowed in any header value, so this cannot fail; if it did, nothing of the value passes.
        let mut masked = HeaderValue::from_bytes(&bytes).unwrap_or(HeaderValue::from_static("*"));
        masked.set_sensitive(value.is_sensitive());
        Some(masked)
    }

    /// A masker for one body.
    pub fn scanner(&self) -> EchoScanner {
        EchoScanner::new(self.needles.clone())
    }
}

impl fmt::Debug for EchoGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EchoGuard(…)")
    }
}

/// Overwrites a span; what lies outside of the bytes is left to the caller.
fn mask(bytes: &mut [u8], span: std::ops::Range<usize>) {
    let end = span.end.min(bytes.len());
    if let Some(covered) = bytes.get_mut(span.start..end) {
        covered.fill(b'*');
    }
}
