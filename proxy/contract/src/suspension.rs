//! What an operator has stopped, and where that is kept. It is state, not configuration: a reload neither makes nor
//! ends it.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use async_trait::async_trait;

/// What can be suspended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Suspendable {
    /// Callers, by a SPIFFE ID or a pattern of IDs.
    Principal,
    /// `[credential.NAME]`.
    Credential,
    /// `[service.NAME]`.
    Service,
}

impl Suspendable {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Principal, Self::Credential, Self::Service];

    /// The word in commands, records and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Principal => "principal",
            Self::Credential => "credential",
            Self::Service => "service",
        }
    }
}

impl fmt::Display for Suspendable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that is none of [`Suspendable`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` cannot be suspended; write `principal`, `credential` or `service`")]
pub struct NotSuspendable(pub String);

impl FromStr for Suspendable {
    type Err = NotSuspendable;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|one| one.as_str() == text).ok_or_else(|| NotSuspendable(text.to_owned()))
    }
}

/// Something that is stopped until it is resumed, or until its time is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suspension {
    /// What kind of thing.
    pub kind: Suspendable,
    /// Of a principal a SPIFFE ID or a pattern (`spiffe://acme.internal/payments/**`), else the name in the
    /// configuration (`billing`, `payments/crm`).
    pub name: Arc<str>,
    /// Why, in the operator's words; goes to the ledger.
    pub reason: Option<Arc<str>>,
    /// Who did it.
    pub actor: Arc<str>,
    /// Since when, in milliseconds since the Unix epoch.
    pub since_ms: i64,
    /// When it ends by itself, in milliseconds since the Unix epoch.
    pub until_ms: Option<i64>,
}

impl Suspension {
    /// Whether it still holds.
    pub fn holds_at(&self, now_ms: i64) -> bool {
        self.until_ms.is_none_or(|until| now_ms < until)
    }
}

impl fmt::Display for Suspension {
    /// As in a record: what is suspended, by whom, and why.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} `{}` is suspended by {}", self.kind, self.name, self.actor)?;
        match &self.reason {
            Some(reason) => write!(f, ": {reason}"),
            None => Ok(()),
        }
    }
}

/// One change of the state, until a ledger has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateChange {
    /// Counts up.
    pub number: i64,
    /// When, in milliseconds since the Unix epoch.
    pub at_ms: i64,
    /// Who.
    pub actor: Arc<str>,
    /// What.
    pub kind: StateChangeKind,
    /// Which thing, and more: what a record's detail says.
    pub detail: Arc<str>,
}

/// What was done to the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateChangeKind {
    /// Something was suspended, or its suspension was given another reason or end.
    Suspended,
    /// A suspension was ended, by somebody or by its time.
    Resumed,
}

impl StateChangeKind {
    /// The word in records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Suspended => "suspended",
            Self::Resumed => "resumed",
        }
    }
}

/// Why the state cannot be read or changed. Holds no secret: there is none in the state.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// It cannot be opened at all.
    #[error("failed to open the state `{place}`: {why}")]
    Open {
        /// The file or address.
        place: String,
        /// What happened.
        why: String,
    },
    /// A later version made it.
    #[error("the state `{place}` is of version {found}, and this Claviger knows versions up to {known}")]
    Newer {
        /// The file or address.
        place: String,
        /// Its version.
        found: i64,
        /// The last one that this program knows.
        known: i64,
    },
    /// It was there and is not any more, or does not answer.
    #[error("the state `{place}` cannot be used: {why}")]
    Away {
        /// The file or address.
        place: String,
        /// What happened.
        why: String,
    },
}

/// What the replicas of an installation share. One process has it to itself in a file; several share a database.
///
/// Whoever calls it waits for a disk or a network: it is for the control plane, never for the path of a request.
#[async_trait]
pub trait SharedState: Send + Sync + fmt::Debug {
    /// All suspensions, also those whose time is over and that nobody took away yet.
    async fn suspensions(&self) -> Result<Vec<Suspension>, StateError>;

    /// Suspends; what is suspended already is given the new reason and end. Yields the suspension that it replaced.
    async fn suspend(&self, suspension: &Suspension) -> Result<Option<Suspension>, StateError>;

    /// Ends a suspension. Yields it; `None` if there was none.
    async fn resume(
        &self,
        kind: Suspendable,
        name: &str,
        actor: &str,
        now_ms: i64,
    ) -> Result<Option<Suspension>, StateError>;

    /// Takes away what has ended by itself. Yields it; of several replicas one does.
    async fn expire(&self, now_ms: i64) -> Result<Vec<Suspension>, StateError>;

    /// Changes that no ledger has yet, the oldest first.
    async fn unrecorded(&self) -> Result<Vec<StateChange>, StateError>;

    /// A ledger has all changes up to this number.
    async fn recorded(&self, number: i64) -> Result<(), StateError>;
}
