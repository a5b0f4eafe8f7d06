//! Java's stores: a file of each Java machine, which its `keytool` changes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use super::certificate::{Certificate, Entry};

/// The password of the file that comes with Java. It protects nothing: all that is in it is public.
const PASSWORD: &str = "changeit";

/// Where a Java machine keeps the file: Java 9 and newer, Java 8 with tools, Java 8 without.
const CACERTS: [&str; 2] = ["lib/security/cacerts", "jre/lib/security/cacerts"];

/// Folders of which each one is a Java machine.
const FOLDERS: [&str; 4] = ["usr/lib/jvm", "opt/java", "usr/java", "usr/local/lib/jvm"];

/// The store of one or several Java machines.
#[derive(Debug)]
pub(super) struct JavaStore {
    /// The file itself, links followed.
    pub(super) cacerts: PathBuf,
    keytool: PathBuf,
    listed: OnceLock<Vec<Entry>>,
}

/// The stores that can be changed, and what is to be said of those that cannot.
pub(super) fn find(root: Option<&Path>) -> (Vec<JavaStore>, Vec<String>) {
    let (mut stores, mut unusable) = (Vec::new(), Vec::new());
    for (cacerts, homes) in places(root) {
        let own = homes.iter().map(|home| home.join("bin/keytool")).find(|keytool| keytool.is_file());
        // A file of an image is changed by this machine's own tool.
        let keytool = if root.is_some() { on_path("keytool").or(own) } else { own.or_else(|| on_path("keytool")) };
        match keytool {
            Some(keytool) => stores.push(JavaStore { cacerts, keytool, listed: OnceLock::new() }),
            None => unusable.push(format!(
                "`{}` is changed by `keytool`, which is not there: `keytool -importcert -noprompt -trustcacerts -alias \
                 claviger -file ca.pem -keystore {} -storepass {PASSWORD}` on a machine that has it",
                cacerts.display(),
                cacerts.display()
            )),
        }
    }
    (stores, unusable)
}

/// Each file once, with the Java machines that read it.
pub(super) fn places(root: Option<&Path>) -> BTreeMap<PathBuf, Vec<PathBuf>> {
    let mut homes: Vec<PathBuf> = Vec::new();
    if root.is_none() {
        homes.extend(std::env::var_os("JAVA_HOME").filter(|home| !home.is_empty()).map(PathBuf::from));
        let java = on_path("java").and_then(|java| java.canonicalize().ok());
        homes.extend(java.and_then(|java| Some(java.parent()?.parent()?.to_owned())));
        let below_home = std::env::home_dir().map(|home| home.join(".sdkman/candidates/java"));
        homes.extend(below_home.iter().flat_map(|folder| folders_of(folder)));
    }
    let top = root.unwrap_or(Path::new("/"));
    homes.extend(FOLDERS.iter().flat_map(|folder| folders_of(&top.join(folder))));
    let mut places: BTreeMap<PathBuf, Vec<PathBuf>> = BTreeMap::new();
    for home in homes {
        let files = CACERTS.iter().map(|file| home.join(file));
        let resolved = files.filter_map(|file| resolve(&file, root)).find(|file| file.is_file());
        if let Some(file) = resolved {
            let homes = places.entry(file).or_default();
            if !homes.contains(&home) {
                homes.push(home);
            }
        }
    }
    places
}

/// Links followed; an absolute one of an image leads to a place in the image.
fn resolve(file: &Path, root: Option<&Path>) -> Option<PathBuf> {
    let Some(root) = root else { return file.canonicalize().ok() };
    let target = std::fs::read_link(file).ok();
    let file = target.and_then(|target| Some(root.join(target.strip_prefix("/").ok()?))).unwrap_or(file.to_owned());
    let canonical = file.canonicalize().ok()?;
    // What leads out of the image is this machine's.
    canonical.starts_with(root.canonicalize().ok()?).then_some(canonical)
}

fn folders_of(folder: &Path) -> Vec<PathBuf> {
    let mut all: Vec<_> = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    all.sort();
    all
}

fn on_path(name: &str) -> Option<PathBuf> {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&folders).map(|folder| folder.join(name)).find(|file| file.is_file())
}

impl JavaStore {
    fn keytool(&self, arguments: &[&str]) -> Result<Output, String> {
        let keystore = self.cacerts.display().to_string();
        let output = Command::new(&self.keytool)
            // Its words are read: they are to be English.
            .args(["-J-Duser.language=en", "-J-Duser.country=US"])
            .args(arguments)
            .args(["-keystore", &keystore, "-storepass", PASSWORD])
            .env_remove("JAVA_TOOL_OPTIONS")
            .stdin(Stdio::null())
            .output()
            .map_err(|error| format!("failed to run `{}`: {error}", self.keytool.display()))?;
        if output.status.success() {
            return Ok(output);
        }
        // It tells its errors on stdout.
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).lines().next().unwrap_or_default().to_owned();
        Err(format!("`keytool` failed: {said}"))
    }

    /// All of ours, also those that the system put there in our name when the system's store was changed.
    pub(super) fn ours(&self) -> Vec<Entry> {
        let list = || self.keytool(&["-list"]).map(|output| read(&String::from_utf8_lossy(&output.stdout)));
        self.listed.get_or_init(|| list().unwrap_or_default()).clone()
    }

    pub(super) fn is_writable(&self) -> bool {
        // keytool writes a new file beside it.
        let folder = self.cacerts.parent().unwrap_or(Path::new("/"));
        rustix::fs::access(folder, rustix::fs::Access::WRITE_OK).is_ok()
    }

    fn line(&self, arguments: &str) -> String {
        format!("{} {arguments} -keystore {} -storepass {PASSWORD}", self.keytool.display(), self.cacerts.display())
    }

    pub(super) fn to_install(&self, certificate: &Certificate) -> String {
        let (alias, file) = (certificate.alias(), certificate.file.display());
        self.line(&format!("-importcert -noprompt -trustcacerts -alias {alias} -file {file}"))
    }

    pub(super) fn to_remove(&self) -> Vec<String> {
        self.ours().iter().map(|entry| self.line(&format!("-delete -alias {}", entry.name))).collect()
    }

    pub(super) fn install(&self, certificate: &Certificate) -> Result<Vec<String>, String> {
        let (alias, file) = (certificate.alias(), certificate.file.display().to_string());
        self.keytool(&["-importcert", "-noprompt", "-trustcacerts", "-alias", &alias, "-file", &file])?;
        Ok(vec![format!("added    {alias} to {} ({})", self.cacerts.display(), certificate.fingerprint())])
    }

    pub(super) fn remove(&self) -> Result<Vec<String>, String> {
        let mut changes = Vec::new();
        for entry in self.ours() {
            match self.keytool(&["-delete", "-alias", &entry.name]) {
                Ok(_) => changes.push(format!(
                    "removed  {} from {} ({})",
                    entry.name,
                    self.cacerts.display(),
                    entry.fingerprint
                )),
                // The system's own hook was first.
                Err(why) if why.contains("does not exist") => {}
                Err(why) => return Err(why),
            }
        }
        Ok(changes)
    }
}

/// What `keytool -list` says of entries that are ours: a line with the alias, then one with the fingerprint, of which the
/// alias is made.
fn read(listing: &str) -> Vec<Entry> {
    let (mut all, mut alias) = (Vec::new(), "");
    for line in listing.lines() {
        if let Some((_, fingerprint)) = line.split_once("(SHA-256): ") {
            let fingerprint = fingerprint.trim().replace(':', "").to_lowercase();
            // Debian's hook says `debian:claviger-….pem`.
            let bare = alias.trim_start_matches("debian:").trim_end_matches(".pem").trim_end_matches(".crt");
            if bare == super::certificate::alias_of(&fingerprint) {
                all.push(Entry { name: alias.to_owned(), fingerprint, until: None });
            }
        } else if let Some((name, _)) = line.split_once(", ") {
            alias = name;
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::read;

    #[test]
    fn only_what_is_named_by_its_own_fingerprint_is_ours() {
        let print = |first: &str| format!("{first}:{}", ["AB"; 24].join(":"));
        let own = print("01:23:45:67:89:AB:CD:EF");
        let listing = format!(
            "Keystore type: JKS\n\nYour keystore contains 4 entries\n\n\
             claviger-0123456789abcdef, Nov 1, 2026, trustedCertEntry, \nCertificate fingerprint (SHA-256): {own}\n\
             debian:claviger-0123456789abcdef.pem, Nov 1, 2026, trustedCertEntry, \n\
             Certificate fingerprint (SHA-256): {own}\n\
             claviger-ffff456789abcdef, Nov 1, 2026, trustedCertEntry, \nCertificate fingerprint (SHA-256): {own}\n\
             debian:isrg_root_x1.pem, Nov 1, 2026, trustedCertEntry, \nCertificate fingerprint (SHA-256): {own}\n"
        );
        let names: Vec<_> = read(&listing).into_iter().map(|entry| entry.name).collect();
        assert_eq!(names, ["claviger-0123456789abcdef", "debian:claviger-0123456789abcdef.pem"]);
        assert_eq!(read("keytool error: java.io.IOException"), []);
    }
}
