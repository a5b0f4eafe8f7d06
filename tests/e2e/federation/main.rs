//! `kind = "federation"`: destinations that need no stored secret, by their official clients; and placeholders that tell on
//! a thief.
//!
//! The token endpoints of the providers cannot be run here. The doubles follow their published APIs: every parameter, the
//! signature by the issuer's key set, issuer, audience, times, and each `jti` once.

mod canaries;
mod double;
mod providers;
mod stage;
mod strict;
