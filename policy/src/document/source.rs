//! Texts and the places in them.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// One configuration file: the name a user knows it by, its folder, and its text.
pub struct SourceFile {
    name: String,
    pub(super) text: String,
    line_starts: Vec<usize>,
    team: Option<Arc<str>>,
}

impl fmt::Debug for SourceFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The text stays out: an operator may have put a secret there by mistake.
        f.debug_struct("SourceFile").field("name", &self.name).finish_non_exhaustive()
    }
}

impl SourceFile {
    /// `name` is what diagnostics cite, usually the path as the user gave it.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Arc<Self> {
        Self::make(name.into(), text.into(), None)
    }

    /// A file in which a team speaks (`[team.NAME]`), and not the platform.
    ///
    /// Whose a word is hangs on the file that it stands in, so that no part which takes keys can forget to ask.
    pub fn of_team(name: impl Into<String>, text: impl Into<String>, team: Arc<str>) -> Arc<Self> {
        Self::make(name.into(), text.into(), Some(team))
    }

    fn make(name: String, text: String, team: Option<Arc<str>>) -> Arc<Self> {
        let line_starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Arc::new(Self { name, text, line_starts, team })
    }

    /// The text as it was read.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The team whose file it is; `None`: the platform's.
    pub fn team(&self) -> Option<&Arc<str>> {
        self.team.as_ref()
    }

    /// The name that diagnostics cite.
    pub fn name(&self) -> &str {
        &self.name
    }

    fn line_and_column(&self, offset: usize) -> (usize, usize) {
        let line = self.line_starts.partition_point(|start| *start <= offset);
        let start = self.line_starts.get(line.saturating_sub(1)).copied().unwrap_or(0);
        let column = self.text.get(start..offset).map_or(0, |text| text.chars().count());
        (line.max(1), column + 1)
    }
}

/// A place in a configuration file. Cheap to clone.
#[derive(Clone)]
pub struct Location {
    pub(super) file: Arc<SourceFile>,
    pub(super) span: Range<usize>,
}

impl Location {
    /// The file's name as the user knows it.
    pub fn file(&self) -> &str {
        self.file.name()
    }

    /// The team in whose file this stands; `None`: in one of the platform.
    pub fn team(&self) -> Option<&Arc<str>> {
        self.file.team()
    }

    /// Line, from 1.
    pub fn line(&self) -> usize {
        self.file.line_and_column(self.span.start).0
    }

    /// Column in characters, from 1.
    pub fn column(&self) -> usize {
        self.file.line_and_column(self.span.start).1
    }
}

impl fmt::Display for Location {
    /// `file:line:column`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (line, column) = self.file.line_and_column(self.span.start);
        write!(f, "{}:{line}:{column}", self.file.name)
    }
}

impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A value and the place where it was written.
#[derive(Clone, Debug)]
pub struct Located<T> {
    /// The value.
    pub value: T,
    /// Where it stands.
    pub location: Location,
}

impl<T> Located<T> {
    /// The same place with another value, for parsing in steps.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Located<U> {
        Located { value: f(self.value), location: self.location }
    }
}
