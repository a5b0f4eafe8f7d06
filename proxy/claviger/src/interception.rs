//! The interception root: made once, its key sealed, its certificate written for clients to trust.

use std::path::{Path, PathBuf};

use base64::Engine;
use claviger_contract::SystemClock;
use claviger_credential::SealedStore;
use claviger_wire::InterceptionRoot;

/// The sealed key's name among Claviger's own.
const KEY: &str = "interception-root";

/// Where the certificate is written for clients.
pub(crate) fn certificate_path(state_dir: &Path) -> PathBuf {
    state_dir.join("ca.pem")
}

/// The root of this state folder; `None` if none was made yet. Nothing is written.
pub(crate) fn load(state_dir: &Path) -> Result<Option<InterceptionRoot>, String> {
    let Some(key) = SealedStore::open(state_dir).own(KEY).map_err(|error| error.to_string())? else { return Ok(None) };
    let file = certificate_path(state_dir);
    let certificate =
        std::fs::read_to_string(&file).map_err(|error| format!("failed to read `{}`: {error}", file.display()))?;
    InterceptionRoot::from_pem(&certificate, &key).map(Some).map_err(|error| error.to_string())
}

/// The root of this state folder, made at first use.
pub(crate) fn load_or_create(state_dir: &Path) -> Result<InterceptionRoot, String> {
    if let Some(root) = load(state_dir)? {
        return Ok(root);
    }
    let (store, file) = (SealedStore::open(state_dir), certificate_path(state_dir));
    let root = InterceptionRoot::generate(&SystemClock).map_err(|error| error.to_string())?;
    let (certificate, key) = root.to_pem().map_err(|error| error.to_string())?;
    std::fs::create_dir_all(state_dir)
        .map_err(|error| format!("failed to create `{}`: {error}", state_dir.display()))?;
    // The certificate first: a crash in between leaves one that nothing was signed with.
    std::fs::write(&file, certificate).map_err(|error| format!("failed to write `{}`: {error}", file.display()))?;
    store.set_own(KEY, key).map_err(|error| error.to_string())?;
    Ok(root)
}

/// A certificate in front of the public roots (Mozilla's, as of the build): for clients whose only setting replaces
/// the roots of the system.
pub(crate) fn bundle(certificate: &str) -> String {
    let mut all = certificate.trim_end().to_owned();
    all.push('\n');
    for root in webpki_root_certs::TLS_SERVER_ROOT_CERTS {
        all.push_str("-----BEGIN CERTIFICATE-----\n");
        let encoded = base64::engine::general_purpose::STANDARD.encode(root);
        let mut rest = encoded.as_str();
        while !rest.is_empty() {
            let (line, after) = rest.split_at(rest.len().min(64));
            all.push_str(line);
            all.push('\n');
            rest = after;
        }
        all.push_str("-----END CERTIFICATE-----\n");
    }
    all
}

/// Writes `ca.pem` and `bundle.pem` for clients that share a folder with the proxy, such as containers of one pod.
pub(crate) fn publish(state_dir: &Path, folder: &Path) -> Result<(), String> {
    let source = certificate_path(state_dir);
    let certificate =
        std::fs::read_to_string(&source).map_err(|error| format!("failed to read `{}`: {error}", source.display()))?;
    let failed =
        |error: std::io::Error| format!("failed to write the CA certificates into `{}`: {error}", folder.display());
    std::fs::create_dir_all(folder).map_err(failed)?;
    for (name, text) in [("ca.pem", &certificate), ("bundle.pem", &bundle(&certificate))] {
        // Renamed into place: a client that reads at this moment sees one file or the other.
        let mut file = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
        std::io::Write::write_all(&mut file, text.as_bytes()).map_err(failed)?;
        let readable = std::os::unix::fs::PermissionsExt::from_mode(0o644);
        file.as_file().set_permissions(readable).map_err(failed)?;
        file.persist(folder.join(name)).map_err(|error| failed(error.error))?;
    }
    Ok(())
}
