//! A configuration that was found in a project's folder is inert until it is allowed, as it is.

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use claviger_tests::canary;

use crate::project::{MAIN, ProjectFolder, Said, mode};

fn undecided(project: &ProjectFolder) -> String {
    format!(
        "error: `{}` was found in the folder of a project, and nobody has allowed it\n  \
         help: read it, then type `claviger config allow`; another configuration is named with `--config`\n",
        project.file()
    )
}

fn changed(project: &ProjectFolder, what: &str) -> String {
    format!(
        "error: `{}` is not used: {what}\n  \
         help: `claviger config status` shows what changed; to allow it as it is now, type `claviger config allow`\n",
        project.file()
    )
}

/// Neither used nor passed over for the user's own.
#[test]
fn a_file_that_nobody_allowed_is_an_error_for_every_command() {
    let project = ProjectFolder::new();
    for args in [
        &["check"][..],
        &["run"],
        &["ca"],
        &["config", "show"],
        &["ledger", "tail"],
        &["secret", "list"],
        &["secret", "set", "x", "--for", "api"],
        &["explain", "--as", "spiffe://acme.test/ci/app", "GET", "https://api.test/v1/x"],
        &["analyze"],
        &["test"],
    ] {
        let said = project.run(args);
        assert_eq!((said.code, said.out.as_str()), (2, ""), "{args:?}: {said:?}");
        assert!(said.err.starts_with(&undecided(&project)), "{args:?}: {said:?}");
    }
    // From below as well; what is broken in it is nobody's business.
    project.write("claviger.toml", "secret = \"sk-live-123\"\n[");
    let said = Said::of(&project.command_in("src/deep", &["check"]).output().unwrap());
    assert_eq!(said.code, 2);
    assert_eq!(said.err, undecided(&project));
    let json = Said::of(&project.command_in("", &["check", "-o", "json"]).output().unwrap()).json();
    assert_eq!(json.as_array().unwrap().len(), 1, "{json}");
}

#[test]
fn a_file_that_is_named_needs_no_word_more() {
    let project = ProjectFolder::new();
    let ok = |said: Said| assert_eq!((said.code, said.err.as_str()), (0, ""), "{said:?}");
    ok(project.run(&["check", "--config", "claviger.toml"]));
    let mut command = project.command_in("", &["check"]);
    ok(Said::of(&command.env("CLAVIGER_CONFIG", "claviger.toml").output().unwrap()));
    let said = project.run(&["config", "status", "--config", "claviger.toml", "-o", "json"]);
    assert_eq!((said.code, said.json()["status"].as_str()), (0, Some("named")));
}

/// The nearest file up to the top of the repository; without a repository, the working folder's only.
#[test]
fn where_a_projects_file_is_looked_for() {
    let project = ProjectFolder::new();
    let own = project.world().path().join(".config/claviger/claviger.toml").display().to_string();
    let found = |folder: &str| {
        let said = Said::of(&project.command_in(folder, &["config", "status", "-o", "json"]).output().unwrap());
        said.json()["path"].as_str().unwrap().to_owned()
    };
    assert_eq!(found("src/deep"), project.file());
    std::fs::write(project.root().join("src/claviger.toml"), MAIN).unwrap();
    assert_eq!(found("src/deep"), project.root().join("src/claviger.toml").display().to_string());
    assert_eq!(found(""), project.file());
    std::fs::remove_file(project.root().join("src/claviger.toml")).unwrap();
    // A repository in a repository (its mark may be a file) is the end of the way.
    std::fs::write(project.root().join("src/.git"), "gitdir: …").unwrap();
    assert_eq!(found("src/deep"), own);
    // Without a mark nothing above the working folder is anybody's project.
    std::fs::remove_file(project.root().join("src/.git")).unwrap();
    std::fs::remove_dir(project.root().join(".git")).unwrap();
    assert_eq!(found("src/deep"), own);
    assert_eq!(found(""), project.file());
}

#[test]
fn allow_shows_what_it_trusts_and_asks() {
    let project = ProjectFolder::new();
    let said = project.run(&["config", "allow"]);
    assert_eq!(said.code, 2, "{said:?}");
    let asked = "claviger: nobody can be asked here; if you have read it, type `claviger config allow --yes`\n";
    assert_eq!(said.err, asked);
    let hash = |name: &str| {
        let said = project.run(&["config", "status", "-o", "json"]);
        let path = project.root().join(name).display().to_string();
        let files = said.json()["files"].as_array().unwrap().clone();
        let file =
            files.iter().find(|file| file["path"] == path.as_str()).unwrap_or_else(|| panic!("{name}: {files:?}"));
        file["sha256"].as_str().unwrap()[..16].to_owned()
    };
    let expected = format!(
        "{file}\n  it listens at\n    127.0.0.1:0  (listener.gateway.bind)\n  it sends requests to\n    \
         api.test  (service.api.hosts)\n  it uses the secrets\n    secret://env/KEY  (service.api.secret)\n  it believes\n    \
         jwks.json  (attestor.ci.jwks)\n    ../ca.pem  (service.api.ca)\n  it keeps or reads files in\n    \
         state  (state_dir)\n  it is made of 5 files\n    claviger.toml  (sha256 {}…)\n    \
         conf.d/api.toml  (sha256 {}…)\n    teams/pay/who.toml  (sha256 {}…)\n    jwks.json  (sha256 {}…)\n    \
         ca.pem  (sha256 {}…)\n\n",
        hash("claviger.toml"),
        hash("conf.d/api.toml"),
        hash("teams/pay/who.toml"),
        hash("jwks.json"),
        hash("ca.pem"),
        file = project.file(),
    );
    assert_eq!(said.out, expected);
    assert_eq!(project.check(), (2, undecided(&project)));
    let said = project.allow();
    assert_eq!((said.code, said.err.as_str()), (0, ""));
    assert_eq!(said.out, format!("{expected}allowed `{}`, as it is now\n", project.file()));
    assert_eq!(project.check(), (0, String::new()));
    let status = project.run(&["config", "status"]);
    assert!(
        status.code == 0 && status.out.starts_with(&format!("`{}` is allowed, since 2", project.file())),
        "{status:?}"
    );
    // Another folder is another project, though it holds the same.
    let other = ProjectFolder::new();
    assert_eq!(other.check(), (2, undecided(&other)));
    canary::assert_absent_below(&project.world().canary, project.world().path());
}

/// Whatever changes what it means makes it inert, and what was allowed is allowed again.
#[test]
fn every_file_that_it_is_made_of_is_pinned() {
    let project = ProjectFolder::new();
    assert_eq!(project.allow().code, 0);
    let was = |name: &str| project.read(name);
    for name in ["claviger.toml", "conf.d/api.toml", "teams/pay/who.toml", "ca.pem", "jwks.json"] {
        let before = was(name);
        project.write(name, format!("{before}\n"));
        assert_eq!(project.check(), (2, changed(&project, &format!("`{name}` has changed since it was allowed"))));
        let status = project.run(&["config", "status", "-o", "json"]).json();
        assert_eq!(status["status"], "changed");
        let path = project.root().join(name).display().to_string();
        assert_eq!(status["changes"], serde_json::json!([{ "path": path, "kind": "changed" }]));
        project.write(name, before);
        assert_eq!(project.check(), (0, String::new()));
    }
    for name in ["conf.d/more.toml", "teams/pay/more.toml"] {
        project.write(name, "");
        let what = format!("`{name}` is new since this configuration was allowed");
        assert_eq!(project.check(), (2, changed(&project, &what)));
        std::fs::remove_file(project.root().join(name)).unwrap();
    }
    // A file with a deny that is taken away.
    project.write("conf.d/deny.toml", "[deny.all]\nwho = \"*\"\nto = \"api\"\nops = [\"*\"]\n");
    assert_eq!(project.allow().code, 0);
    std::fs::remove_file(project.root().join("conf.d/deny.toml")).unwrap();
    let what = "`conf.d/deny.toml` is gone since this configuration was allowed";
    assert_eq!(project.check(), (2, changed(&project, what)));
    assert_eq!(project.allow().code, 0);
    assert_eq!(project.check(), (0, String::new()));
}

/// What lies outside of the project is not the project's to change: a bundle that rotates stays usable.
#[test]
fn a_file_from_elsewhere_is_not_pinned() {
    let project = ProjectFolder::new();
    let outside = project.world().path().join("outside.json");
    std::fs::copy(project.root().join("jwks.json"), &outside).unwrap();
    project.write("claviger.toml", MAIN.replace("jwks.json", &outside.display().to_string()));
    assert_eq!(project.allow().code, 0);
    std::fs::write(&outside, format!("{}\n", std::fs::read_to_string(&outside).unwrap())).unwrap();
    assert_eq!(project.check(), (0, String::new()));
}

#[test]
fn status_shows_what_changed() {
    let project = ProjectFolder::new();
    let said = project.run(&["config", "status"]);
    let expected =
        format!("`{}` is not allowed, and not used: read it, then type `claviger config allow`\n", project.file());
    assert_eq!((said.code, said.out), (1, expected));
    assert_eq!(project.allow().code, 0);
    project.write("claviger.toml", MAIN.replace("ci/app", "ci/*"));
    project.write("conf.d/evil.toml", "[service.evil]\nhosts = [\"evil.test\"]\n");
    let said = project.run(&["config", "status"]);
    assert_eq!((said.code, said.err.as_str()), (1, ""));
    let since = said.out.split_once("allowed (").unwrap().1.split_once(')').unwrap().0.to_owned();
    let expected = format!(
        "`{}` has changed since it was allowed ({since}), and is not used\n  changed claviger.toml\n\
         --- claviger.toml (as it was allowed)\n+++ claviger.toml\n@@ -17,5 +17,5 @@\n \n [workload.app]\n\
         -spiffe = \"spiffe://acme.test/ci/app\"\n+spiffe = \"spiffe://acme.test/ci/*\"\n \n [team.pay]\n  \
         new     conf.d/evil.toml\nto allow it as it is now, type `claviger config allow`\n",
        project.file()
    );
    assert_eq!(said.out, expected);
}

#[test]
fn deny_takes_it_back() {
    let project = ProjectFolder::new();
    assert_eq!(project.allow().code, 0);
    let said = project.run(&["config", "deny"]);
    let expected =
        format!("denied `{}`; a process that runs with it goes on as it is, and will not reload it\n", project.file());
    assert_eq!((said.code, said.out), (0, expected));
    let denied = format!(
        "error: `{}` was found in the folder of a project, and was denied\n  \
         help: name another configuration with `--config`, or type `claviger config allow`\n",
        project.file()
    );
    assert_eq!(project.check(), (2, denied));
    assert_eq!(project.run(&["config", "status", "-o", "json"]).json()["status"], "denied");
    assert_eq!(project.allow().code, 0);
    assert_eq!(project.check(), (0, String::new()));
    // A file that is broken, or that is not there yet, can be denied too.
    project.write("claviger.toml", "[");
    assert_eq!(project.run(&["config", "deny"]).code, 0);
}

/// What is looked at cannot paint over itself.
#[test]
fn nothing_is_hidden_from_whoever_looks() {
    let project = ProjectFolder::new();
    project.write("conf.d/evil.toml", "[service.x]\nhosts = [\"evil.test\\u001b[2K\\rgood.test\", \"\u{202e}tset.live\", \"a.test\\n  it is made of 1 file\"]\n");
    let said = project.run(&["config", "allow"]);
    assert!(said.out.contains("    evil.test\\u{1b}[2K\\u{d}good.test  (service.x.hosts)\n"), "{said:?}");
    assert!(said.out.contains("    \\u{202e}tset.live  (service.x.hosts)\n"), "{said:?}");
    assert!(said.out.contains("    a.test\\n  it is made of 1 file  (service.x.hosts)\n"), "{said:?}");
    assert!(!said.out.contains(['\u{1b}', '\r', '\u{202e}']), "{said:?}");
}

/// What cannot be read cannot be shown, and is not allowed.
#[test]
fn what_is_not_toml_is_not_allowed() {
    let project = ProjectFolder::new();
    project.write("conf.d/api.toml", "[service.api");
    let said = project.allow();
    assert_eq!((said.code, said.out.as_str()), (2, ""));
    assert!(said.err.contains("conf.d/api.toml:1:13: error: "), "{said:?}");
    assert_eq!(project.check().0, 2);
}

#[test]
fn what_others_may_write_is_not_allowed() {
    let project = ProjectFolder::new();
    for name in ["claviger.toml", "conf.d/api.toml", "teams/pay/who.toml", "ca.pem"] {
        let path = project.root().join(name);
        for bits in [0o664, 0o646] {
            mode(&path, bits);
            let said = project.allow();
            let path = path.display();
            let expected = format!(
                "claviger: `{path}` may be written by others than its owner (mode {bits:04o}); run `chmod go-w {path}`\n"
            );
            assert_eq!((said.code, said.out.as_str(), said.err), (1, "", expected));
        }
        mode(&path, 0o644);
    }
    assert_eq!(project.allow().code, 0);
}

/// Only root can make the file of another, so that nobody else can try this.
#[test]
fn what_is_not_yours_is_not_allowed() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let project = ProjectFolder::new();
    let path = project.root().join("conf.d/api.toml");
    std::os::unix::fs::chown(&path, Some(12_345), None).unwrap();
    let said = project.allow();
    let expected = format!(
        "claviger: `{}` is not yours, so that its owner could change it; make a copy that is\n",
        path.display()
    );
    assert_eq!((said.code, said.err), (1, expected));
}

/// One file stands behind a link: what is allowed, what is read, and what its paths resolve against.
#[test]
fn links_are_followed_once() {
    let project = ProjectFolder::new();
    let elsewhere = project.world().path().join("elsewhere");
    std::fs::create_dir_all(elsewhere.join("conf.d")).unwrap();
    std::fs::create_dir_all(elsewhere.join(".git")).unwrap();
    assert_eq!(project.allow().code, 0);
    symlink(project.file(), elsewhere.join("claviger.toml")).unwrap();
    // It is the file that was allowed, with the files beside it, not those beside the link.
    std::fs::write(elsewhere.join("conf.d/evil.toml"), "[service.evil]\nhosts = [\"evil.test\"]\n").unwrap();
    let there = |args: &[&str]| Said::of(&project.command_in("", args).current_dir(&elsewhere).output().unwrap());
    let said = there(&["config", "show"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.out.contains("api.test") && !said.out.contains("evil"), "{said:?}");
    // A link to another file is another file, though the link is the same.
    let other = elsewhere.join("other.toml");
    std::fs::write(&other, MAIN).unwrap();
    std::fs::remove_file(elsewhere.join("claviger.toml")).unwrap();
    symlink(&other, elsewhere.join("claviger.toml")).unwrap();
    let said = there(&["check"]);
    let expected = format!("error: `{}` was found in the folder", other.canonicalize().unwrap().display());
    assert!(said.code == 2 && said.err.starts_with(&expected), "{said:?}");
    // One that leads nowhere is there all the same: nothing else is taken for it.
    std::fs::remove_file(&other).unwrap();
    let said = there(&["check"]);
    assert!(said.code == 2 && said.err.contains("nobody has allowed it"), "{said:?}");
}

/// What anybody could have written is nobody's word.
#[test]
fn the_record_is_the_users_own() {
    let project = ProjectFolder::new();
    assert_eq!(project.allow().code, 0);
    let folder = project.world().path().join(".local/state/claviger/trust");
    assert_eq!(folder.metadata().unwrap().permissions().mode() & 0o777, 0o700);
    let records: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    let [record] = records.as_slice() else { panic!("{records:?}") };
    assert_eq!(record.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let refused = |what: &str| {
        let (code, said) = project.check();
        assert_eq!(code, 2);
        assert!(said.contains(what) && said.contains("put that right, or remove it"), "{said}");
    };
    mode(record, 0o602);
    refused("may be written by others than you");
    mode(record, 0o600);
    assert_eq!(project.check().0, 0);
    // That of another project, or of a newer version, says nothing about this one.
    let text = std::fs::read_to_string(record).unwrap();
    std::fs::write(record, text.replacen(&project.file(), "/etc/other.toml", 1)).unwrap();
    refused("is not a record of this file");
    std::fs::write(record, text.replacen("\"format\": 1", "\"format\": 2", 1)).unwrap();
    refused("is not a record of this file");
    std::fs::write(record, &text[..text.len() / 2]).unwrap();
    refused("is not a record of what was allowed");
    std::fs::write(record, &text).unwrap();
    assert_eq!(project.check().0, 0);
    // The state folder that the file itself names has no part in it.
    assert!(!project.root().join("state/trust").exists());
    assert_eq!(record.metadata().unwrap().uid(), rustix::process::geteuid().as_raw());
}

/// A pipe in a cloned repository hangs nobody.
#[test]
fn only_a_regular_file_is_a_projects_file() {
    let project = ProjectFolder::new();
    let file = project.root().join("claviger.toml");
    std::fs::remove_file(&file).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, &file, rustix::fs::FileType::Fifo, rustix::fs::Mode::from(0o644), 0).unwrap();
    assert_eq!(project.check(), (2, undecided(&project)));
    let said = project.allow();
    assert!(said.code == 2 && said.err.contains("it is not a regular file"), "{said:?}");
}

/// A process that runs keeps what was allowed, until the change is.
#[test]
fn a_reload_needs_to_be_allowed_too() {
    let project = ProjectFolder::new();
    assert_eq!(project.allow().code, 0);
    let proxy = project.world().start_command(project.command_in("", &["run", "--cores", "1"]));
    let more = "[service.more]\nhosts = [\"more.test\"]\n";
    project.write("claviger.toml", format!("{MAIN}{more}"));
    proxy.wait_for_line("is not used: `claviger.toml` has changed since it was allowed");
    proxy.wait_for_line("the configuration was not reloaded, generation 1 stays");
    // To allow it is enough: the process sees that it was.
    assert_eq!(project.allow().code, 0);
    proxy.wait_for_line("generation 2 is in force");
    assert_eq!(project.run(&["config", "deny"]).code, 0);
    proxy.wait_for_line("was denied");
    proxy.wait_for_line("the configuration was not reloaded, generation 2 stays");
}
