//! Rules of the manifests: inherited lints, folder names, licences, and features that would change stored bytes.
//!
//! For: the output of `cargo metadata`, and the manifests' text. Not for: arrows between crates.
//! Invariant: the view of a package here is the only place that knows the shape of `cargo metadata`.

use std::path::Path;

use serde_json::Value;

use super::{Problem, licence};
use crate::project::TextFile;

/// Features of `serde_json` that change the order or the meaning of values, and with them the bytes of the fold.
const JSON_FEATURES: [&str; 2] = ["preserve_order", "arbitrary_precision"];

/// A package of the workspace.
pub(super) struct Member<'a> {
    /// The package's name.
    pub(super) name: &'a str,
    /// Its manifest, from the root.
    pub(super) manifest: String,
    /// What it declares.
    pub(super) dependencies: Vec<Dependency<'a>>,
}

/// A declared dependency.
pub(super) struct Dependency<'a> {
    /// The package's name.
    pub(super) name: &'a str,
    /// `normal`, `build` or `dev`.
    pub(super) kind: &'a str,
    /// Whether it is a crate of this project.
    pub(super) is_ours: bool,
}

/// The packages of the workspace.
pub(super) fn members(metadata: &Value) -> impl Iterator<Item = Member<'_>> {
    let root = metadata["workspace_root"].as_str().unwrap_or_default();
    let ids = list(&metadata["workspace_members"]);
    list(&metadata["packages"]).iter().filter(|package| ids.contains(&package["id"])).map(move |package| {
        let manifest = package["manifest_path"].as_str().unwrap_or_default();
        let relative = Path::new(manifest).strip_prefix(root).unwrap_or(Path::new(manifest));
        Member {
            name: package["name"].as_str().unwrap_or_default(),
            manifest: relative.to_string_lossy().replace('\\', "/"),
            dependencies: list(&package["dependencies"]).iter().map(dependency).collect(),
        }
    })
}

fn dependency(value: &Value) -> Dependency<'_> {
    Dependency {
        name: value["name"].as_str().unwrap_or_default(),
        kind: value["kind"].as_str().unwrap_or("normal"),
        is_ours: value["path"].is_string(),
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// Names of the packages that a package depends on to run, as cargo has resolved them.
pub(super) fn resolved_below<'a>(metadata: &'a Value, name: &str) -> Vec<&'a str> {
    let packages = list(&metadata["packages"]);
    let name_of = |id: &Value| packages.iter().find(|package| package["id"] == *id)?["name"].as_str();
    let nodes = list(&metadata["resolve"]["nodes"]).iter().filter(|node| name_of(&node["id"]) == Some(name));
    let normal = |dep: &&Value| list(&dep["dep_kinds"]).iter().any(|kind| kind["kind"].is_null());
    nodes.flat_map(|node| list(&node["deps"])).filter(normal).filter_map(|dep| name_of(&dep["pkg"])).collect()
}

/// The problems of the manifests.
pub(super) fn check(metadata: &Value, files: &[TextFile]) -> Vec<Problem> {
    let mut found: Vec<Problem> = members(metadata).flat_map(|member| member_problems(&member, files)).collect();
    found.extend(json_features(metadata));
    found.extend(licences(metadata));
    found
}

fn member_problems(member: &Member<'_>, files: &[TextFile]) -> Vec<Problem> {
    let mut found = Vec::new();
    let folder = member.manifest.rsplit('/').nth(1).unwrap_or_default();
    let expected = member.name.strip_prefix("consort-").unwrap_or(member.name);
    if folder != expected {
        let what = format!("package `{}` in folder `{folder}`", member.name);
        found.push(Problem::new(&member.manifest, 1, what, format!("call the folder `{expected}`")));
    }
    let text = files.iter().find(|file| file.path == member.manifest).map_or("", |file| &file.text);
    if !inherits_lints(text) {
        let advice = "add `[lints]` with `workspace = true`";
        found.push(Problem::new(&member.manifest, 1, "lints are not inherited", advice));
    }
    found
}

fn inherits_lints(manifest: &str) -> bool {
    let mut lines = manifest.lines().map(str::trim).skip_while(|line| *line != "[lints]").skip(1);
    lines.by_ref().take_while(|line| !line.starts_with('[')).any(|line| line.replace(' ', "") == "workspace=true")
}

fn json_features(metadata: &Value) -> Vec<Problem> {
    let packages = list(&metadata["packages"]);
    let is_json = |id: &Value| packages.iter().any(|package| package["id"] == *id && package["name"] == "serde_json");
    let nodes = list(&metadata["resolve"]["nodes"]).iter().filter(|node| is_json(&node["id"]));
    let features = nodes.flat_map(|node| list(&node["features"])).filter_map(Value::as_str);
    let bad = features.filter(|feature| JSON_FEATURES.contains(feature));
    let advice = "find the dependency that enables it with `cargo tree -e features -i serde_json`, and remove it";
    bad.map(|feature| Problem::new("Cargo.toml", 1, format!("`serde_json` has feature `{feature}`"), advice)).collect()
}

fn licences(metadata: &Value) -> Vec<Problem> {
    let mut found = Vec::new();
    for package in list(&metadata["packages"]) {
        let name = package["name"].as_str().unwrap_or_default();
        let licence = package["license"].as_str().unwrap_or_default();
        if !licence::is_permissive(licence) {
            let what = format!("`{name}` has the licence `{licence}`");
            found.push(Problem::new("Cargo.toml", 1, what, "take another crate; only permissive licences may be used"));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const GOOD: &str = "[package]\nname = \"x\"\n\n[lints]\nworkspace = true\n\n[dependencies]\n";

    fn problems(name: &str, folder: &str, manifest: &str, licence: &str, json_features: &[&str]) -> Vec<String> {
        let path = format!("crates/{folder}/Cargo.toml");
        let metadata = json!({
            "workspace_root": "/p",
            "workspace_members": ["ours"],
            "packages": [
                { "id": "ours", "name": name, "manifest_path": format!("/p/{path}"), "license": "Apache-2.0" },
                { "id": "json", "name": "serde_json", "license": licence },
            ],
            "resolve": { "nodes": [{ "id": "json", "features": json_features }] },
        });
        let files = [TextFile { path, text: manifest.to_owned() }];
        check(&metadata, &files).into_iter().map(|problem| problem.what).collect()
    }

    #[test]
    fn a_good_manifest_passes() {
        assert!(problems("consort-core", "core", GOOD, "MIT OR Apache-2.0", &["std", "raw_value"]).is_empty());
    }

    #[test]
    fn lints_must_be_inherited() {
        for manifest in ["", "[lints]\n[dependencies]\nworkspace = true\n", "[lints.rust]\nworkspace = true\n"] {
            assert_eq!(problems("consort-core", "core", manifest, "MIT", &[]), ["lints are not inherited"]);
        }
    }

    #[test]
    fn a_folder_is_called_like_its_package() {
        let found = problems("consort-core", "machine", GOOD, "MIT", &[]);
        assert_eq!(found, ["package `consort-core` in folder `machine`"]);
    }

    #[test]
    fn features_that_change_stored_bytes_are_found() {
        let found = problems("consort-core", "core", GOOD, "MIT", &["std", "preserve_order", "arbitrary_precision"]);
        assert_eq!(found, JSON_FEATURES.map(|feature| format!("`serde_json` has feature `{feature}`")));
    }

    #[test]
    fn licences_must_be_permissive_in_one_choice() {
        assert!(problems("consort-core", "core", GOOD, "GPL-3.0 OR MIT", &[]).is_empty());
        for licence in ["", "GPL-3.0", "MIT AND GPL-3.0"] {
            let found = problems("consort-core", "core", GOOD, licence, &[]);
            assert_eq!(found, [format!("`serde_json` has the licence `{licence}`")]);
        }
    }
}
