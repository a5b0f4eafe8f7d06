//! Adds to pods what they need for calling through Claviger.

use super::emit::text;
use super::parts::{self, INJECTED, NAME, OPT_OUT, VOLUMES};
use super::pods::Pod;
use super::splice::{Splice, Stuck};
use super::yaml::Node;
use super::{InjectArgs, Mode, Note, Refused};

/// Sidecars that steer the pod's traffic themselves: a proxy variable would turn their own control plane away.
const MESH: &[&str] = &["istio-proxy", "istio-init", "istio-validation", "linkerd-proxy", "linkerd-init"];

/// Adds to one pod. What the owner set stays, and is told in `notes`.
pub(super) fn add(
    pod: &Pod<'_>,
    args: &InjectArgs,
    splice: &mut Splice<'_>,
    notes: &mut Vec<Note>,
) -> Result<(), Refused> {
    let refuse = |node: &Node, why: String, help: &'static str| Refused::at(node, &pod.title, why, help);
    if pod.annotation(OPT_OUT) == Some("false") {
        notes.push(Note::at(pod.template, &pod.title, format!("`{OPT_OUT}` is \"false\": unchanged")));
        return Ok(());
    }
    permit(pod, args)?;
    tell(pod, args.mode, notes);
    let stuck = |node: &Node, what: String| {
        let (line, column, title) = (node.line, node.column + 1, pod.title.clone());
        move |why: Stuck| Refused {
            line,
            column,
            why: format!("{title}: {what} {why}"),
            help: "write it out in this place, or leave this container out with --skip",
        }
    };
    let mut injected = Vec::new();
    for container in pod.containers() {
        let name = container.text_at(&["name"]).unwrap_or_default();
        let is_sidecar = container.text_at(&["restartPolicy"]) == Some("Always");
        if is_sidecar || MESH.contains(&name) || args.skip.iter().any(|skipped| skipped == name) {
            continue;
        }
        if container.text_at(&["name"]).is_none() {
            return Err(refuse(container, "a container has no `name`".into(), "name it"));
        }
        let present = |variable: &str| {
            let env = container.get("env").map_or(&[][..], Node::items);
            env.iter().find(|one| one.text_at(&["name"]) == Some(variable))
        };
        let (mut added, mut values) = (Vec::new(), Vec::new());
        for (variable, value) in parts::variables(args) {
            match present(variable) {
                Some(kept) => {
                    let why = format!("container `{name}` sets `{variable}` itself: left as it is");
                    notes.push(Note::at(kept, &pod.title, why));
                }
                None => {
                    added.push(variable);
                    values.push(parts::variable(variable, &value));
                }
            }
        }
        let what = |key: &str| format!("`{key}` of container `{name}`");
        splice.add_items(container, "env", &values, false).map_err(stuck(container, what("env")))?;
        splice
            .add_items(container, "volumeMounts", &parts::mounts(args.mode), false)
            .map_err(stuck(container, what("volumeMounts")))?;
        injected.push(format!("{name}={}", added.join(",")));
    }
    if args.mode == Mode::Sidecar {
        splice
            .add_items(pod.spec, "initContainers", &[parts::sidecar(args)], true)
            .map_err(stuck(pod.spec, "`initContainers`".into()))?;
    }
    splice.add_items(pod.spec, "volumes", &parts::volumes(args), false).map_err(stuck(pod.spec, "`volumes`".into()))?;
    let record = text(injected.join(";"));
    match pod.template.get("metadata") {
        Some(metadata) => splice.add_below(metadata, "annotations", INJECTED, &record),
        None => splice.add_key(
            pod.template,
            "metadata",
            &super::emit::Value::Map(vec![("annotations", super::emit::Value::Map(vec![(INJECTED, record)]))]),
        ),
    }
    .map_err(stuck(pod.template, "`metadata`".into()))
}

/// Refuses what cannot work, or would not be what it seems.
fn permit(pod: &Pod<'_>, args: &InjectArgs) -> Result<(), Refused> {
    let refuse = |node: &Node, why: String, help: &'static str| Err(Refused::at(node, &pod.title, why, help));
    let spec = pod.spec;
    if spec.get("containers").is_none_or(|list| list.items().is_empty()) {
        return refuse(spec, "the pod has no `containers`".into(), "is this a whole manifest?");
    }
    if spec.text_at(&["os", "name"]) == Some("windows") {
        return refuse(spec, "the pod runs on Windows, Claviger does not".into(), "leave this pod out");
    }
    if args.mode == Mode::Sidecar
        && let Some(at) = spec.get("hostNetwork")
        && at.text() == Some("true")
    {
        let why = "`hostNetwork` is on: the sidecar would serve everything on the node as this workload";
        return refuse(at, why.into(), "use --mode gateway, or take hostNetwork away");
    }
    for container in pod.containers() {
        if container.text_at(&["name"]) == Some(NAME) {
            return refuse(container, format!("there is a container `{NAME}` already"), "rename or remove it");
        }
        for mount in container.get("volumeMounts").map_or(&[][..], Node::items) {
            let path = mount.text_at(&["mountPath"]).unwrap_or_default().trim_end_matches('/');
            if path.starts_with("/run/claviger") || path.starts_with(parts::TOKEN_FOLDER) {
                return refuse(
                    mount,
                    format!("`{path}` is mounted already, where Claviger would be"),
                    "move that mount",
                );
            }
        }
        for port in container.get("ports").map_or(&[][..], Node::items) {
            let number = port.text_at(&["containerPort"]).unwrap_or_default();
            let ours = [args.port, args.admin_port].map(|port| port.to_string());
            if args.mode == Mode::Sidecar && ours.iter().any(|port| port == number) {
                let why = format!("port {number} is taken by a container of the pod");
                return refuse(
                    port,
                    why,
                    "give the sidecar others with --port and --admin-port, as in its configuration",
                );
            }
        }
    }
    for volume in spec.get("volumes").map_or(&[][..], Node::items) {
        let name = volume.text_at(&["name"]).unwrap_or_default();
        if VOLUMES.contains(&name) {
            return refuse(volume, format!("there is a volume `{name}` already"), "rename or remove it");
        }
    }
    Ok(())
}

/// What the pod's owner should know, and nothing is done about.
fn tell(pod: &Pod<'_>, mode: Mode, notes: &mut Vec<Note>) {
    let says = |key: &str, what: &str| pod.spec.get(key).filter(|at| mode == Mode::Sidecar && at.text() == Some(what));
    if let Some(at) = says("shareProcessNamespace", "true") {
        let why = "containers share one process namespace: one that runs as root may look into the sidecar";
        notes.push(Note::at(at, &pod.title, why.into()));
    }
    if let Some(at) = says("automountServiceAccountToken", "false") {
        let why = "without the pod's own account the sidecar cannot read the keys of the cluster's issuer: name them by \
                   `jwks` or `jwks_url` in its configuration";
        notes.push(Note::at(at, &pod.title, why.into()));
    }
    for container in pod.containers() {
        if let Some(at) = container.get("envFrom") {
            let name = container.text_at(&["name"]).unwrap_or_default();
            let why = format!("container `{name}` has `envFrom`: proxy and CA variables in it no longer count");
            notes.push(Note::at(at, &pod.title, why));
        }
    }
}
