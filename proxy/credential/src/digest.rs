//! SHA-256 over fields that cannot run into each other.

use aws_lc_rs::digest::{Context, SHA256};

/// 32 bytes.
pub(crate) type Digest = [u8; 32];

/// Collects named fields. For configuration: never given a secret.
pub(crate) struct Digester(Context);

impl Digester {
    pub(crate) fn new(purpose: &str) -> Self {
        Self(Context::new(&SHA256)).field("purpose", purpose)
    }

    pub(crate) fn field(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        for part in [name.as_bytes(), value.as_ref()] {
            self.0.update(&(part.len() as u64).to_be_bytes());
            self.0.update(part);
        }
        self
    }

    pub(crate) fn fields<T: std::fmt::Display>(self, name: &str, values: impl IntoIterator<Item = T>) -> Self {
        values.into_iter().fold(self, |digester, value| digester.field(name, value.to_string()))
    }

    pub(crate) fn finish(self) -> Digest {
        let mut digest = [0; 32];
        // The lengths are equal: SHA-256 has 32 bytes.
        digest.copy_from_slice(self.0.finish().as_ref());
        digest
    }
}

/// `bytes` random bytes in hexadecimal: versions, which must say nothing about a value.
pub(crate) fn random_hex() -> String {
    let bytes: [u8; 8] = random();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A number from 0 up to 1, for jitter.
pub(crate) fn random_fraction() -> f64 {
    f64::from(u32::from_le_bytes(random())) / (f64::from(u32::MAX) + 1.0)
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    // Fails on no supported platform after start-up; without randomness versions and jitter are only
    // less good, and nothing secret rests on them.
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    bytes
}
