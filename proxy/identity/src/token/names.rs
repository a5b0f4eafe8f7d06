//! What a configuration may call claims: as the token does, or, where a preset knows the issuer, by an attribute's name.

use std::sync::Arc;

use super::claims::ClaimPath;

/// Names that a preset gives to claims, and what it knows of their types.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    /// Attributes, each with the claim that it comes from.
    pub(crate) attributes: Vec<(Arc<str>, ClaimPath)>,
    /// Claims that look like numbers or flags and are texts.
    pub(crate) texts: Vec<ClaimPath>,
}

impl Names {
    /// The claim that a text means.
    pub(crate) fn claim(&self, text: &str) -> Result<ClaimPath, String> {
        match self.attributes.iter().find(|(name, _)| **name == *text) {
            Some((_, claim)) => Ok(claim.clone()),
            None => ClaimPath::parse(text),
        }
    }

    /// Whether an attribute of this name is there already.
    pub(crate) fn has(&self, attribute: &str) -> bool {
        self.attributes.iter().any(|(name, _)| **name == *attribute)
    }
}
