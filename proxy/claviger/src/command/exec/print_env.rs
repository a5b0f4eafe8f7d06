//! `--print-env`: the environment of a session, for shells and CI systems.

use std::fmt::Write as _;

use clap::ValueEnum;

use crate::environment::Environment;

/// In whose words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For `eval "$(…)"`
    #[default]
    Sh,
    /// For `… >> "$GITHUB_ENV"`; the token is masked by a command on stderr
    Github,
    /// For a dotenv report
    Gitlab,
    /// For programs
    Json,
}

/// A runner of GitHub refuses these in `$GITHUB_ENV`.
const NOT_AT_GITHUB: [&str; 1] = ["NODE_OPTIONS"];

/// What goes to stdout, and what to stderr.
pub(super) fn text(format: Format, made: &Environment, token: &str) -> (String, String) {
    let (mut out, mut err) = (String::new(), String::new());
    let set = made.set.iter().map(|(name, value)| (name.as_str(), value.to_string_lossy()));
    match format {
        Format::Sh => {
            for name in &made.remove {
                let _ = writeln!(out, "unset {name}");
            }
            for (name, value) in set {
                let _ = writeln!(out, "export {name}={}", quoted(&value));
            }
        }
        Format::Github => {
            let _ = writeln!(err, "::add-mask::{token}");
            // There is no way to remove a variable; an empty one says no secret either.
            for name in &made.remove {
                let _ = writeln!(out, "{name}=");
            }
            for (name, value) in set {
                if NOT_AT_GITHUB.contains(&name) {
                    let _ = writeln!(
                        err,
                        "claviger: `{name}` cannot be set for later steps: write `env: {{ {name}: … }}` there"
                    );
                } else if value.contains('\n') {
                    // The delimiter must not stand in the value, and nobody can guess this one.
                    let _ = writeln!(out, "{name}<<{token}\n{value}\n{token}");
                } else {
                    let _ = writeln!(out, "{name}={value}");
                }
            }
        }
        Format::Gitlab => {
            for name in &made.remove {
                let _ = writeln!(out, "{name}=");
            }
            for (name, value) in set {
                if value.contains('\n') {
                    let _ = writeln!(err, "claviger: `{name}` has several lines, which a dotenv report cannot hold");
                } else {
                    let _ = writeln!(out, "{name}={value}");
                }
            }
        }
        Format::Json => {
            let set: serde_json::Map<String, serde_json::Value> =
                set.map(|(name, value)| (name.to_owned(), value.into_owned().into())).collect();
            let _ = writeln!(out, "{}", serde_json::json!({ "set": set, "remove": made.remove }));
        }
    }
    (out, err)
}

/// One word of a POSIX shell.
fn quoted(value: &str) -> String {
    format!("'{}'", value.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reader_gets_its_own_words() {
        let mut made = Environment::default();
        made.set.insert("A".to_owned(), "it's $HOME".into());
        made.set.insert("NODE_OPTIONS".to_owned(), "--import x".into());
        made.remove.insert("KEY".to_owned());
        for (format, out, err) in [
            (Format::Sh, "unset KEY\nexport A='it'\\''s $HOME'\nexport NODE_OPTIONS='--import x'\n", ""),
            (
                Format::Github,
                "KEY=\nA=it's $HOME\n",
                "::add-mask::t0\nclaviger: `NODE_OPTIONS` cannot be set for later steps: write `env: { NODE_OPTIONS: … }` there\n",
            ),
            (Format::Gitlab, "KEY=\nA=it's $HOME\nNODE_OPTIONS=--import x\n", ""),
            (
                Format::Json,
                "{\"remove\":[\"KEY\"],\"set\":{\"A\":\"it's $HOME\",\"NODE_OPTIONS\":\"--import x\"}}\n",
                "",
            ),
        ] {
            assert_eq!(text(format, &made, "t0"), (out.to_owned(), err.to_owned()), "{format:?}");
        }
    }
}
