//! Who speaks in a rule: the platform, or a team. What a name means depends on it.

use std::borrow::Cow;

use super::link::key_of;
use super::take::Draft;
use crate::document::{Diagnostics, Located, Location, nearest};
use crate::{CredentialFacts, ServiceRoute, Team};

/// Who speaks.
#[derive(Clone, Copy)]
pub(super) enum Owner<'a> {
    Platform,
    Team(&'a Team),
}

impl<'a> Owner<'a> {
    /// By the file in which something stands; `None`: of a team whose own table is wrong, which is said there.
    pub(super) fn of(place: &Location, teams: &'a [Team]) -> Option<Self> {
        match place.team() {
            None => Some(Self::Platform),
            Some(name) => teams.iter().find(|team| team.name() == name).map(Self::Team),
        }
    }

    /// The team; `None`: the platform.
    pub(super) fn name(&self) -> Option<&'a str> {
        match self {
            Self::Platform => None,
            Self::Team(team) => Some(team.name()),
        }
    }

    /// The full name of what this owner calls `name`; `None`: it cannot be its own.
    ///
    /// Teams write bare names, and the platform names nothing of a team: a team that renames something would break
    /// the platform's file.
    pub(super) fn own<'n>(&self, name: &'n str) -> Option<Cow<'n, str>> {
        match self {
            _ if name.contains('/') => None,
            Self::Platform => Some(name.into()),
            Self::Team(team) => Some(format!("{}/{name}", team.name()).into()),
        }
    }

    /// What this owner calls something by its full name; `None`: it is not its own.
    pub(super) fn bare<'n>(&self, name: &'n str) -> Option<&'n str> {
        match self {
            Self::Platform => (!name.contains('/')).then_some(name),
            Self::Team(team) => name.strip_prefix(&**team.name())?.strip_prefix('/'),
        }
    }

    pub(super) fn may_name(&self, service: &ServiceRoute) -> bool {
        match self {
            Self::Platform => true,
            Self::Team(team) => team.may_use(service.name()),
        }
    }

    /// Its own credentials, and those that the platform lends.
    pub(super) fn may_use(&self, facts: &CredentialFacts) -> bool {
        match (self, facts.name.location.team()) {
            (Self::Platform, owner) => owner.is_none(),
            (Self::Team(team), Some(owner)) => owner == team.name(),
            (Self::Team(team), None) => team.credentials().any(|lent| lent == facts.name.value),
        }
    }

    /// What this owner calls a credential that it may use.
    pub(super) fn bare_credential<'n>(&self, facts: &'n CredentialFacts) -> &'n str {
        self.bare(&facts.name.value).unwrap_or(&facts.name.value)
    }

    /// A team's rule goes no higher than the platform says, also without a word.
    pub(super) fn bound_priority(&self, draft: &mut Draft, out: &mut Diagnostics) {
        let Self::Team(team) = self else { return };
        let max = team.priority_max();
        match &draft.priority_at {
            Some(place) if draft.priority > max => {
                let message = format!("`{}` is more than a rule of team `{}` may have", draft.priority, team.name());
                out.error(place, format!("{}.priority", draft.key), message)
                    .help(format!("write at most {max}: the platform says so at {}", team.location()));
            }
            Some(_) => {}
            None => draft.priority = draft.priority.min(max),
        }
    }

    /// Finds every name, or says which is not there.
    #[allow(clippy::too_many_arguments, reason = "what is looked up, where, and how")]
    pub(super) fn look_up<'n, T, I: Iterator<Item = &'n str>>(
        &self,
        wanted: &[Located<String>],
        key: (&Draft, &'static str),
        what: &str,
        find: impl Fn(&str) -> Option<T>,
        all: impl Fn() -> I,
        broken: &[String],
        out: &mut Diagnostics,
    ) -> Option<Vec<T>> {
        let mut found = Vec::new();
        for name in wanted {
            match find(&name.value) {
                Some(value) => found.push(value),
                None if broken.contains(&name.value) => {}
                None => {
                    let missing = self.missing(&name.value);
                    let is_long = out.is_long();
                    let error = out.error(&name.location, key_of(key), format!("there is no {what} `{missing}"));
                    match if is_long { None } else { nearest(&name.value, all()) } {
                        Some(near) => error.help(format!("did you mean `{near}`?")),
                        None => error.help(self.where_to_define(what, &name.value)),
                    };
                }
            }
        }
        (found.len() == wanted.len()).then_some(found)
    }

    /// `x` as the rest of a message that begins with a backtick: a team is told that its own names count.
    pub(super) fn missing(&self, name: &str) -> String {
        match self {
            Self::Platform => format!("{name}`"),
            Self::Team(team) => format!("{name}` for team `{}`", team.name()),
        }
    }

    pub(super) fn where_to_define(&self, what: &str, name: &str) -> String {
        match (self, what) {
            (Self::Platform, _) if name.contains('/') => {
                "what a team defines is for its own files, which may change: define one here".to_owned()
            }
            (Self::Platform, "credential") => format!("define `[credential.{name}]`, or write `use = \"none\"`"),
            (Self::Platform, _) => format!("define `[{what}.{name}]`"),
            (Self::Team(team), "service") => {
                format!("its services are {}: the platform says so at {}", team.services_text(), team.location())
            }
            (Self::Team(_), "credential") => {
                format!("define `[credential.{name}]` in a file of the team, or write `use = \"none\"`")
            }
            (Self::Team(_), _) => format!("define `[{what}.{name}]` in a file of the team"),
        }
    }
}
