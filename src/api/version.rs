//! `/version`, in the form of Kubernetes (`k8s.io/apimachinery` v0.36.3 `pkg/version`).

use serde_json::{Value, json};

/// `version.Info` of this binary.
pub(crate) fn info() -> Value {
    let (major, minor) = (env!("CARGO_PKG_VERSION_MAJOR"), env!("CARGO_PKG_VERSION_MINOR"));
    json!({
        "major": major,
        "minor": minor,
        "gitVersion": concat!("v", env!("CARGO_PKG_VERSION")),
        "gitCommit": "",
        "gitTreeState": "",
        "buildDate": "",
        "goVersion": "",
        "compiler": "rustc",
        "platform": format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH),
    })
}
