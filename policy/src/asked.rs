//! What workloads and rules ask of the attestors, which policy does not know.

use std::sync::Arc;

use crate::document::Location;

/// A name that only an attestor can give a meaning to, and where it stands.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The dotted key, as `workload.app.match.tier`.
    pub key: String,
    /// Where it stands.
    pub location: Location,
    /// What is meant.
    pub wanted: Wanted,
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// An attestor of this name.
    Attestor(Arc<str>),
    /// The address of a client.
    Address,
    /// An attribute.
    Attribute {
        /// Its name.
        name: Arc<str>,
        /// The attestors of which one has to yield it; empty: any.
        of: Vec<String>,
    },
}
