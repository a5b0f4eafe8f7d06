//! The attestors as a listener uses them: a configuration text, a chain, proofs.
#![allow(clippy::too_many_lines, reason = "a table of cases is read line by line")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod arbitrary;
mod chain;
mod handshake;
mod jwt;
mod jwt_svid;
mod locality;
mod presets;
mod remote;
mod settings;
mod support;
mod unix_peer;
mod x509;
