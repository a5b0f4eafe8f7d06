//! The types and traits that the parts of Claviger share. No logic beyond what keeps a type's promise.
//!
//! `identity`, `credential` and `ledger` never depend on each other: what they need of one another
//! stands here, and the binary's composition root joins it.

pub mod clock;
pub mod event;
pub mod moment;
pub mod outbound;
pub mod path;
pub mod proof;
pub mod secret;
pub mod secretless;
pub mod subject_tokens;
pub mod suspension;

pub use clock::{Clock, ManualClock, SystemClock};
pub use event::{Event, EventSink};
pub use moment::Moment;
pub use outbound::{ClientCertificate, Outbound, OutboundError, OutboundRequest, OutboundResponse, Reach};
pub use proof::{Attested, Proof, ProofDigest};
pub use secret::Secret;
pub use secretless::Secretless;
pub use subject_tokens::{NoIssuer, SubjectToken, SubjectTokenError, SubjectTokens, TokenAsk};
pub use suspension::{SharedState, StateChange, StateChangeKind, StateError, Suspendable, Suspension};
