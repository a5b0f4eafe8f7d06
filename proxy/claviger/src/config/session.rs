//! A configuration as one session of `claviger exec` has it: its own listeners are not bound, and two private ones take
//! their place, which only the session's token opens.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use claviger_contract::Clock;
use claviger_credential::Credentials;
use claviger_identity::{Kinship, SessionIdentity, SessionToken, session_chain};
use claviger_policy::document::{self, Diagnostics};
use claviger_policy::{AttributeValue, Attributes, Policy, Principal, SpiffeId};
use claviger_wire::{CanaryKey, Limits, Listener, ListenerSettings, Mode, SessionSettings, Unmatched};

use super::Env;
use super::services::ServiceParts;
use crate::canary;
use crate::environment::ClientService;

/// The names of a session's listeners, as its records have them.
pub(crate) const FORWARD: &str = "exec";
pub(crate) const GATEWAY: &str = "exec-gateway";

/// When the command has ended, what its descendants still have under way is cut off after this time.
const DRAIN: Duration = Duration::from_millis(200);

/// What a session was started with.
#[derive(Debug)]
pub(crate) struct SessionAsk {
    /// `--as`.
    pub(crate) identity: Option<String>,
    /// `--attr`, under `exec.*`.
    pub(crate) attributes: Attributes,
    /// `--service`; empty: all.
    pub(crate) services: Vec<String>,
    /// Hosts that no service names.
    pub(crate) unmatched: Unmatched,
    /// What its command presents.
    pub(crate) token: SessionToken,
    /// Where it listens.
    pub(crate) forward: SocketAddr,
    pub(crate) gateway: SocketAddr,
    /// Who it is: chosen once, however the configuration changes.
    pub(crate) chosen: OnceLock<SpiffeId>,
}

/// What a session's command is to be told.
#[derive(Debug, Default)]
pub(crate) struct SessionFacts {
    /// The services that it may use.
    pub(crate) services: Vec<ClientService>,
    /// Variables from which the configuration reads secrets.
    pub(crate) withheld: BTreeSet<String>,
}

/// What one peer may cost; nobody waits for the end of a session.
pub(super) fn limits(env: &Env, limits: Limits) -> Limits {
    match env.session {
        Some(_) => Limits { drain_timeout: limits.drain_timeout.min(DRAIN), ..limits },
        None => limits,
    }
}

/// Reads `KEY=VALUE` of `--attr`.
pub(crate) fn attributes(written: &[String]) -> Result<Attributes, String> {
    let mut seen = BTreeSet::new();
    let mut read = |text: &String| {
        let (key, value) = text.split_once('=').ok_or_else(|| format!("`{text}` is no attribute; write KEY=VALUE"))?;
        let key = key.strip_prefix(Principal::EXEC_ATTRIBUTES).unwrap_or(key);
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
        if key.is_empty() || key.len() > 64 || !key.bytes().all(is_plain) {
            return Err(format!("`{key}` is no name of an attribute: letters, digits, `.`, `-` and `_`, at most 64"));
        }
        if value.len() > 512 || value.chars().any(char::is_control) {
            return Err(format!("the value of attribute `{key}` is too long, or has control characters"));
        }
        if !seen.insert(key.to_owned()) {
            return Err(format!("attribute `{key}` is there twice"));
        }
        Ok((format!("{}{key}", Principal::EXEC_ATTRIBUTES), AttributeValue::from(value)))
    };
    written.iter().map(&mut read).collect::<Result<Vec<_>, _>>().map(|all| all.into_iter().collect())
}

impl SessionAsk {
    /// The listeners of the session under this policy; `None`: why is in `out`.
    pub(super) fn listeners(
        &self,
        policy: &Policy,
        clock: &Arc<dyn Clock>,
        out: &mut Diagnostics,
    ) -> Option<Vec<Arc<Listener>>> {
        let id = match self.chosen.get() {
            Some(id) => id.clone(),
            None => match choose(self.identity.as_deref(), policy) {
                Ok(id) => self.chosen.get_or_init(|| id).clone(),
                Err((message, help)) => {
                    out.error_nowhere(message).help(help);
                    return None;
                }
            },
        };
        let permitted = policy.permits_exec(&id);
        let identity = SessionIdentity { token: self.token.clone(), id, attributes: self.attributes.clone() };
        let chain = session_chain(&identity, permitted, clock.clone());
        let only = (!self.services.is_empty()).then(|| self.services.iter().map(|name| name.as_str().into()).collect());
        let kinship = Some(Kinship::new(self.token.clone(), self.forward));
        let session = SessionSettings { services: only, kinship };
        let listener = |name, mode, address| {
            ListenerSettings::of_session(name, mode, address, self.unmatched, session.clone())
                .map(|settings| Listener::of_session(settings, chain.clone()))
        };
        Some(vec![listener(FORWARD, Mode::Forward, self.forward)?, listener(GATEWAY, Mode::Gateway, self.gateway)?])
    }

    /// What the command is told; a service that is not there is an error.
    pub(super) fn facts(
        &self,
        services: &[ServiceParts],
        credentials: &Credentials,
        (policy, canaries): (&Policy, Option<&CanaryKey>),
        out: &mut Diagnostics,
    ) -> SessionFacts {
        let known = || services.iter().map(|parts| &**parts.route.name());
        for name in self.services.iter().filter(|name| !known().any(|known| known == name.as_str())) {
            let error = out.error_nowhere(format!("there is no service `{name}`, which `--service` names"));
            match document::nearest(name, known()) {
                Some(near) => error.help(format!("did you mean `{near}`?")),
                None => error.help(format!("there are {}", listed(known()))),
            };
        }
        let wanted = |parts: &&ServiceParts| {
            self.services.is_empty() || self.services.iter().any(|name| **name == **parts.route.name())
        };
        let is_variable =
            |name: &str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        let withheld = credentials.references();
        let withheld = withheld
            .into_iter()
            // Stores of these kinds read no variables; any other may, whatever it is called.
            .filter(|reference| !matches!(reference.store(), "sealed" | "file") && is_variable(reference.name()))
            .map(|reference| reference.name().to_owned());
        let mut services: Vec<_> = services.iter().filter(wanted).map(ServiceParts::client).collect();
        if let (Some(key), Some(id)) = (canaries, self.chosen.get())
            && let Some((workload, ..)) =
                policy.exec_workloads().find(|(.., ids)| ids.iter().any(|one| one.matches(id)))
        {
            canary::give_out(key, workload, &mut services);
        }
        SessionFacts { services, withheld: withheld.collect() }
    }
}

/// Who a session is: what `--as` says, or the only one that there can be. Else the message, and the help.
fn choose(wanted: Option<&str>, policy: &Policy) -> Result<SpiffeId, (String, String)> {
    let all: Vec<_> = policy.exec_workloads().map(|(name, _, ids)| (name, ids)).collect();
    let list = || {
        let lines = all.iter().map(|(name, ids)| {
            let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
            format!("\n    {name}  {}", ids.join(" "))
        });
        lines.collect::<String>()
    };
    if all.is_empty() {
        let message = "no workload permits sessions of `claviger exec`".to_owned();
        return Err((message, "write `exec = true` into the `[workload.NAME]` that the command may be".to_owned()));
    }
    let only_id = |(name, ids): &(&Arc<str>, &[claviger_policy::IdPattern])| match ids {
        [one] => one.only().ok_or_else(|| {
            let message = format!("workload `{name}` has more than one identity: `{one}`");
            (message, "name one of them with `--as spiffe://…`".to_owned())
        }),
        _ => Err((format!("workload `{name}` has several identities"), format!("name one with `--as`, of:{}", list()))),
    };
    let Some(wanted) = wanted else {
        return match all.as_slice() {
            [only] => only_id(only),
            _ => {
                let message = "several workloads permit sessions, and `--as` names none of them".to_owned();
                Err((message, format!("choose one with `--as NAME` or `--as spiffe://…`:{}", list())))
            }
        };
    };
    if let Some(named) = all.iter().find(|(name, _)| ***name == *wanted) {
        return only_id(named);
    }
    let known = format!("these do:{}", list());
    match SpiffeId::parse(wanted) {
        Ok(id) if policy.permits_exec(&id) => Ok(id),
        Ok(id) => Err((format!("no workload with `exec = true` has the identity `{id}`"), known)),
        Err(error) if wanted.contains("://") => Err((format!("`--as {wanted}` is no SPIFFE ID: {error}"), known)),
        Err(_) => Err((format!("no workload `{wanted}` permits sessions of `claviger exec`"), known)),
    }
}

fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<String> = names.map(|name| format!("`{name}`")).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}
