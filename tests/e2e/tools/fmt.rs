//! `fmt`: white space only, and only where it is asked for.

use std::os::unix::fs::{PermissionsExt, symlink};

use claviger_tests::World;

use crate::project::{ProjectFolder, Said, mode};

const EXAMPLE: &str = include_str!("../../../config.example.toml");
const UGLY: &str = "version=1\ntrust_domain   =\"a.test\"\n[limits]\nheaders_max=  64 # few\n";
const NICE: &str = "version      = 1\ntrust_domain = \"a.test\"\n\n[limits]\nheaders_max = 64 # few\n";

fn run(world: &World, args: &[&str]) -> Said {
    Said::of(&world.run(args))
}

/// The documents are in the form that `fmt` writes.
#[test]
fn the_example_is_in_the_usual_form() {
    let world = World::new();
    world.write("example.toml", EXAMPLE);
    let said = run(&world, &["fmt", "--diff", "example.toml"]);
    assert_eq!(
        (said.code, said.out.as_str(), said.err.as_str()),
        (0, "", ""),
        "run `claviger fmt config.example.toml`"
    );
}

#[test]
fn a_file_is_written_only_if_it_changes_and_keeps_its_mode() {
    let world = World::new();
    world.write("a.toml", UGLY);
    mode(&world.path().join("a.toml"), 0o640);
    symlink("a.toml", world.path().join("link.toml")).unwrap();
    let read = || std::fs::read_to_string(world.path().join("a.toml")).unwrap();

    let check = run(&world, &["fmt", "--check", "a.toml"]);
    assert_eq!((check.code, check.out.as_str(), check.err.as_str()), (1, "a.toml\n", ""));
    let diff = run(&world, &["fmt", "--diff", "a.toml"]);
    let expected = "--- a.toml\n+++ a.toml (formatted)\n@@ -1,4 +1,5 @@\n-version=1\n-trust_domain   =\"a.test\"\n\
                    +version      = 1\n+trust_domain = \"a.test\"\n+\n [limits]\n-headers_max=  64 # few\n\
                    +headers_max = 64 # few\n";
    assert_eq!((diff.code, diff.out.as_str(), diff.err.as_str()), (1, expected, ""));
    assert_eq!(read(), UGLY);

    let written = run(&world, &["fmt", "link.toml"]);
    assert_eq!(
        (written.code, written.out.as_str(), written.err.as_str()),
        (0, "", "claviger: formatted `link.toml`\n")
    );
    assert_eq!(read(), NICE);
    assert!(world.path().join("link.toml").is_symlink());
    let metadata = world.path().join("a.toml").metadata().unwrap();
    assert_eq!(metadata.permissions().mode() & 0o777, 0o640);
    let before = metadata.modified().unwrap();

    for args in [&["fmt", "a.toml"][..], &["fmt", "--check", "a.toml"], &["fmt", "--diff", "a.toml"]] {
        let said = run(&world, args);
        assert_eq!((said.code, said.out.as_str(), said.err.as_str()), (0, "", ""), "{args:?}");
    }
    assert_eq!(world.path().join("a.toml").metadata().unwrap().modified().unwrap(), before);
    let left: Vec<_> = std::fs::read_dir(world.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().starts_with(".tmp")), "{left:?}");
}

#[test]
fn what_is_not_toml_is_left_alone_and_so_are_the_others() {
    let world = World::new();
    world.write("a.toml", UGLY);
    world.write("b.toml", "version = 1\nname = \n");
    let said = run(&world, &["fmt", "a.toml", "b.toml"]);
    assert_eq!((said.code, said.out.as_str()), (2, ""));
    assert!(said.err.starts_with("b.toml:2:8: error: "), "{said:?}");
    assert_eq!(std::fs::read_to_string(world.path().join("a.toml")).unwrap(), UGLY);
    let said = run(&world, &["fmt", "missing.toml"]);
    assert!(said.code == 2 && said.err.starts_with("claviger: failed to read `missing.toml`: "), "{said:?}");
}

#[test]
fn stdin_goes_to_stdout() {
    let world = World::new();
    let with = |args: &[&str], input: &str| Said::of(&world.run_with_input(args, input));
    let said = with(&["fmt", "-"], UGLY);
    assert_eq!((said.code, said.out.as_str()), (0, NICE));
    assert_eq!(with(&["fmt", "--check", "-"], UGLY).code, 1);
    assert_eq!(with(&["fmt", "--check", "-"], NICE).code, 0);
    let said = with(&["fmt", "-"], "[");
    assert!(said.code == 2 && said.err.starts_with("stdin:1:2: error: "), "{said:?}");
}

/// Without files, those of the configuration: a project's too, which need not be allowed for it.
#[test]
fn every_file_of_the_configuration() {
    let project = ProjectFolder::new();
    assert_eq!(project.allow().code, 0);
    let said = project.run(&["fmt", "--check"]);
    assert_eq!((said.code, said.out.as_str()), (1, "claviger.toml\nconf.d/api.toml\n"), "{said:?}");
    assert_eq!(project.run(&["fmt"]).code, 0);
    assert_eq!(project.run(&["fmt", "--check"]).code, 0);
    // It is not the file that was allowed any more, though it says the same.
    let (code, said) = project.check();
    assert!(code == 2 && said.contains("has changed since it was allowed"), "{said}");
}

/// Every configuration of these tests keeps what it says, and is at rest after once.
#[test]
fn all_configurations_of_the_tests() {
    let world = World::new();
    let mut texts = vec![EXAMPLE.to_owned(), world.usual(1, "")];
    for file in ["base.toml", "design.toml"] {
        texts.push(std::fs::read_to_string(format!("{}/e2e/config/{file}", env!("CARGO_MANIFEST_DIR"))).unwrap());
    }
    let values = |text: &str| format!("{:?}", toml::from_str::<toml::Table>(text).unwrap());
    let formatted = |text: &str| {
        let said = Said::of(&world.run_with_input(&["fmt", "-"], text));
        assert_eq!(said.code, 0, "{said:?}");
        said.out
    };
    for text in &texts {
        let once = formatted(text);
        assert_eq!(values(text), values(&once));
        assert_eq!(formatted(&once), once);
        // Whatever white space there is between words, it comes to the same meaning.
        for (from, to) in [(" = ", "="), (" = ", "   =\t"), ("\n", "\r\n"), ("\n[", "\n\n\n["), (", ", " ,")] {
            let other = text.replace(from, to);
            if toml::from_str::<toml::Table>(&other).is_ok_and(|table| format!("{table:?}") == values(text)) {
                assert_eq!(values(&formatted(&other)), values(text), "{from:?} {to:?}");
            }
        }
    }
}
