//! Looks around: the environment, the project's files, and what tools keep in the home folder.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use claviger_contract::Secret;
use zeroize::Zeroizing;

use super::dotenv::Entry;
use super::known::{Known, Presets};
use super::logins::{self, Login};
use super::sources::{self, Search};
use super::{dotenv, manifests, value, walk};

/// No `.env`, `.npmrc` or the like is larger, in bytes.
pub(super) const SMALL_MAX: u64 = 256 << 10;

/// Where something stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// A variable of the environment that this process was given.
    Variable(String),
    /// A variable in a file that programs read at their start.
    Dotenv { file: PathBuf, line: usize, variable: String },
    /// A tool's own file.
    Login { file: String, line: usize, key: String },
    /// Some file.
    Source { file: PathBuf, line: usize },
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Variable(name) => write!(f, "${name} in this shell"),
            Self::Dotenv { file, line, variable } => write!(f, "{variable} in {}:{line}", shown(file)),
            Self::Login { file, line, key } => write!(f, "{key} in {file}:{line}"),
            Self::Source { file, line } => write!(f, "{}:{line}", shown(file)),
        }
    }
}

/// A file's name in a line of text, whatever somebody called it.
pub(super) fn shown(file: &Path) -> String {
    crate::console::visible(&file.display().to_string()).replace(['\n', '\t'], "?")
}

/// A value that is a key, or stands where one is expected.
#[derive(Debug)]
pub(super) struct Found {
    /// Whose.
    pub(super) preset: &'static str,
    pub(super) value: Secret,
    /// Where it stands; the first is what a program would read.
    pub(super) places: Vec<Place>,
    /// Why it is not to be sealed as it is.
    pub(super) unfit: Option<&'static str>,
}

/// What was seen.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) found: Vec<Found>,
    /// Why a preset is proposed: its name, and a trace of its use.
    pub(super) traces: Vec<(&'static str, String)>,
    /// Where the clients of a preset are told to go instead: its name, a host, and where that is said.
    pub(super) elsewhere: Vec<(&'static str, String, Place)>,
    /// Places in other files that look like keys: whose, and where.
    pub(super) strewn: Vec<(&'static str, Place)>,
    /// What could not be decided, for people.
    pub(super) notes: Vec<String>,
    /// Files that programs read at their start.
    pub(super) dotenvs: Vec<PathBuf>,
    /// How it may be started: names of files at the project's top.
    pub(super) top: Vec<String>,
}

/// Whether a file of that name holds variables.
pub(super) fn is_dotenv(name: &str) -> bool {
    name == ".envrc" || name == ".env" || name.starts_with(".env.") || (name.ends_with(".env") && name.len() > 4)
}

/// Looks at everything. `variable` is the environment.
pub(super) fn around(root: &Path, home: Option<&Path>, presets: &Presets, variables: Vec<(String, Secret)>) -> Seen {
    let mut look = Look { root, presets, seen: Seen::default() };
    look.environment(variables);
    look.project();
    look.remotes();
    if let Some(home) = home.filter(|home| *home != root) {
        for (name, read) in [(".npmrc", logins::npmrc as Read), (".pypirc", logins::pypirc)] {
            look.logins(&home.join(name), &format!("~/{name}"), read);
        }
    }
    look.seen
}

type Read = fn(&str) -> Vec<Login>;

struct Look<'a> {
    root: &'a Path,
    presets: &'a Presets,
    seen: Seen,
}

impl Look<'_> {
    fn environment(&mut self, variables: Vec<(String, Secret)>) {
        for (name, value) in variables {
            let place = Place::Variable(name.clone());
            self.assigned(&name, value, place);
        }
    }

    fn project(&mut self) {
        let tree = walk::files(self.root);
        let search = Search::new(self.presets);
        let mut left = sources::TOTAL_MAX;
        let mut is_cut = tree.is_cut;
        for file in &tree.files {
            let Some(name) = file.file_name().and_then(|name| name.to_str()) else { continue };
            if file.components().count() == 1 {
                self.seen.top.push(name.to_owned());
            }
            let path = self.root.join(file);
            if is_dotenv(name) {
                self.dotenv(file, &path);
            } else if let Some((kind, reader)) = manifests::reader(name) {
                if let Some(text) = read(&path, manifests::SIZE_MAX) {
                    let packages = manifests::packages(kind, reader, &String::from_utf8_lossy(&text));
                    self.packages(file, &packages);
                }
            } else if name == ".npmrc" {
                self.logins(&path, &shown(file), logins::npmrc);
            } else if name == ".pypirc" {
                self.logins(&path, &shown(file), logins::pypirc);
            } else if let Some(text) = read(&path, sources::SIZE_MAX.min(left)) {
                left -= text.len() as u64;
                is_cut |= left == 0;
                let places = search.look(&text).into_iter();
                let place = |seen: sources::Seen| (seen.preset, Place::Source { file: file.clone(), line: seen.line });
                self.seen.strewn.extend(places.map(place));
            }
        }
        if is_cut {
            self.seen
                .notes
                .push("this folder is too large to look at all of it: files deep below were not read".to_owned());
        }
    }

    fn dotenv(&mut self, file: &Path, path: &Path) {
        let Some(text) = read(path, SMALL_MAX) else {
            self.seen.notes.push(format!("{} could not be read", shown(file)));
            return;
        };
        self.seen.dotenvs.push(file.to_owned());
        let entries = dotenv::parse(&text, file.file_name().is_some_and(|name| name == ".envrc"));
        // Of two assignments the last one holds, so that it is looked at first.
        let lines: HashMap<String, usize> = entries.iter().map(|entry| (entry.name.clone(), entry.line)).collect();
        let holds = |entry: &Entry| lines.get(&entry.name) == Some(&entry.line);
        let (last, former): (Vec<_>, Vec<_>) = entries.into_iter().partition(holds);
        for entry in last.into_iter().chain(former) {
            let variable = entry.name.clone();
            let place = Place::Dotenv { file: file.to_owned(), line: entry.line, variable };
            match entry.reading {
                dotenv::Reading::Value(value) => self.assigned(&entry.name, value, place),
                dotenv::Reading::Made => {}
                dotenv::Reading::Unclear(why) => {
                    if self.presets.of_variable(&entry.name, None).is_some() {
                        self.seen.notes.push(format!("{place} was left alone: {why}"));
                    }
                }
            }
        }
    }

    /// A variable with its value.
    fn assigned(&mut self, name: &str, value: Secret, place: Place) {
        if value.is_empty() {
            return;
        }
        let based = self.presets.iter().find(|known| known.client.base_urls.contains_key(name));
        if let Some(known) = based {
            self.base_url(known, &value, place);
            return;
        }
        if value::is_dummy(&value) || self.presets.is_placeholder(&value) {
            // The program asks for it, with or without a key.
            if let Some(known) = self.presets.of_variable(name, None) {
                self.trace(known.name, place.to_string());
            }
            return;
        }
        let by_name = self.presets.of_variable(name, Some(&value));
        let by_value = self.presets.of_value(&value).map(|(known, _)| known);
        // What it is says more than what it is called.
        if let Some(known) = by_value.or(by_name) {
            self.found(known, value, place);
        }
    }

    fn found(&mut self, known: &Known, value: Secret, place: Place) {
        self.trace(known.name, place.to_string());
        if let Some(same) = self.seen.found.iter_mut().find(|one| value::same(&one.value, &value)) {
            if !same.places.contains(&place) {
                same.places.push(place);
            }
            return;
        }
        let unfit = if value.len() < value::SHORTEST {
            Some("too short to be found in answers, so that it could not be kept out of them")
        } else if !value::is_plain(&value) {
            Some("it has blanks or control characters, as no key has")
        } else {
            None
        };
        self.seen.found.push(Found { preset: known.name, value, places: vec![place], unfit });
    }

    fn base_url(&mut self, known: &Known, value: &Secret, place: Place) {
        let Some(host) = value::host(value) else {
            self.seen.notes.push(format!("{place} is no https:// URL; what it leads to is not proposed"));
            return;
        };
        let is_own = self.presets.of_host(&host).is_some_and(|of| of.name == known.name);
        if !is_own {
            self.seen.elsewhere.push((known.name, host, place));
        }
    }

    fn packages(&mut self, file: &Path, packages: &[String]) {
        for package in packages {
            let users: Vec<&'static str> = self.presets.of_package(package).map(|known| known.name).collect();
            let name = package.split_once(':').map_or(package.as_str(), |(_, name)| name);
            for preset in users {
                self.trace(preset, format!("`{name}` in {}", shown(file)));
            }
        }
    }

    fn logins(&mut self, path: &Path, called: &str, reader: Read) {
        let Some(text) = read(path, SMALL_MAX) else { return };
        let Ok(text) = std::str::from_utf8(&text) else { return };
        for login in reader(text) {
            self.login(login, called);
        }
    }

    fn login(&mut self, login: Login, file: &str) {
        let Login { line, key, host, value } = login;
        let place = Place::Login { file: file.to_owned(), line, key };
        // A token goes to the host beside which it stands, whatever it looks like.
        match host.as_deref().and_then(|host| self.presets.of_host(host)) {
            Some(known) => self.found(known, value, place),
            None if value::is_dummy(&value) => {}
            None => self.seen.notes.push(format!("{place} holds a token for a host that no preset knows")),
        }
    }

    fn remotes(&mut self) {
        let Some(file) = git_config(self.root) else { return };
        let Some(text) = read(&file, SMALL_MAX) else { return };
        for remote in logins::remotes(&String::from_utf8_lossy(&text)) {
            if let Some(known) = self.presets.of_host(&remote.host) {
                let by_ssh = if remote.is_https { "" } else { ", by SSH" };
                self.trace(known.name, format!("git remote `{}` ({}{by_ssh})", remote.name, remote.host));
            }
            if let Some(login) = remote.login {
                self.login(login, ".git/config");
            }
        }
    }

    fn trace(&mut self, preset: &'static str, trace: String) {
        let trace = (preset, trace);
        if !self.seen.traces.contains(&trace) {
            self.seen.traces.push(trace);
        }
    }
}

/// A file's bytes; wiped, for it may hold keys. `None`: there is none, it is too large, or it is not ours to read.
pub(super) fn read(path: &Path, max: u64) -> Option<Zeroizing<Vec<u8>>> {
    crate::os::read_regular(path, max).ok().map(Zeroizing::new)
}

/// The configuration of the repository around a folder; that of the main one for a worktree.
fn git_config(root: &Path) -> Option<PathBuf> {
    let git = root.ancestors().map(|folder| folder.join(".git")).find(|git| git.symlink_metadata().is_ok())?;
    if git.is_dir() {
        return Some(git.join("config"));
    }
    let text = read(&git, 4096)?;
    let folder = std::str::from_utf8(&text).ok()?.trim().strip_prefix("gitdir:")?.trim();
    let folder = git.parent()?.join(folder);
    let common = read(&folder.join("commondir"), 4096);
    let common = common.as_ref().and_then(|text| std::str::from_utf8(text).ok()).map_or(".", str::trim);
    Some(folder.join(common).join("config"))
}
