//! Vault and OpenBao as a store and as a source.
