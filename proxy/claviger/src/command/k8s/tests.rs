//! Manifests in every form that people write them in.

use clap::Parser;

use super::{InjectArgs, Refused, change};

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: InjectArgs,
}

fn args(line: &str) -> InjectArgs {
    Line::parse_from(std::iter::once("inject").chain(line.split_whitespace())).args
}

fn inject(text: &str, line: &str) -> Result<(String, Vec<String>), Vec<Refused>> {
    change(text, &args(line)).map(|(text, notes)| (text, notes.into_iter().map(|note| note.text).collect()))
}

/// Injected, injected again, and taken away again: the second changes nothing, the third gives back every byte.
fn check(text: &str) -> String {
    let (once, _) = inject(text, "").unwrap_or_else(|refused| panic!("{refused:?}\n{text}"));
    assert_ne!(once, text);
    let (twice, _) = inject(&once, "").unwrap();
    assert_eq!(twice, once, "injected twice");
    let (back, _) = inject(&once, "--uninject").unwrap();
    assert_eq!(back, text, "taken away again");
    once
}

const POD: &str = "kind: Pod\nmetadata:\n  name: p\nspec:\n  containers:\n  - name: a\n    image: x\n";

#[test]
fn every_form_keeps_every_byte() {
    for text in [
        POD,
        // No line end at the end; Windows line ends; no metadata at the template.
        "kind: Pod\nmetadata:\n  name: p\nspec:\n  containers:\n  - name: a\n    image: x",
        "kind: Pod\r\nmetadata:\r\n  name: p\r\nspec:\r\n  containers:\r\n  - name: a\r\n    image: x\r\n",
        "kind: Job\nspec:\n  template:\n    spec:\n      containers:\n      - name: a\n",
        // Comments before, behind and between; blank lines; indented and indentless lists side by side.
        "# head\nkind: Pod # kind\nmetadata: # m\n  name: p\n\n\n  # tail of metadata\nspec:\n    # in spec\n    \
         containers: # c\n    # first\n        - name: a # a\n          env: # e\n          - name: X # x\n            \
         value: y # y\n          # behind x\n    # behind containers\n    volumes:\n    - name: v\n      emptyDir: {}\n\
         # the end\n",
        // Block scalars of each kind at every place where something is added behind them.
        "kind: Pod\nspec:\n  containers:\n  - name: a\n    args:\n    - |\n      one\n        two\n\n    env:\n    - name: A\n      \
         value: |+\n        kept\n\n\n  - name: b\n    command: [sh, -c]\n    args:\n    - >-\n      folded\n      text\n",
        "kind: Pod\nspec:\n  containers:\n  - env:\n    - name: A\n      value: |\n        text\n    name: a\n",
        // A plain and a quoted text over several lines.
        "kind: Pod\nspec:\n  containers:\n  - name: a\n    env:\n    - name: A\n      value: one\n        two\n  - name: b\n    env:\n    \
         - name: A\n      value: \"one\n        two\"\n",
        // Keys that stand apart from their dash, quoted keys, a tab behind a value, a byte-order-free start marker.
        "---\nkind: Pod\n\"spec\":\n  'containers':\n  -\n    name: a\n    image: x\t# tab\n...\n",
        // Not ASCII: the parser counts characters.
        "kind: Pod\nmetadata:\n  name: p\n  annotations:\n    grüße: \"äöü 你好 🙂\"\nspec:\n  containers:\n  - name: a # ñ\n    \
         image: x\n",
        // Empty values where something is added.
        "kind: Pod\nmetadata:\n  annotations:\n    x: y\nspec:\n  initContainers:\n  - name: first\n    image: y\n  containers:\n  \
         - name: a\n",
        // Flow style, whole and in part.
        "kind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: a, env: [{name: X, value: y}]}], volumes: [{name: v, \
         emptyDir: {}}]}\n",
        "kind: Pod\nmetadata: {name: p, annotations: {x: y}}\nspec:\n  containers: [{name: a, volumeMounts: [{name: v, mountPath: \
         /v}]}]\n  volumes: [{name: v, emptyDir: {}}]\n",
        "{\n  \"kind\": \"Pod\",\n  \"metadata\": {\"name\": \"p\"},\n  \"spec\": {\n    \"containers\": [\n      {\n        \
         \"name\": \"a\",\n        \"image\": \"x\"\n      }\n    ]\n  }\n}\n",
        // Anchors and aliases where nothing is changed.
        "kind: Pod\nmetadata:\n  name: &n p\n  labels: &l\n    app: *n\nspec:\n  containers:\n  - name: a\n    resources: &r\n      \
         limits: {cpu: 1}\n  - name: b\n    resources: *r\n",
        // Several documents, some without pods, some empty; a list.
        "---\n---\nkind: Service\n---\nkind: Pod\nspec:\n  containers:\n  - name: a\n---\nkind: Pod\nspec:\n  containers:\n  - name: b\n---\n",
        "kind: List\nitems:\n- kind: ConfigMap\n- kind: Pod\n  metadata:\n    name: p\n  spec:\n    containers:\n    - name: a\n- kind: \
         Pod\n  spec:\n    containers:\n    - name: b\n",
    ] {
        check(text);
    }
}

/// What holds nothing is left empty or absent, which Kubernetes does not tell apart.
#[test]
fn empty_values_take_what_is_added() {
    for (field, indented) in [
        ("env:", 4),
        ("env: []", 4),
        ("env: ~", 4),
        ("volumeMounts: null", 4),
        ("volumes:", 2),
        ("initContainers: []", 2),
    ] {
        let text = if indented == 4 { format!("{POD}    {field}\n") } else { format!("{POD}  {field}\n") };
        let (once, _) = inject(&text, "").unwrap_or_else(|refused| panic!("{refused:?}\n{text}"));
        assert!(once.contains("claviger-ca"), "{once}");
        assert_eq!(inject(&once, "").unwrap().0, once, "{field}");
        assert_eq!(inject(&once, "--uninject").unwrap().0, POD, "{field}");
    }
    for annotations in ["annotations:", "annotations: {}", "annotations: null"] {
        let text = POD.replace("  name: p\n", &format!("  name: p\n  {annotations}\n"));
        let (once, _) = inject(&text, "").unwrap_or_else(|refused| panic!("{refused:?}\n{text}"));
        assert_eq!(inject(&once, "--uninject").unwrap().0, POD, "{annotations}");
    }
}

#[test]
fn every_kind_that_makes_pods() {
    let pod =
        |indent: &str| format!("{indent}spec:\n{indent}  containers:\n{indent}  - name: a\n{indent}    image: x\n");
    for kind in ["Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "ReplicationController", "Job"] {
        check(&format!("kind: {kind}\nspec:\n  template:\n{}", pod("    ")));
    }
    check(&format!("kind: CronJob\nspec:\n  jobTemplate:\n    spec:\n      template:\n{}", pod("        ")));
    check(&format!("kind: PodTemplate\ntemplate:\n{}", pod("  ")));
    let text = format!("kind: Rollout\nspec:\n  template:\n{}", pod("    "));
    let expected = vec!["Rollout/?: this kind is not known, its pods are unchanged".to_owned()];
    assert_eq!(inject(&text, "").unwrap(), (text, expected));
    let service = "kind: Service\nspec:\n  ports: []\n";
    assert_eq!(inject(service, "").unwrap(), (service.to_owned(), Vec::new()));
}

/// Each refusal with its reason, and its nearest neighbour that passes.
#[test]
fn what_is_not_safe_is_refused() {
    let with = |more: &str| POD.replace("spec:\n", &format!("spec:\n{more}"));
    let container = |more: &str| format!("{POD}{more}");
    for (text, line, why, passes) in [
        (with("  hostNetwork: true\n"), "", "`hostNetwork` is on", with("  hostNetwork: false\n")),
        (with("  os: {name: windows}\n"), "", "the pod runs on Windows", with("  os: {name: linux}\n")),
        (
            POD.replace("name: a", "name: claviger"),
            "",
            "there is a container `claviger` already",
            POD.replace("name: a", "name: claviger2"),
        ),
        (
            with("  volumes:\n  - name: claviger-ca\n"),
            "",
            "there is a volume `claviger-ca` already",
            with("  volumes:\n  - name: claviger-cache\n"),
        ),
        (
            container("    volumeMounts:\n    - {name: v, mountPath: /run/claviger/}\n"),
            "",
            "`/run/claviger` is mounted already",
            container("    volumeMounts:\n    - {name: v, mountPath: /run/other}\n"),
        ),
        (
            container("    ports:\n    - containerPort: 7070\n"),
            "",
            "port 7070 is taken",
            container("    ports:\n    - containerPort: 7072\n"),
        ),
        (container("    ports:\n    - containerPort: 7071\n"), "", "port 7071 is taken", POD.to_owned()),
        (
            format!("x: &e\n- name: A\n{}", container("    env: *e\n")),
            "",
            "`env` of container `a` is an alias",
            format!("x: &e\n- name: A\n{}", container("    args: *e\n")),
        ),
        (
            format!("{}\n", container("    env: &e\n    - name: A\n  - name: b\n    args: *e")),
            "",
            "`env` of container `a` has an anchor that is used elsewhere too",
            container("    env: &e\n    - name: A\n"),
        ),
        (
            format!("x: &e\n  tty: true\n{}", container("    <<: *e\n")),
            "",
            "has a merge key",
            format!("x: &e\n  tty: true\n{}", container("    securityContext: *e\n")),
        ),
        (
            container("    env: yes\n"),
            "",
            "`env` of container `a` is not a list",
            container("    env:\n    - name: X\n"),
        ),
        (POD.replace(":\n  - name: a\n    image: x\n", ": []\n"), "", "the pod has no `containers`", POD.to_owned()),
        (container("    image: y\n"), "", "the key `image` stands here twice", container("    tty: true\n")),
        (
            POD.replace("name: p", "name: {{ .Values.name }}"),
            "",
            "",
            POD.replace("name: p", "name: '{{ .Values.name }}'"),
        ),
    ] {
        let Err(refused) = inject(&text, line) else { panic!("passes:\n{text}") };
        assert!(refused[0].why.contains(why), "{refused:?} instead of `{why}`");
        check(&passes);
    }
    // Of several refusals all are told, and nothing is printed of the others.
    let two = format!("{}---\n{POD}---\n{}", with("  hostNetwork: true\n"), with("  os: {name: windows}\n"));
    assert_eq!(inject(&two, "").unwrap_err().len(), 2);
}

#[test]
fn what_the_owner_set_stays() {
    let text =
        format!("{POD}    env:\n    - name: NO_PROXY\n      value: mine\n    envFrom:\n    - secretRef: {{name: s}}\n");
    let once = check(&text);
    let (_, notes) = inject(&text, "").unwrap();
    assert_eq!(
        notes,
        [
            "Pod/p: container `a` has `envFrom`: proxy and CA variables in it no longer count",
            "Pod/p: container `a` sets `NO_PROXY` itself: left as it is",
        ]
    );
    assert_eq!(once.matches("name: NO_PROXY").count(), 1);
    assert!(once.contains("value: mine"));

    let text = POD.replace("  name: p\n", "  name: p\n  annotations:\n    claviger.dev/inject: \"false\"\n");
    let (same, notes) = inject(&text, "").unwrap();
    assert_eq!((same, notes), (text, vec!["Pod/p: `claviger.dev/inject` is \"false\": unchanged".to_owned()]));
}

/// Those that steer traffic themselves, those that were named, and other sidecars, which may start before ours.
#[test]
fn some_containers_get_no_variables() {
    let text = "kind: Pod\nspec:\n  initContainers:\n  - name: other\n    restartPolicy: Always\n  - name: migrate\n  containers:\n  \
                - name: a\n  - name: istio-proxy\n  - name: skipped\n";
    let (once, _) = inject(text, "--skip skipped").unwrap();
    assert_eq!(once.matches("name: HTTPS_PROXY").count(), 2, "{once}");
    assert!(once.find("name: claviger\n").unwrap() < once.find("name: other").unwrap(), "the sidecar is first: {once}");
    assert_eq!(inject(&once, "--uninject").unwrap().0, text);
}

/// A second run with other flags replaces what the first did, also the other mode.
#[test]
fn flags_reach_their_place() {
    let line = "--image registry.test/claviger@sha256:00 --config-map mine --port 7171 --audience aud --no-proxy one.test \
                --no-proxy .two.test --cluster-domain corp.local";
    let line = &format!("{line} --secret keys");
    let (once, _) = inject(POD, line).unwrap();
    for part in [
        "image: \"registry.test/claviger@sha256:00\"\n",
        "        name: mine\n",
        "\"http://127.0.0.1:7171\"",
        "audience: aud\n",
        "secretName: keys\n",
        "mountPath: /var/run/secrets/claviger-credentials\n",
        ".corp.local,",
        ",one.test,.two.test\"",
    ] {
        assert!(once.contains(part), "{part} is not in\n{once}");
    }
    let line = "--mode gateway --gateway http://egress.test:7070 --ca-config-map roots";
    let (gateway, _) = inject(&once, line).unwrap();
    assert_eq!(gateway, inject(POD, line).unwrap().0);
    assert!(
        !gateway.contains("initContainers")
            && gateway.contains("\"http://egress.test:7070\"")
            && gateway.contains("name: roots")
    );
    assert_eq!(inject(&gateway, "--uninject").unwrap().0, POD);
    // Without a sidecar the host's network is no matter.
    assert!(inject(&POD.replace("spec:\n", "spec:\n  hostNetwork: true\n"), "--mode gateway").is_ok());
}

/// Nesting without end is refused before the stack ends.
#[test]
fn deep_nesting_is_refused() {
    let deep = |depth: usize| format!("a: {}{}\n", "[".repeat(depth), "]".repeat(depth));
    assert_eq!(inject(&deep(100), "").unwrap().0, deep(100));
    assert_eq!(inject(&deep(150), "").unwrap_err()[0].why, "nested too deeply");
    assert!(inject(&deep(100_000), "").is_err());
}
