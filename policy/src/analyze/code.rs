//! The catalogue of findings. Codes are never renumbered or reused.

use std::fmt;

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Worth knowing: tidy up, or note why it is so.
    Notice,
    /// More is allowed, or more can go wrong, than it seems.
    Warning,
    /// What is written cannot do what it says.
    Error,
}

impl Level {
    /// `error`, `warning` or `notice`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Notice => "notice",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

macro_rules! codes {
    ($($variant:ident = $id:literal, $level:ident, $title:literal;)*) => {
        /// What sort of thing was found. The hundreds group: 00 at load, 01 rules, 02 identities, 03 secrets and
        /// credentials, 04 services and transport, 05 teams, 09 suppressions.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $(#[doc = $title] $variant,)*
        }

        impl Code {
            /// All of them, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The stable code, as `CLV0101`.
            pub fn id(self) -> &'static str {
                match self { $(Self::$variant => $id,)* }
            }

            /// How much it matters.
            pub fn level(self) -> Level {
                match self { $(Self::$variant => Level::$level,)* }
            }

            /// What it means, in a few words.
            pub fn title(self) -> &'static str {
                match self { $(Self::$variant => $title,)* }
            }
        }
    };
}

codes! {
    AtLoad = "CLV0001", Warning, "loading warned of it";

    NeverMatches = "CLV0101", Error, "the conditions of a rule exclude each other";
    OnlyUnknown = "CLV0102", Error, "a deny fires only where something is unknown";
    Shadowed = "CLV0103", Warning, "a rule never decides, because others always do";
    Redundant = "CLV0104", Notice, "without the rule every answer is the same";
    Ambiguous = "CLV0105", Warning, "two allows may want different credentials";
    NeedsList = "CLV0106", Warning, "the conditions hold together only for a list of values";
    OperationUnreachable = "CLV0107", Warning, "an operation that no request can be";
    BodyOfNoBody = "CLV0108", Warning, "a condition on the body of requests that have none";
    NoMoment = "CLV0109", Warning, "no moment was found at which the rule holds";
    EverythingToEveryone = "CLV0110", Warning, "everyone may do everything with a credential";
    EveryOperation = "CLV0111", Notice, "every operation, where the service has named sets";
    EveryService = "CLV0112", Warning, "a credential for every service, also for later ones";
    Expired = "CLV0120", Warning, "a rule has expired";
    ExpiresSoon = "CLV0121", Notice, "a rule expires soon";
    NotYetValid = "CLV0122", Notice, "a rule does not hold yet";
    DenyOnUnknown = "CLV0130", Warning, "a deny fires for every caller of an attestor";
    NeverKnown = "CLV0131", Error, "a condition on what is never known of these callers";
    AddressUnknown = "CLV0132", Warning, "a condition on an address that a Unix socket does not have";
    AddressLoopback = "CLV0133", Notice, "a condition on addresses that no listener sees";
    NotEnforced = "CLV0140", Notice, "a rule is only observed";
    NoReason = "CLV0141", Notice, "a deny does not say why";
    ScheduleUnused = "CLV0150", Notice, "no rule uses the schedule";

    NotAttested = "CLV0201", Error, "nothing attests the identities of a workload";
    AttestorNotAsked = "CLV0202", Warning, "a workload wants an attestor that no listener asks";
    BroadWorkload = "CLV0203", Warning, "a workload that a credential is for is nearly everyone";
    WorkloadUnused = "CLV0204", Notice, "no rule names the workload";
    AttestorUnused = "CLV0205", Notice, "no listener asks the attestor";
    ForeignCredential = "CLV0206", Notice, "another trust domain may use a credential";
    MatchNeverKnown = "CLV0207", Error, "an attribute that is never known of the workload";

    CredentialUnused = "CLV0301", Notice, "no rule uses the credential";
    BindingWide = "CLV0302", Warning, "a credential is bound to more than is used";
    SeveralOwners = "CLV0303", Warning, "one credential goes to hosts of several owners";
    BindingInConfiguration = "CLV0304", Notice, "only the configuration says where a secret may go";
    CredentialInUrl = "CLV0305", Notice, "a credential stands in the URL";
    NothingInjected = "CLV0306", Error, "a credential for a service that injects none";
    HostUnbound = "CLV0307", Warning, "a credential is not bound to a host of the service";

    CleartextCredential = "CLV0401", Warning, "a credential is sent in clear text";
    Cleartext = "CLV0402", Notice, "a service is spoken to in clear text";
    WildcardHost = "CLV0403", Notice, "a credential goes to every host below a name";
    PublicSuffix = "CLV0404", Error, "hosts below a name that anyone can register under";
    GuardOff = "CLV0405", Warning, "answers are not searched for the credential";
    ServiceWithoutRule = "CLV0406", Notice, "no rule allows anything at the service";
    Tunnel = "CLV0407", Warning, "unknown hosts pass unseen";
    ListenerNotEnforced = "CLV0408", Warning, "a listener refuses nothing";
    AdminExposed = "CLV0409", Warning, "the admin listener is open to the network";
    AddressesWide = "CLV0410", Warning, "addresses are allowed that lead to the machine itself";
    SocketOpen = "CLV0411", Notice, "every local user may connect to the socket";
    LoosePaths = "CLV0412", Warning, "rules by path where the upstream may read paths otherwise";

    SuppressionExpired = "CLV0901", Warning, "a suppression has expired";
    SuppressionUnused = "CLV0902", Notice, "a suppression suppresses nothing";
}

impl Code {
    /// The code of this id.
    pub fn find(id: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.id() == id)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_in_order_and_stand_once() {
        let ids: Vec<&str> = Code::ALL.iter().map(|code| code.id()).collect();
        assert!(ids.is_sorted_by(|a, b| a < b), "{ids:?}");
        for id in ids {
            assert!(id.len() == 7 && id.starts_with("CLV"), "{id}");
            assert_eq!(Code::find(id).map(Code::id), Some(id));
        }
        assert_eq!(Code::find("CLV0000"), None);
    }
}
