//! The JSON Schema: all that loads is valid, what it can catch is not, and it knows the keys that the binary knows.

use std::collections::{BTreeMap, BTreeSet};

use claviger_tests::World;
use serde_json::Value;
use toml::de::{DeTable, DeValue};

use crate::keys::insertions;
use crate::prepared::Prepared;

const EXAMPLE: &str = include_str!("../../../config.example.toml");
const BASE: &str = include_str!("../config/base.toml");

fn schema(args: &[&str]) -> Value {
    let output = World::new().run(&[&["schema"], args].concat());
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// As editors see it: dates are texts.
fn json(text: &str) -> Option<Value> {
    fn value(item: &DeValue<'_>) -> Value {
        match item {
            DeValue::String(text) => Value::String(text.to_string()),
            DeValue::Integer(number) => {
                i64::from_str_radix(number.as_str(), number.radix()).map_or(Value::Null, Value::from)
            }
            DeValue::Float(number) => number.as_str().parse::<f64>().map_or(Value::Null, Value::from),
            DeValue::Boolean(yes) => Value::Bool(*yes),
            DeValue::Datetime(moment) => Value::String(moment.to_string()),
            DeValue::Array(items) => items.iter().map(|item| value(item.get_ref())).collect(),
            DeValue::Table(items) => table(items),
        }
    }
    fn table(items: &DeTable<'_>) -> Value {
        Value::Object(items.iter().map(|(name, item)| (name.get_ref().to_string(), value(item.get_ref()))).collect())
    }
    DeTable::parse(text).ok().map(|root| table(root.get_ref()))
}

fn validator(schema: &Value) -> jsonschema::Validator {
    jsonschema::draft202012::meta::validate(schema).unwrap();
    jsonschema::draft202012::new(schema).unwrap()
}

#[test]
fn what_loads_is_valid() {
    let validator = validator(&schema(&[]));
    let prepared = Prepared::new();
    let usual = World::new().usual(1, "");
    for (name, text) in [("the example", EXAMPLE), ("the base", BASE), ("the usual", &usual)] {
        let instance = json(text).unwrap();
        let errors: Vec<String> =
            validator.iter_errors(&instance).map(|error| format!("{}: {error}", error.instance_path())).collect();
        assert!(errors.is_empty(), "{name}: {errors:#?}");
    }
    // Near misses of the example: each is refused by both.
    for (right, wrong) in [
        ("mode            = \"forward\"", "mode            = \"forwards\""),
        ("connections_max = 10000", "connections_max = 0"),
        ("socket_mode  = \"0600\"", "socket_mode  = \"0888\""),
        ("kind   = \"x509-svid\"", "kind   = \"x509\""),
        ("inject = [\"bearer\"]", "inject = [\"bearers\"]"),
        ("inject = { query = \"key\" }", "inject = { querie = \"key\" }"),
        ("keep        = 16", "keep        = \"16\""),
        ("trust_domain = \"acme.internal\"", ""),
        ("[ledger]", "[leger]"),
        ("[schedule.business-hours]", "[schedule.\"business hours\"]"),
    ] {
        assert!(EXAMPLE.contains(right), "{right}");
        let text = EXAMPLE.replacen(right, wrong, 1);
        assert!(!validator.is_valid(&json(&text).unwrap()), "{wrong}");
        assert_eq!(prepared.check(&text).code, 2, "{wrong}");
    }
}

/// The wrong configurations of tests/e2e/config/wrong, and those that they become once the advice is taken.
#[test]
fn what_a_schema_can_catch_is_caught() {
    let validator = validator(&schema(&[]));
    let (mut cases, mut caught) = (0_usize, 0_usize);
    for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/e2e/config/wrong")).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        for case in text.trim_end().split("\n\n") {
            let part = |sign: &str| -> String {
                let lines = case.lines().filter_map(|line| line.strip_prefix(sign));
                lines.map(|line| format!("{}\n", line.strip_prefix(' ').unwrap_or(line))).collect()
            };
            let said = part("!");
            let wrong = BASE.replacen(&part("-"), &part("+").replace('»', ""), 1);
            // What is not TOML is for the editor itself to say.
            let Some(instance) = json(&wrong) else { continue };
            let is_valid = validator.is_valid(&instance);
            if said.is_empty() {
                assert!(is_valid, "a warning is no error:\n{case}");
            } else {
                cases += 1;
                caught += usize::from(!is_valid);
                // Which keys go with a token that is not signed here, `from` says.
                let is_plain = is_plain(&said) && !part("+").contains("from = \"");
                assert!(!is_valid || !is_plain, "not caught:\n{case}");
            }
            if case.contains("\n=") {
                let fixed = BASE.replacen(&part("-"), &part("="), 1);
                let instance = json(&fixed).unwrap();
                let errors: Vec<String> = validator
                    .iter_errors(&instance)
                    .map(|error| format!("{}: {error}", error.instance_path()))
                    .collect();
                assert!(errors.is_empty(), "{errors:#?}\n{case}");
            }
        }
    }
    // The others need to know more than one key: a name that is not defined, a file that is not there.
    assert!(caught >= 100 && cases > 150, "{caught} of {cases}");
}

/// Whether an error is about one key only, so that no knowledge of others is needed.
fn is_plain(said: &str) -> bool {
    [": unknown key\n", "expected a string, ", "expected an integer", "expected `true`", "is not a value of this key"]
        .iter()
        .any(|words| said.contains(words))
}

/// One source for the keys: what the binary says it knows in each table is what the schema has.
#[test]
fn the_schema_knows_the_keys_that_the_binary_knows() {
    let prepared = Prepared::new();
    let schema = schema(&[]);
    let mut known: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for insertion in insertions(EXAMPLE) {
        let checked = prepared.check(&insertion.put_into(EXAMPLE));
        let unknown = checked.findings.iter().find(|one| one.key.ends_with("zzzz") && one.message == "unknown key");
        let Some(finding) = unknown else { continue };
        let keys = finding.help.strip_prefix("known here: ").unwrap_or_else(|| panic!("{finding:?}"));
        let class = match (insertion.class.as_str(), finding.key.split('.').next()) {
            (class, Some(rule)) if class.split('.').next() == Some("rule") => class.replacen("rule", rule, 1),
            ("", _) => "root".to_owned(),
            (class, _) => class.to_owned(),
        };
        known.entry(class).or_default().extend(keys.split(", ").map(str::to_owned));
    }
    assert!(known.len() >= 30, "{:?}", known.keys());
    let mut differences = Vec::new();
    for (class, keys) in &known {
        let Some(schema) = properties(&schema, class) else {
            differences.push(format!("[{class}] is not in the schema"));
            continue;
        };
        differences.extend(keys.difference(&schema).map(|key| format!("[{class}] {key}: not in the schema")));
        differences.extend(schema.difference(keys).map(|key| format!("[{class}] {key}: not in the binary")));
    }
    assert!(
        differences.is_empty(),
        "put them into proxy/claviger/src/config/keys.toml, and what they mean into the comments of the example:\n{}",
        differences.join("\n")
    );
}

/// The keys of a kind of table in the schema.
fn properties(schema: &Value, class: &str) -> Option<BTreeSet<String>> {
    Some(table(schema, class)?["properties"].as_object()?.keys().cloned().collect())
}

fn table<'a>(schema: &'a Value, class: &str) -> Option<&'a Value> {
    let direct = match class {
        "root" => Some(schema),
        class => schema["$defs"].get(class).or_else(|| schema["properties"].get(class)),
    };
    // An inline table stands in the schema of the table around it, perhaps beside a plain value.
    let inline = || {
        let (around, key) = class.rsplit_once('.')?;
        let property = table(schema, around)?["properties"].get(key)?;
        let either = property["anyOf"].as_array().into_iter().flatten();
        either.chain([property]).find(|one| one.get("properties").is_some())
    };
    direct.or_else(inline)
}

#[test]
fn every_key_has_its_words() {
    let schema = schema(&[]);
    let mut tables = vec![("root", &schema)];
    tables.extend(schema["$defs"].as_object().unwrap().iter().map(|(name, table)| (name.as_str(), table)));
    let mut count = 0;
    for (name, table) in tables {
        for (key, property) in table["properties"].as_object().into_iter().flatten() {
            count += 1;
            let words = property["description"].as_str().unwrap_or_default();
            assert!(words.len() > 4, "[{name}] {key}: {property}");
            assert!(!words.starts_with('#') && !words.contains('─'), "[{name}] {key}: {words}");
        }
    }
    assert!(count > 150, "{count}");
    assert_eq!(schema["$defs"]["service"]["properties"]["http2"]["default"], true);
    assert_eq!(schema["properties"]["limits"]["properties"]["headers_max"]["maximum"], 1024);
    let mode = &schema["$defs"]["listener"]["properties"]["mode"];
    assert_eq!(mode["enum"], serde_json::json!(["gateway", "forward"]));
    assert!(mode["description"].as_str().unwrap().contains("HTTPS_PROXY"));
}

/// A file that is included, or a team's, needs not say what the main file says, and must not.
#[test]
fn other_files_have_schemas_of_their_own() {
    let text = "[service.x]\nhosts = [\"x.test\"]\n";
    for (args, text, is_valid) in [
        (&[][..], text, false),
        (&["--for", "included"], text, true),
        (&["--for", "team"], text, false),
        (&["--for", "team"], "[workload.x]\nspiffe = \"spiffe://a.test/x\"\n", true),
        (&["--for", "included"], "trust_domain = \"a.test\"\n", false),
        (&["--for", "included"], "version = 1\n[service.x]\nhost = \"x.test\"\n", false),
    ] {
        assert_eq!(validator(&schema(args)).is_valid(&json(text).unwrap()), is_valid, "{args:?} {text}");
    }
}
