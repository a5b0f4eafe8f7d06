use std::fs;

use super::*;

struct Stage {
    folder: tempfile::TempDir,
}

impl Stage {
    fn new(files: &[&str]) -> Self {
        let stage = Self { folder: tempfile::tempdir().unwrap() };
        for file in files {
            let path = stage.path(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        }
        stage
    }

    fn path(&self, file: &str) -> PathBuf {
        self.folder.path().canonicalize().unwrap().join(file)
    }

    fn caller(&self, directory: &str, environment: &[(&str, &str)]) -> Caller {
        let folder = self.path("");
        let environment = environment.iter().map(|(name, value)| {
            (
                OsString::from(name),
                OsString::from(value.replace("HERE", folder.to_str().unwrap().trim_end_matches('/'))),
            )
        });
        Caller {
            homes: vec![self.path("home")],
            environment: environment.collect(),
            directory: self.path(directory),
            uid: 4_000_000,
        }
    }

    /// What is hidden in the stage, relative to it.
    fn hidden(&self, caller: &Caller, wishes: &Wishes) -> Vec<String> {
        let found = find(caller, wishes).unwrap().found;
        let here = found.iter().filter_map(|one| one.path.strip_prefix(self.path("")).ok());
        here.map(|path| path.to_str().unwrap().to_owned()).collect()
    }
}

#[test]
fn the_list_can_be_read_and_every_entry_has_a_reason() {
    let list = list().unwrap();
    assert!(list.hide.iter().all(|entry| !entry.why.is_empty() && !entry.paths.is_empty()));
    let known = ["~/", "$", "config:", "data:", "state:", "cache:", "runtime:", "/"];
    for path in list.hide.iter().flat_map(|entry| &entry.paths).chain(&list.read_only.paths) {
        assert!(known.iter().any(|prefix| path.starts_with(prefix)), "{path}");
    }
}

#[test]
fn files_are_found_where_the_caller_has_them() {
    let stage = Stage::new(&[
        "home/.netrc",
        "home/.aws/credentials",
        "home/.ssh/id_ed25519",
        "home/.ssh/id_ed25519.pub",
        "home/.ssh/known_hosts",
        "home/.config/gh/hosts.yml",
        "xdg/gh/hosts.yml",
        "kube/one",
        "kube/two",
        "home/src/p/.git/HEAD",
        "home/src/p/.env",
        "home/src/p/.env.example",
        "home/src/p/sub/.env.local",
        "home/src/p/node_modules/x/.env",
        "home/src/q/.env",
    ]);
    let caller = stage.caller(
        "home/src/p/sub",
        &[("XDG_CONFIG_HOME", "HERE/xdg"), ("KUBECONFIG", "HERE/kube/one:HERE/kube/two"), ("NETRC", "/dev/null")],
    );
    assert_eq!(
        stage.hidden(&caller, &Wishes::default()),
        [
            "home/.aws",
            "home/.config/gh",
            "home/.netrc",
            "home/.ssh/id_ed25519",
            "home/src/p/.env",
            "home/src/p/sub/.env.local",
            "kube/one",
            "kube/two",
            "xdg/gh",
        ]
    );
    let wishes = Wishes {
        allow: vec![stage.path("home/.aws/credentials"), stage.path("kube")],
        hide: vec![stage.path("home/src/q")],
        ..Wishes::default()
    };
    let found = find(&caller, &wishes).unwrap();
    assert_eq!(found.keep, [stage.path("home/.aws/credentials")], "beneath what is hidden");
    let hidden = stage.hidden(&caller, &wishes);
    assert!(hidden.contains(&"home/.aws".to_owned()) && hidden.contains(&"home/src/q".to_owned()), "{hidden:?}");
    assert!(!hidden.iter().any(|path| path.starts_with("kube")), "{hidden:?}");
}

#[test]
fn links_are_followed_to_what_they_point_at() {
    let stage = Stage::new(&["dotfiles/netrc", "home/x"]);
    std::os::unix::fs::symlink(stage.path("dotfiles/netrc"), stage.path("home/.netrc")).unwrap();
    assert_eq!(stage.hidden(&stage.caller("home", &[]), &Wishes::default()), ["dotfiles/netrc"]);
}

#[test]
fn what_the_command_works_in_is_not_hidden_unless_asked() {
    let stage = Stage::new(&["home/.aws/work/x"]);
    let caller = stage.caller("home/.aws/work", &[]);
    assert!(stage.hidden(&caller, &Wishes::default()).is_empty());
    assert_eq!(find(&caller, &Wishes::default()).unwrap().unhidden, [stage.path("home/.aws")]);
    let wishes = Wishes { hide: vec![stage.path("home/.aws")], ..Wishes::default() };
    assert_eq!(stage.hidden(&caller, &wishes), ["home/.aws"]);
}

#[test]
fn sockets_that_are_bound_are_hidden_and_so_are_the_variables_that_name_them() {
    let stage = Stage::new(&["home/x"]);
    let path = stage.path("agent.sock");
    let _bound = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let caller = stage.caller("home", &[("MY_AGENT", "unix:HERE/agent.sock"), ("OTHER", "HERE/home"), ("TMUX", "1")]);
    let found = find(&caller, &Wishes::default()).unwrap();
    assert!(found.found.iter().any(|one| one.path == path));
    let names: Vec<_> = found.variables.iter().map(|name| name.to_str().unwrap()).collect();
    assert_eq!(names, ["MY_AGENT", "TMUX"]);
    let wishes = Wishes { allow: vec![path.clone()], ..Wishes::default() };
    assert!(!find(&caller, &wishes).unwrap().found.iter().any(|one| one.path == path));
}

#[test]
fn a_path_that_is_to_be_hidden_must_exist() {
    let stage = Stage::new(&["home/x"]);
    let wishes = Wishes { hide: vec![stage.path("nowhere")], ..Wishes::default() };
    assert!(find(&stage.caller("home", &[]), &wishes).unwrap_err().contains("there is no such file"));
}
