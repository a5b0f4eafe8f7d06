//! `kind = "oauth2"` against real authorization servers.

mod authentication;
mod exchange;
mod scene;
