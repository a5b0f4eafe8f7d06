//! What is found in a project, and what is said of it.

use serde_json::Value;

use crate::project::Project;

/// Looks at a project without changing it.
fn looked(project: &Project) -> Value {
    let found = project.run(&["init", "-o", "json"]).ok().json();
    assert_eq!(found["written"], false);
    assert!(!project.has("claviger.toml") && !project.state().exists());
    found
}

/// `SERVICE: KEY` of each service, and why it is there.
fn services(found: &Value) -> Vec<String> {
    let services = found["services"].as_array().unwrap().iter();
    services
        .map(|service| {
            let because: Vec<&str> =
                service["because"].as_array().unwrap().iter().map(|b| b.as_str().unwrap()).collect();
            format!(
                "{} {}: {}",
                service["name"].as_str().unwrap(),
                service["key"].as_str().unwrap(),
                because.join(", ")
            )
        })
        .collect()
}

#[test]
fn variables_files_packages_and_remotes() {
    let check = |files: &[(&str, &str)], variables: &[(&str, &str)], expected: &[&str]| {
        let mut project = Project::new();
        let keys = [("@OPENAI@", "sk-proj-"), ("@ANTHROPIC@", "sk-ant-api03-"), ("@GITHUB@", "ghp_")];
        let keys = keys.map(|(name, prefix)| (name, project.key(prefix)));
        let filled = |text: &str| keys.iter().fold(text.to_owned(), |text, (name, key)| text.replace(name, key));
        for (name, text) in files {
            project.write(name, filled(text));
        }
        for (name, value) in variables {
            project.set(name, &filled(value));
        }
        let found = looked(&project);
        assert_eq!(services(&found), expected, "{files:?} {variables:?}\n{found:#}");
    };
    check(
        &[("app.py", "print()")],
        &[("OPENAI_API_KEY", "@OPENAI@")],
        &["openai found: $OPENAI_API_KEY in this shell"],
    );
    check(&[(".env", "# keys\nOPENAI_API_KEY=\"@OPENAI@\"\n")], &[], &["openai found: OPENAI_API_KEY in .env:2"]);
    // By what it is, whatever it is called.
    check(&[("a/.env.local", "export LLM=@OPENAI@")], &[], &["openai found: LLM in a/.env.local:1"]);
    check(&[(".env", "LLM_KEY=@ANTHROPIC@")], &[], &["anthropic found: LLM_KEY in .env:1"]);
    // One key in two places is one key.
    check(
        &[(".env", "OPENAI_API_KEY=@OPENAI@")],
        &[("OPENAI_API_KEY", "@OPENAI@")],
        &["openai found: $OPENAI_API_KEY in this shell, OPENAI_API_KEY in .env:1"],
    );
    check(
        &[
            ("package-lock.json", r#"{"packages":{"node_modules/openai":{}}}"#),
            ("requirements.txt", "anthropic>=0.3\n"),
        ],
        &[],
        &["anthropic missing: `anthropic` in requirements.txt", "openai missing: `openai` in package-lock.json"],
    );
    check(
        &[(".git/config", "[remote \"origin\"]\n\turl = git@github.com:acme/shop.git\n")],
        &[],
        &["github missing: git remote `origin` (github.com, by SSH)"],
    );
    check(
        &[(".git/config", "[remote \"origin\"]\n\turl = https://x:@GITHUB@@github.com/acme/shop.git\n")],
        &[],
        &["github found: git remote `origin` (github.com), the URL of remote `origin` in .git/config:2"],
    );
}

/// None of these is a key; where nothing is found, nothing is proposed.
#[test]
fn what_is_no_key() {
    for text in [
        "OPENAI_API_KEY=",
        "OPENAI_API_KEY=your-api-key",
        "OPENAI_API_KEY=sk-xxxxxxxxxxxxxxxxxxxxxxxx",
        "OPENAI_API_KEY=sk-claviger-placeholder-0000000000000000000000000000",
        "OPENAI_API_KEY=$OTHER",
        "OPENAI_API_KEY=\"${OTHER}\"",
        "# OPENAI_API_KEY=sk-proj-0123456789abcdefghijkl",
        "DATABASE_URL=postgres://app:hunter2hunter2@db/x",
        "X=1",
    ] {
        let project = Project::new();
        project.write(".env", text);
        let said = project.run(&["init", "-o", "json"]);
        if said.code == 0 {
            let found = said.json();
            assert!(
                found["services"].as_array().unwrap().iter().all(|service| service["key"] == "missing"),
                "{text}: {found}"
            );
        } else {
            assert!(said.err.contains("nothing here shows which services it uses"), "{text}: {}", said.all());
        }
    }
}

#[test]
fn what_is_not_clear_is_said_and_left_alone() {
    let mut project = Project::new();
    let key = project.key("sk-proj-");
    project.write(".env", format!("OPENAI_API_KEY={key}#1\nGITHUB_TOKEN=short1\n"));
    let found = project.run(&["init", "-o", "json", "--service", "openai", "--print"]).ok();
    assert!(found.out.contains("[service.openai]"), "{}", found.out);
    let said = project.run(&["init"]);
    assert!(said.err.contains("OPENAI_API_KEY in .env:1 was left alone"), "{}", said.all());
    assert!(
        said.err.contains("GITHUB_TOKEN in .env:2 is not proposed for `github` (6 characters): too short"),
        "{}",
        said.all()
    );
}

/// A description has the length and the public prefix, and nothing else.
#[test]
fn keys_are_described_and_not_shown() {
    let mut project = Project::new();
    let key = project.key("sk-proj-");
    project.set("OPENAI_API_KEY", &key);
    let said = project.run(&["init"]).ok();
    let expected = format!("$OPENAI_API_KEY in this shell: {} characters, begins with `sk-proj-`", key.len());
    assert!(said.out.contains(&expected), "{}", said.out);
    assert!(said.out.contains("nothing was changed"), "{}", said.out);
    assert_eq!(project.names(), Vec::<String>::new());
}

/// Keys in other files are told by their place only.
#[test]
fn keys_in_other_files() {
    let mut project = Project::new();
    let (openai, other) = (project.key("sk-proj-"), project.key("ghp_"));
    project.set("OPENAI_API_KEY", &openai);
    project.write("src/app.py", format!("import os\n\nKEY = '{openai}'\nPREFIX = 'sk-proj-'\n"));
    project.write("notes.txt", format!("token: {other}\n"));
    project.write("data.bin", format!("\0{other}\n"));
    project.write("node_modules/x/index.js", format!("'{other}'"));
    let found = looked(&project);
    let plain: Vec<String> = found["plain"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| format!("{} {}:{}", one["whose"].as_str().unwrap(), one["place"]["file"], one["place"]["line"]))
        .collect();
    assert_eq!(
        plain,
        ["openai null:null", "looks like github \"notes.txt\":1", "looks like openai \"src/app.py\":3"],
        "{found:#}"
    );
}

/// Whatever lies in a folder: links, pipes, huge and broken files, deep trees.
#[test]
fn strange_folders() {
    let mut project = Project::new();
    let key = project.key("sk-proj-");
    project.write("keep/.env", format!("OPENAI_API_KEY={key}\n"));
    let folder = project.folder();
    std::os::unix::fs::symlink("/", folder.join("root")).unwrap();
    std::os::unix::fs::symlink(&folder, folder.join("loop")).unwrap();
    std::os::unix::fs::symlink(folder.join("keep/.env"), folder.join(".env")).unwrap();
    std::os::unix::fs::symlink("/dev/zero", folder.join(".env.zero")).unwrap();
    let pipe = folder.join("package.json");
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).unwrap();
    project.write("package-lock.json", "{".repeat(100_000)).write("pyproject.toml", "[".repeat(100_000));
    project.write(".env.broken", b"\xff\xfe\0A=\"").write(".env.huge", "A=b\n".repeat(200_000));
    project.write("we\nird\u{202e}.env", format!("OPENAI_API_KEY={key}"));
    let mut deep = folder.join("d");
    for _ in 0..60 {
        deep.push("d");
    }
    std::fs::create_dir_all(&deep).unwrap();
    let found = looked(&project);
    let because = services(&found);
    assert_eq!(because.len(), 1, "{found:#}");
    assert!(because[0].starts_with("openai found: OPENAI_API_KEY in we?ird\\u{202e}.env:1, "), "{because:?}");
    assert!(because[0].ends_with("OPENAI_API_KEY in keep/.env:1"), "{because:?}");
    let notes = found["notes"].to_string();
    assert!(notes.contains(".env.huge could not be read") && notes.contains("too large"), "{notes}");
    // The file that is written says it on one line of a comment.
    let text = project.run(&["init", "--print"]).ok().out;
    text.parse::<toml::Table>().unwrap();
    assert!(!text.contains('\u{202e}'), "{text}");
}

/// A base URL says where the key goes.
#[test]
fn base_urls_decide_where_a_key_goes() {
    let mut project = Project::new();
    let key = project.key("");
    project.write(".env", format!("OPENAI_API_KEY={key}\nOPENAI_BASE_URL=https://llm.acme.test/v1\n"));
    let found = looked(&project);
    assert_eq!(found["services"][0]["hosts"], serde_json::json!(["llm.acme.test"]), "{found:#}");

    project.write(".env", format!("OPENAI_API_KEY={key}\nOPENAI_BASE_URL=https://api.groq.com/openai/v1\n"));
    let found = looked(&project);
    assert_eq!(found["services"].as_array().unwrap().len(), 1, "{found:#}");
    assert_eq!(found["services"][0]["name"], "groq", "{found:#}");

    // Where everybody has a host of their own.
    project
        .write(".env", format!("AZURE_OPENAI_API_KEY={key}\nAZURE_OPENAI_ENDPOINT=https://acme.openai.azure.com/\n"));
    let found = looked(&project);
    assert_eq!(found["services"][0]["hosts"], serde_json::json!(["acme.openai.azure.com"]), "{found:#}");
    project.write(".env", format!("AZURE_OPENAI_API_KEY={key}\n"));
    let said = project.run(&["init"]);
    assert!(said.err.contains("set AZURE_OPENAI_ENDPOINT to its URL"), "{}", said.all());
}

#[test]
fn tokens_of_tools() {
    let mut project = Project::new();
    let token = project.key("ghp_");
    std::fs::write(project.home().join(".npmrc"), format!("//npm.pkg.acme.test/:_authToken={token}\n")).unwrap();
    let said = project.run(&["init"]);
    assert!(
        said.err.contains("_authToken in ~/.npmrc:1 holds a token for a host that no preset knows"),
        "{}",
        said.all()
    );
}
