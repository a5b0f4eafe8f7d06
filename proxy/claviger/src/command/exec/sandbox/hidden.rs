//! What a sandbox hides of this machine: the list is data (`hidden.toml`), and here it is looked up.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::FileTypeExt;
use std::path::{Component, Path, PathBuf};

use serde::Deserialize;

use super::{dotenv, project};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    hide: Vec<Entry>,
    variables: Variables,
    sockets: Sockets,
    read_only: ReadOnly,
    root: Root,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    why: String,
    paths: Vec<String>,
    #[serde(default)]
    content: String,
    #[serde(default)]
    except: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Variables {
    remove: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sockets {
    stay: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ReadOnly {
    #[allow(dead_code, reason = "for who reads the list")]
    why: String,
    paths: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Root {
    read_only: Vec<String>,
}

/// Who starts the command, and where.
pub(crate) struct Caller {
    /// Home folders: what `HOME` says, and what the user database says.
    pub(crate) homes: Vec<PathBuf>,
    /// The environment.
    pub(crate) environment: Vec<(OsString, OsString)>,
    /// The working folder.
    pub(crate) directory: PathBuf,
    /// The user.
    pub(crate) uid: u32,
}

/// What the command line says of it.
#[derive(Debug, Default)]
pub(crate) struct Wishes {
    /// Hidden besides.
    pub(crate) hide: Vec<PathBuf>,
    /// Stays readable, with all that is in it.
    pub(crate) allow: Vec<PathBuf>,
    /// Stays, for the session's sake.
    pub(crate) keep: Vec<PathBuf>,
    /// Must not be changed.
    pub(crate) fixed: Vec<PathBuf>,
}

/// One thing to hide, which exists.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Found {
    /// Where it lies, without links.
    pub(crate) path: PathBuf,
    /// Why.
    pub(crate) why: String,
    /// What it looks to hold.
    pub(crate) content: String,
}

/// Everything that was found.
#[derive(Debug, Default)]
pub(crate) struct Hidden {
    /// To hide; nothing in it lies beneath another.
    pub(crate) found: Vec<Found>,
    /// Stays, though beneath something hidden.
    pub(crate) keep: Vec<PathBuf>,
    /// Is not written.
    pub(crate) read_only: Vec<PathBuf>,
    /// Links that stay, with what they point at: `PATH` leads over them, beneath something hidden.
    pub(crate) links: Vec<(PathBuf, PathBuf)>,
    /// On the list, but the command's own folder lies in it.
    pub(crate) unhidden: Vec<PathBuf>,
    /// Names of variables that lead to what is hidden.
    pub(crate) variables: BTreeSet<OsString>,
    /// The project has more folders than were looked through for `.env` files.
    pub(crate) cut_short: bool,
}

/// The list as it is built in.
fn list() -> Result<List, String> {
    toml::from_str(include_str!("hidden.toml")).map_err(|error| format!("the list of what is hidden: {error}"))
}

impl Caller {
    /// This process.
    pub(crate) fn this() -> std::io::Result<Self> {
        let uid = rustix::process::getuid().as_raw();
        let mut homes: Vec<PathBuf> = std::env::var_os("HOME").map(PathBuf::from).into_iter().collect();
        homes.extend(std::fs::read_to_string("/etc/passwd").ok().and_then(|text| home_in(&text, uid)));
        homes.retain(|home| home.is_absolute() && home != Path::new("/"));
        homes.dedup();
        Ok(Self { homes, environment: std::env::vars_os().collect(), directory: std::env::current_dir()?, uid })
    }

    fn variable(&self, name: &str) -> Option<&OsStr> {
        let found = self.environment.iter().find(|(one, _)| one == name);
        found.map(|(_, value)| value.as_os_str()).filter(|value| !value.is_empty())
    }

    /// The folder that `config:` and its kind name, for each home.
    fn bases(&self, variable: &str, beneath: &str) -> Vec<PathBuf> {
        let mut bases: Vec<PathBuf> = self.variable(variable).map(PathBuf::from).into_iter().collect();
        bases.extend(self.homes.iter().map(|home| home.join(beneath)));
        bases
    }

    /// What a path of the list means here; several where there are several homes, or stars.
    fn expand(&self, text: &str) -> Vec<PathBuf> {
        let xdg = [
            ("config:", "XDG_CONFIG_HOME", ".config"),
            ("data:", "XDG_DATA_HOME", ".local/share"),
            ("state:", "XDG_STATE_HOME", ".local/state"),
            ("cache:", "XDG_CACHE_HOME", ".cache"),
        ];
        let joined = |bases: Vec<PathBuf>, rest: &str| bases.into_iter().map(|base| base.join(rest)).collect();
        let plain: Vec<PathBuf> = if let Some(rest) = text.strip_prefix("~/") {
            joined(self.homes.clone(), rest)
        } else if let Some(rest) = text.strip_prefix("runtime:") {
            let mut bases = vec![PathBuf::from(format!("/run/user/{}", self.uid))];
            bases.extend(self.variable("XDG_RUNTIME_DIR").map(PathBuf::from));
            // `join("")` would leave a slash at the end.
            if rest.is_empty() { bases } else { joined(bases, rest) }
        } else if let Some(rest) = text.strip_prefix('$') {
            let (name, rest) = rest.split_once('/').unwrap_or((rest, ""));
            let Some(value) = self.variable(name) else { return vec![] };
            let values = value.as_bytes().split(|byte| *byte == b':').filter(|one| !one.is_empty());
            let bases = values.map(|one| PathBuf::from(OsString::from_vec(one.to_vec())));
            let bases = bases.map(|base| self.directory.join(base)).collect();
            if rest.is_empty() { bases } else { joined(bases, rest) }
        } else if let Some((rest, bases)) =
            xdg.iter().find_map(|(prefix, name, beneath)| Some((text.strip_prefix(prefix)?, self.bases(name, beneath))))
        {
            joined(bases, rest)
        } else {
            vec![PathBuf::from(text)]
        };
        plain.into_iter().flat_map(|path| starred(&path)).collect()
    }
}

/// The files that a path with a star in its last name means.
fn starred(path: &Path) -> Vec<PathBuf> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name().and_then(OsStr::to_str)) else {
        return vec![path.to_owned()];
    };
    if !name.contains('*') {
        return vec![path.to_owned()];
    }
    let Ok(entries) = std::fs::read_dir(folder) else { return vec![] };
    let names = entries.flatten().filter(|entry| fits(name, &entry.file_name().to_string_lossy()));
    names.map(|entry| entry.path()).collect()
}

/// Whether a name is what a pattern with at most one star means.
fn fits(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        Some((before, after)) => {
            name.len() >= before.len() + after.len() && name.starts_with(before) && name.ends_with(after)
        }
        None => pattern == name,
    }
}

/// Field 6 of the first entry of that user (passwd(5)).
fn home_in(passwd: &str, uid: u32) -> Option<PathBuf> {
    passwd.lines().find_map(|line| {
        let fields: Vec<_> = line.split(':').collect();
        (fields.get(2)?.parse() == Ok(uid)).then(|| fields.get(5).map(PathBuf::from)).flatten()
    })
}

/// Looks everything up.
///
/// # Errors
/// If a path that was asked for does not exist.
pub(crate) fn find(caller: &Caller, wishes: &Wishes) -> Result<Hidden, String> {
    let list = list()?;
    let mut hidden = Hidden::default();
    let mut all = Vec::new();
    for entry in &list.hide {
        for path in entry.paths.iter().flat_map(|text| caller.expand(text)) {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if !entry.except.iter().any(|pattern| fits(pattern, &name)) {
                add(&mut all, &path, &entry.why, &entry.content);
            }
        }
    }
    let project = project::root_of(&caller.directory, &caller.homes);
    let files = project::environment_files(&caller.directory, project.as_deref());
    hidden.cut_short = files.cut_short;
    for path in &files.found {
        add(&mut all, path, "keys of the project", &dotenv::masked(path));
    }
    let stay: Vec<PathBuf> = list.sockets.stay.iter().flat_map(|text| caller.expand(text)).collect();
    let stay: Vec<PathBuf> = stay.iter().filter_map(|path| path.canonicalize().ok()).collect();
    for path in listening() {
        if !path.canonicalize().is_ok_and(|path| stay.contains(&path)) {
            add(&mut all, &path, "a socket that a program outside listens on", "");
        }
    }
    // Not what the command works in, unless that was asked for: it would find nothing there.
    let works_in = canonical(&[caller.directory.clone(), project.unwrap_or_else(|| caller.directory.clone())]);
    let (unhidden, mut all): (Vec<_>, Vec<_>) =
        all.into_iter().partition(|one: &Found| works_in.iter().any(|path| path.starts_with(&one.path)));
    hidden.unhidden = unhidden.into_iter().map(|one| one.path).collect();
    for path in &wishes.hide {
        if path.symlink_metadata().is_err() {
            return Err(format!("`--hide {}`: there is no such file", path.display()));
        }
        add(&mut all, path, "--hide", "");
    }
    let allowed = canonical(&wishes.allow);
    all.retain(|one| !allowed.iter().any(|path| one.path.starts_with(path)));
    hidden.keep = canonical(&wishes.keep).into_iter().chain(allowed).collect();
    all.sort();
    all.dedup_by(|one, other| one.path.starts_with(&other.path));
    hidden.keep.retain(|path| all.iter().any(|one| path.starts_with(&one.path)));
    hidden.found = all;
    fixed(&mut hidden, &list, caller, wishes);
    lead_there(&mut hidden, &list, caller, wishes);
    on_the_path(&mut hidden, caller);
    Ok(hidden)
}

/// Some version managers put the chosen version behind a link in the runtime folder, and that into `PATH`.
fn on_the_path(hidden: &mut Hidden, caller: &Caller) {
    let Some(path) = caller.variable("PATH") else { return };
    for folder in std::env::split_paths(path).filter(|folder| folder.is_absolute()) {
        for part in folder.ancestors() {
            let is_beneath = |one: &Found| part.starts_with(&one.path) && part != one.path;
            if let (true, Ok(target)) = (hidden.found.iter().any(is_beneath), part.read_link()) {
                hidden.links.push((part.to_owned(), target));
            }
        }
    }
    hidden.links.sort();
    hidden.links.dedup();
}

/// What is not to be written, as far as it can be seen at all.
fn fixed(hidden: &mut Hidden, list: &List, caller: &Caller, wishes: &Wishes) {
    let mut paths: Vec<PathBuf> = list.read_only.paths.iter().flat_map(|text| caller.expand(text)).collect();
    if caller.uid == 0 {
        paths.extend(list.root.read_only.iter().map(PathBuf::from));
    }
    paths.extend(wishes.fixed.iter().cloned());
    let mut paths = canonical(&paths);
    paths.sort();
    paths.dedup();
    let allowed = canonical(&wishes.allow);
    paths.retain(|path| !hidden.found.iter().any(|one| path.starts_with(&one.path)) && !allowed.contains(path));
    hidden.read_only = paths;
}

/// Variables that lead to what is hidden, unless just that is let through.
fn lead_there(hidden: &mut Hidden, list: &List, caller: &Caller, wishes: &Wishes) {
    let sockets: Vec<&Path> =
        hidden.found.iter().map(|one| one.path.as_path()).filter(|path| is_socket(path)).collect();
    for (name, value) in &caller.environment {
        let listed = name.to_str().is_some_and(|name| list.variables.remove.iter().any(|one| one == name));
        let text = value.to_string_lossy();
        let names = |paths: &[&Path]| paths.iter().any(|path| text.contains(&*path.to_string_lossy()));
        let is_allowed = names(&wishes.allow.iter().map(PathBuf::as_path).collect::<Vec<_>>());
        if (listed || names(&sockets)) && !is_allowed {
            hidden.variables.insert(name.clone());
        }
    }
}

fn is_socket(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|about| about.file_type().is_socket())
}

/// Adds what a path leads to, if there is anything.
fn add(all: &mut Vec<Found>, path: &Path, why: &str, content: &str) {
    let Ok(path) = path.canonicalize() else { return };
    let is_device = || {
        let kind = path.symlink_metadata().map(|about| about.file_type());
        kind.is_ok_and(|kind| kind.is_char_device() || kind.is_block_device())
    };
    // `NETRC=/dev/null`, for one; and nothing so high up that a machine would be empty.
    if path.components().filter(|one| matches!(one, Component::Normal(_))).count() < 2 || is_device() {
        return;
    }
    all.push(Found { path, why: why.to_owned(), content: content.to_owned() });
}

fn canonical(paths: &[PathBuf]) -> Vec<PathBuf> {
    paths.iter().filter_map(|path| path.canonicalize().ok()).collect()
}

/// Sockets with a name among files that some process has bound, in the network of this one (proc_net_unix(5)).
fn listening() -> Vec<PathBuf> {
    let Ok(text) = std::fs::read("/proc/net/unix") else { return vec![] };
    let paths = text.split(|byte| *byte == b'\n').skip(1).filter_map(|line| {
        let at = line.iter().position(|byte| *byte == b'/')?;
        Some(PathBuf::from(OsString::from_vec(line.get(at..)?.to_vec())))
    });
    let unique: BTreeSet<PathBuf> = paths.filter(|path| is_socket(path)).collect();
    unique.into_iter().collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests;
