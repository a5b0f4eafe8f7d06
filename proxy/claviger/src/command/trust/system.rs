//! The system's store: a folder for certificates of this machine's own, and a command that takes them up.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::certificate::{Certificate, Entry};

/// How a family of systems keeps what it trusts.
#[derive(Debug, PartialEq, Eq)]
struct Family {
    /// Whose it is.
    name: &'static str,
    /// Any of these is there on such a system. Below the root.
    signs: &'static [&'static str],
    /// Where certificates of one's own lie.
    anchors: &'static str,
    extension: &'static str,
    /// What takes them up.
    update: &'static [&'static str],
    /// What programs read.
    bundle: &'static str,
}

/// The first whose sign is there counts: the more particular ones first.
const FAMILIES: [Family; 4] = [
    Family {
        name: "Arch",
        signs: &["etc/ca-certificates/trust-source"],
        anchors: "etc/ca-certificates/trust-source/anchors",
        extension: "crt",
        update: &["trust", "extract-compat"],
        bundle: "etc/ssl/certs/ca-certificates.crt",
    },
    Family {
        name: "Fedora and RHEL",
        signs: &["etc/pki/ca-trust/source"],
        anchors: "etc/pki/ca-trust/source/anchors",
        extension: "pem",
        update: &["update-ca-trust", "extract"],
        bundle: "etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    },
    Family {
        name: "SUSE",
        signs: &["etc/pki/trust/anchors"],
        anchors: "etc/pki/trust/anchors",
        extension: "pem",
        update: &["update-ca-certificates"],
        bundle: "var/lib/ca-certificates/ca-bundle.pem",
    },
    Family {
        name: "Debian, Ubuntu and Alpine",
        signs: &["usr/local/share/ca-certificates", "usr/share/ca-certificates", "etc/ca-certificates.conf"],
        anchors: "usr/local/share/ca-certificates",
        extension: "crt",
        update: &[DEBIAN],
        bundle: "etc/ssl/certs/ca-certificates.crt",
    },
];

const DEBIAN: &str = "update-ca-certificates";

/// Where links to certificates lie on Debian, under names that are hashes.
const LINKS: &str = "etc/ssl/certs";

/// The store of one system.
#[derive(Debug)]
pub(super) struct SystemStore {
    family: &'static Family,
    root: PathBuf,
    /// Where certificates of one's own lie.
    pub(super) anchors: PathBuf,
}

/// The store of the system below `root`; an honest word if there is none that is known.
pub(super) fn find(root: &Path) -> Result<SystemStore, String> {
    if cfg!(target_os = "macos") && root == Path::new("/") {
        return Err("on macOS, type `sudo security add-trusted-cert -d -r trustRoot -k \
                    /Library/Keychains/System.keychain ca.pem`; `sudo security delete-certificate -Z SHA1 \
                    /Library/Keychains/System.keychain` removes it"
            .to_owned());
    }
    // The commands change their folder.
    let root = &std::path::absolute(root).map_err(|error| format!("`{}`: {error}", root.display()))?;
    let is_here = |family: &&Family| family.signs.iter().any(|sign| root.join(sign).exists());
    let family = FAMILIES.iter().find(is_here).ok_or_else(|| {
        format!(
            "`{}` has none of the stores that are known (Debian, Alpine, Fedora, RHEL, SUSE, Arch): is the package \
             ca-certificates installed? NixOS has `security.pki.certificateFiles`",
            root.display()
        )
    })?;
    Ok(SystemStore { family, anchors: root.join(family.anchors), root: root.to_owned() })
}

impl SystemStore {
    pub(super) fn ours(&self) -> Vec<Entry> {
        let files = std::fs::read_dir(&self.anchors).into_iter().flatten().flatten().map(|entry| entry.path());
        let mut ours: Vec<Entry> = files.filter_map(|path| Entry::of_file(&path)).collect();
        ours.sort_by(|a, b| a.name.cmp(&b.name));
        ours
    }

    pub(super) fn is_writable(&self) -> bool {
        let there = self.anchors.ancestors().find(|folder| folder.exists()).unwrap_or(&self.root);
        rustix::fs::access(there, rustix::fs::Access::WRITE_OK).is_ok()
    }

    fn file_of(&self, certificate: &Certificate) -> PathBuf {
        self.anchors.join(format!("{}.{}", certificate.alias(), self.family.extension))
    }

    pub(super) fn to_install(&self, certificate: &Certificate) -> Vec<String> {
        let (from, to) = (certificate.file.display(), self.file_of(certificate));
        vec![format!("install -D -m 0644 {from} {}", to.display()), self.update_line()]
    }

    pub(super) fn to_remove(&self) -> Vec<String> {
        let files = self.ours().into_iter().map(|entry| format!("rm {}", entry.name));
        files.chain([self.update_line()]).collect()
    }

    pub(super) fn install(&self, certificate: &Certificate) -> Result<Vec<String>, String> {
        let file = self.file_of(certificate);
        let failed = |error: std::io::Error| format!("failed to write `{}`: {error}", file.display());
        std::fs::create_dir_all(&self.anchors).map_err(failed)?;
        let mut written = tempfile::NamedTempFile::new_in(&self.anchors).map_err(failed)?;
        std::io::Write::write_all(&mut written, certificate.pem.as_bytes()).map_err(failed)?;
        written.as_file().set_permissions(std::fs::Permissions::from_mode(0o644)).map_err(failed)?;
        written.persist(&file).map_err(|error| failed(error.error))?;
        let bundle = self.root.join(self.family.bundle);
        let taken_up = self.update().and_then(|()| match is_in(&bundle, &certificate.pem) {
            true => Ok(()),
            false => {
                let (command, bundle) = (self.update_line(), bundle.display());
                Err(format!("`{command}` ran, and `{bundle}` does not hold the certificate"))
            }
        });
        if let Err(why) = taken_up {
            // Half of it would be taken up by whoever runs the command next, and nobody would know.
            let _ = std::fs::remove_file(&file);
            return Err(why);
        }
        let added = format!("added    {} ({})", file.display(), certificate.fingerprint());
        Ok(vec![added, format!("changed  {}", bundle.display())])
    }

    pub(super) fn remove(&self) -> Result<Vec<String>, String> {
        let mut changes = Vec::new();
        for entry in self.ours() {
            std::fs::remove_file(&entry.name).map_err(|error| format!("failed to remove `{}`: {error}", entry.name))?;
            changes.push(format!("removed  {} ({})", entry.name, entry.fingerprint));
        }
        self.update()?;
        self.remove_orphans();
        changes.push(format!("changed  {}", self.root.join(self.family.bundle).display()));
        Ok(changes)
    }

    /// Debian's command leaves links that lead nowhere, until something is added. Ours go at once.
    fn remove_orphans(&self) {
        if self.family.update != [DEBIAN] {
            return;
        }
        // Twice: the links by hash lead to links by name.
        for _ in 0..2 {
            for link in links(&self.root.join(LINKS)) {
                let target = std::fs::read_link(&link).unwrap_or_default();
                let is_ours = target.file_name().is_some_and(|name| name.to_string_lossy().starts_with("claviger-"));
                if is_ours && !link.exists() {
                    let _ = std::fs::remove_file(&link);
                }
            }
        }
    }

    fn is_image(&self) -> bool {
        self.root != Path::new("/")
    }

    /// The command that takes the change up.
    fn command(&self) -> Vec<String> {
        let mut words: Vec<String> = self.family.update.iter().map(|word| (*word).to_owned()).collect();
        let below = |path: &str| self.root.join(path).display().to_string();
        if self.is_image() && self.family.update == [DEBIAN] {
            let options = [
                ("--certsconf", "etc/ca-certificates.conf"),
                ("--certsdir", "usr/share/ca-certificates"),
                ("--localcertsdir", self.family.anchors),
                ("--etccertsdir", LINKS),
                // The image's hooks would change this machine.
                ("--hooksdir", "etc/claviger-has-no-hooks"),
            ];
            words.extend(options.iter().flat_map(|(option, path)| [(*option).to_owned(), below(path)]));
        } else if self.is_image() {
            words.splice(0..0, ["chroot".to_owned(), self.root.display().to_string()]);
        }
        words
    }

    fn update_line(&self) -> String {
        self.command().join(" ")
    }

    fn update(&self) -> Result<(), String> {
        let words = self.command();
        let Some((program, arguments)) = words.split_first() else { return Ok(()) };
        if self.is_image() {
            let folder = self.root.join(LINKS);
            std::fs::create_dir_all(&folder)
                .map_err(|error| format!("failed to make `{}`: {error}", folder.display()))?;
        }
        // Where such commands lie is not always on the PATH of who is no administrator.
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = Command::new(program);
        command.args(arguments).env("PATH", format!("{path}:/usr/sbin:/sbin:/usr/bin:/bin")).stdin(Stdio::null());
        let output = command.output().map_err(|error| format!("failed to run `{program}`: {error}"))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(format!("`{}` failed ({}): {said}", words.join(" "), output.status));
        }
        if self.is_image() {
            self.point_inside();
        }
        Ok(())
    }

    /// The command makes links with this machine's path of the image in them, which mean nothing inside of it.
    fn point_inside(&self) {
        for link in links(&self.root.join(LINKS)) {
            let target = std::fs::read_link(&link).unwrap_or_default();
            if let Ok(inside) = target.strip_prefix(&self.root) {
                let _ = std::fs::remove_file(&link);
                let _ = std::os::unix::fs::symlink(Path::new("/").join(inside), &link);
            }
        }
    }
}

fn links(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_symlink())).map(|entry| entry.path()).collect()
}

/// Whether a bundle holds a certificate: by the text between its marks, however it is broken into lines.
fn is_in(bundle: &Path, pem: &str) -> bool {
    let flat = |text: &str| text.split_whitespace().collect::<String>();
    let inner = pem.split("-----BEGIN CERTIFICATE-----").nth(1).and_then(|rest| rest.split("-----END").next());
    let Some(inner) = inner.map(flat) else { return false };
    std::fs::read_to_string(bundle).is_ok_and(|text| flat(&text).contains(&inner))
}
