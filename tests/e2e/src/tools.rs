//! Where the binaries are. An absent one fails the test and names the command that provides it.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

/// A binary of the control plane toolset, such as `kube-apiserver`.
pub fn control_plane(binary: &str) -> Result<PathBuf> {
    existing(&folder("PLIMSOLL_E2E_TOOLS")?.join(binary))
}

/// A binary of the Prometheus toolset.
pub fn prometheus(binary: &str) -> Result<PathBuf> {
    existing(&folder("PLIMSOLL_E2E_PROMETHEUS")?.join(binary))
}

/// A binary of the KEDA toolset; its custom resource definitions are in the folder `crds` beside it.
pub fn keda(file: &str) -> Result<PathBuf> {
    existing(&folder("PLIMSOLL_E2E_KEDA")?.join(file))
}

/// A file of the Kueue toolset: the binary, or the folder `components` beside it.
pub fn kueue(file: &str) -> Result<PathBuf> {
    existing(&folder("PLIMSOLL_E2E_KUEUE")?.join(file))
}

/// The adapter under test.
pub fn plimsoll() -> Result<PathBuf> {
    existing(&folder("PLIMSOLL_BIN")?)
}

/// The repository's `deploy` folder.
pub fn deploy() -> Result<PathBuf> {
    existing(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy"))
}

fn folder(variable: &str) -> Result<PathBuf> {
    std::env::var_os(variable)
        .map(PathBuf::from)
        .with_context(|| format!("{variable} is not set: run the end-to-end tests with `make e2e`"))
}

fn existing(path: &Path) -> Result<PathBuf> {
    ensure!(path.exists(), "{} does not exist: run the end-to-end tests with `make e2e`", path.display());
    path.canonicalize().with_context(|| format!("resolving {}", path.display()))
}
