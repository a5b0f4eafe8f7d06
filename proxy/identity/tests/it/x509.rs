//! The MUSTs for a validator of X.509-SVIDs, by their numbers in SPIFFE's order, each with a near miss.

pub(crate) mod authority;
mod bundles;
mod leaves;
mod paths;

pub(crate) use authority::{Authority, LeafParams};
