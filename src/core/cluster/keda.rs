//! ScaledJobs in the view: the Jobs of each are a workload, found by KEDA's label.

use super::{
    Delta, Effect, View,
    apply::{apply, compare},
};
use crate::{
    object::{
        ObjectKey, Revision, ScaleTarget,
        keda::{GROUP, SCALED_JOB_LABEL, ScaledJob},
    },
    selector::{LabelSelector, Selector},
};

impl View {
    /// Puts ScaledJobs into the view, and their Jobs as workloads.
    pub(super) fn apply_scaled_job(&mut self, delta: Delta<ScaledJob, ObjectKey>) -> Effect {
        let effect = apply(&mut self.scaled_jobs, delta, |job| job.metadata.key(), compare);
        if effect != Effect::Same {
            self.workloads.retain(|key, _| key.group != GROUP);
            self.workloads.extend(self.scaled_jobs.values().map(|job| (job.workload(), target(job))));
        }
        effect
    }
}

/// Nobody asks a ScaledJob for a number of replicas: what there is, is what its pods are. Jobs of several pods at a
/// time are no replica of one pod, so that nothing is known of what fits.
fn target(job: &ScaledJob) -> ScaleTarget {
    let spec = &job.spec.job_target_ref;
    let label = (SCALED_JOB_LABEL.to_owned(), job.metadata.name.clone());
    let labels = LabelSelector { match_labels: [label].into(), ..LabelSelector::default() };
    ScaleTarget {
        selector: Selector::try_from(&labels).unwrap_or_default(),
        template: spec.template.clone().filter(|_| spec.parallelism.unwrap_or(1) == 1),
        annotations: job.metadata.annotations.clone(),
        // Jobs keep the template that they were made with.
        revision: Revision::None,
        ..ScaleTarget::default()
    }
}
