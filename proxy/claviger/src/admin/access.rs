//! Who may do what: the process's own user on the Unix socket, attested principals by their roles.

use std::sync::Arc;

use claviger_identity::Attestors;
use claviger_policy::document::{self, Diagnostics, Located, Table};
use claviger_policy::{Policy, Principal};
use claviger_wire::{Listener, ListenerSettings};

/// What somebody may do. Each may what those before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Role {
    /// Suspend and resume, reload, and look at the state.
    Operator,
    /// All that can be changed.
    Admin,
}

impl Role {
    const ALL: [Self; 2] = [Self::Operator, Self::Admin];

    /// The word in the configuration and in answers.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

/// Who asks.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    /// As records name it: `alice (uid 1000)`, or a SPIFFE ID.
    pub(crate) name: Arc<str>,
    /// The highest role that it has.
    pub(crate) role: Option<Role>,
}

/// `[role.operator]` and `[role.admin]`: names of workloads.
#[derive(Debug, Default)]
pub(crate) struct Roles {
    who: Vec<(Role, Vec<Located<String>>)>,
}

impl Roles {
    /// Takes the root key `role`.
    pub(crate) fn take(root: &mut Table, out: &mut Diagnostics) -> Self {
        let mut who = Vec::new();
        for (name, mut table) in root.named_tables("role", out) {
            let names = table.strings("who", out);
            if names.is_none() && !table.has("who") {
                table.missing("who", out).help("name workloads, as `who = [\"on-call\"]`");
            }
            table.finish(out);
            match Role::ALL.into_iter().find(|role| role.as_str() == name.value) {
                Some(role) => who.push((role, names.unwrap_or_default())),
                None => {
                    let message = format!("there is no role `{}`", name.value);
                    out.error(&name.location, "role", message).help("write `[role.operator]` or `[role.admin]`");
                }
            }
        }
        Self { who }
    }

    /// A role of nobody is a mistake; so is one that a team could give to whom it likes.
    pub(crate) fn check(&self, policy: &Policy, out: &mut Diagnostics) {
        let known: Vec<&str> = policy.workloads().map(|name| &**name).collect();
        for (role, names) in &self.who {
            let key = format!("role.{}.who", role.as_str());
            for name in names {
                if name.value.contains('/') {
                    let message = format!("`{}` is a workload of a team, which decides who it is", name.value);
                    out.error(&name.location, &*key, message).help("name a workload of the platform's own files");
                } else if !known.contains(&name.value.as_str()) {
                    let error = out.error(&name.location, &*key, format!("there is no workload `{}`", name.value));
                    match document::nearest(&name.value, known.iter().copied()) {
                        Some(near) => error.help(format!("did you mean `{near}`?")),
                        None => error.help(format!("define `[workload.{}]`", name.value)),
                    };
                }
            }
        }
    }

    /// The highest role of a principal.
    fn of(&self, policy: &Policy, principal: &Principal) -> Option<Role> {
        let is = |names: &[Located<String>]| names.iter().any(|name| policy.is_workload(principal, &name.value));
        self.who.iter().filter(|(_, names)| is(names)).map(|(role, _)| *role).max()
    }
}

/// How attested principals get in; of one generation.
#[derive(Debug)]
pub(crate) struct Access {
    /// `[admin.remote]`.
    pub(crate) listener: Option<Arc<Listener>>,
    roles: Roles,
    policy: Policy,
}

impl Access {
    /// The workloads that have a role.
    pub(crate) fn workloads(&self) -> impl Iterator<Item = &str> {
        self.roles.who.iter().flat_map(|(_, names)| names).map(|name| name.value.as_str())
    }

    /// Compiles `[admin.remote]`. `policy`, against which the roles were checked, is `None` if it has errors.
    pub(crate) fn new(
        remote: Option<ListenerSettings>,
        roles: Roles,
        policy: Option<&Policy>,
        attestors: &Attestors,
        out: &mut Diagnostics,
    ) -> Option<Self> {
        let place = remote.as_ref().map(|remote| remote.bind_location.location.clone());
        let listener = remote.and_then(|remote| Listener::new(remote, attestors, out));
        if let (Some(listener), Some(place)) = (&listener, &place) {
            let key = "admin.remote.authenticate";
            if listener.chain.takes_neighbours() {
                out.error(
                    place,
                    key,
                    "with a `locality` attestor whoever is near is the workload: nobody is told apart",
                )
                .help("name attestors of kind `x509-svid`, `jwt`, `jwt-svid` or `unix-peer`");
            }
            if roles.who.iter().all(|(_, names)| names.is_empty()) {
                out.warning(place, "admin.remote", "nobody has a role, so that nobody may do anything here")
                    .help("write `[role.operator]` with `who = [\"WORKLOAD\"]`");
            }
        }
        Some(Self { listener, roles, policy: policy?.clone() })
    }

    /// Who an attested principal is here.
    pub(crate) fn caller(&self, principal: &Principal) -> Caller {
        Caller { name: principal.id.as_str().into(), role: self.roles.of(&self.policy, principal) }
    }
}
