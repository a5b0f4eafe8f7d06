//! The life of leases: issuers that fail, values that end, upstreams that refuse, client certificates.

mod certificates;
mod faults;
mod front;
mod life;
mod refused;
mod scene;
