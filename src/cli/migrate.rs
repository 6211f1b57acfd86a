//! `plimsoll migrate`: HPAs with our metrics to ScaledObjects, and back; offline, files in, manifests out.

use std::{
    fmt,
    io::{self, Read, Write},
    path::PathBuf,
    process::ExitCode,
    str::FromStr,
};

use clap::ValueEnum;
use plimsoll_core::{
    decision::served_metrics,
    keda::{Finding, Severity, findings_of_object},
    migrate::{Scaler, to_hpa, to_scaled_object},
    object::{
        HorizontalPodAutoscaler, ObjectMeta,
        keda::{AuthenticationRef, GROUP, ScaleTrigger, ScaledObject},
    },
    policy::Policy,
};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::documents::{self, Source, items};
use crate::config;

mod manifest;

/// Arguments of `plimsoll migrate`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Nothing is lost in silence: what has no equivalent is named with its field on standard error. With a warning the
object is printed all the same; with an error nothing at all is, so that the output can be piped into kubectl apply.
Exit code 0: everything was migrated. 3: there are errors.")]
pub struct Args {
    /// Files with any number of objects, YAML or JSON; `-` is standard input.
    #[arg(short = 'f', long = "filename", value_name = "FILE", required = true)]
    filenames: Vec<PathBuf>,
    /// What is made; objects of other kinds than those it is made of are passed over.
    #[arg(long, value_name = "KIND", default_value = "scaled-object")]
    to: To,
    /// Where KEDA reaches our scaler.
    #[arg(long, value_name = "HOST:PORT", default_value = "plimsoll-scaler.plimsoll-system.svc:9443")]
    scaler_address: String,
    /// Where KEDA finds its client certificate: KIND/NAME, or `none`.
    #[arg(long, value_name = "KIND/NAME", default_value = "ClusterTriggerAuthentication/plimsoll")]
    authentication: Authentication,
    /// Let KEDA make an HPA of its own, keda-hpa-NAME; the one that is there must be deleted first. Without it KEDA
    /// takes that one over.
    #[arg(long)]
    new_hpa: bool,
    /// Configuration of the server, for the names of its metrics.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// How objects are printed.
    #[arg(short, long, value_name = "FORMAT", default_value = "yaml")]
    output: Format,
}

/// What is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum To {
    /// ScaledObjects of HPAs.
    ScaledObject,
    /// HPAs of ScaledObjects.
    Hpa,
}

/// How objects are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// YAML documents.
    Yaml,
    /// One JSON object: a List if there are several.
    Json,
}

/// `--authentication`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Authentication(Option<AuthenticationRef>);

/// One object of the input.
struct Input {
    source: String,
    kind: &'static str,
    metadata: ObjectMeta,
    object: Value,
}

/// What is said of the run.
struct Talk<W> {
    out: W,
    errors: usize,
}

/// Runs it.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    run_with(args, io::stdin().lock(), io::stdout().lock(), io::stderr().lock())
}

fn run_with(args: Args, stdin: impl Read, mut out: impl Write, talk: impl Write) -> anyhow::Result<ExitCode> {
    let policy =
        args.config.as_deref().map_or_else(|| Ok(Policy::default()), |path| config::load(path).map(|c| c.policy))?;
    let scaler =
        Scaler { address: args.scaler_address, authentication: args.authentication.0, take_over: !args.new_hpa };
    let sources: Vec<_> = args.filenames.into_iter().map(Source::from).collect();
    let documents = documents::read_all(&sources, stdin)?;
    let mut talk = Talk { out: talk, errors: 0 };
    let (mut made, mut passed) = (Vec::new(), 0_usize);
    for (source, documents) in sources.iter().zip(documents) {
        for object in documents.into_iter().flat_map(items) {
            let Some(input) = Input::of(source, args.to, object) else {
                passed += 1;
                continue;
            };
            match args.to {
                To::ScaledObject => made.extend(talk.scaled_object(&input, &policy, &scaler)?),
                To::Hpa => made.extend(talk.hpa(&input, &policy)?),
            }
        }
    }
    let kind = if args.to == To::ScaledObject { "HorizontalPodAutoscalers" } else { "ScaledObjects" };
    if passed > 0 {
        writeln!(talk.out, "plimsoll: {passed} objects passed over: they are not {kind}")?;
    }
    if talk.errors > 0 {
        writeln!(talk.out, "plimsoll: nothing is printed: {} errors", talk.errors)?;
        return Ok(ExitCode::from(3));
    }
    match args.output {
        Format::Yaml => manifest::yaml(&made, &mut out)?,
        Format::Json => manifest::json(made, &mut out)?,
    }
    Ok(ExitCode::SUCCESS)
}

// === impl Authentication ===

impl FromStr for Authentication {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "none" {
            return Ok(Self(None));
        }
        let kinds = ["ClusterTriggerAuthentication", "TriggerAuthentication"];
        match text.split_once('/') {
            Some((kind, name)) if kinds.contains(&kind) && !name.is_empty() => {
                Ok(Self(Some(AuthenticationRef { name: name.to_owned(), kind: kind.to_owned() })))
            }
            _ => Err(format!("is neither none nor {}/NAME", kinds.join("/NAME nor "))),
        }
    }
}

// === impl Input ===

impl Input {
    /// An object of the kind that is migrated; none if it is of another.
    fn of(source: &Source, to: To, object: Value) -> Option<Self> {
        let (group, kind) = match to {
            To::ScaledObject => ("autoscaling", "HorizontalPodAutoscaler"),
            To::Hpa => (GROUP, "ScaledObject"),
        };
        let of_group = object.get("apiVersion")?.as_str()?.split_once('/')?.0 == group;
        let is_it = of_group && object.get("kind")?.as_str()? == kind;
        let metadata = object.get("metadata").and_then(|value| serde_json::from_value(value.clone()).ok());
        let (source, metadata) = (source.to_string(), metadata.unwrap_or_default());
        is_it.then_some(Self { source, kind, metadata, object })
    }

    fn read<T: DeserializeOwned>(&self) -> Result<T, Vec<Finding>> {
        serde_json::from_value(self.object.clone()).map_err(|error| {
            vec![Finding {
                severity: Severity::Error,
                path: "spec".to_owned(),
                message: format!("cannot be read: {error}"),
            }]
        })
    }

    /// Fields of the specification that nobody reads.
    fn unread(&self, read: &Value) -> Vec<Finding> {
        let spec = self.object.get("spec").unwrap_or(&Value::Null);
        let paths = manifest::unread(spec, read);
        let warning = |path| Finding {
            severity: Severity::Warning,
            path,
            message: "has no equivalent and is left out".to_owned(),
        };
        paths.into_iter().map(warning).collect()
    }
}

impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { source, kind, metadata, .. } = self;
        if metadata.namespace.is_empty() {
            write!(f, "{source}: {kind} {}", metadata.name)
        } else {
            write!(f, "{source}: {kind} {}", metadata.key())
        }
    }
}

// === impl Talk ===

impl<W: Write> Talk<W> {
    fn scaled_object(&mut self, input: &Input, policy: &Policy, scaler: &Scaler) -> anyhow::Result<Option<Value>> {
        if input.object.get("apiVersion").and_then(Value::as_str) != Some("autoscaling/v2") {
            let message =
                "is not autoscaling/v2: kubectl get horizontalpodautoscalers.v2.autoscaling -o yaml gives that";
            let finding =
                Finding { severity: Severity::Error, path: "apiVersion".to_owned(), message: message.to_owned() };
            self.say(input, &[finding])?;
            return Ok(None);
        }
        let hpa: HorizontalPodAutoscaler = match input.read() {
            Ok(hpa) => hpa,
            Err(findings) => return self.say(input, &findings).map(|()| None),
        };
        let owned = hpa.metadata.controller().is_some_and(|owner| owner.kind == "ScaledObject");
        if owned || served_metrics(&hpa, policy).next().is_none() {
            let why = if owned { "KEDA has made it" } else { "it has no metric of Plimsoll" };
            writeln!(self.out, "plimsoll: {input}: passed over: {why}")?;
            return Ok(None);
        }
        self.say(input, &input.unread(&serde_json::to_value(&hpa.spec)?))?;
        match to_scaled_object(&hpa, policy, scaler) {
            Ok(migrated) => {
                self.say(input, &migrated.warnings)?;
                self.surprises(input, &migrated.object)?;
                Ok(Some(manifest::scaled_object(&migrated.object)?))
            }
            Err(findings) => self.say(input, &findings).map(|()| None),
        }
    }

    fn hpa(&mut self, input: &Input, policy: &Policy) -> anyhow::Result<Option<Value>> {
        let object: ScaledObject = match input.read() {
            Ok(object) => object,
            Err(findings) => return self.say(input, &findings).map(|()| None),
        };
        if !object.spec.triggers.iter().any(ScaleTrigger::is_ours) {
            writeln!(self.out, "plimsoll: {input}: passed over: it has no trigger of Plimsoll")?;
            return Ok(None);
        }
        self.say(input, &input.unread(&serde_json::to_value(&object.spec)?))?;
        match to_hpa(&object, policy) {
            Ok(migrated) => {
                self.say(input, &migrated.warnings)?;
                Ok(Some(manifest::hpa(&migrated.object)?))
            }
            Err(findings) => self.say(input, &findings).map(|()| None),
        }
    }

    /// What `plimsoll check` would find in the ScaledObject that was made.
    fn surprises(&mut self, input: &Input, made: &ScaledObject) -> anyhow::Result<()> {
        let source = format!("made of {}", input.source);
        let made_of = Input { source, kind: "ScaledObject", metadata: made.metadata.clone(), object: Value::Null };
        self.say(&made_of, &findings_of_object(made))
    }

    fn say(&mut self, input: &Input, findings: &[Finding]) -> anyhow::Result<()> {
        for Finding { severity, path, message } in findings {
            let severity = match severity {
                Severity::Error => "error",
                Severity::Warning => "warning",
            };
            self.errors += usize::from(severity == "error");
            writeln!(self.out, "plimsoll: {input}: {path}: {severity}: {message}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
