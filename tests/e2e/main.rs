//! End-to-end tests over the real binary.

mod attacks;
mod forward;
mod gateway;
mod ledger;
mod promises;
mod quickstart;
mod raw;
mod reload;
mod streaming;
mod workspace;
