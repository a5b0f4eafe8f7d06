//! Users of a PostgreSQL that OpenBao makes: they serve, are renewed, replaced before they end, and revoked.

use std::collections::BTreeSet;

use base64::Engine;
use claviger_tests::peers::Postgres;
use claviger_tests::{Proxy, until};
use serde_json::json;

use crate::scene::{Scene, get, text};

/// What of an answer becomes the credential.
const CREDENTIAL: &str = "[credential.app]\nkind = \"vault\"\nstore = \"vault\"\npath = \"database/creds/app\"\n\
                          fields = \"password\"\nhosts = [\"api.test\"]\n";

struct Database {
    scene: Scene,
    postgres: Postgres,
    auth: String,
}

impl Database {
    /// With the role `app`: its users last `ttl` and may be prolonged to `max`.
    async fn new(ttl: &str, max: &str) -> Self {
        let (scene, postgres) = (Scene::new().await, Postgres::start().await);
        let auth = scene.approle("1h").await;
        let bao = &scene.bao;
        bao.write("sys/mounts/database", &json!({ "type": "database" })).await;
        let url =
            format!("postgresql://{{{{username}}}}:{{{{password}}}}@{}/postgres?sslmode=disable", postgres.address());
        let config = json!({
            "plugin_name": "postgresql-database-plugin", "allowed_roles": "app", "connection_url": url,
            "username": "postgres", "password": postgres.password(),
        });
        bao.write("database/config/pg", &config).await;
        let creation = "CREATE ROLE \"{{name}}\" WITH LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}';";
        let role = json!({ "db_name": "pg", "creation_statements": creation, "default_ttl": ttl, "max_ttl": max });
        bao.write("database/roles/app", &role).await;
        Self { scene, postgres, auth }
    }

    fn start(&self) -> Proxy {
        // The user name stands in a field of its own, and the password where basic authentication has it.
        let credential = CREDENTIAL.replace("\"password\"", "{ user = \"username\", password = \"password\" }");
        let inject = "[{ header = \"x-user\", from = \"user\" }, { bearer = true, from = \"password\" }]";
        self.scene.configure(inject, &format!("{}\n{credential}", self.scene.store(&self.auth, "")));
        self.scene.world.start()
    }

    async fn passes(&self, proxy: &Proxy) -> bool {
        get(&self.scene.world, proxy, "app").await.0 == 200
    }

    /// User and password that the upstream was sent last.
    fn last(&self) -> (String, String) {
        let seen = self.scene.origin.seen();
        let user = seen.last().and_then(|seen| seen.header("x-user")).unwrap().to_owned();
        (user, self.scene.last_token())
    }

    /// The users that there are.
    fn users(&self) -> Vec<String> {
        let found = self.postgres.administer("SELECT rolname FROM pg_roles WHERE rolname LIKE 'v-%'");
        found.lines().map(str::to_owned).collect()
    }

    fn logs_in(&self, (user, password): &(String, String)) -> bool {
        self.postgres.query(user, password, "SELECT 1").is_ok()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_is_made_once_and_revoked_when_its_credential_is_suspended() {
    let database = Database::new("1h", "2h").await;
    let proxy = database.start();
    assert!(database.users().is_empty(), "{:?}", database.users());
    for _ in 0..3 {
        assert!(database.passes(&proxy).await);
    }
    let made = database.last();
    assert_eq!(database.users(), std::slice::from_ref(&made.0));
    assert!(database.logs_in(&made));
    let suspended = database.scene.world.run(&["suspend", "credential", "app", "--config", "claviger.toml"]);
    assert!(suspended.status.success(), "{}", String::from_utf8_lossy(&suspended.stderr));
    until("the user is gone", async || database.users().is_empty()).await;
    assert!(!database.logs_in(&made));
    assert!(!database.passes(&proxy).await);
    let resumed = database.scene.world.run(&["resume", "credential", "app", "--config", "claviger.toml"]);
    assert!(resumed.status.success(), "{}", String::from_utf8_lossy(&resumed.stderr));
    until("there is another user", async || database.passes(&proxy).await).await;
    assert_ne!(database.last(), made);
    for secret in [&made.1, &base64::engine::general_purpose::STANDARD.encode(&made.1)] {
        assert!(!proxy.output().contains(secret.as_str()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_goes_with_its_rule_and_with_the_process() {
    let database = Database::new("1h", "2h").await;
    let proxy = database.start();
    assert!(database.passes(&proxy).await);
    assert_eq!(database.users().len(), 1);
    let text = std::fs::read_to_string(database.scene.world.path().join("claviger.toml")).unwrap();
    database.scene.world.configure(&text.replace("use = \"app\"", "use = \"none\""));
    until("the user goes with its rule", async || database.users().is_empty()).await;
    database.scene.world.configure(&text);
    until("there is a user again", async || database.passes(&proxy).await && database.users().len() == 1).await;
    assert!(proxy.stop().success());
    assert!(database.users().is_empty(), "{:?}", database.users());
}

/// A user lasts ten seconds and fifteen at most: it is renewed once, and then replaced, while requests go on.
#[tokio::test(flavor = "multi_thread")]
async fn users_really_end_and_no_request_notices() {
    let database = Database::new("10s", "15s").await;
    let proxy = database.start();
    let mut users = BTreeSet::new();
    until("a second user", async || {
        assert!(database.passes(&proxy).await);
        users.insert(database.last());
        users.len() == 2
    })
    .await;
    let now = database.last();
    let former = users.iter().find(|user| **user != now).unwrap();
    until("the former user is gone", async || !database.users().contains(&former.0)).await;
    assert!(!database.logs_in(former));
    // Prolonged before it was replaced: its lease was the server's to prolong.
    let records = proxy.records("credential", 3);
    let kinds: Vec<&str> = records.iter().map(|record| text(&record["kind"])).collect();
    assert_eq!(kinds[..3], ["minted", "renewed", "refreshed"], "{records:#?}");
}

/// Nobody takes back what a killed process had: it ends by itself.
#[tokio::test(flavor = "multi_thread")]
async fn the_user_of_a_killed_process_ends() {
    let database = Database::new("6s", "6s").await;
    let proxy = database.start();
    assert!(database.passes(&proxy).await);
    let made = database.last();
    assert!(database.logs_in(&made));
    proxy.signal(rustix::process::Signal::KILL);
    assert!(!proxy.stop().success());
    until("the user ends", async || database.users().is_empty()).await;
    assert!(!database.logs_in(&made));
}
