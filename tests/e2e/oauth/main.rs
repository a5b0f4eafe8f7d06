//! `kind = "oauth2"` against real authorization servers.

mod actor;
mod assertion;
mod authentication;
mod exchange;
mod generic;
mod revocation;
mod scene;
