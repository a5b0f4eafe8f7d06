//! The key of the demo API: random, made for one run, worthless after it.

use std::io::Write;
use std::path::Path;

use aws_lc_rs::{constant_time, rand};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use claviger_contract::Secret;
use zeroize::Zeroizing;

use crate::command::Failure;
use crate::command::quickstart::scan::Needles;

/// Makes the key differ from its percent-encoded and JSON-escaped forms, so that they are searched for in earnest.
const PREFIX: &[u8] = b"key/+";

/// The key. Everything that needs its value is a method here, so that the value has no other way out.
pub(crate) struct DemoKey(Secret);

impl DemoKey {
    /// 256 random bits.
    pub(crate) fn generate() -> Result<Self, Failure> {
        let mut random = Zeroizing::new([0; 32]);
        rand::fill(random.as_mut_slice()).map_err(|error| Failure::doing("ask the system for randomness")(&error))?;
        let text = Zeroizing::new(URL_SAFE_NO_PAD.encode(random.as_slice()));
        Ok(Self(Secret::new([PREFIX, text.as_bytes()].concat())))
    }

    /// Whether an API client sent this key. Takes the same time wherever the two differ.
    pub(crate) fn is(&self, presented: &[u8]) -> bool {
        constant_time::verify_slices_are_equal(self.value(), presented).is_ok()
    }

    /// A copy to be sealed.
    pub(crate) fn for_sealing(&self) -> Secret {
        Secret::new(self.value().to_vec())
    }

    /// What to look for to find the key, or a part of it.
    pub(crate) fn needles(&self) -> Needles {
        Needles::of(self.value())
    }

    /// Leaks the key into a file on purpose, to see that the scan finds it.
    pub(crate) fn plant(&self, file: &Path) -> std::io::Result<()> {
        std::fs::OpenOptions::new().append(true).open(file)?.write_all(self.value())
    }

    #[allow(clippy::disallowed_methods, reason = "the demo API compares it, the scan looks for it")]
    fn value(&self) -> &[u8] {
        self.0.expose()
    }
}
