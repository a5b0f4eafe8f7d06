//! `claviger login` and refresh tokens against a real authorization server that gives each refresh token out once, and ends
//! the grant when one is used twice.

mod gate;
mod killed;
mod lifecycle;
mod logins;
mod scene;
mod shared;
