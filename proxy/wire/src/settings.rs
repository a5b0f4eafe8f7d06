//! `[listener.X]`, the connection keys of `[service.X]`, and `[limits]`: text once turned into values.

mod check;
mod client;
mod limits;
mod listener;
mod service;
mod session;

pub use check::Check;
pub use client::ClientSettings;
pub use limits::Limits;
pub use listener::{AuthenticateAt, Bind, ListenerSettings, Mode, ServerIdentity, Unmatched};
pub use service::ServiceSettings;
pub use session::SessionSettings;
