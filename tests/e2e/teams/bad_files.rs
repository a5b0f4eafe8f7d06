//! What may lie in a team's folder instead of a file, and how much a team may say.

use std::fmt::Write;

use crate::stage::{PAYMENTS, Stage};

type Put = Box<dyn Fn()>;

#[tokio::test(flavor = "multi_thread")]
async fn whatever_lies_in_a_teams_folder_is_its_own_matter() {
    let stage = Stage::new().await;
    let path = stage.world.path().join("teams/payments/bad.toml");
    let link = |to: &str| {
        let (to, path) = (to.to_owned(), path.clone());
        move || std::os::unix::fs::symlink(&to, &path).unwrap()
    };
    let cases: [(&str, Put); 6] = [
        ("failed to read `teams/payments/bad.toml`: it is not a regular file", {
            let path = path.clone();
            Box::new(move || std::fs::create_dir(&path).unwrap())
        }),
        ("failed to read `teams/payments/bad.toml`: No such file or directory (os error 2)", Box::new(link("nowhere"))),
        ("failed to read `teams/payments/bad.toml`: it is not a regular file", Box::new(link("/dev/zero"))),
        ("failed to read `teams/payments/bad.toml`: it is not a regular file", {
            let path = path.clone();
            Box::new(move || {
                let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
                assert!(made.success());
            })
        }),
        ("failed to read `teams/payments/bad.toml`: it is not UTF-8", {
            let path = path.clone();
            Box::new(move || std::fs::write(&path, [0xff, 0xfe]).unwrap())
        }),
        ("failed to read `teams/payments/bad.toml`: it has more than 1048576 bytes", {
            let path = path.clone();
            Box::new(move || std::fs::write(&path, "#".repeat(1_048_577)).unwrap())
        }),
    ];
    let proxy = stage.start();
    for (expected, put) in &cases {
        put();
        let (code, found) = stage.check(&[]);
        assert_eq!(code, 2, "{expected}");
        assert_eq!((&found[0]["message"], &found[0]["key"]), (&(*expected).into(), &"team.payments.files".into()));
        assert_eq!((&found[0]["team"], &found[0]["file"]), (&"payments".into(), &"claviger.toml".into()));
        let said = proxy.wait_for_line("team `payments` is frozen");
        assert!(said.contains(expected), "{said}");
        proxy.wait_for_line("is in force");
        assert_eq!(stage.ask(&proxy, "ads/app", "GET", "/api/v1/x").await, 200);
        assert_eq!(stage.ask(&proxy, "payments/app", "GET", "/api/v1/x").await, 200);
        std::fs::remove_file(&path).or_else(|_| std::fs::remove_dir(&path)).unwrap();
        proxy.wait_for_line("team `payments` is no longer frozen");
        proxy.wait_for_line("is in force");
    }
    // No file at all is no word: the folder may be about to be filled.
    std::fs::remove_file(stage.world.path().join("teams/payments/app.toml")).unwrap();
    let said = proxy.wait_for_line("team `payments` is frozen, its files of generation");
    assert!(said.contains("`teams/payments/*.toml` matches no file"), "{said}");
    // Nor is a folder that goes and comes back.
    std::fs::remove_dir(stage.world.path().join("teams/payments")).unwrap();
    stage.world.write("teams/payments/app.toml", PAYMENTS);
    proxy.wait_for_line("team `payments` is no longer frozen");
}

/// What a team may ask of everybody's reload has an end, and it is the team's.
#[tokio::test(flavor = "multi_thread")]
async fn a_team_cannot_ask_for_more_than_its_share() {
    let stage = Stage::new().await;
    let allow = |at: usize, ops: &str, credential: &str| {
        format!("[allow.r{at}]\nwho = \"*\"\nto = \"api\"\nops = {ops}\nuse = \"{credential}\"\n")
    };
    let credential = |at: usize| {
        format!(
            "[credential.c{at}]\nkind = \"static\"\nvalue = \"secret://env/PAYMENTS_KEY\"\nhosts = [\"api.test\"]\n"
        )
    };
    let many = |count: usize, one: &dyn Fn(usize) -> String| (0..count).map(one).collect::<String>();
    let long = |at: usize| {
        let values: String = (0..400).fold(String::new(), |mut text, value| {
            write!(text, "\"*{value}a*b{at}*\", ").unwrap();
            text
        });
        format!(
            "[workload.w{at}]\nspiffe = \"spiffe://acme.test/payments/app\"\nmatch = {{ \"ci.ref\" = [{values}] }}\n\
             [allow.l{at}]\nwho = \"w{at}\"\nto = \"api\"\nops = \"*\"\nuse = \"c{at}\"\n"
        )
    };
    for (text, expected) in [
        (many(5_001, &|at| allow(at, "\"* /x\"", "none")), "team `payments` has more than 5000 rules"),
        (
            many(30, &|at| allow(at, &format!("[{}]", "\"* /x\",".repeat(2_000)), "none")),
            "the rules of team `payments` have more than 50000 operations at services",
        ),
        (
            many(1_001, &|at| format!("[workload.w{at}]\nspiffe = \"spiffe://acme.test/payments/app\"\n")),
            "team `payments` has more than 1000 workloads",
        ),
        (many(501, &credential), "team `payments` has more than 500 credentials"),
        (
            many(251, &|_| {
                "[[test]]\nas = \"spiffe://acme.test/payments/x\"\nrequest = \"GET https://api.test/\"\nexpect = \"deny\"\n"
                    .to_owned()
            }),
            "team `payments` has more than 250 tests",
        ),
        // More ties than are told one by one.
        (
            format!("{}{}", many(30, &credential), many(30, &|at| allow(at, "\"*\"", &format!("c{at}")))),
            "415 more pairs of allows may want different credentials",
        ),
        (
            format!("{}{}", many(60, &credential), many(60, &long)),
            "the allows of team `payments` are too many, or too long, to be compared for ties",
        ),
        (allow(0, &format!("[\"GET /{}\"]", "a/".repeat(2_000)), "none"), "the path is longer than 2048 bytes"),
    ] {
        stage.world.write("teams/payments/app.toml", &text);
        let (code, found) = stage.check(&[]);
        assert_eq!(code, 2, "{expected}");
        let errors: Vec<_> = found.iter().filter(|one| one["severity"] == "error").collect();
        assert!(
            errors.iter().any(|one| one["message"].as_str().unwrap().contains(expected)),
            "{expected}: {errors:#?}"
        );
        assert!(errors.iter().all(|one| one["team"] == "payments"), "{expected}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_team_cannot_have_more_files_than_its_share() {
    let stage = Stage::new().await;
    let (many_files, folder) = (257, stage.world.path().join("teams/payments"));
    for at in 1..many_files {
        std::fs::write(folder.join(format!("{at}.toml")), "").unwrap();
    }
    assert_eq!(stage.check(&[]).1[0]["message"], "team `payments` has more than 256 files");
    for at in 1..many_files {
        std::fs::remove_file(folder.join(format!("{at}.toml"))).unwrap();
    }
    for at in 0..5 {
        std::fs::write(folder.join(format!("{at}.toml")), "#".repeat(1_000_000)).unwrap();
    }
    assert_eq!(stage.check(&[]).1[0]["message"], "the files of team `payments` have more than 4MiB");
}
