//! What a mint takes from the caller, and so under which key its value is kept.

use claviger_policy::AttributeValue;

use super::Ask;
use crate::cache::Key;
use crate::digest::Digester;

/// What of the caller goes into a mint. In order: each holds what stands before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Needs {
    /// Nothing: one value for everyone.
    #[default]
    Nothing,
    /// Who it is: the principal, with all that is attested of it.
    Principal,
    /// The very proof that it showed.
    Proof,
}

impl Needs {
    /// The key of a value that is minted for this caller: another principal never has the same, and where the proof
    /// itself is exchanged, another proof neither.
    pub(super) fn key(self, ask: Ask<'_>) -> Key {
        let digester = match self {
            Self::Nothing => return Key::Shared,
            Self::Principal => Digester::new("of the principal"),
            Self::Proof => Digester::new("of the proof").field("proof", ask.caller.proof.digest.0),
        };
        let principal = &ask.caller.principal;
        let mut digester =
            digester.field("id", principal.id.as_str()).field("attested_by", principal.attested_by.as_bytes());
        for (name, value) in principal.attributes.iter() {
            digester = digester.field("attribute", name);
            digester = match value {
                AttributeValue::String(text) => digester.field("text", text.as_bytes()),
                AttributeValue::Integer(number) => digester.field("integer", number.to_be_bytes()),
                AttributeValue::Boolean(flag) => digester.field("flag", [u8::from(*flag)]),
                AttributeValue::Strings(texts) => {
                    texts.iter().fold(digester, |digester, text| digester.field("one of", text.as_bytes()))
                }
            };
        }
        Key::Caller(digester.finish())
    }
}
