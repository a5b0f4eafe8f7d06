//! Takes away what was added, and nothing else.

use super::parts::{INJECTED, NAME, VOLUMES};
use super::pods::Pod;
use super::splice::{Splice, Stuck};
use super::yaml::{Kind, Node};

/// Removes from one pod what its record says was added. A pod without the record is left alone.
pub(super) fn remove(pod: &Pod<'_>, splice: &mut Splice<'_>) -> Result<(), Stuck> {
    let Some(record) = pod.annotation(INJECTED) else { return Ok(()) };
    let is_named = |node: &Node, names: &[&str]| node.text_at(&["name"]).is_some_and(|name| names.contains(&name));
    for container in pod.containers().filter(|one| !is_named(one, &[NAME])) {
        let name = container.text_at(&["name"]).unwrap_or_default();
        let added = record.split(';').filter_map(|one| one.split_once('=')).find(|(container, _)| *container == name);
        let Some((_, variables)) = added else { continue };
        let variables: Vec<&str> = variables.split(',').collect();
        splice.remove_items(container, "env", &|one| is_named(one, &variables))?;
        splice.remove_items(container, "volumeMounts", &|one| is_named(one, VOLUMES))?;
    }
    splice.remove_items(pod.spec, "initContainers", &|one| is_named(one, &[NAME]))?;
    splice.remove_items(pod.spec, "volumes", &|one| is_named(one, VOLUMES))?;
    let Some(metadata) = pod.template.get("metadata") else { return Ok(()) };
    let Some(annotations) = metadata.get("annotations") else { return Ok(()) };
    // What was made for the record alone goes with it.
    if entries(annotations) > 1 {
        splice.remove_key(annotations, INJECTED)
    } else if entries(metadata) > 1 {
        splice.remove_key(metadata, "annotations")
    } else {
        splice.remove_key(pod.template, "metadata")
    }
}

fn entries(node: &Node) -> usize {
    match &node.kind {
        Kind::Mapping(entries) => entries.len(),
        Kind::Sequence(_) | Kind::Scalar { .. } | Kind::Alias => 0,
    }
}
