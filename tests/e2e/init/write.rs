//! What is written: a file that loads, that allows what an SDK does, and that is never written over another.

use std::process::Stdio;

use crate::project::{Project, key};

fn with_keys() -> Project {
    let mut project = Project::new();
    let (openai, github) = (project.key("sk-proj-"), project.key("ghp_"));
    project.write(".env", format!("OPENAI_API_KEY={openai}\nDEBUG=1\n"));
    project.set("GITHUB_TOKEN", &github);
    project.write("requirements.txt", "openai\nanthropic\n").write("app.py", "print()\n");
    project
}

#[test]
fn yes_seals_writes_and_allows() {
    let project = with_keys();
    let said = project.run(&["init", "--yes"]).ok();
    assert!(said.out.contains("claviger exec -- python app.py"), "{}", said.all());
    assert!(said.out.contains("`anthropic` is in it as a comment"), "{}", said.all());
    assert!(
        said.out.contains("OPENAI_API_KEY in .env:1") && said.out.contains("claviger init --scrub"),
        "{}",
        said.all()
    );
    let sealed = project.sealed();
    assert_eq!(sealed.keys().collect::<Vec<_>>(), ["github", "openai"]);
    assert_eq!(sealed["openai"], ["api.openai.com:443"]);
    assert_eq!(project.names(), [".env", "app.py", "claviger.toml", "requirements.txt"]);
    assert_eq!(project.mode("claviger.toml"), 0o644);
    // In the usual form, without an error, and allowed.
    project.run(&["fmt", "--check"]).ok();
    project.run(&["check"]).ok();
    let tested = project.run(&["test"]).ok();
    assert!(tested.all().contains('4'), "{}", tested.all());
    let status = project.run(&["config", "status"]).ok();
    assert!(status.all().contains("allowed"), "{}", status.all());
}

/// Asking a model and listing them; nothing that changes an account, and nowhere else.
#[test]
fn the_rules_allow_what_sdks_do_and_nothing_else() {
    let project = with_keys();
    project.run(&["init", "--yes"]).ok();
    for (request, expected) in [
        ("POST https://api.openai.com/v1/chat/completions", true),
        ("POST https://api.openai.com/v1/responses", true),
        ("GET https://api.openai.com/v1/models", true),
        ("DELETE https://api.openai.com/v1/models/x", false),
        ("POST https://api.openai.com/v1/files", false),
        ("GET https://api.openai.com/v1/organization/admin_api_keys", false),
        ("GET https://api.github.com/user", true),
        ("POST https://api.github.com/graphql", false),
        ("DELETE https://api.github.com/repos/acme/shop", false),
        // It is a comment: nobody has its key.
        ("POST https://api.anthropic.com/v1/messages", false),
        ("GET https://example.com/", false),
    ] {
        assert_eq!(project.allows(request), expected, "{request}\n{}", project.read("claviger.toml"));
    }
}

/// Every preset: the file that is written for it loads, with its tests.
#[test]
fn every_preset_can_be_written() {
    let names = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../proxy/wire/presets")).unwrap();
    let mut names: Vec<String> =
        names.filter_map(|entry| entry.unwrap().path().file_stem()?.to_str().map(str::to_owned)).collect();
    names.sort();
    assert!(names.len() >= 10, "{names:?}");
    let mut written = 0;
    for name in names {
        let mut project = Project::new();
        project.set("AZURE_OPENAI_ENDPOINT", "https://acme.openai.azure.com");
        project.set("KEY", &key(""));
        let said = project.run(&["init", "--service", &name, "--seal", &format!("{name}=env:KEY")]);
        let is_own = ["is your own, and nothing here names it", "wants several keys at once"];
        if said.code == 2 && is_own.iter().any(|why| said.err.contains(why)) {
            continue;
        }
        let said = said.ok();
        assert!(said.out.contains("wrote `claviger.toml`"), "{name}: {}", said.all());
        let tested = project.run(&["test"]).ok();
        let checked = project.run(&["check"]);
        assert_eq!(checked.code, 0, "{name}: {}\n{}", checked.all(), tested.all());
        written += 1;
    }
    assert!(written >= 20, "{written}");
}

/// A file that is there stays, whatever is asked for, and is told what it lacks.
#[test]
fn never_over_a_file_that_is_there() {
    let project = with_keys();
    let before = "# mine\nversion = 1\ntrust_domain = \"acme.test\"\n\n[workload.dev]\nspiffe = \"spiffe://acme.test/dev\"\nexec = true\n\n\
        [service.gh]\npreset = \"github\"\n";
    project.write("claviger.toml", before);
    for args in [&["init"][..], &["init", "--yes"], &["init", "--service", "openai"], &["init", "--yes", "-o", "json"]]
    {
        let said = project.run(args).ok();
        assert_eq!(project.read("claviger.toml"), before);
        assert!(!project.state().exists(), "{args:?}");
        let about = said.out.contains("stays as it is") || said.out.contains("\"written\": false");
        assert!(about, "{args:?}: {}", said.all());
    }
    let said = project.run(&["init"]).ok();
    assert!(said.out.contains("[service.openai]") && said.out.contains("who = \"dev\""), "{}", said.all());
    assert!(!said.out.contains("[service.github]"), "{}", said.all());
    // What it lacks can be put in as it stands.
    let printed = project.run(&["init", "--print"]).ok().out;
    printed.parse::<toml::Table>().unwrap();
    project.write("claviger.toml", format!("{before}{printed}"));
    let said = project.run(&["init"]).ok();
    assert!(said.out.contains("it has every service that was seen here"), "{}", said.all());

    // Also one further up in the repository, and one that is a link to nowhere.
    let project = with_keys();
    project.write(".git/HEAD", "").write("claviger.toml", before).write("sub/.env", project.read(".env"));
    let mut command = project.command(&["init", "--yes"]);
    command.current_dir(project.folder().join("sub"));
    let said = project.said(&command.output().unwrap()).ok();
    assert!(said.out.contains("stays as it is") && !project.has("sub/claviger.toml"), "{}", said.all());
    let project = with_keys();
    std::os::unix::fs::symlink("nowhere", project.folder().join("claviger.toml")).unwrap();
    assert_eq!(project.run(&["init", "--yes"]).code, 1);
    assert!(!project.has("nowhere"));
}

#[test]
fn print_shows_the_file_and_changes_nothing() {
    let project = with_keys();
    let printed = project.run(&["init", "--print"]).ok();
    assert!(!project.has("claviger.toml") && !project.state().exists());
    project.run(&["init", "--yes"]).ok();
    assert_eq!(printed.out, project.read("claviger.toml"));
}

#[test]
fn flags_say_what_is_sealed() {
    // A service that is named, and no word about its key: it is not sealed.
    let project = with_keys();
    let said = project.run(&["init", "--service", "openai"]).ok();
    assert!(said.out.contains("claviger secret set openai --for openai"), "{}", said.all());
    assert!(project.sealed().is_empty());
    assert!(!project.read("claviger.toml").contains("github"));
    let checked = project.run(&["check"]);
    assert_eq!(checked.code, 2);
    assert!(checked.err.contains("claviger secret set openai --for openai"), "{}", checked.err);

    let project = with_keys();
    project.run(&["init", "--yes", "--no-seal"]).ok();
    assert!(project.sealed().is_empty() && project.has("claviger.toml"));

    let mut project = with_keys();
    let (typed, named) = (project.key("sk-ant-api03-"), project.key("ghp_"));
    project.write("deploy/.env", format!("TOKEN='{named}'\n"));
    let args = ["init", "--service", "work=openai", "--service", "github", "--seal", "work=dotenv:.env:OPENAI_API_KEY"];
    let more = ["--seal", "github=dotenv:deploy/.env:TOKEN", "--seal", "anthropic=stdin"];
    let said = project.run_with(&[&args[..], &more].concat(), &format!("{typed}\n")).ok();
    assert_eq!(project.sealed().keys().collect::<Vec<_>>(), ["anthropic", "github", "work"], "{}", said.all());
    project.run(&["check"]).ok();
    let scrubbed = project.run(&["init", "--scrub"]).ok();
    assert!(scrubbed.out.contains("deploy/.env:1 TOKEN was replaced"), "{}", scrubbed.all());
}

#[test]
fn wrong_calls_change_nothing() {
    let mut project = with_keys();
    let secret = project.key("sk-proj-");
    for (args, expected) in [
        (vec!["init", "--service", "opena"], "did you mean `openai`?"),
        (vec!["init", "--service", "a b"], "is not a name"),
        (vec!["init", "--seal", "openai"], "a key itself is never an argument"),
        (vec!["init", "--seal", "openai=env:"], "a key itself is never an argument"),
        (vec!["init", "--seal", "openai=env:NOT_SET"], "the variable `NOT_SET` is not set"),
        (vec!["init", "--seal", "openai=dotenv:none:X"], "failed to read `none`"),
        (vec!["init", "--seal", "openai=dotenv:.env:X"], "`.env` has no variable `X`"),
        (vec!["init", "--seal", "openai=dotenv:.env:DEBUG"], "fewer than 12 bytes"),
        (vec!["init", "--seal", "x=env:HOME"], "there is no service `x`"),
        (vec!["init", "--seal", "openai=stdin", "--seal", "github=stdin"], "stdin holds one key"),
        (vec!["init", "--seal", "openai=env:HOME", "--no-seal"], "cannot be used with"),
        (vec!["init", "--dry-run"], "--scrub"),
        (vec!["init", "--yes", "--print"], "cannot be used with"),
    ] {
        let said = project.run(&args);
        assert!(said.code != 0 && said.err.contains(expected), "{args:?}: {}", said.all());
        assert!(!project.has("claviger.toml") && !project.state().exists(), "{args:?}");
    }
    // A key that was typed where its place was to be named.
    let said = project.run(&["init", "--seal", &format!("openai={}", key("x"))]);
    assert!(said.code == 2 && said.err.contains("a key itself is never an argument"), "{}", said.all());
    drop(secret);
}

/// What is sealed already is used, or left alone; never written over.
#[test]
fn sealed_keys_are_never_written_over() {
    let mut project = with_keys();
    project.run(&["init", "--yes"]).ok();
    let first = project.sealed();
    // The same keys in another project.
    std::fs::remove_file(project.folder().join("claviger.toml")).unwrap();
    let said = project.run(&["init", "--yes"]).ok();
    assert!(said.out.contains("is sealed already, as `openai`"), "{}", said.all());
    assert_eq!(project.sealed(), first);
    // Another key of that name.
    std::fs::remove_file(project.folder().join("claviger.toml")).unwrap();
    let other = project.key("sk-proj-");
    project.write(".env", format!("OPENAI_API_KEY={other}\n"));
    project.run(&["init", "--yes"]).ok();
    assert_eq!(project.sealed().keys().collect::<Vec<_>>(), ["github", "openai", "shop/openai"]);
    assert!(project.read("claviger.toml").contains("secret://sealed/shop/openai"));
    project.run(&["check"]).ok();
}

#[test]
fn programs_are_told_in_json() {
    let project = with_keys();
    let said = project.run(&["init", "--yes", "-o", "json"]).ok().json();
    assert_eq!(said["written"], true);
    let keys: Vec<_> = said["services"].as_array().unwrap().iter().map(|one| (&one["name"], &one["key"])).collect();
    let keys = serde_json::to_string(&keys).unwrap();
    assert_eq!(keys, r#"[["anthropic","missing"],["github","sealed"],["openai","sealed"]]"#, "{said:#}");
    assert_eq!(said["next"], serde_json::json!(["claviger exec -- python app.py"]));
    assert_eq!(said["plain"][0]["place"]["kind"], "environment", "{said:#}");
}

#[test]
fn a_named_file_is_written_where_it_was_named() {
    let project = with_keys();
    project.run(&["init", "--yes", "--config", "conf/../other.toml"]);
    project.run(&["init", "--yes", "--config", "other.toml"]).ok();
    assert!(project.has("other.toml") && !project.has("claviger.toml"));
    project.run(&["check", "--config", "other.toml"]).ok();
}

/// Whenever it is ended: no file, or the whole file.
#[test]
fn a_kill_leaves_no_part_of_a_file() {
    let whole = {
        let project = with_keys();
        project.run(&["init", "--print"]).ok().out
    };
    let mut written = 0;
    for turn in 0..24_u64 {
        let project = with_keys();
        let mut child =
            project.command(&["init", "--yes"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        // At another moment each time: what is waited for is nothing, so that there is nothing to look at instead.
        let until = std::time::Instant::now() + std::time::Duration::from_millis(turn * 12);
        while std::time::Instant::now() < until && child.try_wait().unwrap().is_none() {
            std::thread::yield_now();
        }
        let _ = child.kill();
        child.wait().unwrap();
        if project.has("claviger.toml") {
            assert_eq!(project.read("claviger.toml"), whole);
            written += 1;
        }
        // It can be done again, whatever was left.
        if !project.has("claviger.toml") {
            project.run(&["init", "--yes"]).ok();
        }
        assert!(project.read(".env").starts_with("OPENAI_API_KEY=sk-proj-"));
    }
    eprintln!("{written} of 24 were written before they were ended");
}
