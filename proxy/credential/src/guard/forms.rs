//! The forms in which a server may reflect a value.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

use crate::injection::encode::{self, Case, Keep};

/// One form, wiped on drop.
pub(super) type Form = Zeroizing<Vec<u8>>;

/// Adds every form of a value; the same bytes may be added more than once.
pub(super) fn compile(value: &[u8], out: &mut Vec<Form>) {
    out.push(Zeroizing::new(value.to_vec()));
    for case in [Case::Lower, Case::Upper] {
        out.push(written(value, 2, |out| encode::hex(value, case, out)));
    }
    percent(value, out);
    json(value, out);
    for lead in 0..3 {
        base64(value, lead, out);
    }
}

/// Builds a form in a buffer that never grows, so that no unwiped copy is left behind.
fn written(value: &[u8], factor: usize, write: impl FnOnce(&mut Vec<u8>)) -> Form {
    let mut form = Zeroizing::new(Vec::with_capacity(value.len() * factor));
    write(&mut form);
    form
}

fn percent(value: &[u8], out: &mut Vec<Form>) {
    for case in [Case::Lower, Case::Upper] {
        for keep in
            [Keep::Nothing, Keep::Unreserved, Keep::Quote, Keep::Component, Keep::Form, Keep::Segment, Keep::Path]
        {
            out.push(written(value, 3, |out| encode::percent(value, keep, case, out)));
        }
    }
}

fn json(value: &[u8], out: &mut Vec<Form>) {
    use encode::JsonEscapes::{Html, Minimal, NonAlphanumeric, Slash};
    for escapes in [Minimal, Slash, Html, NonAlphanumeric] {
        out.push(written(value, 6, |out| encode::json(value, escapes, out)));
    }
}

/// The characters of base64 that depend on the value alone when `lead` bytes (mod 3) stand before it.
fn base64(value: &[u8], lead: usize, out: &mut Vec<Form>) {
    let mut text = Zeroizing::new(vec![0; lead]);
    text.reserve_exact(value.len());
    text.extend_from_slice(value);
    // A character holds six bits: those of the lead end within character `lead * 8 / 6`, and the last
    // is whole only if six bits of the value fill it.
    let whole = (lead * 8).div_ceil(6)..text.len() * 8 / 6;
    for engine in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
        let mut encoded = Zeroizing::new(vec![0; text.len() * 4 / 3 + 4]);
        // The buffer is larger than any encoding of the text, so this cannot fail.
        if engine.encode_slice(text.as_slice(), &mut encoded).is_err() {
            continue;
        }
        let form = Zeroizing::new(encoded.get(whole.clone()).unwrap_or_default().to_vec());
        if form.iter().any(|byte| matches!(byte, b'+' | b'/')) {
            percent(&form, out);
            json(&form, out);
        }
        out.push(form);
    }
}
