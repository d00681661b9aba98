//! The workflows that ship inside the binary.
//!
//! For: `consort run research` anywhere, without a file. Not for: workflows of a project.
//! Invariant: each is the file of `workflows/` of that name, unchanged; each passes the checker (a test).

/// A workflow that ships.
#[derive(Clone, Copy, Debug)]
pub struct Shipped {
    /// Its name.
    pub name: &'static str,
    /// Its YAML text.
    pub source: &'static str,
}

macro_rules! shipped {
    ($folder:literal: $($name:literal),+) => {
        &[$(Shipped { name: $name, source: include_str!(concat!("../../../workflows/", $folder, $name, ".yaml")) }),+]
    };
}

/// Every workflow that ships, by name.
pub const SHIPPED: &[Shipped] = shipped!["": "hello", "research"];

/// The workflows of `docs/tour.md`, which a project may begin with. `broken` is what its name says.
pub const TOUR: &[Shipped] = shipped!["tour/": "slow", "release", "broken", "say"];

/// The shipped workflow of this name.
pub fn shipped(name: &str) -> Option<&'static Shipped> {
    SHIPPED.iter().find(|workflow| workflow.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shipped_workflow_passes_the_checker_under_its_own_name() {
        for workflow in SHIPPED {
            let checked = consort_workflow_check::check(workflow.source)
                .unwrap_or_else(|found| panic!("{}", found.render(workflow.name, workflow.source, false)));
            assert_eq!((checked.definition.name.as_str(), checked.warnings.0.len()), (workflow.name, 0));
            assert!(shipped(workflow.name).is_some());
        }
        assert!(shipped("nothing").is_none());
    }

    #[test]
    fn the_workflows_of_the_tour_are_as_it_shows_them() {
        for workflow in TOUR {
            let places: Vec<(usize, usize)> = match consort_workflow_check::check(workflow.source) {
                Ok(checked) => {
                    assert_eq!((checked.definition.name.as_str(), checked.warnings.0.len()), (workflow.name, 0));
                    Vec::new()
                }
                Err(found) => found.0.iter().map(|found| (found.line, found.column)).collect(),
            };
            let expected = if workflow.name == "broken" { vec![(5, 27), (7, 5), (9, 11)] } else { Vec::new() };
            assert_eq!(places, expected, "{}", workflow.name);
        }
    }
}
