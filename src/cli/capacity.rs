//! `plimsoll capacity`: how many more replicas of a workload the scheduler could place, and what limits them.
//!
//! ```text
//!  -f lists, or live ──> documents (bounded) ──> objects (cluster view) ──┐
//!  --for workload ──> documents ──> workload (template, selector) ────────┴─> core::capacity ──> report (table, json, yaml)
//! ```
//!
//! With -f it reads files and standard input, never a cluster; without, it lists the objects of one. It changes nothing, and does
//! the arithmetic that `serve` does.

use std::{
    io::{self, Read, Write},
    num::NonZero,
    path::PathBuf,
    process::ExitCode,
};

use clap::ValueEnum;
use plimsoll_core::{cluster::Basis, policy::Policy};

use self::{live::Named, objects::Objects, report::Report, what_if::WhatIf, workload::Workload};
use super::documents::{self, Source};

mod live;
mod objects;
mod report;
mod what_if;
mod workload;

/// Arguments of `plimsoll capacity`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Give every kind of object that decides, or the answer cannot know of it:
  kubectl get nodes,pods,namespaces,resourcequotas,limitranges,runtimeclasses,priorityclasses,deviceclasses -A -o json > objects.json
  plimsoll capacity -f objects.json --for deployment.yaml
For a template with claims, too, in a further file with a further -f:
  kubectl get persistentvolumeclaims,persistentvolumes,storageclasses,csinodes,csidrivers,volumeattachments -A -o json
Where devices are allocated dynamically, too:
  kubectl get resourceslices,resourceclaims,resourceclaimtemplates -A -o json
Where Kueue admits pods, too:
  kubectl get localqueues,clusterqueues,resourceflavors,cohorts -A -o json
or ask a cluster:
  plimsoll capacity deployment/chat -n inference

FITS counts further replicas that could be placed now, the workload's own pending pods included.
exact: what kube-scheduler would bind. interval: at least the first number (promise no more), at most the second.
unknown: something decides that is not modelled; nothing may be promised beyond what is bound.")]
pub struct Args {
    /// Objects of the cluster, as `kubectl get … -o json` or `-o yaml` prints them; `-` is standard input.
    /// Without it, the objects of the cluster that the kubeconfig names are listed.
    #[arg(short = 'f', long = "filename", value_name = "FILE")]
    filenames: Vec<PathBuf>,
    /// The workload in the cluster, e.g. `deployment/chat`.
    #[arg(value_name = "KIND/NAME", conflicts_with = "filenames", required_unless_present = "workload")]
    named: Option<Named>,
    /// Namespace of the workload.
    #[arg(short, long, default_value = "default")]
    namespace: String,
    /// Which cluster; without it, as kubectl chooses.
    #[arg(long, value_name = "FILE", conflicts_with = "filenames")]
    kubeconfig: Option<PathBuf>,
    /// The workload: a Deployment, StatefulSet, ReplicaSet, LeaderWorkerSet, anything with `spec.template`, or a Pod; `-` is standard input.
    #[arg(long = "for", value_name = "FILE", conflicts_with = "named", required_unless_present = "named")]
    workload: Option<PathBuf>,
    /// How the answer is printed.
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    output: Format,
    /// Resource names that are GPUs; a trailing `*` matches any ending [default: the common vendors'].
    #[arg(long = "gpu-resource", value_name = "NAME")]
    gpu_resources: Vec<String>,
    /// Most pods that are counted on to share one GPU that a device plugin shares [default: as many as it offers slots].
    #[arg(long, value_name = "COUNT")]
    max_sharers: Option<NonZero<u32>>,
    /// Answer as if a change had been made; can be given several times, the changes are made in order.
    ///
    /// Forms: add-nodes=COUNT:LIKE-NODE, remove-node=NAME, cordon=NAME, uncordon=NAME, delete-pod=NAMESPACE/NAME,
    /// move-pod=NAMESPACE/NAME:NODE, quota=NAMESPACE/NAME:RESOURCE=AMOUNT, request=RESOURCE=AMOUNT.
    #[arg(long = "what-if", value_name = "CHANGE")]
    what_if: Vec<WhatIf>,
}

/// How the answer is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Table,
    /// One JSON object.
    Json,
    /// One YAML document.
    Yaml,
}

/// Runs it.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    run_with(args, io::stdin().lock(), io::stdout().lock(), io::stderr().lock())
}

/// Runs it on any streams: data goes to `out`, talk to `talk`.
fn run_with(args: Args, stdin: impl Read, mut out: impl Write, mut talk: impl Write) -> anyhow::Result<ExitCode> {
    let live = args.filenames.is_empty();
    let mut sources: Vec<_> = args.filenames.into_iter().map(Source::from).collect();
    let target = args.workload.map_or(Source::Cluster, Source::from);
    if sources.iter().chain([&target]).filter(|source| **source == Source::Stdin).count() > 1 {
        writeln!(talk, "plimsoll: standard input can be read once: give `-` to only one of -f and --for")?;
        return Ok(ExitCode::from(2));
    }
    sources.push(target.clone());
    let mut documents = documents::read_all(&sources, stdin)?;
    if live {
        let named = args.named.as_ref().map(|named| (named, args.namespace.as_str()));
        let read = live::read(args.kubeconfig.as_deref(), named, &mut talk);
        if let Some(error) = read.as_ref().err().filter(|error| live::is_unreachable(error)) {
            writeln!(talk, "plimsoll: {error:#}")?;
            return Ok(ExitCode::from(4));
        }
        let (lists, workload) = read?;
        if let (Some(workload), Some(last)) = (workload, documents.last_mut()) {
            last.push(workload);
        }
        sources.insert(0, Source::Cluster);
        documents.insert(0, lists);
    }
    let mut workload = Workload::find(&target, documents.pop().unwrap_or_default())?;
    let mut objects = Objects::default();
    for (source, documents) in sources.iter().zip(documents) {
        objects.add(source, documents)?;
    }
    objects.close();
    // A file may say what somebody has in mind.
    workload.learn(&objects.view, if target == Source::Cluster { Basis::InForce } else { Basis::Proposed });
    let policy = policy(args.gpu_resources, args.max_sharers);
    let mut report = Report::of(&workload, &mut objects, &policy);
    if !args.what_if.is_empty() {
        let edits: Vec<_> = args.what_if.into_iter().map(|WhatIf(edit)| edit).collect();
        report = report.after(edits, workload, &mut objects, &policy)?;
    }
    for warning in &report.warnings {
        writeln!(talk, "plimsoll: {warning}")?;
    }
    match args.output {
        Format::Table => write!(out, "{report}")?,
        Format::Json => writeln!(out, "{}", serde_json::to_string_pretty(&report)?)?,
        Format::Yaml => write!(out, "{}", serde_saphyr::to_string(&report)?)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn policy(gpu_resources: Vec<String>, max_sharers: Option<NonZero<u32>>) -> Policy {
    let default = Policy { max_sharers: max_sharers.map(NonZero::get), ..Policy::default() };
    if gpu_resources.is_empty() { default } else { Policy { gpu_resources, ..default } }
}

#[cfg(test)]
mod tests;
