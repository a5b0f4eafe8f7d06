//! The manifests of `deploy/kubernetes`: valid, and what is in them loads as it would in a pod.

use serde_json::Value;

use crate::pod::Pod;
use crate::tools::{deploy, documents, said, validate};
use claviger_tests::World;
use claviger_tests::peers::ca::TestCa;

fn objects(file: &str) -> Vec<Value> {
    documents(&std::fs::read_to_string(deploy(file)).unwrap())
}

fn object<'v>(objects: &'v [Value], kind: &str) -> &'v Value {
    objects.iter().find(|one| one["kind"] == kind).unwrap_or_else(|| panic!("no {kind}"))
}

#[test]
fn they_are_valid() {
    for (file, count) in [("app", 2), ("sidecar-config", 1), ("sidecar", 2), ("gateway", 8), ("gateway-autoscaler", 1)]
    {
        for version in ["1.29", "1.37"] {
            assert_eq!(validate(version, &[deploy(&format!("kubernetes/{file}.yaml"))], &[]), count, "{file}");
        }
    }
}

/// Pod Security Standards, `restricted`: what the namespace of the gateway enforces.
pub(crate) fn assert_restricted(pod: &Value, container: &Value) {
    let (of_pod, own) = (&pod["securityContext"], &container["securityContext"]);
    let either = |key: &str| if own[key].is_null() { &of_pod[key] } else { &own[key] };
    assert_eq!(either("runAsNonRoot"), true);
    assert_eq!(either("runAsUser"), 65532);
    assert_eq!(either("seccompProfile")["type"], "RuntimeDefault");
    assert_eq!(own["allowPrivilegeEscalation"], false);
    assert_eq!(own["readOnlyRootFilesystem"], true);
    assert_eq!(own["capabilities"]["drop"], serde_json::json!(["ALL"]));
    for host in ["hostNetwork", "hostPID", "hostIPC"] {
        assert!(pod[host].is_null());
    }
}

#[test]
fn the_gateway_is_several_and_restricted() {
    let objects = objects("kubernetes/gateway.yaml");
    let deployment = object(&objects, "Deployment");
    assert!(deployment["spec"]["replicas"].as_u64().unwrap() >= 2);
    let pod = &deployment["spec"]["template"]["spec"];
    assert_restricted(pod, &pod["containers"][0]);
    let labels = &deployment["spec"]["template"]["metadata"]["labels"];
    for (kind, selector) in [
        ("Service", "/spec/selector"),
        ("PodDisruptionBudget", "/spec/selector/matchLabels"),
        ("NetworkPolicy", "/spec/podSelector/matchLabels"),
    ] {
        assert_eq!(object(&objects, kind).pointer(selector).unwrap(), labels, "{kind} is of other pods");
    }
    assert_eq!(object(&objects, "Namespace")["metadata"]["labels"]["pod-security.kubernetes.io/enforce"], "restricted");
}

#[test]
fn the_sidecar_is_restricted_and_first() {
    let objects = objects("kubernetes/sidecar.yaml");
    let pod = &object(&objects, "Deployment")["spec"]["template"]["spec"];
    let sidecar = &pod["initContainers"][0];
    assert_eq!((&sidecar["name"], &sidecar["restartPolicy"]), (&"claviger".into(), &"Always".into()));
    assert_restricted(pod, sidecar);
    // The key of the upstream is the sidecar's alone.
    let mounts = |container: &Value| serde_json::to_string(&container["volumeMounts"]).unwrap();
    assert!(mounts(sidecar).contains("claviger-credentials"));
    assert!(!mounts(&pod["containers"][0]).contains("claviger-credentials"));
    assert!(!mounts(&pod["containers"][0]).contains("claviger-token"));
}

/// A root folder as the gateway's container has it: every mount of the manifest, at its place.
fn gateway_pod(objects: &[Value]) -> Pod {
    let (world, ca) = (World::new(), TestCa::new());
    world.seal("openai", &world.canary, &["api.openai.com"]);
    world.configure("version = 1\ntrust_domain = \"acme.internal\"\nstate_dir = \"state\"\n");
    assert!(world.run(&["ca", "--config", "claviger.toml"]).status.success());
    let pod = Pod::new();
    pod.file("/etc/claviger/claviger.toml", object(objects, "ConfigMap")["data"]["claviger.toml"].as_str().unwrap());
    let issued = ca.issue(&["claviger.claviger.svc"]);
    pod.file("/etc/claviger-tls/tls.crt", std::fs::read(issued.cert).unwrap());
    pod.file("/etc/claviger-tls/tls.key", std::fs::read(issued.key).unwrap());
    for (from, to) in [("state/sealed", "sealed"), ("state/keys", "keys")] {
        pod.folder(&format!("/var/lib/claviger/{to}"));
        for entry in
            std::fs::read_dir(world.path().join(from)).unwrap().map(Result::unwrap).filter(|one| one.path().is_file())
        {
            let inside = format!("/var/lib/claviger/{to}/{}", entry.file_name().to_str().unwrap());
            pod.file(&inside, std::fs::read(entry.path()).unwrap());
        }
    }
    // As the kubelet mounts a secret of mode 0400 with an fsGroup: root's, 0440, of the pod's group.
    let key = pod.path("/var/lib/claviger/keys/sealed.key");
    std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o440)).unwrap();
    if crate::pod::is_root() {
        std::os::unix::fs::chown(&key, Some(0), Some(65532)).unwrap();
    }
    pod.file("/var/lib/claviger/ca.pem", std::fs::read(world.path().join("state/ca.pem")).unwrap());
    cluster(&pod, &ca);
    pod
}

/// What every pod has of its cluster.
fn cluster(pod: &Pod, ca: &TestCa) {
    let folder = "/var/run/secrets/kubernetes.io/serviceaccount";
    pod.file(&format!("{folder}/ca.crt"), ca.pem());
    pod.file(&format!("{folder}/token"), "not.asked.for");
}

/// Of the manifest, and of the chart as it comes.
#[test]
fn the_gateways_configuration_loads_in_its_pod() {
    let pod = gateway_pod(&objects("kubernetes/gateway.yaml"));
    let values = &objects("helm/claviger/values.yaml")[0];
    pod.file("/etc/claviger/chart.toml", values["config"].as_str().unwrap());
    let output = pod.command(&["check", "--strict", "--config", "/etc/claviger/chart.toml"]).output().unwrap();
    let expected = "/etc/claviger/chart.toml: ok, 2 listeners, 0 services, 0 warnings\n";
    assert_eq!((said(&output).as_str(), output.status.code()), (expected, Some(0)));
    let output = pod.command(&["check", "--strict", "--config", "/etc/claviger/claviger.toml"]).output().unwrap();
    let expected =
        "/etc/claviger/claviger.toml: ok, 2 listeners, 1 service, 0 warnings\ncredential `openai`: proxy-held\n";
    assert_eq!((said(&output).as_str(), output.status.code()), (expected, Some(0)));
}

/// Its tests are run by `check`, with the token of the pod that it is meant for.
#[test]
fn the_sidecars_configuration_loads_in_its_pod() {
    let (pod, world) = (Pod::new(), World::new());
    let config = objects("kubernetes/sidecar-config.yaml");
    pod.file("/etc/claviger/claviger.toml", config[0]["data"]["claviger.toml"].as_str().unwrap());
    pod.file("/var/run/secrets/claviger-credentials/openai", &world.canary);
    let claims = serde_json::json!({
        "iss": "https://kubernetes.default.svc.cluster.local",
        "kubernetes.io": {"namespace": "shop", "serviceaccount": {"name": "shop", "uid": "1"}},
    });
    pod.file("/var/run/secrets/claviger/token", world.issuer.token_with("system:serviceaccount:shop:shop", claims));
    cluster(&pod, &world.ca);
    let output = pod.command(&["check", "--config", "/etc/claviger/claviger.toml"]).output().unwrap();
    // Kubernetes mounts a secret for everyone in the container, of whom there is one.
    let expected = "/etc/claviger/claviger.toml: ok, 1 listener, 2 services, 1 warning\n";
    let text = said(&output);
    assert!(
        text.starts_with(expected) && text.contains("may be read by everyone on this machine (mode 0644)"),
        "{text}"
    );
    assert_eq!(output.status.code(), Some(0));
}
