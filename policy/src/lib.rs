//! Pure, identity-based, deny-by-default authorisation: text in, decision out.
//!
//! No I/O, no clock, no async, no logging: what a decision depends on is given.
//!
//! A configuration is read with [`document`], [`ServiceRoute::take`] and [`compile`]; a request is
//! canonicalised by [`Policy::canonicalize`], its caller bound once by [`Policy::bind`], and each
//! request judged by [`Policy::decide`], which alone makes a [`Grant`].

pub mod analyze;
mod asked;
mod compile;
mod condition;
mod decide;
pub mod document;
mod explain;
mod grant;
mod narrow;
mod pattern;
mod policy;
mod principal;
mod rule;
mod schedule;
mod service;
mod suggest;
mod target;
mod team;
mod unenforced;
mod value;
mod workload;

pub use asked::{Asked, Wanted};
pub use compile::{
    CredentialFacts, Inputs, TestCase, TestOutcome, TestResult, compile, compile_untested, compile_with,
};
pub use explain::{Cited, Explanation, Near, Recorded};
pub use grant::{
    BodyFacts, CredentialUse, Decision, Denial, Effect, Fact, Grant, Obligations, Observed, Pending, Reason, Waived,
};
pub use narrow::Narrowing;
pub use policy::{Bound, Policy};
pub use principal::{
    AttributeValue, Attributes, Context, Principal, SpiffeId, SpiffeIdError, TrustDomain, check_segment,
};
pub use service::{HostPattern, HostPatternError, ServiceRoute};
pub use suggest::{NewWorkload, SuggestFor, Suggestion, Unsuggested};
pub use target::{Authority, Host, PATH_AND_QUERY_MAX, PathMode, Scheme, Target, TargetError};
pub use team::Team;
pub use unenforced::Unenforced;
pub use workload::IdPattern;
