//! `plimsoll capacity`: how many more replicas of a workload the scheduler could place, and what limits them.
//!
//! ```text
//!  -f lists, or live ──> documents (bounded) ──> objects (cluster view) ──┐
//!  KIND/NAME in them, or --for ──> workload (template, selector) ──────────┴─> core::capacity ──> report (table, json, yaml)
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
use serde_json::Value;

use self::{named::Named, objects::Objects, report::Report, what_if::WhatIf, workload::Workload};
use super::documents::{self, Source};

mod live;
mod named;
mod objects;
mod report;
mod what_if;
mod workload;

/// Arguments of `plimsoll capacity`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Ask a cluster, or files that hold what it says; kinds that it does not serve are left out by themselves:
  plimsoll capacity deployment/chat -n inference
  plimsoll capacity --paths | xargs -n 1 kubectl get --raw > objects.json
  plimsoll capacity -f objects.json deployment/chat -n inference
  plimsoll capacity -f objects.json --for deployment.yaml
Lists as kubectl prints them do, too. Give every kind that decides, in one file or several with an -f for each:
  kubectl get nodes,pods,namespaces,resourcequotas,limitranges,runtimeclasses,priorityclasses -A -o json > objects.json
An empty kind leaves no trace in such a list, so what it decides may count as not known; --paths has not that flaw.

FITS counts further replicas that could be placed now, the workload's own pending pods included.
exact: what kube-scheduler would bind. interval: at least the first number (promise no more), at most the second (? where
nothing bounds it). unknown: something decides that is not modelled; nothing may be promised beyond what is bound.
QUOTA: more that may be created. CEILING: bound and what may be promised. STRANDED: free GPUs that no replica can use.
RELEASING, ARRIVING, HEADROOM: replicas in the room of pods that terminate, on nodes that are being brought, on nodes that
may be added.")]
pub struct Args {
    /// Objects of the cluster, as `kubectl get … -o json` or `-o yaml` prints them; `-` is standard input.
    /// Without it, the objects of the cluster that the kubeconfig names are listed.
    #[arg(short = 'f', long = "filename", value_name = "FILE")]
    filenames: Vec<PathBuf>,
    /// The workload, e.g. `deployment/chat`, in the cluster or among the objects of -f.
    #[arg(value_name = "KIND/NAME", required_unless_present_any = ["workload", "paths"])]
    named: Option<Named>,
    /// Namespace of the workload [default: that of the kubeconfig's context; in files, the only one that has it].
    #[arg(short, long)]
    namespace: Option<String>,
    /// Which cluster; without it, as kubectl chooses.
    #[arg(long, value_name = "FILE", conflicts_with = "filenames")]
    kubeconfig: Option<PathBuf>,
    /// The workload in a file: a Deployment, StatefulSet, ReplicaSet, LeaderWorkerSet, anything with `spec.template`, or a
    /// Pod; `-` is standard input.
    #[arg(long = "for", value_name = "FILE", conflicts_with = "named")]
    workload: Option<PathBuf>,
    /// Print the paths of everything that decides, for `kubectl get --raw`, and do nothing else.
    #[arg(long, exclusive = true)]
    paths: bool,
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
    /// move-pod=NAMESPACE/NAME:NODE, quota=NAMESPACE/NAME:RESOURCE=AMOUNT,
    /// queue-quota=QUEUE:FLAVOR:RESOURCE=AMOUNT, request=RESOURCE=AMOUNT.
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
    if args.paths {
        live::paths().try_for_each(|path| writeln!(out, "{path}"))?;
        return Ok(ExitCode::SUCCESS);
    }
    let (inputs, subject) = match read(&args, stdin, &mut talk) {
        Err(error) if error.is::<Usage>() => {
            writeln!(talk, "plimsoll: {error}")?;
            return Ok(ExitCode::from(2));
        }
        Err(error) if live::is_unreachable(&error) => {
            writeln!(talk, "plimsoll: {error:#}")?;
            return Ok(ExitCode::from(4));
        }
        read => read?,
    };
    let mut workload = Workload::find(&subject.source, subject.documents, args.namespace.as_deref())?;
    let mut objects = Objects::default();
    for Input { source, documents } in inputs {
        objects.add(&source, documents)?;
    }
    objects.close();
    workload.learn(&objects.view, subject.basis);
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

/// What one source holds.
struct Input {
    source: Source,
    documents: Vec<Value>,
}

/// Where the workload is described.
struct Asked {
    source: Source,
    documents: Vec<Value>,
    /// Whether the cluster works with that description already.
    basis: Basis,
}

/// Arguments that cannot be given together.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Usage(&'static str);

/// Everything that is given or listed, and the workload in it or beside it.
fn read(args: &Args, mut stdin: impl Read, talk: &mut impl Write) -> anyhow::Result<(Vec<Input>, Asked)> {
    let sources: Vec<_> = args.filenames.iter().cloned().map(Source::from).collect();
    let own = args.workload.clone().map(Source::from);
    if sources.iter().chain(&own).filter(|source| **source == Source::Stdin).count() > 1 {
        return Err(Usage("standard input can be read once: give `-` to only one of -f and --for").into());
    }
    // A file may say what somebody has in mind.
    let described = own.map(|source| {
        let documents = documents::read(&source, &mut stdin)?;
        anyhow::Ok(Asked { source, documents, basis: Basis::Proposed })
    });
    let described = described.transpose()?;
    let namespace = args.namespace.as_deref();
    let mut inputs = Vec::new();
    for source in sources {
        inputs.push(Input { documents: documents::read(&source, &mut stdin)?, source });
    }
    let (mut found, mut source) = (None, Source::Cluster);
    if inputs.is_empty() {
        let (documents, workload) = live::read(args.kubeconfig.as_deref(), args.named.as_ref(), namespace, talk)?;
        found = workload;
        inputs.push(Input { source: Source::Cluster, documents });
    } else if let Some(named) = &args.named {
        source = Source::Input;
        found = Some(named.find(namespace, inputs.iter().flat_map(|input| &input.documents))?);
    }
    let in_force = || Asked { source, documents: found.into_iter().collect(), basis: Basis::InForce };
    Ok((inputs, described.unwrap_or_else(in_force)))
}

fn policy(gpu_resources: Vec<String>, max_sharers: Option<NonZero<u32>>) -> Policy {
    let default = Policy { max_sharers: max_sharers.map(NonZero::get), ..Policy::default() };
    if gpu_resources.is_empty() { default } else { Policy { gpu_resources, ..default } }
}

#[cfg(test)]
mod tests;
