//! Registries of packages and images.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use aws_lc_rs::digest::{SHA256, SHA512, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use claviger_tests::peers::Installed;
use serde_json::json;
use tempfile::TempDir;

use crate::proof::{Answer, Place, Proof, Route};

/// A gzipped tar of these files.
fn archive(files: &[(&str, &str)]) -> Vec<u8> {
    let folder = TempDir::new().unwrap();
    for (name, text) in files {
        let file = folder.path().join(name);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, text).unwrap();
    }
    let names = files.iter().map(|(name, _)| name);
    let output = Command::new("tar").arg("-C").arg(folder.path()).args(["-czf", "-"]).args(names).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// <https://github.com/npm/registry/blob/main/docs/REGISTRY-API.md>, <https://docs.npmjs.com/about-access-tokens>.
pub(crate) fn npm() -> Proof {
    let tarball = archive(&[("package/package.json", r#"{"name":"@acme/installed","version":"1.0.0"}"#)]);
    let integrity = format!("sha512-{}", STANDARD.encode(digest(&SHA512, &tarball)));
    let package = json!({
        "name": "@acme/installed", "dist-tags": {"latest": "1.0.0"},
        "versions": {"1.0.0": {"name": "@acme/installed", "version": "1.0.0", "dist": {
            "tarball": "https://registry.npmjs.org/@acme/installed/-/installed-1.0.0.tgz", "integrity": integrity}}},
    });
    Proof::new("npm", "npm_{}000000000000")
        .refuses(401, &json!({"error": "Unauthorized"}))
        .route(Route::new("GET registry.npmjs.org/@acme%2finstalled").json(&package))
        .route(Route::new("GET registry.npmjs.org/@acme/installed/-/installed-1.0.0.tgz").answer(Answer::new(
            200,
            "application/octet-stream",
            tarball,
        )))
        .route(
            Route::new("PUT registry.npmjs.org/@acme%2fpublished")
                .header("content-type", "application/json")
                .body("\"_attachments\"")
                .body("published-1.0.0.tgz")
                .answer(Answer::json(201, &json!({"ok": true}))),
        )
        .driver("npm.sh")
        // It looks whether the version is there already.
        .route(
            Route::new("GET registry.npmjs.org/@acme%2fpublished")
                .answer(Answer::json(404, &json!({"error": "Not found"}))),
        )
        .route(Route::new("GET registry.npmjs.org/-/whoami").json(&json!({"username": "acme"})))
        .set(
            "read",
            "GET https://registry.npmjs.org/@acme%2finstalled",
            "GET https://registry.npmjs.org/-/npm/v1/tokens",
        )
        .set(
            "publish",
            "PUT https://registry.npmjs.org/@acme%2fpublished",
            "PUT https://registry.npmjs.org/-/npm/v1/user",
        )
}

/// <https://docs.pypi.org/api/upload/>: basic authentication, the user is `__token__`.
pub(crate) fn pypi() -> Proof {
    Proof::new("pypi", "pypi-{}")
        .refuses_with(Answer::new(403, "text/plain", "403 Invalid or non-existent authentication information."))
        .route(
            Route::new("POST upload.pypi.org/legacy/")
                .key(&[Place::Basic("__token__:{key}")])
                .header("content-type", "multipart/form-data*")
                .body("file_upload")
                .body("acme-notes")
                .answer(Answer::new(200, "text/plain", "")),
        )
        .driver("pypi.sh")
        .set("read", "GET https://pypi.org/simple/acme-notes/", "POST https://upload.pypi.org/legacy/")
        .set("publish", "POST https://upload.pypi.org/legacy/", "POST https://pypi.org/manage/account/")
}

/// <https://packaging.python.org/en/latest/specifications/simple-repository-api/>, behind basic authentication.
pub(crate) fn python_index() -> Proof {
    let key = [Place::Basic("__token__:{key}")];
    let wheel = archive_wheel();
    let hex: String = digest(&SHA256, &wheel).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let name = "acme_notes-1.0-py3-none-any.whl";
    let page = format!("<!DOCTYPE html><html><body><a href=\"/packages/{name}#sha256={hex}\">{name}</a></body></html>");
    Proof::new("python-index", "index-{}")
        .settings("hosts = [\"pypi.example.com\"]")
        .refuses_with(
            Answer::new(401, "text/plain", "Unauthorized").header("www-authenticate", "Basic realm=\"packages\""),
        )
        .route(Route::new("GET pypi.example.com/simple/acme-notes/").key(&key).answer(Answer::new(
            200,
            "text/html",
            page,
        )))
        .route(
            Route::new("GET pypi.example.com/packages/acme_notes-1.0-py3-none-any.whl").key(&key).answer(Answer::new(
                200,
                "application/octet-stream",
                wheel.clone(),
            )),
        )
        .driver("python_index_pip.sh")
        .also("python_index_uv.sh")
        .route(
            Route::new("HEAD pypi.example.com/packages/acme_notes-1.0-py3-none-any.whl").key(&key).answer(Answer::new(
                200,
                "application/octet-stream",
                wheel,
            )),
        )
        .set("read", "GET https://pypi.example.com/simple/acme-notes/", "POST https://pypi.example.com/legacy/")
}

/// A wheel of one empty module.
fn archive_wheel() -> Vec<u8> {
    let folder = TempDir::new().unwrap();
    let script = Installed::sources().join("clients/presets/wheel.py");
    let output = Command::new(Installed::python()).arg(script).current_dir(folder.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    std::fs::read(folder.path().join("acme_notes-1.0-py3-none-any.whl")).unwrap()
}

/// <https://doc.rust-lang.org/cargo/reference/registry-web-api.html>: the token stands in `Authorization` as it is. The
/// index and the files are everybody's.
pub(crate) fn crates_io() -> Proof {
    let archive = archive(&[
        (
            "acme-fetched-1.0.0/Cargo.toml",
            "[package]\nname = \"acme-fetched\"\nversion = \"1.0.0\"\nedition = \"2021\"\n",
        ),
        ("acme-fetched-1.0.0/src/lib.rs", ""),
    ]);
    let hex: String = digest(&SHA256, &archive).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let line = |name: &str, checksum: &str| {
        json!({"name": name, "vers": "1.0.0", "deps": [], "cksum": checksum, "features": {}, "yanked": false})
            .to_string()
    };
    let (fetched, published) = (line("acme-fetched", &hex), line("acme-published", &"0".repeat(64)));
    // What is published is in the index until it was looked up there: the next turn publishes it again.
    let is_published = Arc::new(AtomicBool::new(false));
    let publishing = is_published.clone();
    Proof::new("crates-io", "cio{}00000000")
        .refuses(403, &json!({"errors": [{"detail": "authentication failed"}]}))
        .route(
            Route::new("GET index.crates.io/config.json")
                .key(&[])
                .json(&json!({"dl": "https://static.crates.io/crates", "api": "https://crates.io"})),
        )
        .route(Route::new("GET index.crates.io/ac/me/acme-fetched").key(&[]).answer(Answer::new(
            200,
            "text/plain",
            fetched,
        )))
        .route(Route::new("GET static.crates.io/crates/acme-fetched/1.0.0/download").key(&[]).answer(Answer::new(
            200,
            "application/gzip",
            archive,
        )))
        .route(
            Route::new("PUT crates.io/api/v1/crates/new")
                .key(&[Place::Header("authorization", "{key}")])
                .header("user-agent", "*")
                .body("acme-published")
                .answers(move |asked| {
                    let whole = String::from_utf8_lossy(&asked.body).contains(r#""vers":"1.0.0""#);
                    publishing.store(whole, Ordering::SeqCst);
                    Answer::json(
                        200,
                        &json!({"warnings": {"invalid_categories": [], "invalid_badges": [], "other": []}}),
                    )
                }),
        )
        .driver("crates_io.sh")
        .route(Route::new("GET index.crates.io/ac/me/acme-published").key(&[]).answers(move |_| {
            if is_published.swap(false, Ordering::SeqCst) {
                Answer::new(200, "text/plain", published.clone())
            } else {
                Answer::new(404, "text/plain", "")
            }
        }))
        .set("read", "GET https://index.crates.io/ac/me/acme-fetched", "GET https://crates.io/api/v1/me/tokens/1")
        .set(
            "publish",
            "PUT https://crates.io/api/v1/crates/new",
            "DELETE https://crates.io/api/v1/crates/acme/1.0.0/yank",
        )
        .set(
            "yank",
            "DELETE https://crates.io/api/v1/crates/acme/1.0.0/yank",
            "PUT https://crates.io/api/v1/crates/new",
        )
}

/// <https://distribution.github.io/distribution/spec/auth/token/>: the account's password goes to the token service alone,
/// the registry sees a short-lived token.
pub(crate) fn docker_hub() -> Proof {
    let challenge = r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:acme/private:pull""#;
    let unauthorized = json!({"errors": [{"code": "UNAUTHORIZED", "message": "authentication required"}]});
    let challenged = Answer::json(401, &unauthorized).header("www-authenticate", challenge);
    let manifest = json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {}, "layers": []});
    Proof::new("docker-hub", "dckr_pat_{}")
        .refuses(401, &json!({"details": "incorrect username or password"}))
        .route(
            Route::new("GET auth.docker.io/token")
                .key(&[Place::Basic("acme:{key}")])
                .query("service", "registry.docker.io")
                .query("scope", "repository:acme/private:pull")
                .json(&json!({"token": "short-lived", "expires_in": 300})),
        )
        .route(
            Route::new("GET registry-1.docker.io/v2/acme/private/manifests/latest")
                .key(&[Place::Issued("authorization", "Bearer short-lived")])
                .answers(move |asked| match asked.head.headers.get("authorization") {
                    None => challenged.clone(),
                    Some(_) => Answer::json(200, &manifest),
                }),
        )
        .driver_with("docker_hub.sh", &[("DOCKER_USER", "acme")])
        .set(
            "pull",
            "GET https://registry-1.docker.io/v2/acme/private/manifests/latest",
            "PUT https://registry-1.docker.io/v2/acme/private/manifests/latest",
        )
        .set(
            "push",
            "PUT https://registry-1.docker.io/v2/acme/private/manifests/latest",
            "DELETE https://registry-1.docker.io/v2/acme/private/manifests/latest",
        )
}

/// <https://distribution.github.io/distribution/about/deploying/#native-basic-auth>
pub(crate) fn registry() -> Proof {
    let key = [Place::Basic("acme:{key}")];
    Proof::new("registry", "registry-{}")
        .settings("hosts = [\"registry.example.com\"]")
        .refuses_with(
            Answer::json(401, &json!({"errors": [{"code": "UNAUTHORIZED", "message": "authentication required"}]}))
                .header("www-authenticate", "Basic realm=\"Registry\""),
        )
        .route(Route::new("GET registry.example.com/v2/").key(&key).json(&json!({})))
        .route(
            Route::new("GET registry.example.com/v2/acme/notes/manifests/latest")
                .key(&key)
                .header("accept", "application/vnd.oci.image.manifest.v1+json")
                .json(&json!({"schemaVersion": 2, "config": {}, "layers": []})),
        )
        .driver_with("registry.sh", &[("REGISTRY_USER", "acme")])
        .set(
            "pull",
            "GET https://registry.example.com/v2/acme/notes/manifests/latest",
            "PUT https://registry.example.com/v2/acme/notes/manifests/latest",
        )
        .set(
            "push",
            "PUT https://registry.example.com/v2/acme/notes/manifests/latest",
            "DELETE https://registry.example.com/v2/acme/notes/manifests/latest",
        )
}
