//! The JavaScript client (`gateway/web`): its types, its rules in Node, and its life on a real cluster, in Node
//! and in Chromium, while programs are killed and drained. The history checker judges what its users saw.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "in a test a panic with a sentence is how a failure is reported"
)]

mod herd;
mod life;
mod programs;
mod stage;
mod visitor;

use programs::{run, web};

#[test]
fn the_typescript_compiler_finds_nothing_to_object_to() {
    assert_eq!(run("tsc", &["--project", "tsconfig.json"]), Ok(()));
}

/// What `npm pack` puts into the package.
#[test]
fn the_package_has_types() {
    let dir = tempfile::tempdir().expect("a directory");
    let to = dir.path().to_string_lossy().into_owned();
    let args = ["--project", "tsconfig.types.json", "--outDir", &to];
    assert_eq!(run("tsc", &args), Ok(()));
    let page = dir.path().join("use.ts");
    std::fs::copy(web().join("test/use.ts"), &page).expect("a copy");
    let page = page.to_string_lossy().into_owned();
    let args = ["--strict", "--noEmit", "--target", "es2022", &page];
    assert_eq!(run("tsc", &args), Ok(()));
}

#[test]
fn the_rules_hold_in_node() {
    let tests = std::fs::read_dir(web().join("test")).expect("tests");
    let tests = tests.map(|entry| entry.expect("a file").path().to_string_lossy().into_owned());
    let tests: Vec<_> = tests.filter(|path| path.ends_with(".test.mjs")).collect();
    assert!(tests.len() >= 7, "{tests:?}");
    let args: Vec<_> = std::iter::once("--test")
        .chain(tests.iter().map(String::as_str))
        .collect();
    if let Err(output) = run("node", &args) {
        panic!("{output}");
    }
}
