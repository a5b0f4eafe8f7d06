//! `[team.NAME]`: each part of Claviger takes its keys from the one table.

use std::collections::BTreeMap;
use std::sync::Arc;

use claviger_credential::{BoundHost, TeamScope};
use claviger_policy::document::{Diagnostics, Located, Table};
use claviger_policy::{Team, TrustDomain};

use super::files::{self, ConfigFile, TeamFiles};
use super::services::ServiceParts;

/// Which of a team's files count.
#[derive(Clone, Debug, Default)]
pub(crate) enum Stand {
    /// Those that lie there.
    #[default]
    Current,
    /// Those that were in force before: what changed around them (a tie, a test, a secret that is gone) is no reason
    /// to give them up.
    Good(Arc<[ConfigFile]>),
    /// None: who is of the team is denied.
    Frozen,
}

/// For each team that does not stand by its current files: by which.
pub(crate) type Stands = BTreeMap<Arc<str>, Stand>;

/// The teams, as the parts see them.
#[derive(Debug, Default)]
pub(super) struct Teams {
    pub(super) bounds: Vec<Team>,
    pub(super) scopes: Vec<TeamScope>,
}

/// Takes the bounds of every team, and puts what their files say into the tree of the platform.
pub(super) fn take(
    root: Table,
    teams: &BTreeMap<Arc<str>, TeamFiles>,
    stands: &Stands,
    trust_domain: &TrustDomain,
    services: &[ServiceParts],
    out: &mut Diagnostics,
) -> (Table, Teams) {
    let (mut all, mut counting) = (Teams::default(), Vec::new());
    let routes: Vec<_> = services.iter().map(|parts| parts.route.clone()).collect();
    for (name, team) in teams {
        let stand = stands.get(name).unwrap_or(&Stand::Current);
        let mut table = team.table.clone();
        let located = Located { value: name.to_string(), location: team.location.clone() };
        let bounds = Team::take(&located, &mut table, trust_domain, &routes, root.names_of("service"), out);
        let may_name = |parts: &&ServiceParts| bounds.iter().any(|team| team.services().contains(parts.route.name()));
        let hosts = services.iter().filter(may_name).flat_map(|parts| BoundHost::of_service(&parts.route)).collect();
        let scope = TeamScope::take(&located, &mut table, hosts, out);
        table.finish(out);
        all.scopes.push(if matches!(stand, Stand::Good(_)) { scope.settle() } else { scope });
        all.bounds.extend(bounds.map(|bounds| match stand {
            Stand::Current => bounds,
            Stand::Good(_) => bounds.settle(),
            Stand::Frozen => bounds.freeze(),
        }));
        match stand {
            Stand::Current => {
                out.append(team.found.clone());
                counting.extend(team.files.iter().map(|file| (file, true)));
            }
            Stand::Good(files) => counting.extend(files.iter().map(|file| (file, false))),
            Stand::Frozen => {}
        }
    }
    Team::are_apart(&all.bounds, out);
    (files::join(root, counting, out), all)
}
