//! A value that must not be seen.

use std::fmt;

use zeroize::Zeroizing;

/// Secret bytes: no `Display`, no `Serialize`, a redacted `Debug`, not `Clone`, wiped on drop.
///
/// Share one by `Arc<Secret>`. The one way to its bytes is [`Secret::expose`], which a lint fences,
/// so that each use is found by its written reason.
pub struct Secret(Zeroizing<Box<[u8]>>);

impl Secret {
    /// Takes the bytes over. A `Vec` with spare capacity is copied once and the original wiped.
    pub fn new(bytes: Vec<u8>) -> Self {
        let bytes = Zeroizing::new(bytes);
        Self(Zeroizing::new(Box::from(bytes.as_slice())))
    }

    /// The bytes, for writing into a request or handing to a cipher; never into anything that prints.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// How many bytes it has.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self::new(text.into_bytes())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_neither_value_nor_length() {
        assert_eq!(format!("{:?}", Secret::from("hunter2-hunter2".to_owned())), "Secret(…)");
    }
}
