//! The configurations that documents show load as they stand there.

use claviger_tests::World;

use crate::prepared::Prepared;

/// The design's example, word for word.
const DESIGN: &str = include_str!("design.toml");

/// What of it is not there yet, and what stands in its place: a login by JWT says who Claviger is, by an issuer that there is. The state folder is one that a test may write to.
const NOT_YET: &[(&str, &str)] = &[
    ("state_dir    = \"/var/lib/claviger\"", "state_dir    = \"state\""),
    (
        "auth    = { jwt = { role = \"claviger\" } }",
        "auth    = { jwt = { role = \"claviger\", subject = \"spiffe://acme.internal/claviger\" } }\n\
         [issuer]\nurl = \"https://tokens.acme.internal\"",
    ),
    ("\"secret://vault/kv/data/crm#client_secret\"", "\"secret://sealed/crm\""),
    ("\"secret://vault/kv/data/payments/**\"", "\"secret://sealed/payments/**\""),
];

#[test]
fn the_design_loads_less_what_is_to_come() {
    let prepared = Prepared::new();
    let world = &prepared.0;
    for name in ["gw.pem", "gw.key"] {
        std::fs::copy(world.path().join(name.replace("gw", "gateway")), world.path().join(name)).unwrap();
    }
    world.seal("openai-research", &world.canary, &["api.openai.com"]);
    world.seal("crm", &world.canary, &["login.crm.test"]);
    world.write("conf.d/more.toml", "[schedule.night]\nfrom = \"22:00\"\nto = \"06:00\"\nzone = \"UTC\"\n");
    world.seal("payments/openai", &world.canary, &["api.openai.com"]);
    world.write(
        "teams/payments/app.toml",
        "[workload.app]\nspiffe = \"spiffe://acme.internal/payments/app\"\n\
         [credential.openai]\nkind = \"static\"\nvalue = \"secret://sealed/payments/openai\"\n\
         [allow.chat]\nwho = \"app\"\nto = \"openai\"\nops = \"@chat\"\n\
         [[test]]\nas = \"spiffe://acme.internal/payments/app\"\n\
         request = \"POST https://api.openai.com/v1/chat/completions\"\nexpect = \"allow chat\"\n",
    );
    let mut text = DESIGN.to_owned();
    for (theirs, ours) in NOT_YET {
        assert_eq!(text.matches(theirs).count(), 1, "{theirs}");
        text = text.replace(theirs, ours);
    }
    prepared.loads(&text);
}

/// What is not there yet is refused, never ignored, and says so at its place.
#[test]
fn what_is_to_come_is_refused() {
    let prepared = Prepared::new();
    let checked = prepared.check(DESIGN);
    assert_eq!(checked.code, 2);
    for (key, message) in [
        ("include", "`conf.d/*.toml` matches no file"),
        ("store.vault.auth.jwt.token", "there is no `[issuer]` that would mint the token"),
    ] {
        let found = checked.findings.iter().find(|one| one.key == key).unwrap_or_else(|| panic!("{key}: {checked:?}"));
        let line = DESIGN.lines().nth(usize::try_from(found.line).unwrap() - 1).unwrap();
        assert_eq!(found.message, message, "{line}");
        assert!(found.column > 0 && key.rsplit('.').any(|part| line.contains(part)), "{line}");
    }
}

/// One user, one key, one service.
#[test]
fn the_smallest_useful_configuration_loads() {
    let prepared = Prepared::new();
    prepared.loads(
        r#"version = 1
trust_domain = "home.internal"
[listener.local]
mode = "gateway"
bind = "unix:claviger.sock"
authenticate = "kernel"
[attestor.kernel]
kind = "unix-peer"
identity = "spiffe://home.internal/user/{user}"
[service.openai]
preset = "openai"
secret = "secret://env/OPENAI_KEY"
[allow.all]
who = "*"
to = "openai"
ops = "*"
"#,
    );
}

/// The README's first real success, by its own commands.
#[test]
fn the_readme_holds_what_it_says() {
    let readme = include_str!("../../../README.md");
    let (_, rest) = readme.split_once("   ```toml\n").unwrap();
    let (snippet, _) = rest.split_once("   ```").unwrap();
    let snippet: String =
        snippet.lines().map(|line| format!("{}\n", line.strip_prefix("   ").unwrap_or(line))).collect();
    let world = World::new();
    world.configure(&snippet);
    let said = |text: &str| {
        let line =
            readme.lines().map(str::trim).find(|line| line.starts_with(text)).unwrap_or_else(|| panic!("{text}"));
        let line = line.split('#').next().unwrap().trim();
        line.split_whitespace().skip(1).map(str::to_owned).collect::<Vec<_>>()
    };
    let run = |text: &str, input: &str| {
        let args = said(text);
        let output = world.run_with_input(&args.iter().map(String::as_str).collect::<Vec<_>>(), input);
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        (output.status.code().unwrap(), format!("{out}{err}"))
    };
    let (code, text) = run("claviger secret ", &world.canary);
    assert!(code == 0 && text.contains("for api.openai.com:443"), "{code} {text}");
    let (code, text) = run("claviger check ", "");
    let expected = "claviger.toml: ok, 1 listener, 1 service, 0 warnings\ncredential `openai`: proxy-held\n";
    assert_eq!((code, text.as_str()), (0, expected));
    let (code, text) = run("claviger explain --config claviger.toml --as", "");
    assert!(code == 1 && text.contains("nearest: allow `models-and-chat` (claviger.toml:"), "{code} {text}");
    let (code, text) = run("claviger ledger  --config claviger.toml verify", "");
    assert!(code == 1 && !text.contains("panicked"), "{code} {text}");
    let proxy = {
        let args = said("claviger run");
        assert_eq!(args, ["run", "--config", "claviger.toml"]);
        world.start()
    };
    assert!(proxy.address("local").ends_with("claviger.sock"));
}
