//! The Helm chart, by Helm's own engine.

use serde_json::{Value, json};

use crate::kubernetes::assert_restricted;
use crate::tools::{deploy, documents, python, said, succeed, validate};

fn render(values: &Value) -> Vec<Value> {
    let text = succeed(python("chart.py").arg("render").arg(deploy("helm/claviger")).arg(values.to_string()));
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("rendered.yaml");
    std::fs::write(&file, &text).unwrap();
    let objects: Vec<Value> = documents(&text).into_iter().filter(|one| !one.is_null()).collect();
    for version in ["1.29", "1.37"] {
        // The objects of the Prometheus operator have no schema in Kubernetes' own.
        let passed = validate(version, std::slice::from_ref(&file), &["--without", "monitoring.coreos.com"]);
        let foreign = objects.iter().filter(|one| one["apiVersion"] == "monitoring.coreos.com/v1").count();
        assert_eq!(passed + foreign, objects.len());
    }
    objects
}

fn kinds(objects: &[Value]) -> Vec<&str> {
    let mut kinds: Vec<&str> = objects.iter().map(|one| one["kind"].as_str().unwrap()).collect();
    kinds.sort_unstable();
    kinds
}

fn deployment(objects: &[Value]) -> &Value {
    &objects.iter().find(|one| one["kind"] == "Deployment").unwrap()["spec"]
}

#[test]
fn it_has_nothing_to_complain_about() {
    let report = succeed(python("chart.py").args(["lint"]).arg(deploy("helm/claviger")).arg("{}"));
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["errors"], json!([]));
    let messages: Vec<&str> =
        report["messages"].as_array().unwrap().iter().map(|one| one["error"].as_str().unwrap()).collect();
    assert_eq!(messages, ["icon is recommended"]);
}

#[test]
fn the_defaults_are_several_restricted_replicas() {
    let objects = render(&json!({}));
    let expected = ["ConfigMap", "Deployment", "NetworkPolicy", "PodDisruptionBudget", "Service", "ServiceAccount"];
    assert_eq!(kinds(&objects), expected);
    let deployment = deployment(&objects);
    assert!(deployment["replicas"].as_u64().unwrap() >= 2);
    let pod = &deployment["template"]["spec"];
    assert_restricted(pod, &pod["containers"][0]);
    assert_eq!(pod["containers"][0]["image"], "claviger:0.1.0");
}

#[test]
fn every_value_has_its_effect() {
    let everything = json!({
        "fullnameOverride": "gate", "image": {"digest": format!("sha256:{}", "0".repeat(64))},
        "imagePullSecrets": [{"name": "pull"}], "replicas": 3,
        "secrets": {"tls": "", "sealed": "s", "key": "k", "ca": "c"},
        "service": {"type": "NodePort", "annotations": {"a": "b"}, "ports": [{"name": "only", "port": 443, "targetPort": 7443}]},
        "serviceAccount": {"name": "robot", "annotations": {"c": "d"}},
        "resources": {"requests": {"cpu": 2, "memory": "1Gi"}}, "state": {"sizeLimit": "1Gi"},
        "terminationGracePeriodSeconds": 90, "podDisruptionBudget": {"maxUnavailable": "25%"},
        "autoscaling": {"enabled": true, "minReplicas": 3, "maxReplicas": 4},
        "networkPolicy": {"clients": {"x": "y"}, "monitoringNamespace": "mon", "egress": [{"ports": [{"port": 8443}]}]},
        "podMonitor": {"enabled": true, "interval": "10s"}, "prometheusRule": {"enabled": true},
        "dashboard": {"enabled": true, "labels": {"grafana": "yes"}}, "adminPort": 9000,
        "podAnnotations": {"e": "f"}, "podLabels": {"g": "h"}, "nodeSelector": {"i": "j"},
        "tolerations": [{"operator": "Exists"}], "affinity": {"nodeAffinity": {}},
    });
    let objects = render(&everything);
    let expected = [
        "ConfigMap",
        "ConfigMap",
        "Deployment",
        "HorizontalPodAutoscaler",
        "NetworkPolicy",
        "PodDisruptionBudget",
        "PodMonitor",
        "PrometheusRule",
        "Service",
        "ServiceAccount",
    ];
    assert_eq!(kinds(&objects), expected);
    let spec = deployment(&objects);
    assert!(spec["replicas"].is_null(), "the autoscaler says how many");
    let text = serde_json::to_string(&objects).unwrap();
    for part in [
        "\"claviger@sha256:000",
        "\"name\":\"pull\"",
        "\"secretName\":\"s\"",
        "\"secretName\":\"k\"",
        "\"subPath\":\"ca.pem\"",
        "\"type\":\"NodePort\"",
        "\"containerPort\":7443",
        "\"port\":443",
        "\"serviceAccountName\":\"robot\"",
        "\"sizeLimit\":\"1Gi\"",
        "\"terminationGracePeriodSeconds\":90",
        "\"maxUnavailable\":\"25%\"",
        "\"minReplicas\":3",
        "\"x\":\"y\"",
        "\"kubernetes.io/metadata.name\":\"mon\"",
        "\"port\":8443",
        "\"interval\":\"10s\"",
        "\"grafana\":\"yes\"",
        "\"containerPort\":9000",
        "\"e\":\"f\"",
        "\"g\":\"h\"",
        "\"i\":\"j\"",
        "\"operator\":\"Exists\"",
        "ClavigerLedgerUnwritable",
        "\"name\":\"gate-dashboard\"",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    assert!(!text.contains("claviger-tls\",\"readOnly\""));
}

#[test]
fn the_schema_refuses_what_is_meant_otherwise() {
    for (values, expected) in [
        (json!({"replica": 3}), "'replica'"),
        (json!({"replicas": 0}), "replicas"),
        (json!({"config": ""}), "config"),
        (json!({"config": "[listener.x]"}), "config"),
        (json!({"image": {"digest": "latest"}}), "digest"),
        (json!({"service": {"ports": []}}), "ports"),
        (json!({"service": {"ports": [{"name": "x", "port": 70_000}]}}), "port"),
        (json!({"secrets": {"seald": "x"}}), "'seald'"),
        (json!({"resources": {"limits": {"memory": "much"}}}), "memory"),
        (json!({"podDisruptionBudget": {"maxUnavailable": "some"}}), "maxUnavailable"),
        (json!({"networkPolicy": {"enabled": "yes"}}), "enabled"),
    ] {
        let output =
            python("chart.py").arg("render").arg(deploy("helm/claviger")).arg(values.to_string()).output().unwrap();
        assert!(!output.status.success() && said(&output).contains(expected), "{values}: {}", said(&output));
    }
}

/// Every value has its row in the schema.
#[test]
fn the_schema_knows_every_value() {
    let schema: Value =
        serde_json::from_slice(&std::fs::read(deploy("helm/claviger/values.schema.json")).unwrap()).unwrap();
    let values = documents(&std::fs::read_to_string(deploy("helm/claviger/values.yaml")).unwrap());
    for (key, value) in values[0].as_object().unwrap() {
        let known = &schema["properties"][key];
        assert!(known.is_object(), "`{key}` is not in the schema");
        for inner in value.as_object().into_iter().flatten().map(|(inner, _)| inner) {
            let free = known["additionalProperties"].is_object() || known["properties"][inner].is_object();
            assert!(free, "`{key}.{inner}` is not in the schema");
        }
    }
}
