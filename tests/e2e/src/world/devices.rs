//! Devices of dynamic resource allocation in a scenario, as a DRA driver publishes them.

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, ResourceExt,
    api::{ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams},
    core::GroupVersionKind,
};
use serde_json::{Value, json};

use super::{SOON, World};
use crate::{standin::WORLD, wait};

/// The driver, and the class that its chart makes.
const DRIVER: &str = "gpu.nvidia.com";

/// A part of the pool of a node.
#[derive(Clone, Copy, Debug)]
pub struct Slice<'a> {
    /// The node.
    pub node: &'a str,
    /// Which of the slices of the pool, from 0.
    pub index: u32,
    /// How many slices make the pool complete.
    pub of: u32,
    /// GPUs in it.
    pub gpus: u32,
    /// How many of them have a taint.
    pub sick: u32,
}

fn kind(kind: &str, plural: &str) -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("resource.k8s.io", "v1", kind), plural)
}

impl World<'_> {
    fn slices(&self) -> Api<DynamicObject> {
        Api::all_with(self.client(), &kind("ResourceSlice", "resourceslices"))
    }

    /// Makes the class for whole GPUs, which stands for `nvidia.com/gpu`.
    pub async fn add_gpu_class(&self) -> Result<()> {
        let resource = kind("DeviceClass", "deviceclasses");
        let expression = format!("device.driver == '{DRIVER}' && device.attributes['{DRIVER}'].type == 'gpu'");
        let spec = json!({
            "extendedResourceName": "nvidia.com/gpu", "selectors": [{"cel": {"expression": expression}}],
        });
        let class = json!({
            "apiVersion": "resource.k8s.io/v1", "kind": resource.kind, "metadata": {"name": DRIVER}, "spec": spec,
        });
        apply(&Api::all_with(self.client(), &resource), DRIVER, &class).await
    }

    /// Publishes GPUs of a node.
    pub async fn publish(&self, slice: Slice<'_>) -> Result<()> {
        let Slice { node, index, of, gpus, sick } = slice;
        let device = |gpu: u32| {
            let taints = if gpu < sick { json!([{"key": "sick", "effect": "NoSchedule"}]) } else { json!([]) };
            json!({
                "name": format!("gpu-{index}-{gpu}"), "taints": taints,
                "attributes": {"type": {"string": "gpu"}, "productName": {"string": "NVIDIA H100 80GB HBM3"}},
                "capacity": {"memory": {"value": "80Gi"}},
            })
        };
        let devices: Vec<_> = (0..gpus).map(device).collect();
        let name = format!("{node}-{DRIVER}-{index}");
        let slice = json!({
            "apiVersion": "resource.k8s.io/v1", "kind": "ResourceSlice",
            "metadata": {"name": name, "labels": {WORLD: self.namespace()}},
            "spec": {
                "driver": DRIVER, "nodeName": node, "devices": devices,
                "pool": {"name": node, "generation": 1, "resourceSliceCount": of},
            },
        });
        apply(&self.slices(), &name, &slice).await
    }

    /// Makes a ResourceClaimTemplate for one GPU.
    pub async fn add_gpu_claims(&self, name: &str) -> Result<()> {
        let resource = kind("ResourceClaimTemplate", "resourceclaimtemplates");
        let request = json!({"name": "gpu", "exactly": {"deviceClassName": DRIVER}});
        let template = json!({
            "apiVersion": "resource.k8s.io/v1", "kind": resource.kind, "metadata": {"name": name},
            "spec": {"spec": {"devices": {"requests": [request]}}},
        });
        apply(&Api::namespaced_with(self.client(), self.namespace(), &resource), name, &template).await
    }

    /// Lets somebody else's pod hold a GPU by a claim that is made for it; returns once it has a node.
    pub async fn claim_gpu(&self, pod: &str) -> Result<()> {
        self.add_gpu_claims(pod).await?;
        let container = json!({
            "name": "train", "image": "pytorch/pytorch:2.9.0", "resources": {"claims": [{"name": "gpu"}]},
        });
        let holder = serde_json::from_value(json!({
            "metadata": {"name": pod},
            "spec": {
                "nodeSelector": {WORLD: self.namespace()}, "terminationGracePeriodSeconds": 0,
                "containers": [container], "resourceClaims": [{"name": "gpu", "resourceClaimTemplateName": pod}],
            },
        }))?;
        let pods: Api<Pod> = Api::namespaced(self.client(), self.namespace());
        super::create(&pods, &holder).await?;
        wait::until(&format!("{pod} to have a node"), SOON, async || {
            Ok(pods.get(pod).await?.spec.and_then(|spec| spec.node_name).map(drop).ok_or("none"))
        })
        .await
    }

    /// Takes back what was published.
    pub async fn remove_devices(&self) -> Result<()> {
        let of_world = ListParams::default().labels(&format!("{WORLD}={}", self.namespace()));
        self.slices().delete_collection(&DeleteParams::default(), &of_world).await?;
        let classes: Api<DynamicObject> = Api::all_with(self.client(), &kind("DeviceClass", "deviceclasses"));
        classes.delete(DRIVER, &DeleteParams::default()).await?;
        Ok(())
    }
}

async fn apply(api: &Api<DynamicObject>, name: &str, object: &Value) -> Result<()> {
    let applied = api.patch(name, &PatchParams::apply("e2e"), &Patch::Apply(object)).await;
    let applied = applied.with_context(|| format!("publishing {name}"))?;
    anyhow::ensure!(applied.name_any() == name, "{} is not {name}", applied.name_any());
    Ok(())
}
