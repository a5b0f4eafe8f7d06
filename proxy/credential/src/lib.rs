//! What to inject: secret stores, credential sources, the lease cache and injections.

pub mod guard;
pub mod injection;
