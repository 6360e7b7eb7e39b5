//! The JavaScript client, as pages load it.

use std::collections::BTreeMap;

use crate::harness::Bench;

/// An answer: its head, and its body.
fn parts(answer: &str) -> (&str, &str) {
    answer.split_once("\r\n\r\n").expect("an answer")
}

/// What a page may count on, of each script.
fn assert_is_script(head: &str, cache: &str) {
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    for line in [
        "content-type: text/javascript; charset=utf-8",
        "x-content-type-options: nosniff",
        "access-control-allow-origin: *",
        &format!("cache-control: {cache}\r"),
    ] {
        assert!(
            format!("{head}\r").contains(line),
            "{line} is not in {head}"
        );
    }
}

/// What a script imports, types in its comments too, without the `./` before each.
fn imports(script: &str) -> Vec<&str> {
    let after = script.split("'./").skip(1);
    after.filter_map(|text| text.split('\'').next()).collect()
}

/// A reference to what is below a path, as a browser takes it.
fn resolve(from: &str, reference: &str) -> String {
    let (dir, _) = from.rsplit_once('/').expect("a path");
    format!("{dir}/{reference}")
}

/// All that a page loads that imports `/client.js`: paths and bodies.
async fn loaded(bench: &Bench) -> BTreeMap<String, String> {
    let mut loaded = BTreeMap::new();
    let mut wanted = vec!["/client.js".to_owned()];
    while let Some(path) = wanted.pop() {
        if loaded.contains_key(&path) {
            continue;
        }
        let answer = bench.get(&path).await;
        let (head, body) = parts(&answer);
        let cache = match path.as_str() {
            "/client.js" => "public, no-cache",
            _ => "public, max-age=31536000, immutable",
        };
        assert_is_script(head, cache);
        wanted.extend(imports(body).iter().map(|import| resolve(&path, import)));
        loaded.insert(path, body.to_owned());
    }
    loaded
}

/// The directory of the modules that a gateway has.
fn version(loaded: &BTreeMap<String, String>) -> &str {
    let (_, path) = loaded["/client.js"]
        .split_once("'./client/")
        .expect("it imports");
    path.split('/').next().expect("a version")
}

#[tokio::test]
async fn whatever_is_imported_is_served_and_is_the_file_itself() {
    let bench = Bench::start().await;
    let loaded = loaded(&bench).await;
    let version = version(&loaded);
    assert_eq!(version.len(), 24, "{version}");
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/web");
    let files = std::fs::read_dir(format!("{dir}/client")).expect("the modules");
    let scripts = files.filter(|file| {
        let path = file.as_ref().expect("a file").path();
        path.extension().is_some_and(|extension| extension == "js")
    });
    assert_eq!(loaded.len(), 1 + scripts.count(), "{:?}", loaded.keys());
    for (path, body) in &loaded {
        let pinned = format!("/{version}/");
        assert_eq!(path == "/client.js", !path.contains(&pinned), "{path}");
        let file = std::fs::read_to_string(format!("{dir}{}", path.replace(&pinned, "/")));
        assert_eq!(
            body.replace(&pinned, "/"),
            file.expect("a file of it"),
            "{path}"
        );
    }
}

/// Another version's module must neither be taken from here, nor be remembered as missing.
#[tokio::test]
async fn what_is_of_another_version_or_unknown_is_not_found_for_now() {
    let bench = Bench::start().await;
    let loaded = loaded(&bench).await;
    let version = version(&loaded);
    for path in [
        "/client/000000000000000000000000/frontdesk.js".to_owned(),
        "/client/frontdesk.js/frontdesk.js".to_owned(),
        format!("/client/{version}/nothing.js"),
        format!("/client/{version}/frontdesk"),
        format!("/client/{version}/..%2fclient.js"),
        format!("/client/{}/frontdesk.js", version.to_uppercase() + "0"),
    ] {
        let answer = bench.get(&path).await;
        let (head, body) = parts(&answer);
        assert!(head.starts_with("HTTP/1.1 404"), "{path}: {head}");
        assert!(head.contains("cache-control: no-store"), "{path}: {head}");
        assert!(
            head.contains("access-control-allow-origin: *"),
            "{path}: {head}"
        );
        assert!(body.contains("load /client.js again"), "{path}: {body}");
    }
    for path in ["/client/frontdesk.js", "/client/", "/client"] {
        let answer = bench.get(path).await;
        assert!(answer.starts_with("HTTP/1.1 404"), "{path}: {answer}");
    }
}

#[tokio::test]
async fn who_has_it_is_not_sent_it_again() {
    let bench = Bench::start().await;
    let loaded = loaded(&bench).await;
    for path in loaded.keys() {
        let answer = bench.get(path).await;
        let etag = parts(&answer)
            .0
            .lines()
            .find_map(|line| line.strip_prefix("etag: "));
        let etag = etag.expect("an ETag");
        let again = async |known: &str| {
            let request = format!(
                "GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\nIf-None-Match: {known}\r\n\r\n"
            );
            bench.raw(request.as_bytes()).await
        };
        for known in [etag, &format!("\"other\", W/{etag}"), "*"] {
            let answer = again(known).await;
            assert!(answer.starts_with("HTTP/1.1 304"), "{known}: {answer}");
            assert!(answer.ends_with("\r\n\r\n"), "a body: {answer}");
        }
        assert!(again("\"other\"").await.starts_with("HTTP/1.1 200"));
    }
}
