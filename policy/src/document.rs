//! A configuration text as a tree that knows where everything stands.
//!
//! Each part of Claviger takes *its* keys from one tree; what nobody took is the unknown-key error.
//! (serde's `flatten` would swallow unknown keys and lose their places.) All errors of a file are
//! collected in [`Diagnostics`], so that a user sees them together.
//!
//! Pure: the text is given, nothing is read here.

mod diagnostic;
mod duplicate;
mod item;
mod merge;
mod parse;
mod source;
mod table;
mod units;

pub use diagnostic::{Diagnostic, Diagnostics, Severity, nearest};
pub use item::{Item, Value};
pub use merge::Merge;
pub use parse::parse;
pub use source::{Located, Location, SourceFile};
pub use table::Table;
pub use units::{parse_duration, parse_size};

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn read(text: &str) -> (Option<Table>, Diagnostics) {
        let mut out = Diagnostics::default();
        let table = parse(&SourceFile::new("claviger.toml", text), &mut out);
        (table, out)
    }

    #[test]
    fn syntax_errors_have_a_place() {
        let (table, out) = read("version = 1\nname = \n");
        assert!(table.is_none());
        assert!(out.iter().next().unwrap().to_string().starts_with("claviger.toml:2:8: error: "), "{out:?}");
    }

    #[test]
    fn a_duplicate_key_is_an_error_at_the_second() {
        let (_, out) = read("[a]\nx = 1\n[a]\ny = 2\n");
        assert!(out.iter().next().unwrap().to_string().starts_with("claviger.toml:3:"), "{out:?}");
    }

    #[test]
    fn what_nobody_took_is_unknown_and_near_misses_are_named() {
        let (table, mut out) = read("[service.x]\nhots = [\"a\"]\n");
        let mut root = table.unwrap();
        let (_, mut service) = root.named_tables("service", &mut out).pop().unwrap();
        assert!(service.strings("hosts", &mut out).is_none());
        service.finish(&mut out);
        root.finish(&mut out);
        let found: Vec<String> = out.iter().map(ToString::to_string).collect();
        assert_eq!(found, ["claviger.toml:2:1: error: `service.x.hots`: unknown key\n  help: did you mean `hosts`?"]);
    }

    #[test]
    fn wrong_types_say_what_was_found() {
        let (table, mut out) = read("a = 1\nb = \"x\"\nc = \"10 parsecs\"\n");
        let mut root = table.unwrap();
        assert!(root.string("a", &mut out).is_none());
        assert!(root.boolean("b", &mut out).is_none());
        assert!(root.duration("c", &mut out).is_none());
        assert_eq!(out.iter().count(), 3);
        assert!(out.iter().next().unwrap().message.contains("expected a string, found an integer"));
    }

    #[test]
    fn duplicates_cite_both_places() {
        for (text, expected) in [
            (
                "[a.b]\nx = 1\n[c]\n[a.b]\n",
                "claviger.toml:4:4: error: `a.b`: this is defined already, at claviger.toml:1:4",
            ),
            (
                "x = 1\n[a]\nx = 1\ny = 2\n x = 3\n",
                "claviger.toml:5:2: error: `a.x`: this is defined already, at claviger.toml:3:1",
            ),
            ("x = 1\nx = 3\n", "claviger.toml:2:1: error: `x`: this is defined already, at claviger.toml:1:1"),
            // Written in other forms, or in one line: only where the second stands.
            ("a = { x = 1, x = 2 }\n", "claviger.toml:1:14: error: duplicate key"),
            ("[a]\nb = 1\n[a.b]\n", "claviger.toml:3:4: error: duplicate key"),
        ] {
            let (table, out) = read(text);
            assert!(table.is_none(), "{text}");
            let found: Vec<String> = out.iter().map(|one| one.to_string().lines().next().unwrap().to_owned()).collect();
            assert_eq!(found, [expected], "{text}");
        }
    }

    #[test]
    fn columns_count_characters() {
        let (table, mut out) = read("\"ключ\" = { x = 1 }\n");
        table.unwrap().finish(&mut out);
        assert_eq!(out.iter().next().unwrap().location.as_ref().unwrap().column(), 1);
    }
}
