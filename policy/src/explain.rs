//! Why a request is decided as it is.

use std::fmt;

use crate::policy::{Bound, Policy};
use crate::{Context, Target};

/// Why a request is decided as it is; `Display` is text for a person.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Explanation {
    /// Whether the request is allowed.
    pub allowed: bool,
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.allowed { "allowed" } else { "denied" })
    }
}

pub(crate) fn explain(_: &Policy, _: &Bound, _: &Target, _: &http::Method, _: &Context) -> Explanation {
    Explanation { allowed: false }
}
