//! `[listener.X]`, the connection keys of `[service.X]`, and `[limits]`: text once turned into values.

mod check;
mod client;
mod limits;
mod listener;
mod login;
mod service;
mod session;

pub use check::Check;
pub use client::ClientSettings;
pub use limits::Limits;
pub use listener::{AuthenticateAt, Bind, ListenerSettings, Mode, PublicBind, ServerIdentity, Unmatched};
pub use login::{LoginProtocol, LoginSettings, OAuth2Paths};
pub use service::ServiceSettings;
pub use session::SessionSettings;
