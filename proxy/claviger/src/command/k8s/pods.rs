//! The pods of a manifest: which objects have one, and where it stands.

use super::yaml::Node;

/// An object of a manifest and the pod that it makes.
#[derive(Debug)]
pub(super) struct Pod<'n> {
    /// `Deployment/web`, for messages.
    pub(super) title: String,
    /// What holds `metadata` and `spec` of the pod.
    pub(super) template: &'n Node,
    pub(super) spec: &'n Node,
}

/// Kinds that make pods, and where their template stands.
const KINDS: &[(&str, &[&str])] = &[
    ("Pod", &[]),
    ("Deployment", &["spec", "template"]),
    ("StatefulSet", &["spec", "template"]),
    ("DaemonSet", &["spec", "template"]),
    ("ReplicaSet", &["spec", "template"]),
    ("ReplicationController", &["spec", "template"]),
    ("Job", &["spec", "template"]),
    ("CronJob", &["spec", "jobTemplate", "spec", "template"]),
    ("PodTemplate", &["template"]),
];

/// What is to be said of an object that is left as it is.
pub(super) type Passed = (usize, String);

/// All pods below one document; lists are opened. What looks like a pod and is of no known kind is named in `passed`.
pub(super) fn of<'n>(object: &'n Node, found: &mut Vec<Pod<'n>>, passed: &mut Vec<Passed>) {
    let kind = object.text_at(&["kind"]).unwrap_or_default();
    let name = object.text_at(&["metadata", "name"]).or(object.text_at(&["metadata", "generateName"]));
    let title = format!("{}/{}", kind.escape_debug(), name.unwrap_or("?").escape_debug());
    if kind.ends_with("List") {
        object.get("items").map_or(&[][..], Node::items).iter().for_each(|item| of(item, found, passed));
        return;
    }
    match KINDS.iter().find(|(known, _)| *known == kind) {
        Some((_, path)) => match object.at(path).and_then(|template| Some((template, template.get("spec")?))) {
            Some((template, spec)) => found.push(Pod { title, template, spec }),
            None => passed.push((object.line, format!("{title}: has no pod, unchanged"))),
        },
        None if object.at(&["spec", "template", "spec", "containers"]).is_some() => {
            passed.push((object.line, format!("{title}: this kind is not known, its pods are unchanged")));
        }
        None => {}
    }
}

impl Pod<'_> {
    /// Containers of the pod's owner that take variables: those that run beside the sidecar or after it starts.
    pub(super) fn containers(&self) -> impl Iterator<Item = &Node> {
        let of = |key: &str| self.spec.get(key).map_or(&[][..], Node::items);
        of("initContainers").iter().chain(of("containers"))
    }

    pub(super) fn annotation(&self, name: &str) -> Option<&str> {
        self.template.text_at(&["metadata", "annotations", name])
    }
}
