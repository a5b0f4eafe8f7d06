//! JSON Web Tokens: reading, keys, and what claims become.

pub(crate) mod algorithm;
pub(crate) mod claims;
pub(crate) mod conditions;
pub(crate) mod json;
pub(crate) mod jws;
pub(crate) mod key;
pub(crate) mod key_set;
pub(crate) mod key_source;
pub(crate) mod remote;
pub(crate) mod template;
pub(crate) mod verified;
