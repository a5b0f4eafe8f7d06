//! The environment as a whole.

use super::*;
use std::collections::HashMap;
use std::path::Path;

/// A session in a folder of its own, and a home folder beside it.
struct World {
    folder: tempfile::TempDir,
    endpoint: Endpoint,
}

fn certificate() -> String {
    let root = claviger_wire::InterceptionRoot::generate(&claviger_contract::SystemClock).unwrap();
    root.certificate_pem()
}

fn service(name: &str, hosts: &[&str], preset: &str) -> ClientService {
    let client = claviger_wire::preset::find(preset).map(|preset| preset.about().client).unwrap_or_default();
    ClientService { name: name.to_owned(), hosts: hosts.iter().map(|host| (*host).to_owned()).collect(), client }
}

impl World {
    fn new(services: Vec<ClientService>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("home")).unwrap();
        let endpoint = Endpoint {
            host: "127.0.0.1".to_owned(),
            port: 4321,
            proof: ("exec".to_owned(), "token".to_owned()),
            authority: certificate(),
            folder: folder.path().join("session"),
            services,
            gateway: None,
            pass: BTreeSet::new(),
            withheld: BTreeSet::new(),
        };
        Self { folder, endpoint }
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    /// What the child has, of what the caller had and what was made.
    fn child(&self, inherited: &[(&str, &str)]) -> HashMap<String, String> {
        let mut all: HashMap<String, String> =
            inherited.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        all.insert("HOME".to_owned(), self.folder.path().join("home").display().to_string());
        let made = make(&self.endpoint, &|name| all.get(name).map(Into::into)).unwrap();
        assert!(made.set.keys().all(|name| !made.remove.contains(name)), "set and removed at once");
        all.retain(|name, _| !made.remove.contains(name));
        all.extend(made.set.into_iter().map(|(name, value)| (name, value.into_string().unwrap())));
        all
    }
}

/// All files below a folder, as one text.
fn files(folder: &Path) -> String {
    let mut all = String::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => all.push_str(&files(&path)),
            false => all.push_str(&String::from_utf8_lossy(&std::fs::read(path).unwrap())),
        }
    }
    all
}

fn count(pem: &str) -> usize {
    pem.matches("BEGIN CERTIFICATE").count()
}

#[test]
fn a_variable_stands_once_in_the_table() {
    let mut seen = BTreeSet::new();
    for variable in FAMILIES.iter().flat_map(|family| family.variables) {
        assert!(seen.insert(variable.name), "`{}` stands twice", variable.name);
    }
}

#[test]
fn nothing_that_the_caller_had_leads_elsewhere() {
    let world = World::new(vec![service("api", &["*.api.test"], "")]);
    let elsewhere: Vec<(&str, &str)> = FAMILIES
        .iter()
        .flat_map(|family| family.variables)
        .map(|variable| (variable.name, "elsewhere.api.test"))
        .collect();
    let child = world.child(&elsewhere);
    for (name, _) in elsewhere {
        let value = child.get(name).map(String::as_str).unwrap_or_default();
        match name {
            // They go on with what was there, and ours comes last.
            "JAVA_TOOL_OPTIONS" | "JDK_JAVA_OPTIONS" | "_JAVA_OPTIONS" => {
                assert!(value.ends_with("[::1]\"") && value.contains("-Dhttps.proxyPort=4321"), "{name}: {value}");
            }
            "NODE_OPTIONS" => assert!(value.contains("bootstrap.cjs"), "{value}"),
            "PYTHONPATH" => assert!(value.ends_with("/python:elsewhere.api.test"), "{value}"),
            // Without a `.curlrc` there is nothing to chain.
            "CURL_HOME" => assert_eq!(value, "elsewhere.api.test"),
            _ => assert!(!value.contains("elsewhere"), "{name}: {value}"),
        }
    }
    for name in ["HTTPS_PROXY", "https_proxy", "http_proxy", "ALL_PROXY", "all_proxy", "npm_config_https_proxy"] {
        assert_eq!(child[name], "http://exec:token@127.0.0.1:4321");
    }
    assert_eq!(child["NO_PROXY"], "localhost,127.0.0.1,::1");
}

#[test]
fn secrets_that_presets_know_are_gone_unless_passed() {
    let mut world = World::new(vec![service("llm", &["api.openai.com"], "openai")]);
    world.endpoint.withheld.insert("SEALED_BY_NAME".to_owned());
    world.endpoint.pass.insert("STRIPE_API_KEY".to_owned());
    let all: Vec<_> = claviger_wire::preset::all().map(|preset| preset.about().client).collect();
    let mut names: Vec<&str> =
        all.iter().flat_map(|client| client.secrets.iter().chain(&client.withheld)).map(String::as_str).collect();
    names.extend(["SEALED_BY_NAME", "CLAVIGER_KEY", "STRIPE_API_KEY"]);
    let inherited: Vec<(&str, &str)> = names.iter().map(|name| (*name, "real-secret-value")).collect();
    let child = world.child(&inherited);
    let left: Vec<&String> =
        child.iter().filter(|(_, value)| value.contains("real-secret")).map(|(name, _)| name).collect();
    assert_eq!(left, ["STRIPE_API_KEY"]);
    let placeholder = claviger_wire::preset::find("openai").unwrap().about().client.placeholder.unwrap();
    assert_eq!(child["OPENAI_API_KEY"], placeholder);
    // Not of the session: nothing stands there.
    assert!(!child.contains_key("ANTHROPIC_API_KEY"));
    assert!(!files(&world.endpoint.folder).contains("real-secret"));
}

#[test]
fn users_and_passwords_go_out_of_urls() {
    let world = World::new(Vec::new());
    let cases = [
        ("PIP_INDEX_URL", "https://me:pass@pypi.corp/simple", Some("https://pypi.corp/simple")),
        ("PIP_EXTRA_INDEX_URL", "https://a.corp https://u:p@b.corp/x", Some("https://a.corp https://b.corp/x")),
        ("UV_INDEX_URL", "https://token@pypi.corp/a@b", Some("https://pypi.corp/a@b")),
        ("GOPROXY", "https://u:p@go.corp,direct", Some("https://go.corp,direct")),
        ("npm_config_registry", "https://npm.corp/@scope", Some("https://npm.corp/@scope")),
    ];
    for (name, value, expected) in cases {
        assert_eq!(world.child(&[(name, value)]).get(name).map(String::as_str), expected, "{name}");
    }
}

#[test]
fn configuration_files_go_on_without_secrets_and_proxies() {
    let mut github = service("registry", &["npm.corp"], "");
    github.client.secrets = vec!["NPM_TOKEN".to_owned()];
    github.client.placeholder = Some("npm_placeholder".to_owned());
    let world = World::new(vec![github]);
    world.write(
        "home/.wgetrc",
        "tries = 3\nhttp_password = SECRET\nUse-Proxy = off\nCACertificate = /SECRET\nheader = X: SECRET\n",
    );
    world.write("home/.npmrc", "color = false\n//npm.corp/:_authToken=SECRET\n_auth = SECRET\nhttps-proxy=http://SECRET\n//x.corp/:_password=SECRET\nca[]=SECRET\n@corp:registry=https://npm.corp/\n");
    world.write("home/.curlrc", "--compressed\n-x SECRET\n-xSECRET\nproxy = SECRET\nproxy-user=SECRET\nuser SECRET\n--header \"A: SECRET\"\nnoproxy: SECRET\nmax-time 9\n");
    let child = world.child(&[]);
    let read = |path: &str| std::fs::read_to_string(path).unwrap();
    let (wget, npm) = (read(&child["WGETRC"]), read(&child["npm_config_userconfig"]));
    let curl = read(&format!("{}/.curlrc", child["CURL_HOME"]));
    assert_eq!(curl, "--compressed\nmax-time 9\n");
    assert_eq!(npm, "color = false\n@corp:registry=https://npm.corp/\n//npm.corp/:_authToken=npm_placeholder\n");
    assert!(
        wget.starts_with("tries = 3\nca_certificate = ") && wget.contains("https_proxy = http://exec:token@"),
        "{wget}"
    );
    assert!(!files(&world.endpoint.folder).contains("SECRET"));
}

#[test]
fn git_goes_on_with_numbered_configuration() {
    let world = World::new(vec![service("git", &["git.test", "*.git.test"], "")]);
    for (had, first) in [(None, 0), (Some("2"), 2), (Some("nonsense"), 0)] {
        let inherited: Vec<(&str, &str)> = had.iter().map(|count| ("GIT_CONFIG_COUNT", *count)).collect();
        let child = world.child(&inherited);
        assert_eq!(child["GIT_CONFIG_COUNT"], (first + 2).to_string());
        assert_eq!(child[&format!("GIT_CONFIG_KEY_{first}")], "http.proxy");
        assert_eq!(child[&format!("GIT_CONFIG_KEY_{}", first + 1)], "http.https://git.test.proxy");
        assert_eq!(child[&format!("GIT_CONFIG_VALUE_{first}")], "http://exec:token@127.0.0.1:4321");
    }
}

#[test]
fn a_companys_root_goes_on_working() {
    let world = World::new(Vec::new());
    let (company, nonsense) = (certificate(), "no certificate");
    let read = |child: &HashMap<String, String>, name: &str| std::fs::read_to_string(&child[name]).unwrap();
    let none = world.child(&[]);
    let usual = count(&read(&none, "SSL_CERT_FILE"));
    assert!(usual > 50, "{usual}");
    assert_eq!(count(&read(&none, "NODE_EXTRA_CA_CERTS")), 1);
    let first = |text: String| text.split_inclusive("-----END CERTIFICATE-----").next().unwrap().replace('\n', "");
    assert_eq!(first(read(&none, "SSL_CERT_FILE")), first(world.endpoint.authority.clone()));
    for (name, text, replacing, adding) in [
        ("SSL_CERT_FILE", company.as_str(), 1, 0),
        ("REQUESTS_CA_BUNDLE", &company, 1, 0),
        ("NODE_EXTRA_CA_CERTS", &company, 1, 1),
        ("SSL_CERT_FILE", nonsense, 0, 0),
    ] {
        let file = world.write("company.pem", text);
        let child = world.child(&[(name, &file)]);
        assert_eq!(count(&read(&child, "REQUESTS_CA_BUNDLE")), usual + replacing, "{name}");
        assert_eq!(count(&read(&child, "NODE_EXTRA_CA_CERTS")), 1 + adding, "{name}");
    }
    assert!(!world.child(&[("SSL_CERT_DIR", "/etc/ssl/certs")]).contains_key("SSL_CERT_DIR"));
}

#[test]
fn base_urls_lead_to_the_sessions_services() {
    let cases = [
        // The client knows the host by itself.
        (&["api.openai.com"][..], None, None),
        (&["llm.corp"], None, Some("https://llm.corp/v1")),
        (&["localhost:8080"], None, Some("http://127.0.0.1:4322/token/llm/v1")),
        (&["localhost.corp"], None, Some("https://localhost.corp/v1")),
        (&["llm.corp:8443"], None, Some("https://llm.corp:8443/v1")),
        // The user's own stays if it leads to the service, and goes if it leads past it.
        (&["llm.corp"], Some("https://llm.corp/proxy/v1"), Some("https://llm.corp/proxy/v1")),
        (&["llm.corp"], Some("https://other.corp/v1"), Some("https://llm.corp/v1")),
        (&["api.openai.com"], Some("https://other.corp/v1"), None),
        (&["*.llm.corp"], Some("https://other.corp/v1"), None),
    ];
    for (hosts, had, expected) in cases {
        let mut world = World::new(vec![service("llm", hosts, "openai")]);
        world.endpoint.gateway = Some("http://127.0.0.1:4322/token".to_owned());
        let inherited: Vec<(&str, &str)> = had.iter().map(|url| ("OPENAI_BASE_URL", *url)).collect();
        let child = world.child(&inherited);
        assert_eq!(child.get("OPENAI_BASE_URL").map(String::as_str), expected, "{hosts:?} {had:?}");
    }
}

#[test]
fn files_are_the_users_alone() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::new(Vec::new());
    world.child(&[]);
    for name in [
        "bundle.pem",
        "authority.pem",
        "wgetrc",
        "npmrc",
        "truststore.jks",
        "node/bootstrap.cjs",
        "python/sitecustomize.py",
    ] {
        let mode = std::fs::metadata(world.endpoint.folder.join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}
