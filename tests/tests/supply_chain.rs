//! `deploy/deny.sh`, which `make lint` runs: it lets our dependencies pass, and fails on what is
//! planted here.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "in a test a panic with a sentence is how a failure is reported"
)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
/// Where the test's database would be; git is told that it is a directory.
const DATABASE: &str = "https://advisories.test/seeded";
/// An advisory on every version of a crate.
const ADVISORY: &str = r#"```toml
[advisory]
id = "RUSTSEC-2026-9999"
package = "PACKAGE"
date = "2026-01-01"

[versions]
patched = []
```

# A planted advisory

It is not real.
"#;

/// A directory with a database of advisories, and our deny.toml that names it.
struct Desk {
    dir: TempDir,
}

impl Desk {
    fn new() -> Self {
        let desk = Self {
            dir: tempfile::tempdir().expect("the temporary directory is writable"),
        };
        desk.plant_advisory("nobody-has-this");
        let ours = fs::read_to_string(Path::new(ROOT).join("deny.toml")).unwrap();
        let copies = desk.path("copies").display().to_string();
        let theirs = format!("[advisories]\ndb-path = \"{copies}\"\ndb-urls = [\"{DATABASE}\"]\n");
        assert_eq!(ours.matches("[advisories]\n").count(), 1);
        let config = ours.replace("[advisories]\n", &theirs);
        fs::write(desk.path("deny.toml"), config).unwrap();
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn plant_advisory(&self, package: &str) {
        let database = self.path("database");
        let _ = fs::remove_dir_all(database.join("crates"));
        let dir = database.join("crates").join(package);
        fs::create_dir_all(&dir).unwrap();
        let text = ADVISORY.replace("PACKAGE", package);
        fs::write(dir.join("RUSTSEC-2026-9999.md"), text).unwrap();
        commit(&database);
    }

    /// A package of its own, with this in its manifest.
    fn package(&self, manifest: &str) -> String {
        let dir = self.path("package");
        fs::create_dir_all(dir.join("src")).unwrap();
        fs::write(dir.join("src/lib.rs"), "").unwrap();
        let head = "[package]\nname = \"planted\"\nversion = \"1.0.0\"\nedition = \"2024\"\n";
        fs::write(
            dir.join("Cargo.toml"),
            format!("{head}{manifest}\n[workspace]\n"),
        )
        .unwrap();
        let mut lock = Command::new(env!("CARGO"));
        lock.arg("generate-lockfile").current_dir(&dir);
        run(&mut lock);
        dir.join("Cargo.toml").display().to_string()
    }

    /// Whether the check passes, and all that it says.
    fn check(&self, more: &[&str]) -> (bool, String) {
        let output = Command::new(Path::new(ROOT).join("deploy/deny.sh"))
            .arg("--config")
            .arg(self.path("deny.toml"))
            .args(more)
            .env("GIT_CONFIG_COUNT", "1")
            .env(
                "GIT_CONFIG_KEY_0",
                format!("url.file://{}.insteadOf", self.path("database").display()),
            )
            .env("GIT_CONFIG_VALUE_0", DATABASE)
            .output()
            .expect("deploy/deny.sh can be started");
        let said = [output.stdout, output.stderr].concat();
        (
            output.status.success(),
            String::from_utf8_lossy(&said).into_owned(),
        )
    }
}

fn commit(repository: &Path) {
    let script = "git init -q -b main . && git add -A && \
        git -c user.name=test -c user.email=test@test.invalid commit -q -m planted";
    run(Command::new("sh")
        .args(["-ec", script])
        .current_dir(repository));
}

fn run(command: &mut Command) {
    let output = command.output().expect("it can be started");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
}

#[test]
fn our_dependencies_pass_until_one_has_an_advisory() {
    let desk = Desk::new();
    let (passes, said) = desk.check(&[]);
    assert!(passes && said.contains("advisories ok"), "{said}");
    assert!(said.contains("bans ok, licenses ok, sources ok"), "{said}");
    desk.plant_advisory("anyhow"); // which we have
    let (passes, said) = desk.check(&[]);
    assert!(!passes && said.contains("RUSTSEC-2026-9999"), "{said}");
    // The copy counts where the database is gone.
    fs::remove_dir_all(desk.path("database")).unwrap();
    let (passes, said) = desk.check(&[]);
    assert!(!passes && said.contains("RUSTSEC-2026-9999"), "{said}");
    // Without a copy nobody has looked, and that is said.
    fs::remove_dir_all(desk.path("copies")).unwrap();
    let (passes, said) = desk.check(&[]);
    assert!(passes && said.contains("ADVISORIES NOT CHECKED"), "{said}");
}

#[test]
fn a_licence_that_is_not_on_the_list_fails() {
    let desk = Desk::new();
    for (licence, allowed) in [
        ("MIT", true),
        ("GPL-3.0-only", false),
        ("AGPL-3.0-only", false),
    ] {
        let manifest = desk.package(&format!("license = \"{licence}\"\n"));
        let (passes, said) = desk.check(&["--manifest-path", &manifest]);
        assert_eq!(passes, allowed, "{licence}: {said}");
        assert_eq!(said.contains("licenses FAILED"), !allowed, "{said}");
    }
}

#[test]
fn a_dependency_from_anywhere_but_crates_io_fails() {
    let desk = Desk::new();
    let elsewhere = desk.path("elsewhere");
    fs::create_dir_all(elsewhere.join("src")).unwrap();
    fs::write(elsewhere.join("src/lib.rs"), "").unwrap();
    let manifest = "[package]\nname = \"elsewhere\"\nversion = \"1.0.0\"\nlicense = \"MIT\"\n";
    fs::write(elsewhere.join("Cargo.toml"), manifest).unwrap();
    commit(&elsewhere);
    let url = format!("file://{}", elsewhere.display());
    let manifest = format!(
        "license = \"MIT\"\n[dependencies]\nelsewhere = {{ version = \"1\", git = \"{url}\" }}\n"
    );
    let manifest = desk.package(&manifest);
    let (passes, said) = desk.check(&["--manifest-path", &manifest]);
    assert!(!passes && said.contains("sources FAILED"), "{said}");
}
