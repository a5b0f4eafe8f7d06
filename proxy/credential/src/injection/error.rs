//! Why a request could not be given its credential. Nothing of it was sent.

/// Names slots and fields, which stand in the configuration; never a value, nor what the client wrote.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InjectError {
    /// The lease is not of the credential that the grant names, or one of the two is missing.
    #[error("the lease is not of the credential that the rule names")]
    WrongLease,
    /// The credential's hosts do not include the target.
    #[error("the credential is not bound to the target host")]
    NotBound,
    /// An injection names a field that the credential has not.
    #[error("the credential has no field `{field}`")]
    MissingField {
        /// The field, `value` if the injection names none.
        field: String,
    },
    /// The value has bytes that cannot stand there.
    #[error("the credential's value cannot stand in {slot}: {problem}")]
    InvalidValue {
        /// Where it was to go.
        slot: String,
        /// What is wrong with it, without showing it.
        problem: &'static str,
    },
    /// The service is guarded, and the value is too short to be looked for in answers.
    #[error(
        "the credential's value for {slot} is under 12 bytes, too short for the echo guard; use a longer one or `guard = false`"
    )]
    TooShort {
        /// Where it was to go.
        slot: String,
    },
    /// The service has no `inject`, but the rule names a credential.
    #[error("the service has no `inject`, so that the credential has nowhere to go")]
    NoSlot,
    /// The service takes its credential at a placeholder only, and the request has none.
    #[error("the request has no placeholder where the credential could go")]
    PlaceholderAbsent,
    /// The user name is the client's to say, and it said none.
    #[error("the request names no user: it wants `Authorization: Basic` with a user name and any password")]
    UserAbsent,
    /// The client wrote something other than the placeholder into a path slot.
    #[error("the path has another text than the placeholder where the credential goes (`{pattern}`)")]
    PathSlotFilled {
        /// The slot's pattern.
        pattern: String,
    },
    /// Servers disagree whether a parameter that the client wrote is the slot.
    #[error("the query has a parameter that some servers read as `{name}`, where the credential goes")]
    AmbiguousParameter {
        /// The slot's parameter.
        name: String,
    },
    /// The body says that it is JSON and is not.
    #[error("the body has a placeholder, says that it is JSON, and is not")]
    BodyNotJson,
    /// The URI with the credential is longer than a URI may be.
    #[error("the URI with the credential is too long or not a URI")]
    Uri,
}

impl InjectError {
    /// The stable code for records and clients.
    pub fn code(&self) -> &'static str {
        match self {
            Self::WrongLease => "inject_wrong_lease",
            Self::NotBound => "inject_not_bound",
            Self::MissingField { .. } => "inject_field_missing",
            Self::InvalidValue { .. } => "inject_value_invalid",
            Self::TooShort { .. } => "inject_value_too_short",
            Self::NoSlot => "inject_no_slot",
            Self::PlaceholderAbsent => "inject_placeholder_absent",
            Self::UserAbsent => "inject_user_absent",
            Self::PathSlotFilled { .. } => "inject_path_slot_filled",
            Self::AmbiguousParameter { .. } => "inject_parameter_ambiguous",
            Self::BodyNotJson => "inject_body_not_json",
            Self::Uri => "inject_uri_invalid",
        }
    }

    /// Whether the client can mend it by sending another request; if not, the operator must.
    pub fn is_clients(&self) -> bool {
        match self {
            Self::PlaceholderAbsent
            | Self::UserAbsent
            | Self::PathSlotFilled { .. }
            | Self::AmbiguousParameter { .. }
            | Self::BodyNotJson
            | Self::Uri => true,
            Self::WrongLease
            | Self::NotBound
            | Self::MissingField { .. }
            | Self::InvalidValue { .. }
            | Self::TooShort { .. }
            | Self::NoSlot => false,
        }
    }
}
