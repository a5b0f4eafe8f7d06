//! What to inject: secret stores, credential sources, the lease cache and injections.
//!
//! A `secret://STORE/NAME` reference is read by a store ([`SealedStore`] is the embedded one); a source
//! turns references into a value with an expiry; the cache holds it as a [`Lease`] and hands it out
//! without waiting; `inject` alone writes it into a request, after it checked the lease's binding.
//!
//! Deliberately absent: nothing here prints, logs or serialises a value, and no configuration widens
//! the hosts that a secret was sealed for.

mod binding;
mod cache;
mod certificate;
mod credentials;
mod digest;
mod error;
#[cfg(test)]
mod fixture;
pub mod guard;
pub mod injection;
mod lease;
mod os;
mod reference;
mod settings;
mod source;
mod store;
mod team;
mod vault;

pub use binding::{BoundHost, BoundHostError};
pub use cache::{LeaseState, Reread};
pub use certificate::LeasedCertificate;
pub use credentials::{CredentialEnv, Credentials, Inventoried, ServiceSecret};
pub use error::{CredentialError, SourceError, StoreError};
pub use guard::{EchoGuard, EchoScanner};
pub use injection::{InjectError, Injected, InjectionPlan, inject, pass_as_sent};
pub use lease::{Lease, LeaseAnswer, LeaseFuture};
pub use reference::{ReferenceError, SecretReference};
pub use source::{Asked, DeviceCode, Granted, Login, LoginError, Polled};
pub use source::{InProcess, Outcome, Renewal, Renewer};
pub use store::Candidate;
pub use store::sealed::{FormerVersion, GrantNote, Rotate, SealedEntry, SealedStore};
pub use team::TeamScope;
