//! What a path asks for.
//!
//! One parse serves both sides: what is authorised ([`Route::access`]) and what is answered come from the same value,
//! so they cannot differ. The split into namespace, resource, name and subresource is that of `k8s.io/apiserver`
//! v0.36.3 `pkg/endpoints/request/requestinfo.go`; the routes are those of `k8s.io/metrics` v0.36.3 `pkg/client`.

use super::{authorization::Access, percent, query::Query};

/// Longest path with query that is read. A pod selector of a scale target is the longest honest part of one.
pub(crate) const MAX_URI: usize = 8 * 1024;
/// More segments than the longest route has.
const MAX_SEGMENTS: usize = 16;

/// API groups served.
pub(crate) const EXTERNAL: &str = "external.metrics.k8s.io";
/// The custom metrics group.
pub(crate) const CUSTOM: &str = "custom.metrics.k8s.io";

/// Version of the custom metrics API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CustomVersion {
    V1beta1,
    V1beta2,
}

/// One group and version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GroupVersion {
    External,
    Custom(CustomVersion),
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    Health(Health),
    Metrics,
    Version,
    Groups,
    Group(&'static str),
    Resources(GroupVersion),
    OpenApiV2,
    OpenApiV3,
    OpenApiV3Of(GroupVersion),
    External(ExternalRoute),
    Custom(CustomRoute),
}

/// A health endpoint, whole or one check of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Health {
    pub(crate) kind: HealthKind,
    pub(crate) check: Option<String>,
}

/// Which health endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HealthKind {
    Live,
    Ready,
    /// `/healthz`, the old name of `/livez`.
    Healthz,
}

/// An External metric of a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ExternalRoute {
    pub(crate) namespace: String,
    pub(crate) metric: String,
}

/// A custom metric.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CustomRoute {
    pub(crate) version: CustomVersion,
    pub(crate) namespace: String,
    pub(crate) of: Described,
    pub(crate) metric: String,
}

/// Of what a custom metric is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Described {
    /// The namespace itself.
    Namespace,
    /// Objects of a resource; the name `*` means all that a selector matches.
    Objects { resource: String, name: String },
}

// === impl GroupVersion ===

impl GroupVersion {
    /// All, in the order in which discovery prefers them within a group.
    pub(crate) const ALL: [Self; 3] =
        [Self::Custom(CustomVersion::V1beta2), Self::Custom(CustomVersion::V1beta1), Self::External];

    pub(crate) const fn group(self) -> &'static str {
        match self {
            Self::External => EXTERNAL,
            Self::Custom(_) => CUSTOM,
        }
    }

    pub(crate) const fn version(self) -> &'static str {
        match self {
            Self::External | Self::Custom(CustomVersion::V1beta1) => "v1beta1",
            Self::Custom(CustomVersion::V1beta2) => "v1beta2",
        }
    }

    /// `group/version`.
    pub(crate) fn api_version(self) -> String {
        format!("{}/{}", self.group(), self.version())
    }

    fn find(group: &str, version: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.group() == group && known.version() == version)
    }
}

// === impl Route ===

impl Route {
    /// Reads a path, percent-encoded as it came. `None`: nothing is there.
    pub(crate) fn parse(path: &str) -> Option<Self> {
        // Decoded before it is split, as Go's URL.Path is: an escaped slash separates here as it does there.
        let path = percent::decode(path)?;
        let trimmed = path.strip_prefix('/')?;
        let trimmed = trimmed.strip_suffix('/').unwrap_or(trimmed);
        let segments: Vec<_> = trimmed.split('/').take(MAX_SEGMENTS).collect();
        if segments.iter().any(|segment| matches!(*segment, "" | "." | "..")) {
            return None;
        }
        Self::of(&segments)
    }

    fn of(segments: &[&str]) -> Option<Self> {
        Some(match *segments {
            ["metrics"] => Self::Metrics,
            ["version"] => Self::Version,
            ["openapi", "v2"] => Self::OpenApiV2,
            ["openapi", "v3"] => Self::OpenApiV3,
            ["openapi", "v3", "apis", group, version] => Self::OpenApiV3Of(GroupVersion::find(group, version)?),
            ["apis"] => Self::Groups,
            ["apis", group] => Self::Group([EXTERNAL, CUSTOM].into_iter().find(|known| *known == group)?),
            ["apis", group, version] => Self::Resources(GroupVersion::find(group, version)?),
            ["apis", group, version, ref rest @ ..] => match GroupVersion::find(group, version)? {
                GroupVersion::External => Self::External(external(rest)?),
                GroupVersion::Custom(version) => Self::Custom(custom(version, rest)?),
            },
            [kind] => Self::Health(Health { kind: HealthKind::find(kind)?, check: None }),
            [kind, check] => Self::Health(Health { kind: HealthKind::find(kind)?, check: Some(check.to_owned()) }),
            _ => return None,
        })
    }

    /// What an access review must be asked before this is answered.
    pub(crate) fn access(&self, path: &str, query: &Query) -> Access {
        match self {
            Self::External(route) => Access::Resource {
                verb: "list",
                group: EXTERNAL,
                version: "v1beta1",
                namespace: route.namespace.clone(),
                resource: route.metric.clone(),
                subresource: String::new(),
                name: String::new(),
                selector: query.label_selector.clone(),
            },
            Self::Custom(route) => route.access(),
            _ => Access::Path(percent::decode(path).unwrap_or_default()),
        }
    }

    /// A word of a closed set, for metrics.
    pub(crate) const fn label(&self) -> &'static str {
        match self {
            Self::Health(_) => "health",
            Self::Metrics => "metrics",
            Self::Version => "version",
            Self::Groups | Self::Group(_) | Self::Resources(_) => "discovery",
            Self::OpenApiV2 | Self::OpenApiV3 | Self::OpenApiV3Of(_) => "openapi",
            Self::External(_) => "external",
            Self::Custom(_) => "custom",
        }
    }
}

fn external(rest: &[&str]) -> Option<ExternalRoute> {
    match *rest {
        ["namespaces", namespace, metric] if !OF_NAMESPACES.contains(&metric) => {
            Some(ExternalRoute { namespace: namespace.to_owned(), metric: metric.to_owned() })
        }
        _ => None,
    }
}

/// Words after a namespace that requestinfo.go reads as subresources of it. Served, they would be authorised as one
/// thing and answered as another.
const OF_NAMESPACES: [&str; 2] = ["status", "finalize"];
/// Words in the place of a cluster-scoped resource that requestinfo.go reads as verbs.
const VERBS: [&str; 2] = ["proxy", "watch"];

fn custom(version: CustomVersion, rest: &[&str]) -> Option<CustomRoute> {
    let (namespace, of, metric) = match *rest {
        ["namespaces", namespace, "metrics", metric] => (namespace, Described::Namespace, metric),
        ["namespaces", namespace, resource, name, metric] => {
            (namespace, objects(resource, name, &OF_NAMESPACES)?, metric)
        }
        // Two segments after `namespaces` name a resource of a namespace, not the object `namespaces/{name}`.
        ["namespaces", ..] => return None,
        [resource, name, metric] => ("", objects(resource, name, &VERBS)?, metric),
        _ => return None,
    };
    Some(CustomRoute { version, namespace: namespace.to_owned(), of, metric: metric.to_owned() })
}

fn objects(resource: &str, name: &str, reserved: &[&str]) -> Option<Described> {
    let free = !reserved.contains(&resource);
    free.then(|| Described::Objects { resource: resource.to_owned(), name: name.to_owned() })
}

impl CustomRoute {
    fn access(&self) -> Access {
        let (resource, name, subresource) = match &self.of {
            Described::Namespace => ("metrics", &self.metric, ""),
            Described::Objects { resource, name } => (resource.as_str(), name, self.metric.as_str()),
        };
        Access::Resource {
            verb: "get",
            group: CUSTOM,
            version: GroupVersion::Custom(self.version).version(),
            namespace: self.namespace.clone(),
            resource: resource.to_owned(),
            subresource: subresource.to_owned(),
            name: name.clone(),
            // requestinfo.go reads selectors for list, watch and deletecollection only.
            selector: plimsoll_core::selector::Selector::default(),
        }
    }
}

impl HealthKind {
    fn find(word: &str) -> Option<Self> {
        match word {
            "livez" => Some(Self::Live),
            "readyz" => Some(Self::Ready),
            "healthz" => Some(Self::Healthz),
            _ => None,
        }
    }

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Live => "livez",
            Self::Ready => "readyz",
            Self::Healthz => "healthz",
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_authorised_is_what_is_answered() {
        let path = "/apis/custom.metrics.k8s.io/v1beta2/namespaces/a/ingresses.networking.k8s.io/main/rate";
        let route = Route::parse(path).unwrap();
        let Route::Custom(custom) = &route else { panic!("{route:?}") };
        let described =
            Described::Objects { resource: "ingresses.networking.k8s.io".to_owned(), name: "main".to_owned() };
        assert_eq!((custom.namespace.as_str(), &custom.of, custom.metric.as_str()), ("a", &described, "rate"));
        let Access::Resource { namespace, resource, name, subresource, .. } = route.access(path, &Query::default())
        else {
            panic!("not a resource")
        };
        let authorised = [namespace, resource, name, subresource];
        assert_eq!(authorised, ["a", "ingresses.networking.k8s.io", "main", "rate"]);
    }

    #[test]
    fn an_escaped_slash_separates_as_it_does_in_kubernetes() {
        let escaped = Route::parse("/apis/external.metrics.k8s.io/v1beta1/namespaces%2Fshop%2Fqueue");
        assert_eq!(escaped, Route::parse("/apis/external.metrics.k8s.io/v1beta1/namespaces/shop/queue"));
        assert!(escaped.is_some());
    }

    proptest! {
        #[test]
        fn no_path_panics(path in "\\PC{0,80}") {
            let _ = Route::parse(&path);
        }

        #[test]
        fn a_route_of_names_gives_the_names_back(namespace in "[a-z0-9-]{1,20}", metric in "[A-Za-z0-9_:.|-]{1,40}") {
            prop_assume!(!["status", "finalize", ".", ".."].contains(&metric.as_str()));
            prop_assume!(![".", ".."].contains(&namespace.as_str()));
            let path = format!("/apis/external.metrics.k8s.io/v1beta1/namespaces/{namespace}/{metric}");
            prop_assert_eq!(Route::parse(&path), Some(Route::External(ExternalRoute { namespace, metric })));
        }
    }
}
