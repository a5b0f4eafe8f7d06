//! What a mint takes from the caller, and so under which key its value is kept.

use std::cell::RefCell;
use std::ptr;
use std::sync::{Arc, Weak};

use claviger_contract::{Attested, Proof};
use claviger_policy::{AttributeValue, Principal};

use super::Ask;
use crate::cache::Key;
use crate::digest::{Digest, Digester};

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

/// So many callers a core knows at a time; a digest over all that is attested of one takes longer than the look-up that it is for.
const KNOWN_MAX: usize = 64;

thread_local! {
    static KNOWN: RefCell<[Option<Known>; KNOWN_MAX]> = const { RefCell::new([const { None }; KNOWN_MAX]) };
}

/// A caller whose key was digested. One that comes again has the very same principal and proof, which nobody can change. They
/// are held weakly: they are wiped in their time, and no others can have their addresses while this is kept.
struct Known {
    needs: Needs,
    principal: Weak<Principal>,
    proof: Weak<Proof>,
    digest: Digest,
}

impl Needs {
    /// The key of a value that is minted for this caller: another principal never has the same, and where the proof
    /// itself is exchanged, another proof neither.
    pub(super) fn key(self, ask: Ask<'_>) -> Key {
        if self == Self::Nothing {
            return Key::Shared;
        }
        let known = KNOWN.try_with(|known| {
            let mut known = known.try_borrow_mut().ok()?;
            // Values of different addresses may share a place; then the later one has it.
            let place = Arc::as_ptr(&ask.caller.proof).addr() / 64 + usize::from(self == Self::Proof);
            let place = known.get_mut(place % KNOWN_MAX)?;
            if let Some(found) = place.as_ref().filter(|found| found.is(self, ask.caller)) {
                return Some(found.digest);
            }
            let digest = self.digest(ask.caller);
            let (principal, proof) = (Arc::downgrade(&ask.caller.principal), Arc::downgrade(&ask.caller.proof));
            *place = Some(Known { needs: self, principal, proof, digest });
            Some(digest)
        });
        // A thread that ends has no place of its own any more.
        Key::Caller(known.ok().flatten().unwrap_or_else(|| self.digest(ask.caller)))
    }

    fn digest(self, caller: &Attested) -> Digest {
        let digester = match self {
            Self::Nothing | Self::Principal => Digester::new("of the principal"),
            Self::Proof => Digester::new("of the proof").field("proof", caller.proof.digest.0),
        };
        let principal = &caller.principal;
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
        digester.finish()
    }
}

impl Known {
    fn is(&self, needs: Needs, caller: &Attested) -> bool {
        self.needs == needs
            && ptr::eq(self.principal.as_ptr(), Arc::as_ptr(&caller.principal))
            && ptr::eq(self.proof.as_ptr(), Arc::as_ptr(&caller.proof))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use claviger_contract::ProofDigest;
    use claviger_policy::SpiffeId;

    use super::*;

    /// A caller of so many that there are, with one attribute.
    fn caller(number: u8) -> Attested {
        let id = SpiffeId::parse(&format!("spiffe://acme.test/{}", number % 7)).unwrap();
        let attributes = [("ci.ref", format!("main-{}", number % 11).as_str())].into_iter().collect();
        let principal = Principal { id, attributes, attested_by: "ci".into() };
        let proof = Proof { digest: ProofDigest([number % 13; 32]), expires_at: None, token: None };
        Attested { principal: Arc::new(principal), proof: Arc::new(proof) }
    }

    fn digest(needs: Needs, caller: &Attested) -> Digest {
        match needs.key(Ask { caller }) {
            Key::Caller(digest) => digest,
            Key::Shared => panic!("it is nobody's own"),
        }
    }

    /// Callers come and go, so that their addresses are those of others later; and who comes again has the same key.
    #[test]
    fn a_key_that_is_known_is_the_key() {
        let mut staying: HashMap<u8, Attested> = HashMap::new();
        for round in 0..20_000_u32 {
            let number = u8::try_from(round * 31 % 251).unwrap();
            let needs = if round % 3 == 0 { Needs::Principal } else { Needs::Proof };
            let coming = match round % 4 {
                0 => staying.entry(number % 100).or_insert_with(|| caller(number)).clone(),
                _ => caller(number),
            };
            assert_eq!(digest(needs, &coming), needs.digest(&coming), "{round}");
            // One of the two is another's.
            let other = Attested { proof: caller(number.wrapping_add(1)).proof, ..coming };
            assert_eq!(digest(needs, &other), needs.digest(&other), "{round}");
            if round % 50 == 0 {
                staying.clear();
            }
        }
    }

    #[test]
    fn what_differs_is_kept_apart() {
        let (one, same) = (caller(1), caller(1));
        assert_eq!(digest(Needs::Principal, &one), digest(Needs::Principal, &same));
        assert_ne!(digest(Needs::Principal, &one), digest(Needs::Proof, &one));
        let proof = Attested { proof: caller(2).proof, ..one.clone() };
        assert_eq!(digest(Needs::Principal, &one), digest(Needs::Principal, &proof));
        assert_ne!(digest(Needs::Proof, &one), digest(Needs::Proof, &proof));
        let principal = Attested { principal: caller(8).principal, ..one.clone() };
        assert_ne!(digest(Needs::Principal, &one), digest(Needs::Principal, &principal), "another attribute");
        assert!(matches!(Needs::Nothing.key(Ask { caller: &one }), Key::Shared));
    }

    #[test]
    fn nothing_is_held_on_to() {
        let gone = caller(1);
        digest(Needs::Proof, &gone);
        let (principal, proof) = (Arc::downgrade(&gone.principal), Arc::downgrade(&gone.proof));
        drop(gone);
        assert!(principal.upgrade().is_none() && proof.upgrade().is_none());
    }
}
