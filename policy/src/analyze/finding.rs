//! One finding.

use std::fmt;

use super::{Code, Level};
use crate::document::Location;

/// Something that is wrong, or worth knowing, about a configuration that loads.
#[derive(Clone, Debug)]
pub struct Finding {
    /// What sort of thing it is.
    pub code: Code,
    /// The dotted key of the table that it is about, as `allow.docs-llm`: what a suppression names.
    pub subject: String,
    /// Where; `None` only if it is about nothing in a file.
    pub location: Option<Location>,
    /// What is wrong: lower case, no final period, names in backticks.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
    /// Other places that have to do with it.
    pub related: Vec<Related>,
}

/// A place that has to do with a finding.
#[derive(Clone, Debug)]
pub struct Related {
    /// Where.
    pub location: Location,
    /// What stands there, as "deny `no-deletes`".
    pub what: String,
}

impl Finding {
    /// A finding about a table.
    pub fn new(code: Code, subject: impl Into<String>, location: &Location, message: impl Into<String>) -> Self {
        Self {
            code,
            subject: subject.into(),
            location: Some(location.clone()),
            message: message.into(),
            help: None,
            related: Vec::new(),
        }
    }

    /// Says what to do about it.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Names another place.
    #[must_use]
    pub fn related(mut self, location: &Location, what: impl Into<String>) -> Self {
        self.related.push(Related { location: location.clone(), what: what.into() });
        self
    }

    /// How much it matters.
    pub fn level(&self) -> Level {
        self.code.level()
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(location) = &self.location {
            write!(f, "{location}: ")?;
        }
        write!(f, "{} {}: ", self.level(), self.code)?;
        if !self.subject.is_empty() {
            write!(f, "`{}`: ", self.subject)?;
        }
        f.write_str(&self.message)?;
        for related in &self.related {
            write!(f, "\n  see: {} at {}", related.what, related.location)?;
        }
        if let Some(help) = &self.help {
            write!(f, "\n  help: {help}")?;
        }
        Ok(())
    }
}
