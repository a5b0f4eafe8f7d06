//! `--gateway`: a session that judges nothing itself. What its command sends goes to a gateway, with the proof of this
//! machine or job; the command trusts the session's own root, and nobody trusts the gateway's.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use claviger_contract::{Clock, Outbound, Secret, SystemClock};
use claviger_identity::SessionToken;
use claviger_policy::Authority;
use claviger_policy::document::nearest;
use claviger_wire::{Gateway, InterceptionRoot, MachineProof, Refused, Relay, RelayEnv, TrustRoots, is_canary, preset};

use super::ExecArgs;
use super::child::{Place, Sockets, Surroundings, loopback};
use super::folder::Folder;
use super::serve::{Begun, Proxy, USER};
use crate::app::{control_runtime, idle_env};
use crate::command::Failure;
use crate::config::{Env, default_state_dir};
use crate::environment::{ClientService, Endpoint};
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
struct Route {
    gateway: Gateway,
    proof: Arc<dyn MachineProof>,
    /// Variables that the command is not to have.
    withheld: Vec<String>,
}

impl GatewayArgs {
    /// The gateway's URL, if a session is to have one.
    pub(crate) fn url(&self, has_config: bool, environment: &dyn Fn(&str) -> Option<OsString>) -> Option<String> {
        let named = || environment(GATEWAY).and_then(|url| url.into_string().ok()).filter(|url| !url.is_empty());
        self.gateway.clone().or_else(|| named().filter(|_| !has_config))
    }

    /// Reads the proof and the roots: what is missing is said before anything starts.
    async fn open(
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

/// A session whose requests are judged elsewhere.
pub(crate) struct Through {
    runtime: tokio::runtime::Runtime,
    env: Env,
    _relay: Relay,
}

impl Through {
    /// Has a place tell what it notices. There is no ledger here: it is shown, and not recorded.
    pub(crate) fn attend(&self, place: &mut Place, quiet: bool) {
        place.watch(self.runtime.handle(), self.env.events.clone(), self.env.clock.clone(), quiet);
    }

    /// Serves until `end` resolves.
    pub(crate) fn run<T>(self, end: impl Future<Output = T>) -> T {
        self.runtime.block_on(end)
    }
}

/// Makes the place, serves in it, and says where. Nothing is read of any configuration.
pub(crate) fn begin(
    args: &ExecArgs,
    url: &str,
    folder: &Folder,
    refused: Arc<dyn Fn(Refused) + Send + Sync>,
) -> Result<Begun, Failure> {
    let environment = |name: &str| std::env::var_os(name);
    let services = args.services.iter().map(|name| service(name, &environment)).collect::<Result<_, _>>()?;
    let runtime = control_runtime()?;
    let env = idle_env(&runtime)?;
    let opening = args.gateway.open(url, &environment, env.outbound.clone(), env.clock.clone());
    let Route { gateway, proof, withheld } = runtime.block_on(opening)?;
    let folder = folder.path().to_owned();
    let around = Surroundings { folder: folder.clone(), state_dir: default_state_dir(), configuration: Vec::new() };
    // Commands of a detached session are started by others.
    let (place, Sockets { forward, gateway: base }) = match args.serve {
        true => (Place::Open, Sockets { forward: loopback()?, gateway: loopback()? }),
        false => Place::prepare(&args.sandbox, &around)?,
    };
    let failed = |error: std::io::Error| Failure::doing("listen for the session")(&error);
    let (at, base_at) = (forward.local_addr().map_err(failed)?, base.local_addr().map_err(failed)?);
    let token = SessionToken::generate().map_err(|error| Failure::Other(error.to_string()))?.for_command();
    let root = InterceptionRoot::generate(&SystemClock).map_err(|error| Failure::Other(error.to_string()))?;
    let authority = root.certificate_pem();
    let session = Secret::new(token.as_bytes().to_vec());
    let (sockets, bases, clock) = (vec![forward], vec![base], env.clock.clone());
    let relay = {
        let _inside = runtime.enter();
        Relay::start(RelayEnv { sockets, bases, session, root, gateway, proof, clock, refused }).map_err(failed)?
    };
    let endpoint = Endpoint {
        host: at.ip().to_string(),
        port: at.port(),
        proof: (USER.to_owned(), token.to_string()),
        authority,
        folder,
        services,
        gateway: Some(format!("http://{base_at}/{}", *token)),
        pass: args.pass_env.iter().cloned().collect(),
        withheld: withheld.into_iter().collect(),
    };
    Ok(Begun { session: Proxy::Elsewhere(Through { runtime, env, _relay: relay }), place, endpoint })
}

/// What clients of a service are told is known by its preset; what the gateway calls it, is its own. Only the gateway can
/// make the placeholder of this workload; one that stands in a variable already stays, for it is no key.
fn service(name: &str, environment: &dyn Fn(&str) -> Option<OsString>) -> Result<ClientService, Failure> {
    let Some(known) = preset::find(name) else {
        let near = nearest(name, preset::names()).map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
        return Err(Failure::Call(format!("with --gateway, --service names a preset, and `{name}` is none{near}")));
    };
    let mut about = known.about();
    let text = |name: &String| environment(name)?.into_string().ok();
    if let Some(own) = about.client.secrets.iter().filter_map(text).find(|text| is_canary(text)) {
        about.client.placeholder = Some(own);
    }
    Ok(ClientService { name: name.to_owned(), hosts: about.hosts, client: about.client })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_placeholder_of_the_workloads_own_stays() {
        let check = |value: Option<&str>, stays: bool| {
            let environment = |name: &str| value.filter(|_| name == "OPENAI_API_KEY").map(OsString::from);
            let placeholder = service("openai", &environment).unwrap().client.placeholder.unwrap();
            assert_eq!(Some(&*placeholder) == value, stays, "{value:?}");
        };
        check(Some("sk-claviger-placeholder-000clvgraaaaaaaaaabbbbbbbbbb"), true);
        check(Some("sk-proj-0123456789abcdefghijklmnopqrstuvwxyz"), false);
        check(Some("sk-claviger-placeholder-0000000000000000000000000000"), true);
        check(None, false);
    }

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
