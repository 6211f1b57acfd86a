//! `plimsoll check`: what is wrong, or will surprise, in files; offline, with the types that `serve` reads them with.

use std::{
    io::{self, Read, Write},
    path::PathBuf,
    process::ExitCode,
};

use clap::ValueEnum;
use plimsoll_core::{
    keda::{Finding, Severity, findings_of_job, findings_of_object},
    object::{
        ObjectMeta,
        keda::{GROUP, ScaleTrigger, ScaledJob, ScaledObject},
    },
    trigger::Trigger,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::documents::{self, Source, items};
use crate::config::promql;

/// Arguments of `plimsoll check`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Checks KEDA ScaledObjects and ScaledJobs with triggers of Plimsoll; other objects are passed over.
Exit code 0: nothing found. 3: there are findings.")]
pub struct Args {
    /// Files with any number of objects, YAML or JSON; `-` is standard input.
    #[arg(short = 'f', long = "filename", value_name = "FILE", required = true)]
    filenames: Vec<PathBuf>,
    /// How findings are printed.
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    output: Format,
}

/// How findings are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Table,
    /// One JSON array.
    Json,
}

/// A finding, and the object that it is about.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Found {
    file: String,
    kind: &'static str,
    namespace: String,
    name: String,
    #[serde(flatten)]
    finding: Finding,
}

/// Most findings that are collected.
const MAX_FINDINGS: usize = 10_000;

/// Runs it.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    run_with(args, io::stdin().lock(), io::stdout().lock(), io::stderr().lock())
}

fn run_with(args: Args, stdin: impl Read, mut out: impl Write, mut talk: impl Write) -> anyhow::Result<ExitCode> {
    let sources: Vec<_> = args.filenames.into_iter().map(Source::from).collect();
    let documents = documents::read_all(&sources, stdin)?;
    let mut all = Vec::new();
    let mut checked = 0_usize;
    for (source, documents) in sources.iter().zip(documents) {
        for object in documents.into_iter().flat_map(items) {
            if let Some(found) = check(&source.to_string(), object) {
                checked += 1;
                all.extend(found);
                all.truncate(MAX_FINDINGS);
            }
        }
    }
    match args.output {
        Format::Table => table(&all, &mut out)?,
        Format::Json => writeln!(out, "{}", serde_json::to_string_pretty(&all)?)?,
    }
    writeln!(talk, "plimsoll: {checked} objects checked, {} findings", all.len())?;
    Ok(if all.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(3) })
}

/// What is found in an object; none if it is of a kind that is not checked.
fn check(file: &str, object: Value) -> Option<Vec<Found>> {
    let group = object.get("apiVersion")?.as_str()?.split_once('/')?.0 == GROUP;
    match object.get("kind")?.as_str()? {
        "ScaledObject" if group => Some(read(file, "ScaledObject", object, |object: &ScaledObject| {
            (&object.metadata, &object.spec.triggers, findings_of_object(object))
        })),
        "ScaledJob" if group => Some(read(file, "ScaledJob", object, |job: &ScaledJob| {
            (&job.metadata, &job.spec.triggers, findings_of_job(job))
        })),
        _ => None,
    }
}

/// Reads an object and finds what is to be found in it.
fn read<T: DeserializeOwned>(
    file: &str,
    kind: &'static str,
    object: Value,
    look: impl Fn(&T) -> (&ObjectMeta, &Vec<ScaleTrigger>, Vec<Finding>),
) -> Vec<Found> {
    let found = |metadata: &ObjectMeta, finding| Found {
        file: file.to_owned(),
        kind,
        namespace: metadata.namespace.clone(),
        name: metadata.name.clone(),
        finding,
    };
    let metadata: ObjectMeta =
        object.get("metadata").and_then(|value| serde_json::from_value(value.clone()).ok()).unwrap_or_default();
    match serde_json::from_value::<T>(object) {
        Ok(object) => {
            let (metadata, triggers, mut findings) = look(&object);
            findings.extend(queries(triggers));
            findings.into_iter().map(|finding| found(metadata, finding)).collect()
        }
        Err(error) => {
            let message = format!("cannot be read: {error}");
            vec![found(&metadata, Finding { severity: Severity::Error, path: "spec".to_owned(), message })]
        }
    }
}

/// Queries that no server would be asked.
fn queries(triggers: &[ScaleTrigger]) -> Vec<Finding> {
    let ours = triggers.iter().enumerate().filter(|(_, trigger)| trigger.is_ours());
    let parsed = ours.filter_map(|(index, trigger)| Some((index, Trigger::parse(&trigger.metadata).ok()?.query?)));
    let bad = parsed.filter_map(|(index, query)| {
        let message = promql::Query::new(&query.text, "namespace", "pod").err()?.to_string();
        let path = format!("spec.triggers[{index}].metadata.query");
        Some(Finding { severity: Severity::Error, path, message })
    });
    bad.collect()
}

fn table(all: &[Found], out: &mut impl Write) -> io::Result<()> {
    for Found { file, kind, namespace, name, finding } in all {
        let severity = if finding.severity == Severity::Error { "error" } else { "warning" };
        let place = if namespace.is_empty() { name.clone() } else { format!("{namespace}/{name}") };
        writeln!(out, "{file}: {kind} {place}: {}: {severity}: {}", finding.path, finding.message)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "\
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata: {name: chat, namespace: ml}
spec:
  scaleTargetRef: {name: chat}
  minReplicaCount: 1
  triggers:
  - type: external
    metadata: {signal: queueLength, treshold: \"10\", serverAddress: 'http://p:9090', query: 'sum(up'}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: chat}
---
apiVersion: keda.sh/v1alpha1
kind: ScaledJob
metadata: {name: batch}
spec: {triggers: 7}
";

    fn ran(text: &str, output: Format) -> (String, String, ExitCode) {
        let (mut out, mut talk) = (Vec::new(), Vec::new());
        let args = Args { filenames: vec!["-".into()], output };
        let code = run_with(args, text.as_bytes(), &mut out, &mut talk).unwrap();
        (String::from_utf8(out).unwrap(), String::from_utf8(talk).unwrap(), code)
    }

    #[test]
    fn findings_point_at_the_key_and_end_with_3() {
        let (out, talk, code) = ran(FILE, Format::Table);
        let at = "standard input: ScaledObject ml/chat: spec.triggers[0].metadata";
        let expected = [
            format!("{at}.threshold: error: is missing: the target per replica, e.g. \"10\""),
            format!("{at}.treshold: error: unknown key, did you mean \"threshold\"?"),
        ];
        for line in &expected {
            assert!(out.lines().any(|found| found == line), "{out}");
        }
        assert!(out.contains("ScaledJob batch: spec: error: cannot be read"), "{out}");
        assert_eq!(talk, "plimsoll: 2 objects checked, 3 findings\n");
        assert_eq!(format!("{code:?}"), format!("{:?}", ExitCode::from(3)));
    }

    #[test]
    fn a_query_that_is_not_promql_is_found_without_a_server() {
        let (out, ..) = ran(&FILE.replace("treshold", "threshold"), Format::Json);
        let found: Value = serde_json::from_str(&out).unwrap();
        assert_eq!(found[0]["path"], "spec.triggers[0].metadata.query");
        assert_eq!(found[0]["severity"], "error");
    }

    #[test]
    fn a_good_file_ends_with_0_and_prints_nothing() {
        let good = FILE.split("---").next().unwrap().replace("treshold", "threshold").replace("sum(up", "sum(up)");
        let (out, talk, code) = ran(&good, Format::Table);
        assert_eq!((out.as_str(), talk.as_str()), ("", "plimsoll: 1 objects checked, 0 findings\n"));
        assert_eq!(format!("{code:?}"), format!("{:?}", ExitCode::SUCCESS));
    }
}
