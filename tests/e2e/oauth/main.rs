//! `kind = "oauth2"` against real authorization servers.
