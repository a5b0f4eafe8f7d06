//! The ledger as its users see it: what is pushed is found, in order, once; what is changed is noticed.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking, and child processes talk over standard output"
)]

mod crash;
mod disk;
mod producers;
mod reading;
mod rotation;
mod searching;
mod support;
mod tampering;
