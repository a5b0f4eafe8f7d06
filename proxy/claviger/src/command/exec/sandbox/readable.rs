//! What a command can read where no sandbox keeps it away: said once, in a few lines.

use std::ffi::OsString;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use super::hidden::Caller;

/// As many paths or names as are listed; the rest is counted.
const LISTED: usize = 12;

/// Parts of names of variables that tell of a secret.
const TELLING: [&str; 11] =
    ["KEY", "TOKEN", "SECRET", "PASS", "PWD", "_PW", "CREDENTIAL", "AUTH", "PRIVATE", "DSN", "WEBHOOK"];

/// Names that hold one of these parts and no secret.
const HARMLESS: [&str; 8] =
    ["PWD", "OLDPWD", "XAUTHORITY", "SSH_AUTH_SOCK", "KEYBOARD", "GPG_AGENT_INFO", "AUTHOR", "KEYMAP"];

/// Variables of the caller that the command still has and whose names tell of a secret.
pub(crate) fn variables(caller: &Caller, environment: &[(OsString, OsString)]) -> Vec<String> {
    let still = environment.iter().filter(|pair| !pair.1.is_empty() && caller.environment.contains(pair));
    let names = still.map(|(name, _)| name.to_string_lossy().into_owned());
    let mut names: Vec<String> = names.filter(|name| tells_of_a_secret(name)).collect();
    names.sort();
    names
}

/// Whether a variable of this name holds a secret, as far as a name can tell.
pub(super) fn tells_of_a_secret(name: &str) -> bool {
    let upper = name.to_ascii_uppercase();
    let tells = TELLING.iter().any(|part| upper.contains(part)) || upper.ends_with("_PAT");
    tells && !HARMLESS.iter().any(|one| upper == *one)
}

/// What is still readable, as a sentence; `None` if that is nothing.
pub(crate) fn sentence(caller: &Caller, paths: &[PathBuf], variables: &[String]) -> Option<String> {
    // What lies nearest first: the list may be cut.
    let mut paths: Vec<&PathBuf> = paths.iter().collect();
    let near = caller.homes.first().into_iter().chain([&caller.directory]).collect::<Vec<_>>();
    paths.sort_by_key(|path| !near.iter().any(|folder| path.starts_with(folder)));
    let paths: Vec<String> =
        paths.into_iter().filter(|path| can_read(path)).map(|path| shown(path, &caller.homes)).collect();
    let mut text = String::new();
    if !paths.is_empty() {
        let _ = write!(text, "it can still reach {}", some_of(&paths));
    }
    if !variables.is_empty() {
        let joint = if text.is_empty() { "it still has" } else { ", and it has" };
        let _ = write!(text, "{joint} the variables {}", some_of(variables));
    }
    (!text.is_empty()).then_some(text)
}

fn can_read(path: &Path) -> bool {
    rustix::fs::access(path, rustix::fs::Access::READ_OK).is_ok()
}

fn shown(path: &Path, homes: &[PathBuf]) -> String {
    let short = homes.iter().find_map(|home| path.strip_prefix(home).ok());
    match short {
        Some(rest) => format!("~/{}", rest.display()),
        None => path.display().to_string(),
    }
}

fn some_of(all: &[String]) -> String {
    let listed = all.iter().take(LISTED).cloned().collect::<Vec<_>>().join(", ");
    match all.len().saturating_sub(LISTED) {
        0 => listed,
        more => format!("{listed} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::{some_of, tells_of_a_secret};

    #[test]
    fn names_tell_of_secrets() {
        for (name, expected) in [
            ("OPENAI_API_KEY", true),
            ("github_token", true),
            ("DB_PASSWORD", true),
            ("GH_PAT", true),
            ("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", false),
            ("PWD", false),
            ("SSH_AUTH_SOCK", false),
            ("PATH", false),
            ("LANG", false),
        ] {
            assert_eq!(tells_of_a_secret(name), expected, "{name}");
        }
    }

    #[test]
    fn a_long_list_is_cut() {
        let names: Vec<String> = (0..14).map(|number| format!("n{number}")).collect();
        assert!(some_of(&names).ends_with("n11 and 2 more"), "{}", some_of(&names));
    }
}
