//! Signature algorithms (RFC 7518 §3.1, RFC 8037 §3.1): asymmetric ones only.

use claviger_policy::document::{Diagnostics, Table};

/// An algorithm that a token may be signed with.
///
/// `none` and the HMAC family cannot be expressed: no configuration and no token can bring them in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Algorithm {
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    Es512,
    EdDsa,
}

const ALL: &[(&str, Algorithm)] = &[
    ("RS256", Algorithm::Rs256),
    ("RS384", Algorithm::Rs384),
    ("RS512", Algorithm::Rs512),
    ("PS256", Algorithm::Ps256),
    ("PS384", Algorithm::Ps384),
    ("PS512", Algorithm::Ps512),
    ("ES256", Algorithm::Es256),
    ("ES384", Algorithm::Es384),
    ("ES512", Algorithm::Es512),
    ("EdDSA", Algorithm::EdDsa),
];

/// What JWT-SVIDs may be signed with (JWT-SVID §2.1).
pub(crate) const JWT_SVID: &[Algorithm] = &[
    Algorithm::Rs256,
    Algorithm::Rs384,
    Algorithm::Rs512,
    Algorithm::Ps256,
    Algorithm::Ps384,
    Algorithm::Ps512,
    Algorithm::Es256,
    Algorithm::Es384,
    Algorithm::Es512,
];

impl Algorithm {
    /// By its registered name, case-sensitively.
    pub(crate) fn named(name: &str) -> Option<Self> {
        ALL.iter().find(|(known, _)| *known == name).map(|(_, algorithm)| *algorithm)
    }

    /// All of them.
    pub(crate) fn all() -> Vec<Self> {
        ALL.iter().map(|(_, algorithm)| *algorithm).collect()
    }
}

/// Takes `algorithms`; absent: all of them.
pub(crate) fn take(table: &mut Table, out: &mut Diagnostics) -> Vec<Algorithm> {
    let key = table.key_of("algorithms");
    let place = table.location().clone();
    let Some(names) = table.strings("algorithms", out) else { return Algorithm::all() };
    let mut algorithms = Vec::new();
    if names.is_empty() {
        out.error(&place, key.clone(), "the list is empty, so that no token is ever good")
            .help("leave the key out for all algorithms");
    }
    for name in names {
        if let Some(algorithm) = Algorithm::named(&name.value) {
            algorithms.push(algorithm);
            continue;
        }
        let wrong = if name.value.starts_with("HS") {
            "signs with a shared secret, so that whoever verifies could also sign"
        } else if name.value.eq_ignore_ascii_case("none") {
            "is no signature"
        } else {
            "is not an algorithm that is supported here"
        };
        let all: Vec<&str> = ALL.iter().map(|(name, _)| *name).collect();
        out.error(&name.location, key.clone(), format!("`{}` {wrong}", name.value))
            .help(format!("write some of {}", all.join(", ")));
    }
    algorithms
}
