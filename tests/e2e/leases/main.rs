//! The life of leases: issuers that fail, values that end, client certificates.

mod certificates;
mod faults;
mod life;
mod scene;
