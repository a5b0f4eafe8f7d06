//! `kind = "locality"`: whoever can reach a sidecar's own listener is the sidecar's workload.
//!
//! The principal is not written down here: it is that of the sidecar's own token or SVID, which another attestor
//! verifies as it would anybody's. When that ends, nobody is known here.

mod own;

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use claviger_contract::{Attested, Clock};
use claviger_policy::Principal;
use claviger_policy::document::{Diagnostics, Located, Table, nearest};

use self::own::{OwnSvid, OwnToken};
use super::{Attestor, Evidence, Verdict};
use crate::IdentityEnv;

/// An attestor by its name.
pub(crate) type Named = (Arc<str>, Arc<dyn Attestor>);

#[derive(Debug)]
struct Locality {
    name: Arc<str>,
    own: Own,
    /// The name of `verify`.
    verifier: Arc<str>,
    verify: Arc<dyn Attestor>,
    is_private: bool,
    clock: Arc<dyn Clock>,
}

/// What the sidecar proves itself by.
#[derive(Debug)]
enum Own {
    Token(OwnToken),
    Svid(OwnSvid),
}

/// Takes a table of this kind; `others` are all attestors of other kinds, of which one verifies.
pub(crate) fn take(
    name: &Located<String>,
    table: &mut Table,
    others: &[Named],
    is_known: impl Fn(&str) -> bool,
    env: &IdentityEnv,
    out: &mut Diagnostics,
) -> Option<Arc<dyn Attestor>> {
    let verify = take_verify(table, others, is_known, out);
    let loopback = table.choice("loopback", &[("private", true), ("shared", false)], out);
    let (token, svid) = (table.string("token", out), table.table("svid", out));
    let own = match (token, svid) {
        (Some(token), None) => OwnToken::take(&token, table, out).map(Own::Token),
        (None, Some(mut svid)) => {
            let own = OwnSvid::take(&mut svid, out);
            svid.finish(out);
            own.map(Own::Svid)
        }
        (Some(_), Some(svid)) => {
            out.error(svid.location(), table.key_of("svid"), "`token` is there too").help("write one of the two");
            None
        }
        (None, None) => {
            table.missing("token", out).help("write `token = \"FILE\"`, or `svid = { certificate = …, key = … }`");
            None
        }
    };
    let (verifier, place) = verify?;
    let (own, key) = (own?, table.key_of("verify"));
    let wanted = match &own {
        Own::Token(_) => Evidence::Token,
        Own::Svid(_) => Evidence::Certificate,
    };
    if verifier.1.evidence() != wanted {
        let what = if wanted == Evidence::Token { "tokens" } else { "X.509-SVIDs" };
        out.error(&place, key, format!("attestor `{}` does not verify {what}", verifier.0))
            .help(format!("name one that does: {}", names(others, wanted)));
        return None;
    }
    if let Own::Token(token) = &own
        && !token.is_judged_by(&*verifier.1)
    {
        out.error(&place, key, format!("the token is of another issuer than attestor `{}` knows", verifier.0))
            .help("name the attestor of its issuer, or another token");
        return None;
    }
    // In a pod loopback is the pod's own, unless it has the host's network.
    let is_private = loopback.map_or_else(|| verifier.1.is_of_pods(), |at| at.value);
    let (verifier, verify) = verifier.clone();
    Some(Arc::new(Locality {
        name: name.value.as_str().into(),
        own,
        verifier,
        verify,
        is_private,
        clock: env.clock.clone(),
    }))
}

fn take_verify<'o>(
    table: &mut Table,
    others: &'o [Named],
    is_known: impl Fn(&str) -> bool,
    out: &mut Diagnostics,
) -> Option<(&'o Named, claviger_policy::document::Location)> {
    if !table.has("verify") {
        table.missing("verify", out).help("name the attestor that verifies the token or SVID, as `verify = \"k8s\"`");
    }
    let written = table.string("verify", out)?;
    if let Some(found) = others.iter().find(|(name, _)| **name == *written.value) {
        return Some((found, written.location));
    }
    // One that is wrong is reported at its own place.
    if !is_known(&written.value) {
        let key = table.key_of("verify");
        let error =
            out.error(&written.location, key, format!("there is no attestor `{}` to verify with", written.value));
        match nearest(&written.value, others.iter().map(|(name, _)| &**name)) {
            Some(near) => error.help(format!("did you mean `{near}`?")),
            None => error.help(format!("define `[attestor.{}]`", written.value)),
        };
    }
    None
}

fn names(others: &[Named], wanted: Evidence) -> String {
    let fitting: Vec<String> =
        others.iter().filter(|(_, it)| it.evidence() == wanted).map(|(name, _)| format!("`{name}`")).collect();
    if fitting.is_empty() { "there is none yet".to_owned() } else { fitting.join(", ") }
}

#[async_trait]
impl Attestor for Locality {
    fn evidence(&self) -> Evidence {
        Evidence::Locality { is_private: self.is_private }
    }

    fn attribute_names(&self) -> Vec<Arc<str>> {
        self.verify.attribute_names()
    }

    fn identities(&self) -> Vec<String> {
        self.verify.identities()
    }

    fn verifier(&self) -> Option<&Arc<str>> {
        Some(&self.verifier)
    }

    fn reads_files(&self) -> bool {
        true
    }

    /// None: a token that is renewed every hour should not make a generation.
    fn watched_files(&self) -> Vec<PathBuf> {
        Vec::new()
    }

    fn look_at_files(&self) {
        match &self.own {
            Own::Token(token) => token.look(),
            Own::Svid(svid) => svid.look(),
        }
    }

    fn health(&self) -> Vec<String> {
        match &self.own {
            Own::Token(token) => token.error().into_iter().chain(token.end(self.clock.now())).collect(),
            Own::Svid(svid) => {
                let refused = match self.verify.attest_certificates(&svid.chain()) {
                    Verdict::Refused(error) => Some(format!("its own SVID is refused: {error}")),
                    Verdict::Attested(_) | Verdict::Absent => None,
                };
                svid.error().into_iter().chain(refused).collect()
            }
        }
    }

    fn epoch(&self) -> u64 {
        let own = match &self.own {
            Own::Token(token) => token.generation(),
            Own::Svid(svid) => svid.generation(),
        };
        own.wrapping_add(self.verify.epoch())
    }

    async fn attest_neighbour(&self) -> Verdict {
        let verdict = match &self.own {
            Own::Token(token) => token.attest(&*self.verify).await.into(),
            Own::Svid(svid) => self.verify.attest_certificates(&svid.chain()),
        };
        match verdict {
            Verdict::Attested(attested) => Verdict::Attested(self.as_neighbour(&attested)),
            Verdict::Refused(error) => Verdict::Refused(error),
            // The sidecar's own identity is one that its own verifier does not know: no reason to ask the next.
            Verdict::Absent => Verdict::Refused(crate::IdentityError::Untrusted("its trust domain has no bundle")),
        }
    }

    fn still_holds(&self, attested: &Attested) -> bool {
        if attested.principal.attested_by != self.name {
            return false;
        }
        match &self.own {
            // Not the token of now: one that was renewed holds until it ends.
            Own::Token(_) => self.verify.still_holds(attested),
            Own::Svid(svid) => {
                let now = self.verify.attest_certificates(&svid.chain());
                matches!(now, Verdict::Attested(now) if now.principal.id == attested.principal.id)
            }
        }
    }
}

impl Locality {
    /// The same principal and the same proof; what differs is who vouches for the caller.
    fn as_neighbour(&self, own: &Attested) -> Attested {
        let Principal { id, attributes, attested_by: _ } = (*own.principal).clone();
        let principal = Principal { id, attributes, attested_by: self.name.clone() };
        Attested { principal: Arc::new(principal), proof: own.proof.clone() }
    }
}
