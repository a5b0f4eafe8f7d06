//! Clients that log in themselves, and never see a token.

mod leaks;
mod life;
mod oauth2;
mod scene;
mod stolen;
mod vault;
