//! What this shell exports, and the client programs of this machine.

mod variables;

use super::check::Check;
use super::scene::Scene;

/// All of this category.
pub(crate) fn checks(scene: &Scene<'_>, control: &tokio::runtime::Runtime) -> Vec<Check> {
    let _ = control;
    variables::checks(scene, &|name| std::env::var(name).ok())
}
