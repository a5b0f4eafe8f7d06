//! The types and traits that the parts of Claviger share.
