//! Pure, identity-based, deny-by-default authorisation: text in, decision out.
//!
//! No I/O, no clock, no async, no logging: what a decision depends on is given.

pub mod document;
mod principal;

pub use principal::{
    AttributeValue, Attributes, Context, Principal, SpiffeId, SpiffeIdError, TrustDomain, check_segment,
};
