//! A home folder with logins, a project with an `.env`, an origin that echoes, and a session beside them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use claviger_tests::origin::{Origin, full, handler};
use claviger_tests::{World, binary, canary};
use http::Response;

/// Where planted values lie, relative to the stage.
pub(crate) const PLANTED: [&str; 9] = [
    "home/.aws/credentials",
    "home/.claude/.credentials.json",
    "home/.codex/auth.json",
    "home/.config/gh/hosts.yml",
    "home/.docker/config.json",
    "home/.netrc",
    "home/.ssh/id_ed25519",
    "home/project/.env",
    "home/project/apps/web/.env.local",
];

/// What the project has besides, and must keep.
pub(crate) const HARMLESS: [&str; 3] =
    ["home/project/.env.example", "home/.ssh/id_ed25519.pub", "home/project/src/main.py"];

/// An ordinary user of whom the user database knows nothing.
const USER: u32 = 47_011;

/// Who runs the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    /// Whoever runs the test.
    Caller,
    /// Somebody who is not root: if root runs the test, another user.
    User,
    /// The caller, where no user namespaces can be made.
    WithoutNamespaces,
}

pub(crate) struct Stage {
    pub(crate) world: World,
    /// Stands in every planted file.
    pub(crate) planted: String,
    folder: PathBuf,
    who: Who,
    _origin: Origin,
}

/// What a session ended with.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Stage {
    /// Not below `/tmp` where Landlock is to hide: a folder for temporary files stays whole.
    pub(crate) async fn new(who: Who) -> Self {
        let world = World::new();
        // It answers with every header that it got: the injected key among them.
        let echoing = handler(|request| async move {
            let headers = request.headers().iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()));
            Response::new(full(headers.collect::<Vec<_>>().join("\n")))
        });
        let origin = Origin::start(&world.ca, &["api.test"], &["http/1.1"], echoing).await;
        world.seal("api", &world.canary, &["api.test"]);
        let workload = "exec = true\n\n[service.api]";
        world.configure(&world.usual(origin.port(), "").replace("[service.api]", workload));
        let folder = if who == Who::WithoutNamespaces {
            let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
            // A repository may lie there too.
            let folder = match ["/tmp", "/var/tmp"].iter().any(|temporary| target.starts_with(temporary)) {
                false => target.to_owned(),
                true => std::env::home_dir().unwrap().join(".cache"),
            };
            let folder = folder.join(format!("claviger-sandbox-{}", std::process::id()));
            fs::create_dir_all(&folder).unwrap();
            folder
        } else {
            world.path().join("stage")
        };
        let stage = Self { planted: canary::canary(), folder, who, world, _origin: origin };
        for file in PLANTED {
            stage.write(file, &format!("KEY={}\n", stage.planted));
        }
        for file in HARMLESS {
            stage.write(file, "harmless\n");
        }
        stage.write("home/project/.git/HEAD", "ref: refs/heads/main\n");
        stage.hand_over();
        stage
    }

    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.folder.join(file).canonicalize().unwrap()
    }

    pub(crate) fn write(&self, file: &str, text: &str) {
        let path = self.folder.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// A program of the folder `programs`, where every user can read it.
    pub(crate) fn program(&self, name: &str) -> String {
        let text = match name {
            "look.py" => include_str!("programs/look.py"),
            "tree.sh" => include_str!("programs/tree.sh"),
            "ways_out.py" => include_str!("programs/ways_out.py"),
            other => unreachable!("{other}"),
        };
        self.world.write(name, text);
        let path = self.world.path().join(name);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path.display().to_string()
    }

    fn is_other_user(&self) -> bool {
        self.who == Who::User && rustix::process::geteuid().is_root()
    }

    /// To the user who runs the session, if that is another one.
    fn hand_over(&self) {
        if self.is_other_user() {
            let owner = format!("{USER}:{USER}");
            let done = Command::new("chown").args(["-R", &owner]).arg(self.world.path()).status().unwrap();
            assert!(done.success());
        }
    }

    /// A binary that every user can run.
    fn binary(&self) -> PathBuf {
        if !self.is_other_user() {
            return binary::binary();
        }
        let copy = self.world.path().join("claviger");
        if !copy.exists() {
            fs::copy(binary::binary(), &copy).unwrap();
        }
        copy
    }

    /// `claviger exec OPTIONS -- COMMAND` in the project, started by a shell whose environment holds a planted value.
    pub(crate) fn exec(&self, options: &[&str], command: &[&str]) -> Ran {
        self.exec_with(&[], options, command)
    }

    pub(crate) fn exec_with(&self, environment: &[(&str, &str)], options: &[&str], command: &[&str]) -> Ran {
        let config = self.world.path().join("claviger.toml").display().to_string();
        let mut all = vec![self.binary().display().to_string()];
        all.extend(["exec", "--config", &config, "--as", "app"].map(str::to_owned));
        all.extend(options.iter().map(|option| (*option).to_owned()));
        all.push("--".to_owned());
        all.extend(command.iter().map(|word| (*word).to_owned()));
        let mut run = self.as_who();
        // The shell stays: it is a process beside the session, of the same user, that still has the key.
        run.args(["sh", "-c", "env -u PLANTED \"$@\"; code=$?; exit $code", "sh"]).args(all);
        run.current_dir(self.folder.join("home/project")).env_clear();
        run.env("HOME", self.folder.join("home")).env("PLANTED", &self.planted);
        run.env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin").envs(environment.iter().copied());
        Ran::of(&run.stdin(Stdio::null()).output().unwrap())
    }

    /// What comes before a command line, so that this user runs it.
    fn as_who(&self) -> Command {
        let mut command = Command::new("python3");
        match self.who {
            Who::Caller => command.args(["-c", "import os, sys; os.execvp(sys.argv[1], sys.argv[1:])"]),
            Who::User if !self.is_other_user() => {
                command.args(["-c", "import os, sys; os.execvp(sys.argv[1], sys.argv[1:])"])
            }
            Who::User => command.args([
                "-c",
                "import os, sys\nuid = int(sys.argv[1])\nos.setgroups([])\nos.setgid(uid)\nos.setuid(uid)\nos.execvp(sys.argv[2], sys.argv[2:])",
                &USER.to_string(),
            ]),
            // A limit of a namespace is one for all that are made in it.
            Who::WithoutNamespaces => {
                command = Command::new("unshare");
                command.args(["--user", "--map-root-user", "sh", "-c"]);
                command.args(["echo 0 >/proc/sys/user/max_user_namespaces && exec \"$@\"", "sh"])
            }
        };
        command
    }

    /// Whether this machine lets the user have namespaces; where it does not, there is nothing to test, and that is said.
    pub(crate) fn has_namespaces(&self) -> bool {
        let mut command = self.as_who();
        let has = command.args(["unshare", "--user", "--net", "true"]).output().is_ok_and(|ran| ran.status.success());
        if !has {
            eprintln!("skipped: no user namespaces on this machine");
        }
        has
    }

    /// The ledger's records of this code.
    pub(crate) fn records(&self, code: &str) -> Vec<serde_json::Value> {
        let files = fs::read_dir(self.world.path().join("state/ledger/exec")).unwrap();
        let texts = files.map(|file| fs::read_to_string(file.unwrap().path()).unwrap_or_default());
        let lines: Vec<String> = texts.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>()).collect();
        let records = lines.iter().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        records.filter(|record| record["code"] == code).collect()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if self.who == Who::WithoutNamespaces {
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

impl Ran {
    fn of(output: &Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// What the program printed as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}
