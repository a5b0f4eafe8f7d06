//! The files of a configuration as they are read: the one that is named, what it includes, and what teams say.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use claviger_policy::document::{self, Diagnostics, Located, Location, Merge, SourceFile, Table, nearest};

use super::pattern::Pattern;
use super::teams::{Stand, Stands};
use super::texts::{self, Texts};

/// The root keys of an included file: every table that is keyed by name, and the tests.
pub(super) const INCLUDED: &[&str] = &[
    "listener",
    "attestor",
    "store",
    "service",
    "credential",
    "schedule",
    "workload",
    "allow",
    "deny",
    "team",
    "role",
];
/// What a team's file may say.
pub(super) const OF_TEAMS: &[&str] = &["workload", "credential", "allow", "deny"];
pub(super) const LISTS: &[&str] = &["test", "suppress"];
/// What is said once for a whole process or installation.
const MAIN_ONLY: &[&str] = &["trust_domain", "state_dir", "include", "limits", "ledger", "admin"];

/// The longest file that is read, in bytes.
const FILE_MAX: u64 = 16 << 20;
/// The longest file of a team.
const TEAM_FILE_MAX: u64 = 1 << 20;
/// The most files of a team.
const TEAM_FILES_MAX: usize = 256;
/// How long all files of a team may be together.
const TEAM_BYTES_MAX: usize = 4 << 20;

/// What a file is to its configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// The file that was named.
    Main,
    /// Listed in its `include`.
    Included,
    /// Matched by `files` of `[team.NAME]`.
    Team(Arc<str>),
}

/// One file of a configuration.
#[derive(Clone, Debug)]
pub(crate) struct ConfigFile {
    /// What it is.
    pub(crate) role: Role,
    /// Where it lies.
    pub(crate) path: PathBuf,
    /// Its text, and the name that findings cite.
    pub(crate) source: Arc<SourceFile>,
    /// What a team's file says. `None`: it is not TOML, which stands in the findings, or it is of the platform, whose
    /// trees are one in [`Files::root`].
    tree: Option<Table>,
}

/// What the files of one team say, or what is wrong with them.
#[derive(Clone, Debug)]
pub(crate) struct TeamFiles {
    /// Where `[team.NAME]` stands.
    pub(crate) location: Location,
    /// The rest of `[team.NAME]`.
    pub(crate) table: Table,
    pub(crate) files: Vec<ConfigFile>,
    /// What was found while they were read.
    pub(crate) found: Diagnostics,
}

/// Every file that belongs to a configuration.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    /// The main file, then those that are included, in order.
    platform: Vec<ConfigFile>,
    /// What the platform's files say together; `None`: one of them is wrong, or it was handed over.
    pub(crate) root: Option<Table>,
    pub(crate) teams: BTreeMap<Arc<str>, TeamFiles>,
    /// Where files may come to lie.
    pub(crate) patterns: Vec<Pattern>,
}

impl TeamFiles {
    /// Whether the files lie where those did, and say the same.
    pub(super) fn is_as(&self, others: &[ConfigFile]) -> bool {
        let same = |(a, b): (&ConfigFile, &ConfigFile)| a.path == b.path && a.source.text() == b.source.text();
        self.files.len() == others.len() && self.files.iter().zip(others).all(same)
    }
}

/// Tables that no file holds yet, and into whose file they belong.
#[derive(Clone, Debug)]
pub(crate) struct More {
    /// TOML.
    pub(crate) text: String,
    /// `None`: the platform's.
    pub(crate) team: Option<Arc<str>>,
}

impl Files {
    /// What the platform's files say together, for whoever compiles it. It is copied only where it may have to be
    /// compiled once more, with other files of a team.
    pub(crate) fn hand_over(&mut self) -> Option<Table> {
        if self.teams.is_empty() { self.root.take() } else { self.root.clone() }
    }

    /// Of all texts, in order, in hex. Where they lie does not matter.
    pub(crate) fn digest(&self) -> String {
        self.digest_of(&Stands::new())
    }

    /// As [`digest`](Self::digest), of the files that are in force.
    pub(super) fn digest_of(&self, stands: &Stands) -> String {
        let mut each = String::new();
        let mut add = |file: &ConfigFile| each.push_str(&texts::hex(file.source.text().as_bytes()));
        self.platform.iter().for_each(&mut add);
        for (name, team) in &self.teams {
            match stands.get(name).unwrap_or(&Stand::Current) {
                Stand::Current => team.files.iter().for_each(&mut add),
                Stand::Good(files) => files.iter().for_each(&mut add),
                Stand::Frozen => {}
            }
        }
        texts::hex(each.as_bytes())
    }

    /// Adds tables as if a file of their owner held them.
    pub(crate) fn add(&mut self, more: &More, out: &mut Diagnostics) {
        let (name, text) = ("suggestion".to_owned(), more.text.clone());
        let Some(team) = &more.team else {
            let tree = document::parse(&SourceFile::new(name, text), out);
            self.root = self.root.take().zip(tree).map(|(root, mut tree)| {
                let mut merge = Merge::new(root, INCLUDED);
                merge.add(&mut tree, INCLUDED, LISTS, out);
                finish(tree, INCLUDED, out);
                merge.finish()
            });
            return;
        };
        if let Some(files) = self.teams.get_mut(team) {
            let source = SourceFile::of_team(name, text, team.clone());
            let tree = document::parse(&source, &mut files.found);
            files.files.push(ConfigFile { role: Role::Team(team.clone()), path: PathBuf::new(), source, tree });
        }
    }

    /// Every file, the main one first, the teams' last.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &ConfigFile> {
        self.platform.iter().chain(self.teams.values().flat_map(|team| &team.files))
    }
}

/// Reads every file of the configuration at `path`. What is wrong with them is in `out`, in `Files::root` (`None`)
/// and, for teams, in [`TeamFiles::found`]. `None`: the main file cannot be read.
pub(crate) fn files(path: &Path, texts: &mut Texts, out: &mut Diagnostics) -> Option<Files> {
    let text = texts
        .read(path)
        .map_err(|error| out.error_nowhere(format!("failed to read `{}`: {error}", path.display())).severity)
        .ok()?;
    let source = SourceFile::new(path.display().to_string(), text);
    let mut tree = document::parse(&source, out);
    let mut files = Files { platform: Vec::new(), root: None, teams: BTreeMap::new(), patterns: Vec::new() };
    let includes = tree.as_mut().map(|tree| take_include(tree, out)).unwrap_or_default();
    files.platform.push(ConfigFile { role: Role::Main, path: path.to_owned(), source, tree: None });
    for (written, pattern) in includes {
        read_included(&written, &pattern, &mut files.platform, texts, out);
        files.patterns.push(pattern);
    }
    let Some(tree) = tree else { return Some(files) };
    let mut merge = Merge::new(tree, INCLUDED);
    let mut right = true;
    for file in files.platform.iter_mut().skip(1) {
        let Some(mut tree) = file.tree.take() else {
            right = false;
            continue;
        };
        check_version(&mut tree, out);
        merge.add(&mut tree, INCLUDED, LISTS, out);
        finish(tree, INCLUDED, out);
    }
    let mut root = merge.finish();
    for (name, table) in root.named_tables("team", out) {
        read_team(name, table, &mut files, texts, out);
    }
    one_owner(&files, out);
    files.root = right.then_some(root);
    Some(files)
}

/// Puts what files of teams say into the root of the platform. `tested`: their tests too.
pub(super) fn join<'t>(
    root: Table,
    files: impl IntoIterator<Item = (&'t ConfigFile, bool)>,
    out: &mut Diagnostics,
) -> Table {
    let mut merge = Merge::new(root, OF_TEAMS);
    for (file, tested) in files {
        let Some(tree) = &file.tree else { continue };
        let mut tree = tree.clone();
        check_version(&mut tree, out);
        if !tested {
            drop(tree.take("test"));
        }
        merge.add(&mut tree, OF_TEAMS, LISTS, out);
        finish(tree, OF_TEAMS, out);
    }
    merge.finish()
}

/// `version`, where it is written.
pub(super) fn check_version(root: &mut Table, out: &mut Diagnostics) {
    if let Some(version) = root.integer("version", i64::MIN..=i64::MAX, out)
        && version.value != 1
    {
        out.error(&version.location, "version", format!("this Claviger does not read version `{}`", version.value))
            .help("write `version = 1`");
    }
}

fn take_include(tree: &mut Table, out: &mut Diagnostics) -> Vec<(Located<String>, Pattern)> {
    let written = tree.strings("include", out).unwrap_or_default();
    let parsed = written.into_iter().filter_map(|written| match Pattern::parse(&written, FILE_MAX) {
        Ok(pattern) => Some((written, pattern)),
        Err((message, help)) => {
            out.error(&written.location, "include", message).help(help);
            None
        }
    });
    parsed.collect()
}

fn read_included(
    written: &Located<String>,
    pattern: &Pattern,
    files: &mut Vec<ConfigFile>,
    texts: &mut Texts,
    out: &mut Diagnostics,
) {
    let matched = match pattern.files() {
        Ok(matched) => matched,
        Err(error) => {
            let message = format!("failed to read the folder `{}`: {error}", pattern.folder().display());
            out.error(&written.location, "include", message);
            return;
        }
    };
    if matched.is_empty() {
        out.error(&written.location, "include", format!("`{}` matches no file", written.value))
            .help("put a file there, or take the pattern out");
    }
    for path in matched {
        match files.iter().find(|file| is_same(&file.path, &path)) {
            Some(main) if main.role == Role::Main => {
                out.error(&written.location, "include", format!("`{}` matches this file itself", written.value))
                    .help("keep included files in a folder of their own, as `conf.d/*.toml`");
            }
            // Two patterns may match one file, which is read once.
            Some(_) => {}
            None => match texts.read_regular(&path, pattern.file_max()) {
                Ok(text) => {
                    let source = SourceFile::new(path.display().to_string(), text);
                    let tree = document::parse(&source, out);
                    files.push(ConfigFile { role: Role::Included, path, source, tree });
                }
                Err(error) => {
                    let message = format!("failed to read `{}`: {error}", path.display());
                    out.error(&written.location, "include", message);
                }
            },
        }
    }
}

/// Takes `files` of `[team.NAME]` and reads them. What is wrong with the files is the team's matter.
fn read_team(name: Located<String>, mut table: Table, files: &mut Files, texts: &mut Texts, out: &mut Diagnostics) {
    let team: Arc<str> = name.value.as_str().into();
    let key = table.key_of("files");
    if !table.has("files") {
        table.missing("files", out).help(format!("write `files = \"teams/{team}/*.toml\"`"));
    }
    let (mut all, mut found) = (Vec::new(), Diagnostics::default());
    for written in table.strings("files", out).unwrap_or_default() {
        match Pattern::parse(&written, TEAM_FILE_MAX) {
            Ok(pattern) => {
                let mut reading = Reading { team: &team, written: &written, key: &key, all: &mut all };
                reading.read(&pattern, texts, &mut found);
                files.patterns.push(pattern);
            }
            Err((message, help)) => {
                out.error(&written.location, key.clone(), message).help(help);
            }
        }
    }
    files.teams.insert(team, TeamFiles { location: name.location, table, files: all, found });
}

/// The files of one pattern of one team.
struct Reading<'a> {
    team: &'a Arc<str>,
    written: &'a Located<String>,
    key: &'a str,
    all: &'a mut Vec<ConfigFile>,
}

impl Reading<'_> {
    fn read(&mut self, pattern: &Pattern, texts: &mut Texts, found: &mut Diagnostics) {
        let matched = match pattern.files() {
            Ok(matched) => matched,
            Err(error) => {
                return self
                    .wrong(format!("failed to read the folder `{}`: {error}", pattern.folder().display()), found);
            }
        };
        if matched.is_empty() {
            self.wrong(format!("`{}` matches no file", self.written.value), found);
        }
        for path in matched {
            if self.all.iter().any(|file| file.path == path) {
                continue;
            }
            if self.all.len() == TEAM_FILES_MAX {
                return self.wrong(format!("team `{}` has more than {TEAM_FILES_MAX} files", self.team), found);
            }
            let text = match texts.read_regular(&path, pattern.file_max()) {
                Ok(text) => text,
                Err(error) => {
                    self.wrong(format!("failed to read `{}`: {error}", path.display()), found);
                    continue;
                }
            };
            let length: usize = self.all.iter().map(|file| file.source.text().len()).sum();
            if length + text.len() > TEAM_BYTES_MAX {
                let most = TEAM_BYTES_MAX >> 20;
                return self.wrong(format!("the files of team `{}` have more than {most}MiB", self.team), found);
            }
            let source = SourceFile::of_team(path.display().to_string(), text, self.team.clone());
            let tree = document::parse(&source, found);
            self.all.push(ConfigFile { role: Role::Team(self.team.clone()), path, source, tree });
        }
    }

    /// It stands in the platform's file, and is the team's matter all the same.
    fn wrong(&self, message: String, found: &mut Diagnostics) {
        found.error(&self.written.location, self.key, message).blame(Some(self.team.clone()));
    }
}

/// A file speaks for one team or for the platform.
fn one_owner(files: &Files, out: &mut Diagnostics) {
    let mut owners: BTreeMap<PathBuf, &Role> = BTreeMap::new();
    for file in files.iter() {
        let canonical = file.path.canonicalize().unwrap_or_else(|_| file.path.clone());
        let Some(other) = owners.insert(canonical, &file.role) else { continue };
        let Role::Team(team) = &file.role else { continue };
        let whose = match other {
            Role::Main | Role::Included => "a file of the platform".to_owned(),
            Role::Team(other) => format!("a file of team `{other}`"),
        };
        if let Some(place) = files.teams.get(team).map(|team| &team.location)
            && *other != file.role
        {
            let message = format!("`{}` is {whose} already", file.path.display());
            out.error(place, format!("team.{team}.files"), message).help("give each team a folder of its own");
        }
    }
}

fn is_same(a: &Path, b: &Path) -> bool {
    a == b || matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

/// What a file that is not the main one holds besides.
fn finish(rest: Table, known: &[&str], out: &mut Diagnostics) {
    for (name, item) in rest.into_entries() {
        let is_known = |key: &&str| **key == *name.value;
        let team = name.location.team();
        if let Some(team) = team
            && INCLUDED.iter().chain(LISTS).chain(MAIN_ONLY).any(&is_known)
        {
            let message = format!("a file of team `{team}` may not say this");
            out.error(&name.location, item.key, message)
                .help("it may hold workload, credential, allow, deny, test and suppress");
        } else if MAIN_ONLY.iter().any(is_known) {
            out.error(&name.location, item.key, "this may stand in the main file only")
                .help("move it there; an included file holds tables that have names, and tests");
        } else {
            let right = || known.iter().chain(LISTS).copied();
            let found = out.error(&name.location, item.key, "unknown key");
            match nearest(&name.value, right()) {
                Some(near) => found.help(format!("did you mean `{near}`?")),
                None => found.help(format!("known here: {}", right().collect::<Vec<_>>().join(", "))),
            };
        }
    }
}
