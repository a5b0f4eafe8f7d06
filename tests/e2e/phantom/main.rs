//! Clients that log in themselves, and never see a token.
