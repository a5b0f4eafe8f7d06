//! What is found wrong, where, and what to write instead.

use std::fmt;

use super::source::Location;
use crate::analyze::Code;

/// How bad a [`Diagnostic`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The configuration loads; an operator should look.
    Warning,
    /// The configuration does not load.
    Error,
}

/// One finding about a configuration: where, which key, what is wrong, what to write instead.
#[derive(Clone, Debug)]
pub struct Diagnostic {
    /// Error or warning.
    pub severity: Severity,
    /// Where; `None` only for what concerns no file, such as a missing one.
    pub location: Option<Location>,
    /// The dotted key, as `service.openai.hosts`; empty where no key is meant.
    pub key: String,
    /// What is wrong: lower case, no final period, user input in backticks.
    pub message: String,
    /// What to write instead.
    pub help: Option<String>,
    /// The stable code under which `analyze` reports it; `None` for the common one.
    pub code: Option<Code>,
    /// The team whose files are to blame: the one in whose file it stands, unless [`Diagnostic::blame`] says otherwise.
    pub team: Option<std::sync::Arc<str>>,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(location) = &self.location {
            write!(f, "{location}: ")?;
        }
        f.write_str(match self.severity {
            Severity::Warning => "warning: ",
            Severity::Error => "error: ",
        })?;
        if !self.key.is_empty() {
            write!(f, "`{}`: ", self.key)?;
        }
        f.write_str(&self.message)?;
        if let Some(help) = &self.help {
            write!(f, "\n  help: {help}")?;
        }
        Ok(())
    }
}

/// Collects what is found while a configuration is read.
#[derive(Clone, Debug, Default)]
pub struct Diagnostics {
    found: Vec<Diagnostic>,
}

impl Diagnostics {
    /// An error at a place.
    pub fn error(
        &mut self,
        location: &Location,
        key: impl Into<String>,
        message: impl Into<String>,
    ) -> &mut Diagnostic {
        self.push(Severity::Error, Some(location.clone()), key.into(), message.into())
    }

    /// A warning at a place.
    pub fn warning(
        &mut self,
        location: &Location,
        key: impl Into<String>,
        message: impl Into<String>,
    ) -> &mut Diagnostic {
        self.push(Severity::Warning, Some(location.clone()), key.into(), message.into())
    }

    /// An error that no place in a file caused.
    pub fn error_nowhere(&mut self, message: impl Into<String>) -> &mut Diagnostic {
        self.push(Severity::Error, None, String::new(), message.into())
    }

    /// All findings, in the order in which they were made.
    pub fn iter(&self) -> impl Iterator<Item = &Diagnostic> {
        self.found.iter()
    }

    /// Whether the configuration must not load.
    pub fn has_errors(&self) -> bool {
        self.found.iter().any(|diagnostic| diagnostic.severity == Severity::Error)
    }

    /// Whether nothing was found.
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// Whether so much is wrong that nobody reads suggestions any more.
    pub fn is_long(&self) -> bool {
        self.found.len() > 1_000
    }

    /// Keeps those findings only.
    pub fn retain(&mut self, keep: impl FnMut(&Diagnostic) -> bool) {
        self.found.retain(keep);
    }

    /// Adds all of `other`.
    pub fn append(&mut self, mut other: Diagnostics) {
        self.found.append(&mut other.found);
    }

    /// Orders by file and place, so that output is stable.
    pub fn sort(&mut self) {
        self.found.sort_by_key(|diagnostic| {
            diagnostic.location.as_ref().map(|location| (location.file().to_owned(), location.span.start))
        });
    }

    fn push(
        &mut self,
        severity: Severity,
        location: Option<Location>,
        key: String,
        message: String,
    ) -> &mut Diagnostic {
        let at = self.found.len();
        let team = location.as_ref().and_then(|location| location.team().cloned());
        self.found.push(Diagnostic { severity, location, key, message, help: None, code: None, team });
        // The element was pushed on the line above.
        #[allow(clippy::indexing_slicing, reason = "the index was made by the push above")]
        &mut self.found[at]
    }
}

impl Diagnostic {
    /// Says whose files are to blame, where that is not who wrote the place: a test of the platform that fails by a
    /// rule of a team.
    pub fn blame(&mut self, team: Option<std::sync::Arc<str>>) -> &mut Self {
        self.team = team;
        self
    }

    /// Says under which code `analyze` reports it.
    pub fn code(&mut self, code: Code) -> &mut Self {
        self.code = Some(code);
        self
    }

    /// Says what to write instead.
    pub fn help(&mut self, help: impl Into<String>) -> &mut Self {
        self.help = Some(help.into());
        self
    }
}

/// The longest text for which a near name is looked for, in bytes.
const NEAR_MAX: usize = 200;

/// "did you mean" over the names that would have been right; `None` if nothing is near.
pub fn nearest<'a>(wrong: &str, right: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Nobody mistypes a name of this length, and comparing takes the product of both.
    if wrong.len() > NEAR_MAX {
        return None;
    }
    right
        .into_iter()
        .filter(|name| name.len().abs_diff(wrong.len()) <= (name.len().max(wrong.len()) / 3).max(1))
        .map(|name| (strsim::damerau_levenshtein(&wrong.to_lowercase(), &name.to_lowercase()), name))
        .filter(|(distance, name)| *distance <= (name.chars().count().max(wrong.chars().count()) / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}
