//! A folder that holds every file which a configuration of these tests names.

use std::process::Output;

use claviger_tests::World;
use serde_json::Value;

/// Variables that `env` stores read.
const VARIABLES: &[&str] = &[
    "OPENAI_KEY",
    "BILLING_KEY",
    "METRICS_API_KEY",
    "METRICS_APP_KEY",
    "CRM_SECRET",
    "KEY",
    "PAYMENTS_KEY",
    "VAULT_SECRET_ID",
    "VAULT_TOKEN",
];

/// A client that knows no proxy.
pub(crate) fn client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().timeout(claviger_tests::PATIENCE).build().unwrap()
}

/// A [`World`] with certificates, bundles and key sets.
pub(crate) struct Prepared(pub(crate) World);

/// One finding of `claviger check -o json`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) severity: String,
    pub(crate) file: String,
    pub(crate) line: u64,
    pub(crate) column: u64,
    pub(crate) key: String,
    pub(crate) message: String,
    pub(crate) help: String,
}

/// How a check ended.
#[derive(Debug)]
pub(crate) struct Checked {
    pub(crate) code: i32,
    pub(crate) findings: Vec<Finding>,
}

impl Prepared {
    pub(crate) fn new() -> Self {
        let world = World::new();
        let leaf = world.ca.issue(&["gateway.test"]);
        let other = world.ca.issue(&["other.test"]);
        for (name, file) in [
            ("gateway.pem", &leaf.cert),
            ("gateway.key", &leaf.key),
            ("other.key", &other.key),
            ("client.pem", &leaf.cert),
            ("client.key", &leaf.key),
        ] {
            world.write(name, std::fs::read(file).unwrap());
            // A key that anybody may read is a finding.
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
            std::fs::set_permissions(world.path().join(name), mode).unwrap();
        }
        world.write("bundle.pem", world.ca.pem());
        world.write("internal-ca.pem", world.ca.pem());
        world.write("bundle.json", world.issuer.jwks().replace("\"sig\"", "\"jwt-svid\""));
        world.write("empty", "");
        world.write("teams/pay.toml", "[workload.payer]\nspiffe = \"spiffe://acme.test/pay/payer\"\n");
        world.write("include.d/office.toml", "[schedule.weekend]\ndays = [\"sat\", \"sun\"]\nzone = \"UTC\"\n");
        world.write(
            "teams/payments/app.toml",
            "[workload.app]\nspiffe = \"spiffe://acme.internal/teams/payments/app\"\n",
        );
        let own = serde_json::json!({ "iss": "https://cluster.acme.internal" });
        world.seal("calendar", "what-was-granted-to-claviger", &["login.calendar.example"]);
        world.write("own.jwt", world.issuer.token_with("app", own));
        Self(world)
    }

    /// The binary with all variables set.
    pub(crate) fn command(&self, args: &[&str]) -> std::process::Command {
        let mut command = self.0.command(args);
        command.envs(VARIABLES.iter().map(|name| (*name, &self.0.canary)));
        command
    }

    /// Runs it to its end.
    pub(crate) fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Writes `claviger.toml` and checks it.
    pub(crate) fn check(&self, text: &str) -> Checked {
        self.0.configure(text);
        let output = self.run(&["check", "--config", "claviger.toml", "-o", "json"]);
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(!err.contains("panicked"), "{err}\n--- for\n{text}");
        assert!(!out.contains(&self.0.canary) && !err.contains(&self.0.canary), "a secret is shown for\n{text}");
        let code = output.status.code().unwrap_or_else(|| panic!("{:?} for\n{text}", output.status));
        let findings: Vec<Value> =
            serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}{err}\n--- for\n{text}"));
        // What is told of credentials is no finding.
        let findings = findings.iter().filter(|one| one["severity"] != "note");
        Checked { code, findings: findings.map(Finding::new).collect() }
    }

    /// Writes `claviger.toml`, which loads without a finding.
    pub(crate) fn loads(&self, text: &str) {
        let checked = self.check(text);
        assert_eq!((checked.code, checked.findings.as_slice()), (0, &[][..]), "{text}");
    }
}

impl Finding {
    fn new(json: &Value) -> Self {
        let text = |name: &str| json[name].as_str().unwrap_or_default().to_owned();
        let number = |name: &str| json[name].as_u64().unwrap_or_default();
        Self {
            severity: text("severity"),
            file: text("file"),
            line: number("line"),
            column: number("column"),
            key: text("key"),
            message: text("message"),
            help: text("help"),
        }
    }
}
