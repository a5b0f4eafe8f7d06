//! Issuers that sign tokens for everybody: a configuration must say whose are meant.

use claviger_policy::document::{Diagnostics, Location, Table};

use crate::token::conditions::Conditions;

struct Shared {
    issuer: &'static str,
    /// Claims that tell whose token it is and are never given to anybody else; the first is the one to advise.
    ids: &'static [&'static str],
    /// Claims that tell it by a name, which can be given up and taken by somebody else.
    names: &'static [&'static str],
}

const SHARED: &[Shared] = &[
    Shared {
        issuer: "https://token.actions.githubusercontent.com",
        ids: &["repository_owner_id", "repository_id", "enterprise_id"],
        names: &["repository_owner", "repository", "enterprise", "sub"],
    },
    // Not `job_namespace_id`: a merge request from anybody's fork can run in the project that it is meant for.
    Shared {
        issuer: "https://gitlab.com",
        ids: &["namespace_id", "project_id"],
        names: &["namespace_path", "project_path", "sub"],
    },
    Shared { issuer: "https://accounts.google.com", ids: &["sub"], names: &["email", "hd"] },
    Shared {
        issuer: "https://agent.buildkite.com",
        ids: &["organization_id", "pipeline_id"],
        names: &["organization_slug", "sub"],
    },
    Shared {
        issuer: "https://app.terraform.io",
        ids: &["terraform_organization_id", "terraform_workspace_id"],
        names: &["terraform_organization_name", "sub"],
    },
    Shared { issuer: "https://api.bitbucket.org", ids: &["workspaceUuid", "repositoryUuid"], names: &["sub"] },
];

/// An issuer shared by everyone must pin its tenant, or anybody on the internet would have an identity here. `place` is
/// where the table names the issuer.
pub(super) fn require(issuer: &str, place: &Location, conditions: &Conditions, table: &Table, out: &mut Diagnostics) {
    let bare = issuer.trim_end_matches('/');
    let is = |shared: &&Shared| {
        bare.strip_prefix(shared.issuer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let Some(shared) = SHARED.iter().find(is) else { return };
    if shared.ids.iter().any(|claim| conditions.pins(claim).is_some()) {
        return;
    }
    let advised = shared.ids.first().copied().unwrap_or("sub");
    let named = shared.names.iter().find_map(|claim| conditions.pins(claim).map(|place| (claim, place)));
    match named {
        Some((claim, place)) => {
            let wrong = format!("`{claim}` is a name, which can be given up and taken by somebody else");
            out.warning(place, table.key_of("require"), wrong).help(format!("pin `{advised}`, which stays"));
        }
        None => {
            let wrong = "this issuer signs tokens for everybody, and nothing here says whose are meant";
            out.error(place, table.key_of("issuer"), wrong)
                .help(format!("write `require = {{ {advised} = \"…\" }}`; one of {}", shared.ids.join(", ")));
        }
    }
}
