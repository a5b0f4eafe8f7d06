//! End-to-end tests over the real binary, of what is hard to get right: hostile peers, changes while
//! requests run, crashes, full disks, and the exact bytes that an upstream sees.

mod addresses;
mod admin;
mod bodies;
mod desync;
mod http2;
mod hygiene;
mod leases;
mod ledger;
mod limits;
mod mtls;
mod root;
mod slots;
mod storm;
mod streams;
mod wire;
