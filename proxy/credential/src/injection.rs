//! Writes credentials into requests.

pub(crate) mod encode;
