//! X.509-SVIDs. Stock certificate validation is not SVID validation: what SPIFFE adds stands in `certificate`.

pub(crate) mod bundle;
pub(crate) mod certificate;
pub(crate) mod path;
pub(crate) mod revocation;
pub(crate) mod verifier;
