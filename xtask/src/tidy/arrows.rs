//! Which crate may depend on which: the map of ARCHITECTURE.md as a table.
//!
//! For: normal and build dependencies between the project's crates, and the few outside crates that a pure crate
//! must not take. Not for: dev-dependencies, which are free.
//! Invariant: a crate that is not in the table is a problem, so that its place cannot be forgotten.

use serde_json::Value;

use super::Problem;

/// A crate's place.
struct Place {
    name: &'static str,
    /// The project's crates that it may depend on.
    may_use: &'static [&'static str],
    /// Whether it must stay free of runtimes, clocks and chance.
    pure: bool,
}

const fn pure(name: &'static str, may_use: &'static [&'static str]) -> Place {
    Place { name, may_use, pure: true }
}

const fn shell(name: &'static str, may_use: &'static [&'static str]) -> Place {
    Place { name, may_use, pure: false }
}

/// Product crates from the lowest layer to the highest. Arrows point up in this list only.
const PRODUCT: &[Place] = &[
    pure("types", &[]),
    pure("patterns", &[]),
    shell("api", &["types"]),
    pure("workflow", &["types"]),
    shell("workflow-check", &["types", "workflow"]),
    pure("core", &["types", "workflow"]),
    pure("log", &["types"]),
    pure("store", &["types"]),
    shell("log-file", &["types", "log"]),
    shell("store-fjall", &["types", "store"]),
    pure("dispatch", &["types"]),
    shell("engine", &["types", "workflow", "workflow-check", "core", "log", "store", "dispatch"]),
    shell("listen", &["types"]),
    shell("proto", &["types"]),
    shell("sdk", &["types", "api", "proto"]),
    shell("agents-research", &["types", "sdk"]),
    shell("peering", &["types", "api"]),
    shell("mirror", &["types", "api", "peering"]),
    shell("bridge", &["types", "api", "peering"]),
    shell("webhooks", &["types", "api", "engine"]),
    shell("api-http", &["types", "api", "workflow-check", "engine", "listen"]),
    shell("api-grpc", &["types", "workflow", "engine", "proto", "listen"]),
    shell(
        "server",
        &[
            "types",
            "workflow-check",
            "log",
            "store",
            "log-file",
            "store-fjall",
            "engine",
            "sdk",
            "agents-research",
            "listen",
            "webhooks",
            "api-http",
            "api-grpc",
        ],
    ),
    shell(
        "cli",
        &["types", "patterns", "api", "workflow", "workflow-check", "engine", "peering", "mirror", "bridge", "server"],
    ),
];

/// Crates that serve development: they may use any crate, and no product crate may use them.
const DEVELOPMENT: &[&str] = &["sim", "testkit", "linearizability", "bench", "crash", "conformance", "fuzz", "xtask"];

/// Outside crates that bring a runtime, a clock, chance or hash order, and readers of texts whose rules change with
/// their versions. A pure crate has none of them, however far below it.
const IMPURE: &[&str] = &[
    "tokio",
    "rand",
    "rand_core",
    "fastrand",
    "getrandom",
    "chrono",
    "time",
    "jiff",
    "ahash",
    "hashbrown",
    "jsonschema",
    "saphyr",
    "saphyr-parser",
    "serde_yaml",
    "serde_yaml_ng",
    "yaml-rust2",
];

/// The problems in the arrows of the workspace.
pub(super) fn check(metadata: &Value) -> Vec<Problem> {
    let mut found: Vec<Problem> = super::manifest::members(metadata).flat_map(|p| package_problems(&p)).collect();
    found.extend(super::manifest::members(metadata).filter_map(|package| impure_below(metadata, &package)));
    found
}

/// The first impure crate below a pure one, with the way to it; features are those that cargo has resolved.
fn impure_below(metadata: &Value, package: &super::manifest::Member<'_>) -> Option<Problem> {
    let own = short(package.name);
    PRODUCT.iter().find(|place| place.name == own && place.pure)?;
    let mut ways = vec![vec![package.name]];
    let mut seen = vec![package.name];
    let mut at = 0;
    while at < ways.len() {
        for below in super::manifest::resolved_below(metadata, ways[at][ways[at].len() - 1]) {
            let way = [&ways[at][..], &[below]].concat();
            if IMPURE.contains(&below) {
                let way: Vec<&str> = way.into_iter().map(short).collect();
                let what = format!("`{own}` must stay without `{below}`: {}", way.join(" -> "));
                return Some(Problem::new(
                    &package.manifest,
                    1,
                    what,
                    "choose other features, or do without the crate",
                ));
            }
            if !seen.contains(&below) {
                seen.push(below);
                ways.push(way);
            }
        }
        at += 1;
    }
    None
}

fn package_problems(package: &super::manifest::Member<'_>) -> Vec<Problem> {
    let own = short(package.name);
    if DEVELOPMENT.contains(&own) {
        return Vec::new();
    }
    let manifest = package.manifest.as_str();
    let Some(place) = PRODUCT.iter().find(|place| place.name == own) else {
        let advice = "place it in `xtask/src/tidy/arrows.rs` and in ARCHITECTURE.md";
        return vec![Problem::new(manifest, 1, format!("crate `{own}` has no place in the layers"), advice)];
    };
    let names = package.dependencies.iter().filter(|dependency| dependency.kind != "dev");
    names.filter_map(|dependency| forbidden(place, dependency)).map(|what| arrow_problem(manifest, what)).collect()
}

fn arrow_problem(manifest: &str, what: String) -> Problem {
    Problem::new(manifest, 1, what, "turn the arrow round, or move what is shared to a lower crate")
}

/// What is wrong with the dependency, if anything.
fn forbidden(place: &Place, dependency: &super::manifest::Dependency<'_>) -> Option<String> {
    if dependency.is_ours {
        let used = short(dependency.name);
        let allowed = place.may_use.contains(&used);
        return (!allowed).then(|| format!("`{}` must not depend on `{used}`", place.name));
    }
    None
}

/// The name in this table: without the prefix that all packages share.
fn short(name: &str) -> &str {
    name.strip_prefix("consort-").unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// What is wrong when a crate has these dependencies, each written as `kind name`.
    fn problems(name: &str, dependencies: &[&str]) -> Vec<String> {
        let dependencies: Vec<Value> = dependencies
            .iter()
            .map(|text| {
                let (kind, name) = text.split_once(' ').expect("kind and name");
                let kind = if kind == "normal" { Value::Null } else { json!(kind) };
                let path = name.starts_with("consort-").then_some("somewhere");
                json!({ "name": name, "kind": kind, "path": path })
            })
            .collect();
        let package = json!({
            "id": "a", "name": name, "manifest_path": "/p/crates/a/Cargo.toml", "dependencies": dependencies,
        });
        let metadata = json!({ "workspace_root": "/p", "workspace_members": ["a"], "packages": [package] });
        check(&metadata).into_iter().map(|problem| problem.what).collect()
    }

    #[test]
    fn allowed_arrows_pass() {
        assert!(
            problems("consort-engine", &["normal consort-core", "normal tokio", "dev consort-log-file"]).is_empty()
        );
        assert!(problems("consort-cli", &["normal consort-server"]).is_empty());
        assert!(problems("consort-sim", &["normal consort-engine", "normal consort-testkit"]).is_empty());
        assert!(problems("consort-core", &["dev rand", "normal minicbor"]).is_empty());
    }

    #[test]
    fn arrows_that_point_up_sideways_or_at_test_code_are_found() {
        for (from, to) in [
            ("types", "core"),
            ("core", "log"),
            ("core", "store"),
            ("dispatch", "core"),
            ("log-file", "store-fjall"),
            ("engine", "log-file"),
            ("engine", "store-fjall"),
            ("sdk", "engine"),
            ("agents-research", "engine"),
            ("api-http", "store"),
            ("server", "cli"),
            ("server", "testkit"),
            ("cli", "sim"),
        ] {
            for kind in ["normal", "build"] {
                let found = problems(&format!("consort-{from}"), &[&format!("{kind} consort-{to}")]);
                assert_eq!(found, [format!("`{from}` must not depend on `{to}`")]);
            }
        }
    }

    /// What is wrong where cargo has resolved these dependencies, each `from kind to`; the first is of the member.
    fn resolved(member: &str, arrows: &[(&str, Option<&str>, &str)]) -> Vec<String> {
        let mut names: Vec<&str> = arrows.iter().flat_map(|(from, _, to)| [*from, *to]).collect();
        names.sort_unstable();
        names.dedup();
        let packages: Vec<Value> = names
            .iter()
            .map(|name| json!({"id": name, "name": name, "manifest_path": "/p/Cargo.toml", "dependencies": []}))
            .collect();
        let deps = |name: &str| -> Vec<Value> {
            let of = arrows.iter().filter(|(from, ..)| *from == name);
            of.map(|(_, kind, to)| json!({"pkg": to, "dep_kinds": [{"kind": kind}]})).collect()
        };
        let nodes: Vec<Value> = names.iter().map(|name| json!({"id": name, "deps": deps(name)})).collect();
        let metadata = json!({
            "workspace_root": "/p", "workspace_members": [member], "packages": packages, "resolve": {"nodes": nodes},
        });
        check(&metadata).into_iter().map(|problem| problem.what).collect()
    }

    #[test]
    fn a_pure_crate_has_nothing_impure_however_far_below() {
        assert_eq!(
            resolved("consort-core", &[("consort-core", None, "tokio")]),
            ["`core` must stay without `tokio`: core -> tokio"]
        );
        let far = [
            ("consort-core", None, "consort-workflow"),
            ("consort-workflow", None, "x"),
            ("x", None, "consort-workflow"),
            ("x", None, "getrandom"),
        ];
        assert_eq!(
            resolved("consort-core", &far),
            ["`core` must stay without `getrandom`: core -> workflow -> x -> getrandom"]
        );
    }

    #[test]
    fn what_only_builds_or_tests_a_crate_may_be_impure() {
        for kind in ["dev", "build"] {
            assert!(resolved("consort-core", &[("consort-core", Some(kind), "tokio")]).is_empty(), "{kind}");
        }
        assert!(resolved("consort-engine", &[("consort-engine", None, "tokio")]).is_empty());
    }

    #[test]
    fn a_crate_without_a_place_is_found() {
        assert_eq!(problems("consort-novel", &[]), ["crate `novel` has no place in the layers"]);
    }

    #[test]
    fn the_table_itself_points_down_only() {
        for (i, place) in PRODUCT.iter().enumerate() {
            for used in place.may_use {
                assert!(PRODUCT[..i].iter().any(|lower| lower.name == *used), "{} -> {used}", place.name);
            }
        }
    }
}
