//! Leases at hand.

/// Under which a lease is kept within its credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Key {
    /// One value for everyone.
    Shared,
}
