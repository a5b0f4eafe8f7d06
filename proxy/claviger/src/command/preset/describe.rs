//! What a preset says, in sentences.
#![allow(clippy::indexing_slicing, reason = "what is not in a JSON value is `Null`: it does not panic")]

use serde_json::Value;

/// A text, or the texts of a list.
pub(super) fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::String(text) => vec![text],
        Value::Array(items) => items.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

/// Where the credential goes: a sentence for each injection.
pub(super) fn injections(preset: &Value) -> Vec<String> {
    match &preset["inject"] {
        Value::Array(items) => items.iter().map(injection).collect(),
        Value::Null => Vec::new(),
        one => vec![injection(one)],
    }
}

fn injection(item: &Value) -> String {
    let text = |key: &str| item[key].as_str();
    let value = match text("from") {
        Some(field) => format!("VALUE of field `{field}`"),
        None => "VALUE".to_owned(),
    };
    let place = if item.as_str() == Some("bearer") || item["bearer"] == true {
        format!("`Authorization: Bearer {value}`")
    } else if item["basic"] == true {
        "`Authorization: Basic USER:VALUE`, with the user name that the client says".to_owned()
    } else if let Some(other) = text("basic") {
        match text("as") {
            Some("username") => format!("`Authorization: Basic {value}:{other}`"),
            _ => format!("`Authorization: Basic {other}:{value}`"),
        }
    } else if let Some(header) = text("header") {
        format!("`{header}: {}{value}`", text("prefix").unwrap_or_default())
    } else if let Some(name) = text("query") {
        format!("`?{name}={value}`")
    } else if let Some(name) = text("cookie") {
        format!("the cookie `{name}={value}`")
    } else if let Some(path) = text("path") {
        format!("the path `{}`, where the client writes `{}`", path.replace("{credential}", "VALUE"), placeholder(item))
    } else if let Some(header) = text("keep") {
        format!("nothing, and `{header}` stays as the client sent it")
    } else {
        format!("in place of `{}` in {}", placeholder(item), texts(&item["in"]).join(", "))
    };
    match texts(&item["hosts"]).as_slice() {
        [] => place,
        hosts => format!("{place}, at {}", hosts.join(", ")),
    }
}

fn placeholder(item: &Value) -> &str {
    item["placeholder"].as_str().unwrap_or("CLAVIGER")
}

/// The call that shows whether a credential works.
pub(super) fn check(preset: &Value) -> Option<&str> {
    preset["check"].as_str().or_else(|| preset["check"]["call"].as_str())
}

/// What is answered to clients that log in themselves.
pub(super) fn login(preset: &Value) -> Option<&'static str> {
    (!preset["login"].is_null()).then_some("answered by Claviger, with a handle in place of a token")
}

/// What clients are told, a sentence for each kind.
pub(super) fn client(preset: &Value) -> Vec<String> {
    let client = &preset["client"];
    let names = |key: &str| texts(&client[key]).iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let pairs = |key: &str| {
        let entries = client[key].as_object().into_iter().flatten();
        entries.map(|(name, value)| (name.as_str(), value.as_str().unwrap_or_default())).collect::<Vec<_>>()
    };
    let mut all = Vec::new();
    if !texts(&client["secrets"]).is_empty() {
        all.push(match client["placeholder"].as_str() {
            Some(placeholder) => format!("{} get the placeholder `{placeholder}`", names("secrets")),
            None => format!("{} are taken away", names("secrets")),
        });
    }
    if !texts(&client["withheld"]).is_empty() {
        all.push(format!("{} are taken away", names("withheld")));
    }
    for (name, path) in pairs("base_urls") {
        all.push(match path {
            "" => format!("`{name}` may hold the base URL"),
            path => format!("`{name}` may hold the base URL, with `{path}`"),
        });
    }
    all.extend(pairs("variables").into_iter().map(|(name, value)| format!("`{name}={value}` is set")));
    if !texts(&client["packages"]).is_empty() {
        all.push(format!("known by the packages {}", names("packages")));
    }
    if !texts(&client["prefixes"]).is_empty() {
        all.push(format!("a value begins with {}", names("prefixes")));
    }
    all
}
