//! The life of leases: issuers that fail, values that end, client certificates.
