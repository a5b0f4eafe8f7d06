//! `secret://file/PATH`: a file that holds one value. Relative paths resolve against the configuration
//! file, or against `root` of a named store, which no link leads out of. Teams have only such stores: whoever may write
//! the files may make links too, and what these name is anybody's.

use std::io::Read;
use std::path::{Path, PathBuf};

use claviger_contract::{Secret, path};
use claviger_policy::document::{Diagnostics, Located, Location, Table};
use zeroize::Zeroizing;

use super::bindings::Bindings;
use super::registry::{StoreEnv, Taken};
use super::{SecretStore, Stored, VALUE_MAX, check_length};
use crate::digest::Digester;
use crate::error::StoreError;
use crate::os;

#[derive(Debug)]
struct FileStore {
    root: Option<PathBuf>,
    bindings: Option<Bindings>,
}

/// Takes `root` and `bindings`.
pub(super) fn take(table: Option<&mut Table>, _: &StoreEnv<'_>, out: &mut Diagnostics) -> Taken {
    let (root, bindings) = match table {
        Some(table) => {
            let root = table.string("root", out).map(|root| path::resolve(&root));
            if root.is_none() && table.has("bindings") {
                let place = table.place_of("bindings").unwrap_or(table.location());
                out.error(place, table.key_of("bindings"), "names need a `root` that they are relative to")
                    .help("write `root = \"FOLDER\"`");
            }
            (root, Bindings::take(table, out))
        }
        None => (None, None),
    };
    let digest = Digester::new("store file")
        .fields("root", root.iter().map(|root| root.display()))
        .fields("binding", bindings.iter().flat_map(Bindings::texts))
        .finish();
    Taken::new(FileStore { root, bindings }, digest)
}

#[async_trait::async_trait]
impl SecretStore for FileStore {
    fn resolve(&self, name: &str, written: &Location) -> Result<String, StoreError> {
        let resolved = match &self.root {
            Some(_) if name.starts_with('/') => {
                let why = "the store has a `root`; write a path below it, without a leading `/`";
                return Err(StoreError::Name { name: name.to_owned(), why });
            }
            // Bindings go by the name, so it stays as it is; the parser has refused `..`.
            Some(_) => PathBuf::from(name),
            // The platform said which names a team may write: they must not depend on links that the team makes.
            None if written.team().is_some() => {
                let why = "in a team's file, only a store that has a `root` reads files";
                return Err(StoreError::Name { name: name.to_owned(), why });
            }
            None => path::resolve(&Located { value: name.to_owned(), location: written.clone() }),
        };
        Ok(resolved.to_string_lossy().into_owned())
    }

    fn read_now(&self, name: &str) -> Option<Result<Stored, StoreError>> {
        let hosts = self.bindings.as_ref().map(|bindings| bindings.hosts(name));
        Some(read(self.root.as_deref(), name).map(|(value, warning)| Stored {
            value,
            hosts,
            version: None,
            previous: None,
            warning,
        }))
    }

    fn revision(&self, name: &str) -> u64 {
        os::revision(&self.path(name))
    }

    fn advice(&self, name: &str, _: &str) -> String {
        format!("write the value into `{}` (mode 0600)", self.path(name).display())
    }
}

impl FileStore {
    fn path(&self, name: &str) -> PathBuf {
        self.root.as_deref().unwrap_or(Path::new("")).join(name)
    }
}

/// One value that stands in a file, as this store would read it.
pub(crate) fn read_file(path: &Path) -> Result<Secret, StoreError> {
    read(None, &path.to_string_lossy()).map(|(value, _)| value)
}

fn read(root: Option<&Path>, name: &str) -> Result<(Secret, Option<String>), StoreError> {
    let path = &root.unwrap_or(Path::new("")).join(name);
    let shown = path.display().to_string();
    let missing = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => StoreError::NotFound(shown.clone()),
        // Opened as a socket or a device is: it is none of ours.
        _ if std::fs::metadata(path).is_ok_and(|found| !found.is_file()) => StoreError::NotAFile(path.clone()),
        _ => StoreError::io("open", path)(error),
    };
    let file = match root {
        Some(root) => os::open_beneath(root, name),
        None => os::open(path),
    };
    let file = file.map_err(missing)?;
    // What was opened is looked at, not what stands there by now.
    let found = file.metadata().map_err(StoreError::io("read", path))?;
    if !found.is_file() {
        return Err(StoreError::NotAFile(path.clone()));
    }
    // Room for one byte too many, so that the buffer never grows and leaves a copy behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(VALUE_MAX + 3));
    file.take(VALUE_MAX as u64 + 3).read_to_end(&mut bytes).map_err(StoreError::io("read", path))?;
    let value = without_newline(&bytes);
    check_length(&shown, value.len())?;
    let mode = os::mode(&found);
    let warning = (mode & 0o004 != 0)
        .then(|| format!("the secret file `{shown}` may be read by everyone on this machine (mode {mode:04o})"));
    Ok((Secret::new(value.to_vec()), warning))
}

/// Editors and `echo` end a file with a newline that is no part of the value; one is taken off.
fn without_newline(bytes: &[u8]) -> &[u8] {
    let line = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    line.strip_suffix(b"\r").filter(|_| line.len() < bytes.len()).unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_newline_is_taken_off() {
        let check = |content: &str, value: &str| assert_eq!(without_newline(content.as_bytes()), value.as_bytes());
        check("key", "key");
        check("key\n", "key");
        check("key\r\n", "key");
        check("key\n\n", "key\n");
        check("key\r", "key\r");
        check("\n", "");
    }

    /// What a name below a root yields: the value, or a word of why not.
    fn check(root: Option<&Path>, name: &str, expected: Result<&str, &str>) {
        #[allow(clippy::disallowed_methods, reason = "a test reads what it wrote")]
        let found = read(root, name).map(|(value, _)| String::from_utf8(value.expose().to_vec()).unwrap());
        match (found.map_err(|error| format!("{error}: {:?}", std::error::Error::source(&error))), expected) {
            (Ok(value), Ok(wanted)) => assert_eq!(value, wanted, "{name}"),
            (Err(why), Err(wanted)) => assert!(why.contains(wanted), "{name}: {why}"),
            (found, _) => panic!("{name}: {found:?}"),
        }
    }

    #[test]
    fn no_link_leads_out_of_a_root() {
        use std::os::unix::fs::symlink;
        let folder = tempfile::tempdir().unwrap();
        let (outside, root) = (folder.path().join("outside"), folder.path().join("root"));
        std::fs::create_dir_all(root.join("..2026")).unwrap();
        std::fs::write(&outside, "of somebody else").unwrap();
        std::fs::write(root.join("..2026/key"), "of the team").unwrap();
        // As the kubelet lays out a volume.
        symlink("..2026", root.join("..data")).unwrap();
        symlink("..data/key", root.join("key")).unwrap();
        symlink("../outside", root.join("up")).unwrap();
        symlink(&outside, root.join("away")).unwrap();
        symlink("..", root.join("folder")).unwrap();
        check(Some(&root), "key", Ok("of the team"));
        for name in ["up", "away", "folder/outside"] {
            check(Some(&root), name, Err("a link leads out of the store's `root`"));
        }
        check(Some(&root), "nothing", Err("there is no secret"));
        // Without a root the platform said the path itself.
        check(None, root.join("up").to_str().unwrap(), Ok("of somebody else"));
    }

    #[test]
    fn a_pipe_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RUSR).unwrap();
        check(None, pipe.to_str().unwrap(), Err("is not a regular file"));
        check(Some(folder.path()), "pipe", Err("is not a regular file"));
    }
}
