//! JSON Web Tokens: reading, keys, and what claims become.

pub(crate) mod algorithm;
pub(crate) mod claims;
pub(crate) mod conditions;
pub(crate) mod json;
pub(crate) mod jws;
pub(crate) mod key;
pub(crate) mod key_set;
pub(crate) mod key_source;
pub(crate) mod names;
pub(crate) mod remote;
pub(crate) mod roca;
pub(crate) mod template;
pub(crate) mod verified;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]
mod wycheproof;
