//! The shape of the code base, held true: who may depend on whom.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Edges of the root crate, and the modules of that crate which each may use besides the core.
const EDGES: [(&str, &[&str]); 7] = [
    ("api", &["server", "clock"]),
    ("config", &[]),
    ("kubernetes", &["clock"]),
    ("scaler", &["server", "clock"]),
    ("server", &["clock"]),
    ("source", &["config", "clock"]),
    ("status", &["clock"]),
];

const IMPURE: [&str; 14] = [
    "tokio",
    "kube",
    "k8s-openapi",
    "hyper",
    "hyper-util",
    "http",
    "http-body-util",
    "axum",
    "reqwest",
    "tonic",
    "tower",
    "rustls",
    "tracing",
    "moka",
];

/// What a pure module never names: clocks, environment, files, network, threads, output.
const IMPURE_PATHS: [&str; 10] = [
    "time::Instant",
    "SystemTime",
    "Timestamp::now",
    "Zoned::now",
    "std::env",
    "std::fs",
    "std::net::Tcp",
    "std::process",
    "std::thread",
    "println!",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

/// The names of all packages that the core pulls into a build, from `Cargo.lock`.
fn dependencies_of_the_core() -> Vec<String> {
    let output = std::process::Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--package", "plimsoll-core", "--edges", "normal", "--prefix", "none"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let tree = String::from_utf8(output.stdout).unwrap();
    tree.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

/// Whether a file names a module of the root crate, by its full path or in a nested import.
fn names(text: &str, module: &str) -> bool {
    let boundary = |rest: &str| !rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
    let full = format!("crate::{module}");
    let by_path = text.match_indices(&full).any(|(at, found)| boundary(&text[at + found.len()..]));
    let nested = text.split("use crate::{").skip(1).any(|imports| {
        let imports = imports.split("};").next().unwrap_or_default();
        let words = imports.split(|c: char| c == ',' || c == '{' || c.is_whitespace());
        words.filter(|word| !word.is_empty()).any(|word| word.split("::").next() == Some(module))
    });
    by_path || nested
}

/// Whether a `use` of the file, nested or not, ends in that word.
fn imports(text: &str, word: &str) -> bool {
    let uses = text.split(';').filter_map(|statement| statement.split("use ").nth(1));
    uses.flat_map(|path| path.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')).any(|part| part == word)
}

#[test]
fn an_import_is_found_in_any_form() {
    for text in [
        "use std::time::Instant;",
        "use std::{\n    fmt,\n    time::{Duration, Instant},\n};",
        "pub use a::Instant as B;",
    ] {
        assert!(imports(text, "Instant"), "{text}");
    }
    assert!(!imports("use a::{Instants, NotInstant};\n/// Instant\nfn a() {}", "Instant"));
}

#[test]
fn the_core_depends_on_no_runtime_client_or_server() {
    let dependencies = dependencies_of_the_core();
    assert!(dependencies.iter().any(|name| name == "serde"), "the tree was read: {dependencies:?}");
    for impure in IMPURE {
        assert!(!dependencies.iter().any(|name| name == impure), "the core pulls in {impure}");
    }
}

#[test]
fn the_core_names_no_clock_no_environment_and_no_input_or_output() {
    for file in rust_files(&root().join("src/core")) {
        if file.components().any(|part| part.as_os_str() == "benches") {
            continue;
        }
        let text = fs::read_to_string(&file).unwrap();
        for path in IMPURE_PATHS {
            assert!(!text.contains(path), "{} names {path}", file.display());
        }
        assert!(!imports(&text, "Instant"), "{} imports Instant", file.display());
    }
}

#[test]
fn no_edge_depends_on_another_edge() {
    for (edge, allowed) in EDGES {
        let folder = root().join("src").join(edge);
        let mut files = vec![folder.with_extension("rs")];
        if folder.is_dir() {
            files.extend(rust_files(&folder));
        }
        for file in files {
            let text = fs::read_to_string(&file).unwrap();
            for (other, _) in EDGES {
                let may = other == edge || allowed.contains(&other);
                assert!(may || !names(&text, other), "{} uses the edge `{other}`", file.display());
            }
            assert!(!names(&text, "serve"), "{} uses the wiring", file.display());
        }
    }
}
