use proptest::prelude::*;

use super::*;

fn check(file: &str, text: &str, expected: &[&str]) {
    let (kind, read) = reader(file).unwrap_or_else(|| panic!("{file}"));
    let mut found = packages(kind, read, text);
    found.sort();
    found.dedup();
    for package in expected {
        assert!(found.iter().any(|one| one == package), "{file}: {package} is not in {found:?}");
    }
    let wanted: Vec<&str> = expected.iter().map(|package| package.split_once(':').unwrap().0).collect();
    assert!(wanted.iter().all(|one| *one == kind));
    if expected.is_empty() {
        assert_eq!(found, Vec::<String>::new(), "{file}");
    }
}

#[test]
fn node() {
    check(
        "package.json",
        r#"{"name":"x","dependencies":{"openai":"^4"},"devDependencies":{"@octokit/rest":"20"},"peerDependencies":{"p":"1"}}"#,
        &["npm:openai", "npm:@octokit/rest", "npm:p"],
    );
    check(
        "package-lock.json",
        r#"{"lockfileVersion":3,"packages":{"":{"name":"x"},"node_modules/openai":{},"node_modules/a/node_modules/@anthropic-ai/sdk":{}}}"#,
        &["npm:openai", "npm:@anthropic-ai/sdk"],
    );
    check("package-lock.json", r#"{"lockfileVersion":1,"dependencies":{"openai":{"version":"4"}}}"#, &["npm:openai"]);
    check(
        "pnpm-lock.yaml",
        "lockfileVersion: '9.0'\nimporters:\n  .:\n    dependencies:\n      stripe:\n        specifier: 1\npackages:\n  \
         '@anthropic-ai/sdk@0.20.0':\n    resolution: {}\n  openai@4.0.0(zod@3):\n",
        &["npm:@anthropic-ai/sdk", "npm:openai", "npm:stripe"],
    );
    check(
        "pnpm-lock.yaml",
        "packages:\n  /openai/4.0.0:\n  /@slack/web-api/7.0.0:\n  /@slack/types@2.0.0:\n",
        &["npm:openai", "npm:@slack/web-api", "npm:@slack/types"],
    );
    check(
        "yarn.lock",
        "# yarn lockfile v1\n\n\"@anthropic-ai/sdk@^0.20.0\", \"@anthropic-ai/sdk@npm:^0.2\":\n  version \"1\"\nopenai@^4.0.0:\n  version \"4\"\n",
        &["npm:@anthropic-ai/sdk", "npm:openai"],
    );
}

#[test]
fn python() {
    let file = "# comment\n-r other.txt\n--index-url https://x\nOpenAI[datalib]>=1.0 ; python_version > '3'\nSlack_SDK==3\n\
        stripe @ https://x/y.whl\n\n  anthropic~=0.3 # why\nhttps://example.test/a.whl\n./local\n";
    let expected = ["pypi:openai", "pypi:slack-sdk", "pypi:stripe", "pypi:anthropic"];
    for name in ["requirements.txt", "requirements-dev.txt", "dev-requirements.in", "requirements.in"] {
        check(name, file, &expected);
    }
    check(
        "pyproject.toml",
        "[project]\nname = \"x\"\ndependencies = [\"openai>=1\", \"httpx\"]\n[project.optional-dependencies]\nslack = [\"slack_sdk\"]\n\
         [dependency-groups]\ndev = [\"stripe\", {include-group = \"x\"}]\n[tool.poetry.dependencies]\npython = \"^3\"\nAnthropic = \"*\"\n\
         [tool.poetry.group.dev.dependencies]\nPyGithub = { version = \"2\" }\n",
        &["pypi:openai", "pypi:slack-sdk", "pypi:stripe", "pypi:anthropic", "pypi:pygithub"],
    );
    for name in ["poetry.lock", "uv.lock"] {
        check(name, "version = 1\n[[package]]\nname = \"openai\"\nversion = \"1\"\n", &["pypi:openai"]);
    }
    check(
        "Pipfile",
        "[packages]\nopenai = \"*\"\n[dev-packages]\nstripe = {version=\"1\"}\n",
        &["pypi:openai", "pypi:stripe"],
    );
    check(
        "Pipfile.lock",
        r#"{"_meta":{},"default":{"openai":{"version":"==1"}},"develop":{"stripe":{}}}"#,
        &["pypi:openai", "pypi:stripe"],
    );
}

#[test]
fn others() {
    check(
        "Cargo.lock",
        "version = 4\n\n[[package]]\nname = \"async-openai\"\nversion = \"0.1\"\n",
        &["cargo:async-openai"],
    );
    check(
        "go.mod",
        "module x\n\ngo 1.22\n\nrequire github.com/openai/openai-go v0.1.0\nrequire (\n\tgithub.com/google/go-github/v60 v60.0.0 // indirect\n)\n",
        &["go:github.com/openai/openai-go", "go:github.com/google/go-github/v60"],
    );
    check(
        "Gemfile.lock",
        "GEM\n  remote: https://rubygems.org/\n  specs:\n    ruby-openai (6.3.0)\n      faraday (>= 1)\n    stripe (10.0.0)\n",
        &["gem:ruby-openai", "gem:stripe"],
    );
}

#[test]
fn other_files_say_nothing() {
    for name in ["Cargo.toml", "package.json5", "txt", "my.lock", "openai", ""] {
        assert!(reader(name).is_none(), "{name}");
    }
    let names = ["package.json", "package-lock.json", "Pipfile", "Pipfile.lock", "pyproject.toml"];
    for name in names {
        for text in [
            "",
            "{",
            "[]",
            "null",
            "{\"dependencies\":[]}",
            "[project\n",
            "\u{0}",
            "[project]\ndependencies = 1\n[tool]\npoetry = 2",
        ] {
            check(name, text, &[]);
        }
    }
    // Deeper than any parser goes.
    let deep = "[".repeat(200_000);
    check("package.json", &format!("{{\"dependencies\":{{\"x\":{deep}"), &[]);
    check("pyproject.toml", &format!("x = {deep}"), &[]);
}

proptest! {
    /// Whatever stands in such a file: names or none, and no end of the process.
    #[test]
    fn any_text(text in "(\\PC|[\\[\\]{}\"'@/:=,\n ]|npm|name){0,200}") {
        for name in ["package.json", "package-lock.json", "pnpm-lock.yaml", "yarn.lock", "requirements.txt", "pyproject.toml",
            "poetry.lock", "Pipfile", "Pipfile.lock", "Cargo.lock", "go.mod", "Gemfile.lock"] {
            let (kind, read) = reader(name).unwrap();
            packages(kind, read, &text);
        }
    }
}
