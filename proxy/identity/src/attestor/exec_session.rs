//! A session of `claviger exec`: whoever has the token of the session is its command, or one that the command started.
//!
//! It has no `[attestor.NAME]` table. The process that starts the command makes the token, opens the session's private
//! listeners, and asks this attestor there and nowhere else: a shared Claviger knows no session. Who the session is was
//! said by whoever started it, which is why rules hold of it only through workloads with `exec = true`.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use claviger_contract::{Attested, Clock, Proof, ProofDigest, Secret};
use claviger_policy::{Attributes, Principal, SpiffeId};

use super::{Attestor, Evidence};
use crate::chain::Chain;
use crate::os::is_of_own_descendant;
use crate::{IdentityError, proof_digest};

/// How a session's token begins, by which it is told from tokens of issuers.
const PREFIX: &str = "clvx_";

/// The bytes of randomness in a token.
const RANDOM: usize = 32;

/// The proof of one session: 256 random bits in characters that need no escape in a URL.
#[derive(Clone)]
pub struct SessionToken(Arc<Secret>);

/// The system gave no randomness.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the system's source of randomness failed")]
pub struct NoRandomness;

impl SessionToken {
    /// Makes the token of a session that begins.
    ///
    /// # Errors
    /// There is no randomness.
    pub fn generate() -> Result<Self, NoRandomness> {
        let mut random = zeroize::Zeroizing::new([0; RANDOM]);
        aws_lc_rs::rand::fill(&mut *random).map_err(|_| NoRandomness)?;
        let mut text = String::with_capacity(PREFIX.len() + RANDOM * 2);
        text.push_str(PREFIX);
        URL_SAFE_NO_PAD.encode_string(*random, &mut text);
        Ok(Self(Arc::new(Secret::from(text))))
    }

    /// The token itself, for the environment of the session's own command.
    #[allow(clippy::disallowed_methods, reason = "the command presents it: it goes into its environment")]
    pub fn for_command(&self) -> zeroize::Zeroizing<String> {
        zeroize::Zeroizing::new(String::from_utf8_lossy(self.0.expose()).into_owned())
    }
}

impl fmt::Debug for SessionToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionToken(…)")
    }
}

/// Whether bytes have the shape of a session's token. Says nothing about validity.
pub fn looks_like_session_token(bytes: &[u8]) -> bool {
    let is_of_token = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    bytes.strip_prefix(PREFIX.as_bytes()).is_some_and(|rest| rest.len() == 43 && rest.iter().all(is_of_token))
}

/// Lets those in who belong to the session and have no way to show its token: Java's clients take a proxy, but no proof
/// for it. The kernel says whether a client is a process of the session, and then it is as if it had shown the token.
#[derive(Clone, Debug)]
pub struct Kinship {
    token: SessionToken,
    /// The listener's address, as its clients see it.
    listener: SocketAddr,
}

impl Kinship {
    /// For the listener of a session that this process serves and whose command it starts.
    pub fn new(token: SessionToken, listener: SocketAddr) -> Self {
        Self { token, listener }
    }

    /// The session's token, if the client at this address was started by this process, directly or not. Reads `/proc`:
    /// some milliseconds. Elsewhere than on Linux nobody is known.
    #[allow(clippy::disallowed_methods, reason = "it is the proof of this client from here on, as if it had shown it")]
    pub fn vouch(&self, peer: SocketAddr) -> Option<Vec<u8>> {
        is_of_own_descendant(peer, self.listener).then(|| self.token.0.expose().to_vec())
    }
}

impl PartialEq for Kinship {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.token.0, &other.token.0) && self.listener == other.listener
    }
}

impl Eq for Kinship {}

/// Who a session is.
#[derive(Clone, Debug)]
pub struct SessionIdentity {
    /// What its command presents.
    pub token: SessionToken,
    /// As whom it was started.
    pub id: SpiffeId,
    /// What was said of it, under names of `exec.*`.
    pub attributes: Attributes,
}

/// The chain of a session's private listeners. `permitted`: whether a workload of the configuration in force permits a
/// session of this ID; where none does, whoever comes is refused.
pub fn session_chain(session: &SessionIdentity, permitted: bool, clock: Arc<dyn Clock>) -> Arc<Chain> {
    Arc::new(Chain::new(clock, vec![Arc::new(ExecSession::new(session, permitted))]))
}

#[derive(Debug)]
struct ExecSession {
    digest: ProofDigest,
    attested: Attested,
    permitted: bool,
}

impl ExecSession {
    #[allow(clippy::disallowed_methods, reason = "the token is digested and kept as the proof; nothing of it is shown")]
    fn new(session: &SessionIdentity, permitted: bool) -> Self {
        let token = session.token.0.expose();
        let own = proof_digest(&digest(&SHA256, token));
        let principal = Principal {
            id: session.id.clone(),
            attributes: session.attributes.clone(),
            attested_by: Principal::EXEC_SESSION.into(),
        };
        // With the token, so that what stands elsewhere in a request goes no further.
        let proof = Proof { digest: own, expires_at: None, token: Some(Secret::new(token.to_vec())) };
        let attested = Attested { principal: Arc::new(principal), proof: Arc::new(proof) };
        Self { digest: own, attested, permitted }
    }

    /// In constant time; what is compared are digests, so that a guess that is nearly right looks like any other.
    fn is_own(&self, shown: &ProofDigest) -> bool {
        aws_lc_rs::constant_time::verify_slices_are_equal(&self.digest.0, &shown.0).is_ok()
    }
}

#[async_trait]
impl Attestor for ExecSession {
    fn evidence(&self) -> Evidence {
        Evidence::Token
    }

    fn attribute_names(&self) -> Vec<Arc<str>> {
        self.attested.principal.attributes.iter().map(|(name, _)| name.into()).collect()
    }

    fn identities(&self) -> Vec<String> {
        vec![self.attested.principal.id.to_string()]
    }

    fn still_holds(&self, attested: &Attested) -> bool {
        self.permitted && self.is_own(&attested.proof.digest)
    }

    fn owns_opaque_token(&self, token: &[u8]) -> bool {
        token.starts_with(PREFIX.as_bytes())
    }

    async fn attest_token(&self, _: &[u8], digest: ProofDigest) -> Result<Attested, IdentityError> {
        if !self.is_own(&digest) {
            return Err(IdentityError::Untrusted("it is not the token of this session"));
        }
        if !self.permitted {
            let detail = format!("no workload with `exec = true` has `{}`", self.attested.principal.id);
            return Err(IdentityError::Refused { attestor: Principal::EXEC_SESSION.into(), detail: detail.into() });
        }
        Ok(self.attested.clone())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
mod tests {
    use claviger_contract::SystemClock;

    use super::*;
    use crate::{ConnectionFacts, Outcome};

    fn session() -> SessionIdentity {
        let attributes = [("exec.task", "fix")].into_iter().collect();
        SessionIdentity {
            token: SessionToken::generate().unwrap(),
            id: SpiffeId::parse("spiffe://acme.test/dev/ada").unwrap(),
            attributes,
        }
    }

    async fn ask(session: &SessionIdentity, permitted: bool, token: Option<&[u8]>) -> String {
        let chain = session_chain(session, permitted, Arc::new(SystemClock));
        let connection = chain.attest_connection(&ConnectionFacts::default());
        match chain.attest(&connection, token).await {
            Outcome::Attested(attested) => {
                assert!(chain.still_holds(&connection, &attested));
                format!("{} by {}", attested.principal.id, attested.principal.attested_by)
            }
            Outcome::Absent => "absent".to_owned(),
            Outcome::Refused(error) => error.code().to_owned(),
        }
    }

    #[tokio::test]
    async fn only_the_sessions_own_token_makes_its_principal() {
        let (one, other) = (session(), session());
        let token = one.token.for_command();
        let near = format!("{}x", token.get(..token.len() - 1).unwrap_or_default());
        let other_one = other.token.for_command();
        for (permitted, shown, expected) in [
            (true, Some(token.as_str()), "spiffe://acme.test/dev/ada by exec.session"),
            (false, Some(token.as_str()), "identity_refused"),
            (true, None, "absent"),
            (true, Some(near.as_str()), "identity_untrusted"),
            (true, Some(other_one.as_str()), "identity_untrusted"),
            (true, Some("clvx_"), "identity_untrusted"),
            (true, Some(""), "identity_malformed"),
            (true, Some("e30.e30.x"), "identity_unknown_issuer"),
        ] {
            // A random last character may be an x.
            if shown == Some(near.as_str()) && near == *token {
                continue;
            }
            assert_eq!(ask(&one, permitted, shown.map(str::as_bytes)).await, expected, "{permitted} {shown:?}");
        }
    }

    #[test]
    fn tokens_are_long_random_and_not_shown() {
        let (one, other) = (SessionToken::generate().unwrap(), SessionToken::generate().unwrap());
        let (a, b) = (one.for_command(), other.for_command());
        assert!(a.len() == 48 && *a != *b, "{} {}", a.len(), b.len());
        assert!(looks_like_session_token(a.as_bytes()) && looks_like_session_token(b.as_bytes()));
        assert!(!format!("{one:?} {:?}", session()).contains("clvx_"));
        for near in ["", "clvx_", "clvx-", "sk-0123", &a[1..], &a[..a.len() - 1], &format!("{}/x", &a[..46])] {
            assert!(!looks_like_session_token(near.as_bytes()), "{near}");
        }
    }
}
