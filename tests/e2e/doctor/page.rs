//! `docs/doctor.md` has every check, and no other.

use std::collections::BTreeSet;

const PAGE: &str = include_str!("../../../docs/doctor.md");
const SOURCE: &str = include_str!("../../../proxy/claviger/src/command/doctor/check.rs");

#[test]
fn every_check_has_its_row() {
    let (_, rows) = SOURCE.split_once("fn row(self)").unwrap();
    let (rows, _) = rows.split_once("\n    }\n").unwrap();
    let ids: BTreeSet<&str> = rows.split("(\"").skip(1).map(|row| row.split('"').next().unwrap()).collect();
    assert!(ids.len() > 40, "{ids:?}");
    let (_, checks) = PAGE.split_once("\n## Checks\n").unwrap();
    let (checks, _) = checks.split_once("\n## Trust\n").unwrap();
    let told: Vec<&str> = checks.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    assert_eq!(told.iter().copied().collect::<BTreeSet<_>>(), ids);
    assert_eq!(told.len(), ids.len(), "one row each");
    for row in checks.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        assert_eq!(cells.len(), 3, "{row}");
        assert!(cells.iter().all(|cell| !cell.is_empty()), "{row}");
    }
}
