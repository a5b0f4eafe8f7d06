//! A repository with a configuration in it, as somebody cloned it.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use claviger_tests::World;

/// A small configuration that loads, with an included file, a team's file and a certificate of the project's own.
pub(crate) const MAIN: &str = r#"version = 1
trust_domain = "acme.test"
state_dir = "state"
include = ["conf.d/*.toml"]

[listener.gateway]
mode = "gateway"
bind = "127.0.0.1:0"
authenticate = ["ci"]

[attestor.ci]
kind = "jwt"
issuer = "https://ci.test"
audience = "claviger"
jwks = "jwks.json"
identity = "spiffe://acme.test/ci/{sub}"

[workload.app]
spiffe = "spiffe://acme.test/ci/app"

[team.pay]
files = "teams/pay/*.toml"
identities = ["spiffe://acme.test/pay/**"]
services = ["api"]
"#;

const INCLUDED: &str = r#"[service.api]
hosts = ["api.test"]
inject = ["bearer"]
secret = "secret://env/KEY"
ca = "../ca.pem"

[allow.read]
who = "app"
to = "api"
ops = ["GET /v1/**"]
"#;

const OF_TEAM: &str = r#"[workload.payer]
spiffe = "spiffe://acme.test/pay/payer"
"#;

/// A folder below a home, with a repository in it.
pub(crate) struct ProjectFolder {
    world: World,
}

impl ProjectFolder {
    pub(crate) fn new() -> Self {
        let project = Self { world: World::new() };
        let root = project.root();
        for folder in ["repo/.git", "repo/conf.d", "repo/teams/pay", "repo/src/deep", ".config/claviger"] {
            std::fs::create_dir_all(project.world.path().join(folder)).unwrap();
        }
        project.write("claviger.toml", MAIN);
        project.write("conf.d/api.toml", INCLUDED);
        project.write("teams/pay/who.toml", OF_TEAM);
        for file in ["ca.pem", "jwks.json"] {
            project.write(file, std::fs::read(project.world.path().join(file)).unwrap());
        }
        // The user's own configuration, which must never be taken for the project's.
        let own = project.world.path().join(".config/claviger/claviger.toml");
        std::fs::write(own, "version = 1\ntrust_domain = \"home.test\"\n").unwrap();
        assert!(root.join(".git").is_dir());
        project
    }

    /// The repository, links followed.
    pub(crate) fn root(&self) -> PathBuf {
        self.world.path().join("repo").canonicalize().unwrap_or_else(|_| self.world.path().join("repo"))
    }

    /// The project's file as messages name it.
    pub(crate) fn file(&self) -> String {
        self.root().join("claviger.toml").display().to_string()
    }

    /// Puts a file of the repository into place whole, for its owner to write only.
    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        let coming = self.world.path().join("coming");
        std::fs::write(&coming, text).unwrap();
        mode(&coming, 0o644);
        std::fs::rename(coming, self.world.path().join("repo").join(name)).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.root().join(name)).unwrap()
    }

    /// The binary, in a folder of the repository.
    pub(crate) fn command_in(&self, folder: &str, args: &[&str]) -> Command {
        let mut command = self.world.command(args);
        command.current_dir(self.root().join(folder)).env("KEY", &self.world.canary);
        command.stdin(std::process::Stdio::null());
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Said {
        Said::of(&self.command_in("", args).output().unwrap())
    }

    pub(crate) fn allow(&self) -> Said {
        self.run(&["config", "allow", "--yes"])
    }

    /// `check` of the project's file: the code and what is said.
    pub(crate) fn check(&self) -> (i32, String) {
        let said = self.run(&["check"]);
        (said.code, said.err)
    }

    pub(crate) fn world(&self) -> &World {
        &self.world
    }
}

/// What a command said, and how it ended.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    pub(crate) fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        Self { code: output.status.code().unwrap(), out: text(&output.stdout), err: text(&output.stderr) }
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

pub(crate) fn mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}
