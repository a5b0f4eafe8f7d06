//! `[listener.X]`, the connection keys of `[service.X]`, and `[limits]`: text once turned into values.

mod limits;
mod listener;
mod service;

pub use limits::Limits;
pub use listener::{AuthenticateAt, Bind, ListenerSettings, Mode, ServerIdentity, Unmatched};
pub use service::ServiceSettings;
