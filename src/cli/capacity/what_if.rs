//! `--what-if`: edits in words of the command line.

use std::str::FromStr;

use anyhow::{Context as _, anyhow, bail};
use plimsoll_core::{capacity::Edit, object::ObjectKey, quantity::Quantity};

/// How edits are written.
const FORMS: &str = "add-nodes=COUNT:LIKE-NODE, remove-node=NAME, cordon=NAME, uncordon=NAME, \
     delete-pod=NAMESPACE/NAME, move-pod=NAMESPACE/NAME:NODE, quota=NAMESPACE/NAME:RESOURCE=AMOUNT, \
     queue-quota=QUEUE:FLAVOR:RESOURCE=AMOUNT, request=RESOURCE=AMOUNT";

/// An edit as an argument.
#[derive(Clone, Debug)]
pub(super) struct WhatIf(pub(super) Edit);

impl FromStr for WhatIf {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (verb, operand) = text.split_once('=').unwrap_or((text, ""));
        let name = || some(operand).with_context(|| format!("{verb} needs a name: {verb}=NAME"));
        let edit = match verb {
            "add-nodes" => add_nodes(operand)?,
            "remove-node" => Edit::RemoveNode { node: name()? },
            "cordon" => Edit::Cordon { node: name()? },
            "uncordon" => Edit::Uncordon { node: name()? },
            "delete-pod" => Edit::DeletePod { pod: key(operand).context("delete-pod=NAMESPACE/NAME")? },
            "move-pod" => {
                let (pod, to) = operand.split_once(':').context("move-pod=NAMESPACE/NAME:NODE")?;
                Edit::MovePod { pod: key(pod).context("move-pod=NAMESPACE/NAME:NODE")?, to: some(to)? }
            }
            "quota" => {
                let form = "quota=NAMESPACE/NAME:RESOURCE=AMOUNT, e.g. quota=ml/team:requests.nvidia.com/gpu=16";
                let (quota, limit) = operand.split_once(':').context(form)?;
                let (resource, hard) = amount(limit).context(form)?;
                Edit::Quota { quota: key(quota).context(form)?, resource, hard }
            }
            "queue-quota" => {
                let form = "queue-quota=QUEUE:FLAVOR:RESOURCE=AMOUNT, e.g. queue-quota=team:h100:nvidia.com/gpu=16";
                let (queue, limit) = operand.split_once(':').context(form)?;
                let (flavor, limit) = limit.split_once(':').context(form)?;
                let (resource, nominal) = amount(limit).context(form)?;
                let (queue, flavor) = (some(queue).context(form)?, some(flavor).context(form)?);
                Edit::QueueQuota { queue, flavor, resource, nominal }
            }
            "request" => {
                let (resource, amount) = amount(operand).context("request=RESOURCE=AMOUNT")?;
                Edit::Request { resource, amount }
            }
            _ => bail!("{verb:?} is no change that is known; write one of {FORMS}"),
        };
        Ok(Self(edit))
    }
}

fn add_nodes(operand: &str) -> anyhow::Result<Edit> {
    let form = "add-nodes=COUNT:LIKE-NODE, e.g. add-nodes=2:gpu-node-1";
    let (count, like) = operand.split_once(':').ok_or_else(|| anyhow!("write {form}"))?;
    let count = count.parse().with_context(|| format!("{count:?} is no number of nodes: write {form}"))?;
    Ok(Edit::AddNodes { count, like: some(like).with_context(|| format!("write {form}"))? })
}

fn key(text: &str) -> anyhow::Result<ObjectKey> {
    let (namespace, name) = text.split_once('/').ok_or_else(|| anyhow!("the namespace is missing in {text:?}"))?;
    Ok(ObjectKey::new(some(namespace)?, some(name)?))
}

fn amount(text: &str) -> anyhow::Result<(String, Quantity)> {
    let (resource, amount) = text.split_once('=').ok_or_else(|| anyhow!("the amount is missing in {text:?}"))?;
    let amount = amount.parse().with_context(|| format!("{amount:?} is no quantity"))?;
    Ok((some(resource)?, amount))
}

fn some(text: &str) -> anyhow::Result<String> {
    (!text.is_empty()).then(|| text.to_owned()).context("a name is missing")
}
