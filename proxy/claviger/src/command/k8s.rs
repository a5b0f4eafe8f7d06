//! `claviger k8s`: manifests are read, changed where they stand, and printed.

mod emit;
mod inject;
mod parts;
mod pods;
mod remove;
mod splice;
mod yaml;

#[cfg(test)]
mod tests;

use std::io::Read;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};

use self::splice::Splice;
use self::yaml::{Kind, Node};
use crate::command::{Done, Failure, plural};
use crate::console;

#[derive(Debug, Args)]
pub(crate) struct K8sArgs {
    #[command(subcommand)]
    command: K8sCommand,
}

#[derive(Debug, Subcommand)]
enum K8sCommand {
    /// Add Claviger to the pods of a manifest: sidecar, CA, variables. All else stays byte for byte
    Inject(InjectArgs),
}

/// How pods reach Claviger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// A native sidecar in each pod
    Sidecar,
    /// A gateway elsewhere in the cluster
    Gateway,
}

#[derive(Debug, Args)]
pub(crate) struct InjectArgs {
    /// The manifest, YAML or JSON, one document or several; `-`: standard input
    #[arg(long, short = 'f', value_name = "FILE", default_value = "-")]
    filename: PathBuf,
    /// Take away what was added before
    #[arg(long)]
    uninject: bool,
    /// A sidecar in each pod, or a gateway elsewhere
    #[arg(long, value_enum, default_value = "sidecar")]
    mode: Mode,
    /// The sidecar's image
    #[arg(long, value_name = "IMAGE", default_value = concat!("claviger:", env!("CARGO_PKG_VERSION")))]
    image: String,
    /// The config map with the sidecar's `claviger.toml`
    #[arg(long, value_name = "NAME", default_value = "claviger")]
    config_map: String,
    /// A secret that the sidecar alone mounts, for `secret://file/…` or a file store of its configuration
    #[arg(long, value_name = "NAME")]
    secret: Option<String>,
    /// The port of the sidecar's forward listener on 127.0.0.1, as its configuration says
    #[arg(long, value_name = "PORT", default_value_t = 7070)]
    port: u16,
    /// The port of the sidecar's admin listener on 127.0.0.1, for probes
    #[arg(long, value_name = "PORT", default_value_t = 7071)]
    admin_port: u16,
    /// The gateway that pods are to call
    #[arg(long, value_name = "URL", default_value = "https://claviger.claviger.svc:7070")]
    gateway: String,
    /// The config map with `ca.pem` and `bundle.pem` of the gateway
    #[arg(long, value_name = "NAME", default_value = "claviger-ca")]
    ca_config_map: String,
    /// The audience of the pod's own token, as the attestor's configuration says
    #[arg(long, value_name = "NAME", default_value = "claviger")]
    audience: String,
    /// The cluster's DNS domain, which is not called through the proxy
    #[arg(long, value_name = "DOMAIN", default_value = "cluster.local")]
    cluster_domain: String,
    /// More hosts that are not called through the proxy
    #[arg(long, value_name = "HOST")]
    no_proxy: Vec<String>,
    /// A container that gets no variables
    #[arg(long, value_name = "CONTAINER")]
    skip: Vec<String>,
}

impl InjectArgs {
    fn proxy_url(&self) -> String {
        match self.mode {
            Mode::Sidecar => format!("http://127.0.0.1:{}", self.port),
            Mode::Gateway => self.gateway.clone(),
        }
    }
}

/// Something that was done otherwise than the reader may expect.
#[derive(Debug)]
struct Note {
    line: usize,
    text: String,
}

impl Note {
    fn at(node: &Node, title: &str, text: String) -> Self {
        Self { line: node.line, text: format!("{title}: {text}") }
    }
}

/// Why a manifest is not changed at all.
#[derive(Debug)]
struct Refused {
    line: usize,
    column: usize,
    why: String,
    help: &'static str,
}

impl Refused {
    fn at(node: &Node, title: &str, why: String, help: &'static str) -> Self {
        Self { line: node.line, column: node.column + 1, why: format!("{title}: {why}"), help }
    }
}

pub(crate) fn run(args: &K8sArgs) -> Done {
    let K8sCommand::Inject(args) = &args.command;
    let file = args.filename.display().to_string();
    let text = read(args)?;
    let (changed, notes) = change(&text, args).map_err(|refused| {
        for one in &refused {
            console::cited(&format!("{file}:{}:{}: error: {}\n  help: {}", one.line, one.column, one.why, one.help));
        }
        Failure::Other(format!("{}, nothing is printed", plural(refused.len(), "error")))
    })?;
    for note in notes {
        console::cited(&format!("{file}:{}: note: {}", note.line, note.text));
    }
    console::out_raw(&changed);
    Ok(ExitCode::SUCCESS)
}

/// No manifest is longer, in bytes: a cluster takes no object over 3 MiB.
const MANIFEST_MAX: u64 = 32 << 20;

fn read(args: &InjectArgs) -> Result<String, Failure> {
    let mut text = String::new();
    let mut within = |from: &mut dyn Read| from.take(MANIFEST_MAX + 1).read_to_string(&mut text);
    let read = if args.filename.as_os_str() == "-" {
        within(&mut std::io::stdin())
    } else {
        std::fs::File::open(&args.filename).and_then(|mut file| within(&mut file))
    };
    let doing = format!("read `{}`", args.filename.display());
    read.map_err(|error| Failure::doing(&doing)(&error))?;
    if text.len() as u64 > MANIFEST_MAX {
        return Err(Failure::Other(format!("failed to {doing}: it has more than {} MiB", MANIFEST_MAX >> 20)));
    }
    Ok(text)
}

/// The manifest with every pod changed, or every reason against it: half a manifest is never printed.
fn change(text: &str, args: &InjectArgs) -> Result<(String, Vec<Note>), Vec<Refused>> {
    let clean = without(text)?;
    if args.uninject {
        return Ok((clean, Vec::new()));
    }
    let documents = parsed(&clean)?;
    let (mut pods, mut passed) = (Vec::new(), Vec::new());
    documents.iter().flatten().for_each(|root| pods::of(root, &mut pods, &mut passed));
    let mut notes: Vec<Note> = passed.into_iter().map(|(line, text)| Note { line, text }).collect();
    let mut splice = Splice::new(&clean);
    let refused: Vec<Refused> =
        pods.iter().filter_map(|pod| inject::add(pod, args, &mut splice, &mut notes).err()).collect();
    if !refused.is_empty() {
        return Err(refused);
    }
    let changed = splice.finish();
    // What was spliced must read back as what was there before, and what was added. Seen in no manifest; a form that
    // nobody thought of must not reach a cluster.
    let is_faithful = without(&changed).is_ok_and(|back| says_the_same(&back, &clean));
    if is_faithful && says_the_same(&changed, text) {
        // Already there: not even the order of keys moves.
        Ok((text.to_owned(), notes))
    } else if is_faithful {
        Ok((changed, notes))
    } else {
        let why = "this manifest is written in a form that cannot be changed in place".to_owned();
        Err(vec![Refused {
            line: 1,
            column: 1,
            why,
            help: "print it anew first: kubectl create --dry-run=client -o yaml",
        }])
    }
}

/// The text without anything that an earlier run added.
fn without(text: &str) -> Result<String, Vec<Refused>> {
    let documents = parsed(text)?;
    let mut pods = Vec::new();
    documents.iter().flatten().for_each(|root| pods::of(root, &mut pods, &mut Vec::new()));
    let mut splice = Splice::new(text);
    for pod in &pods {
        remove::remove(pod, &mut splice).map_err(|why| {
            let why = format!("what was added before {why}");
            vec![Refused::at(pod.template, &pod.title, why, "take the original manifest")]
        })?;
    }
    Ok(splice.finish())
}

fn parsed(text: &str) -> Result<Vec<Option<Node>>, Vec<Refused>> {
    yaml::parse(text).map_err(|error| {
        let help = "is it a template? render it first, and inject into what comes out";
        vec![Refused { line: error.line, column: error.column, why: error.why, help }]
    })
}

/// Whether two manifests say the same, however they are written.
fn says_the_same(one: &str, other: &str) -> bool {
    match (yaml::parse(one), yaml::parse(other)) {
        (Ok(one), Ok(other)) => one.len() == other.len() && one.iter().zip(&other).all(is_same),
        (Err(_), _) | (_, Err(_)) => false,
    }
}

/// Whether two documents say the same.
fn is_same((one, other): (&Option<Node>, &Option<Node>)) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => is_same_node(one, other),
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    }
}

fn is_same_node(one: &Node, other: &Node) -> bool {
    match (&one.kind, &other.kind) {
        (Kind::Scalar { value, .. }, Kind::Scalar { value: written, .. }) => {
            value == written && is_text(one) == is_text(other)
        }
        (Kind::Mapping(entries), Kind::Mapping(others)) => {
            let count = |entries: &[(Node, Node)]| entries.iter().filter(|(_, value)| !is_empty(value)).count();
            count(entries) == count(others)
                && entries.iter().filter(|(_, value)| !is_empty(value)).all(|(key, value)| {
                    key.text().and_then(|key| other.get(key)).is_some_and(|other| is_same_node(value, other))
                })
        }
        (Kind::Sequence(items), Kind::Sequence(others)) => {
            items.len() == others.len() && items.iter().zip(others).all(|(one, other)| is_same_node(one, other))
        }
        (Kind::Alias, Kind::Alias) => true,
        (Kind::Scalar { .. } | Kind::Mapping(_) | Kind::Sequence(_) | Kind::Alias, _) => false,
    }
}

/// Whether a scalar is a text: quoted, or not to be taken for a number, a boolean or null.
fn is_text(node: &Node) -> bool {
    let Kind::Scalar { value, is_plain } = &node.kind else { return false };
    let is_word = ["true", "false", "yes", "no", "on", "off", "y", "n", "null", "~", ""]
        .contains(&value.to_ascii_lowercase().as_str());
    !is_plain || !(is_word || value.starts_with(|first: char| first.is_ascii_digit() || "+-.".contains(first)))
}

/// `env: []` and no `env` are the same to Kubernetes, and removal makes one of the other.
fn is_empty(node: &Node) -> bool {
    node.is_null()
        || match &node.kind {
            Kind::Mapping(entries) => entries.is_empty(),
            Kind::Sequence(items) => items.is_empty(),
            Kind::Scalar { .. } | Kind::Alias => false,
        }
}
