//! May this user ask this? Delegated to kube-apiserver by `SubjectAccessReview`.
//!
//! As `k8s.io/apiserver` v0.36.3 `plugin/pkg/authorizer/webhook/webhook.go` does it, with two differences: an allowed
//! answer is kept 60 s instead of 10 s and refreshed before it ends, since an HPA asks every 15 s and would else cost
//! kube-apiserver one review per question; and a review that fails or hangs is a 503, never a guess.

use std::{sync::Arc, time::Duration};

use k8s_openapi::{
    api::authorization::v1::{
        LabelSelectorAttributes, NonResourceAttributes, ResourceAttributes, SubjectAccessReview,
        SubjectAccessReviewSpec,
    },
    apimachinery::pkg::apis::meta::v1::LabelSelectorRequirement,
};
use kube::{Api, Client, api::PostParams};
use plimsoll_core::selector::{Requirement, Selector};
use sha2::{Digest, Sha256};

use super::{
    authentication::User,
    failure::{Details, Failure},
    metrics::Metrics,
    review::{self, Reviews},
};

/// The group that Kubernetes never asks about.
const MASTERS: &str = "system:masters";

/// What is to be authorised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// A non-resource path.
    Path(String),
    /// A metric.
    Resource {
        verb: &'static str,
        group: &'static str,
        version: &'static str,
        namespace: String,
        resource: String,
        subresource: String,
        name: String,
        selector: Selector,
    },
}

/// How access is authorised.
#[derive(Clone, Debug)]
pub struct Options {
    /// How long an allowed answer is kept.
    pub allowed_life: Duration,
    /// How long a denied one.
    pub denied_life: Duration,
    /// Paths that need no authorisation and no identity; a trailing `*` matches any rest.
    pub always_allow: Vec<String>,
    /// Whether `system:masters` may do everything without a review, as in Kubernetes.
    pub trust_masters: bool,
    /// How long a review may take.
    pub timeout: Duration,
}

/// Asks kube-apiserver, and remembers.
#[derive(Clone, Debug)]
pub struct Authorizer {
    api: Api<SubjectAccessReview>,
    options: Arc<Options>,
    reviews: Reviews<Verdict>,
}

/// What a review said.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Verdict {
    Allowed,
    Denied(String),
}

impl Default for Options {
    fn default() -> Self {
        Self {
            allowed_life: Duration::from_secs(60),
            denied_life: Duration::from_secs(10),
            always_allow: ["/healthz", "/readyz", "/livez"].map(str::to_owned).to_vec(),
            trust_masters: true,
            timeout: Duration::from_secs(2),
        }
    }
}

// === impl Options ===

impl Options {
    /// Whether a path is open to everybody.
    #[must_use]
    pub(crate) fn is_open(&self, path: &str) -> bool {
        self.always_allow
            .iter()
            .any(|open| open.strip_suffix('*').map_or(path == open, |prefix| path.starts_with(prefix)))
    }
}

// === impl Authorizer ===

impl Authorizer {
    /// An authoriser that asks through `client`.
    #[must_use]
    pub fn new(client: Client, options: Options, metrics: &Metrics) -> Self {
        let (allowed, denied) = (options.allowed_life, options.denied_life);
        let life = move |verdict: &Verdict| match verdict {
            Verdict::Allowed => allowed,
            Verdict::Denied(_) => denied,
        };
        let reviews = Reviews::new("subject", options.timeout, life, metrics.clone());
        Self { api: Api::all(client), options: Arc::new(options), reviews }
    }

    pub(crate) fn options(&self) -> &Options {
        &self.options
    }

    /// Allowed, or the failure to answer with.
    pub(crate) async fn authorize(&self, user: &User, access: &Access) -> Result<(), Failure> {
        if self.options.trust_masters && user.groups.iter().any(|group| group == MASTERS) {
            return Ok(());
        }
        match self.review(user, access).await {
            Ok(Verdict::Allowed) => Ok(()),
            Ok(Verdict::Denied(reason)) => Err(access.forbidden(&user.name, &reason)),
            Err(error) => Err(error.failure("cannot check with kube-apiserver whether this is allowed")),
        }
    }

    async fn review(&self, user: &User, access: &Access) -> Result<Verdict, review::Error> {
        let spec = spec(user, access);
        let text = serde_json::to_vec(&spec).map_err(|error| review::Error::Failed(error.to_string()))?;
        let key = Sha256::digest(&text).into();
        let api = self.api.clone();
        self.reviews.get(key, move || ask(api, spec)).await
    }
}

async fn ask(api: Api<SubjectAccessReview>, spec: SubjectAccessReviewSpec) -> Result<Verdict, review::Error> {
    let review = SubjectAccessReview { spec, ..SubjectAccessReview::default() };
    let answer = api.create(&PostParams::default(), &review).await?;
    let status = answer.status.ok_or_else(|| review::Error::Failed("the review came back without a status".into()))?;
    let reason = status.reason.unwrap_or_default();
    match (status.allowed, status.denied.unwrap_or(false)) {
        (true, true) => Err(review::Error::Failed("the review came back both allowed and denied".into())),
        (true, false) => Ok(Verdict::Allowed),
        (false, _) => Ok(Verdict::Denied(reason)),
    }
}

fn spec(user: &User, access: &Access) -> SubjectAccessReviewSpec {
    let (resource, path) = match access {
        Access::Path(path) => {
            (None, Some(NonResourceAttributes { path: Some(path.clone()), verb: Some("get".to_owned()) }))
        }
        Access::Resource { .. } => (access.resource(), None),
    };
    SubjectAccessReviewSpec {
        user: Some(user.name.clone()),
        uid: some(&user.uid),
        groups: Some(user.groups.clone()),
        extra: (!user.extra.is_empty()).then(|| user.extra.clone()),
        resource_attributes: resource,
        non_resource_attributes: path,
    }
}

fn some(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

// === impl Access ===

impl Access {
    fn resource(&self) -> Option<ResourceAttributes> {
        let Self::Resource { verb, group, version, namespace, resource, subresource, name, selector } = self else {
            return None;
        };
        let requirements: Vec<_> = selector.requirements().iter().filter_map(requirement).collect();
        let label_selector = (!requirements.is_empty())
            .then_some(LabelSelectorAttributes { requirements: Some(requirements), raw_selector: None });
        Some(ResourceAttributes {
            verb: Some((*verb).to_owned()),
            group: Some((*group).to_owned()),
            version: Some((*version).to_owned()),
            namespace: some(namespace),
            resource: Some(resource.clone()),
            subresource: some(subresource),
            name: some(name),
            label_selector,
            field_selector: None,
        })
    }

    /// The sentence of `k8s.io/apiserver` v0.36.3 `pkg/endpoints/handlers/responsewriters/errors.go`, wrapped as
    /// `apimachinery` `errors.NewForbidden` does.
    fn forbidden(&self, user: &str, reason: &str) -> Failure {
        let suffix = if reason.is_empty() { String::new() } else { format!(": {reason}") };
        match self {
            Self::Path(path) => {
                let sentence = sanitized(&format!("User {user:?} cannot get path {path:?}"));
                Failure::forbidden(format!("forbidden: {sentence}{suffix}"), Details::default())
            }
            Self::Resource { verb, group, namespace, resource, subresource, name, .. } => {
                let slash = if subresource.is_empty() { "" } else { "/" };
                let scope = if namespace.is_empty() {
                    "at the cluster scope".to_owned()
                } else {
                    format!("in the namespace {namespace:?}")
                };
                let what = format!("{resource}{slash}{subresource}");
                let sentence =
                    sanitized(&format!("User {user:?} cannot {verb} resource {what:?} in API group {group:?} {scope}"));
                let object = if name.is_empty() { String::new() } else { format!(" {name:?}") };
                let message = format!("{resource}.{group}{object} is forbidden: {sentence}{suffix}");
                let details = Details {
                    name: name.clone(),
                    group: (*group).to_owned(),
                    kind: resource.clone(),
                    ..Details::default()
                };
                Failure::forbidden(message, details)
            }
        }
    }
}

/// Nothing that looks like HTML: the text may be shown by a browser.
fn sanitized(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Requirements only narrow, so one that a review cannot express may be left out.
fn requirement(requirement: &Requirement) -> Option<LabelSelectorRequirement> {
    let operator = requirement.operator.object_form()?;
    let values: Vec<_> = requirement.values.iter().cloned().collect();
    Some(LabelSelectorRequirement {
        key: requirement.key.clone(),
        operator: operator.to_owned(),
        values: (!values.is_empty()).then_some(values),
    })
}
