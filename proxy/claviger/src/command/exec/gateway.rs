//! `--gateway`: a session that judges nothing itself. What its command sends goes to a gateway, with the proof of this
//! machine or job; the command trusts the session's own root, and nobody trusts the gateway's.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use claviger_contract::{Clock, Outbound, Secret};
use claviger_policy::Authority;
use claviger_wire::{Gateway, InterceptionRoot, MachineProof, Refused, Relay, RelayEnv, TrustRoots};

use super::child::Sockets;
use crate::command::Failure;
use crate::machine::Origin;

/// Names the gateway where no option does.
const GATEWAY: &str = "CLAVIGER_GATEWAY";

#[derive(Clone, Debug, Default, Args)]
pub(crate) struct GatewayArgs {
    /// Judge nothing here: pass every request to this gateway, with the proof of this machine or job
    /// [default: $CLAVIGER_GATEWAY, if there is no --config]
    #[arg(long, value_name = "URL", conflicts_with = "identity")]
    gateway: Option<String>,
    /// Who vouches for the gateway's certificate [default: the public roots]
    #[arg(long, value_name = "FILE", requires = "gateway")]
    gateway_ca: Option<PathBuf>,
    /// What this machine or job proves itself by: github, env:NAME, token:FILE, or svid:CERTIFICATE,KEY
    /// [default: $CLAVIGER_TOKEN, $CLAVIGER_TOKEN_FILE, or GitHub's token service]
    #[arg(long, value_name = "PROOF", value_parser = Origin::parse)]
    proof: Option<Origin>,
    /// The audience that is asked for, where a token is
    #[arg(long, value_name = "NAME", default_value = "claviger")]
    audience: Option<String>,
}

/// A gateway that may be spoken to.
pub(crate) struct Route {
    gateway: Gateway,
    proof: Arc<dyn MachineProof>,
    /// Variables that the command is not to have.
    pub(crate) withheld: Vec<String>,
}

impl GatewayArgs {
    /// The gateway's URL, if a session is to have one.
    pub(crate) fn url(&self, has_config: bool, environment: &dyn Fn(&str) -> Option<OsString>) -> Option<String> {
        let named = || environment(GATEWAY).and_then(|url| url.into_string().ok()).filter(|url| !url.is_empty());
        self.gateway.clone().or_else(|| named().filter(|_| !has_config))
    }

    /// Reads the proof and the roots: what is missing is said before anything starts.
    pub(crate) async fn open(
        &self,
        url: &str,
        environment: &dyn Fn(&str) -> Option<OsString>,
        outbound: Arc<dyn Outbound>,
        clock: Arc<dyn Clock>,
    ) -> Result<Route, Failure> {
        let authority = authority_of(url).map_err(Failure::Call)?;
        let roots = match &self.gateway_ca {
            None => TrustRoots::bundled(),
            Some(file) => {
                let pem = std::fs::read(file)
                    .map_err(|error| Failure::Other(format!("failed to read `{}`: {error}", file.display())))?;
                TrustRoots::from_pem(&pem).map_err(|error| Failure::Other(format!("`{}`: {error}", file.display())))?
            }
        };
        let origin = self.proof.clone().or_else(|| Origin::find(environment)).ok_or_else(|| {
            Failure::Call(
                "nothing here proves who this machine or job is: write --proof github, env:NAME, token:FILE or \
                 svid:CERTIFICATE,KEY"
                    .to_owned(),
            )
        })?;
        let audience = self.audience.as_deref().unwrap_or("claviger");
        let proof = origin.open(audience, environment, outbound, clock).await.map_err(Failure::Other)?;
        let withheld = origin.variables().into_iter().map(str::to_owned).collect();
        Ok(Route { gateway: Gateway { authority, roots }, proof, withheld })
    }
}

/// `https://host[:port]`, and nothing behind it.
fn authority_of(url: &str) -> Result<Authority, String> {
    let wrong = |why: &str| format!("`{url}` is no gateway: {why}; write `https://HOST:PORT`");
    let parsed = url::Url::parse(url).map_err(|error| wrong(&error.to_string()))?;
    if parsed.scheme() != "https" {
        return Err(wrong("a proof is shown over TLS only"));
    }
    let is_bare = matches!(parsed.path(), "" | "/") && parsed.query().is_none() && parsed.fragment().is_none();
    if !is_bare || !parsed.username().is_empty() || parsed.password().is_some() {
        return Err(wrong("it has more than a host and a port"));
    }
    let host = parsed.host_str().unwrap_or_default();
    let port = parsed.port_or_known_default().unwrap_or(443);
    Authority::parse(&format!("{host}:{port}"), 443).map_err(|error| wrong(&error.to_string()))
}

impl Route {
    /// Serves a session on its sockets; `token` is the proof of its clients.
    /// Refusals are told to `refused`. Is called in a runtime.
    pub(crate) fn serve(
        self,
        sockets: Sockets,
        token: Secret,
        root: InterceptionRoot,
        clock: Arc<dyn Clock>,
        refused: Arc<dyn Fn(Refused) + Send + Sync>,
    ) -> Result<Relay, Failure> {
        let Self { gateway, proof, .. } = self;
        Relay::start(RelayEnv {
            sockets: vec![sockets.forward],
            bases: vec![sockets.gateway],
            session: token,
            root,
            gateway,
            proof,
            clock,
            refused,
        })
        .map_err(|error| Failure::doing("listen for the session")(&error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_a_gateway() {
        let check = |url: &str, expected: Result<(&str, u16), &str>| match (authority_of(url), expected) {
            (Ok(found), Ok((host, port))) => assert_eq!((found.host.as_str(), found.port), (host, port), "{url}"),
            (Err(why), Err(word)) => assert!(why.contains(word), "{url}: {why}"),
            (found, _) => panic!("{url}: {found:?}"),
        };
        check("https://claviger.acme.test:7070", Ok(("claviger.acme.test", 7070)));
        check("https://claviger.acme.test/", Ok(("claviger.acme.test", 443)));
        check("http://claviger.acme.test:7070", Err("over TLS only"));
        check("claviger.acme.test:7070", Err("over TLS only"));
        check("https://claviger.acme.test/egress", Err("more than a host and a port"));
        check("https://user:token@claviger.acme.test", Err("more than a host and a port"));
        check("https://claviger.acme.test?x", Err("more than a host and a port"));
        check("//", Err("is no gateway"));
    }
}
