//! `claviger login` and refresh tokens against a real authorization server.
