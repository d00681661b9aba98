//! Graphs in their three forms.

use consort_workflow_check::Graph;
use serde_json::json;

const SOURCE: &str = "
workflow: small
steps:
  plan: { capability: plan }
  work:
    for_each: ${{ steps.plan.output }}
    max_parallel: 2
    steps:
      one: { agent: worker, with: { v: '${{ item }}' } }
      two: { capability: check, needs: one, if: '${{ success() }}' }
  rest: { wait: 5s, needs: work }
  ask: { approve: 'Is \"<b>#1` fine?', needs: rest }
";

#[test]
fn the_tree_shows_what_each_step_does_and_needs() {
    let expected = "\
small
├─ plan: call plan
├─ work: group · for each of steps.plan.output, 2 at once · needs plan
│  ├─ one: call agent worker
│  └─ two: call check · if success() · needs one
├─ rest: wait for 5s · needs work
└─ ask: approve Is \"<b>#1` fine? · needs rest
";
    assert_eq!(Graph::of(&crate::parse(SOURCE)).tree(), expected);
}

#[test]
fn mermaid_is_escaped() {
    let expected = "\
flowchart TD
  n0[\"plan<br/>plan\"]
  subgraph n1[\"work<br/>for each of steps.plan.output, 2 at once\"]
    n2[\"one<br/>agent worker\"]
    n3[\"two<br/>check<br/>if success()\"]
  end
  n4([\"rest<br/>wait for 5s\"])
  n5{{\"ask<br/>approve Is #quot;#lt;b#gt;#35;1#96; fine?\"}}
  n0 --> n1
  n1 --> n4
  n2 --> n3
  n4 --> n5
";
    assert_eq!(Graph::of(&crate::parse(SOURCE)).mermaid(), expected);
}

#[test]
fn dot_joins_groups_at_their_border() {
    let text = Graph::of(&crate::parse(SOURCE)).dot();
    for line in [
        "  subgraph cluster_1 {",
        "    n2 [label=\"one\\nagent worker\"];",
        "  n0 -> n1 [lhead=cluster_1];",
        "  n1 -> n4 [ltail=cluster_1];",
        "  n5 [label=\"ask\\napprove Is \\\"<b>#1` fine?\", shape=ellipse];",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
}

#[test]
fn nodes_know_their_place() {
    let graph = serde_json::to_value(Graph::of(&crate::parse(SOURCE))).unwrap();
    assert_eq!(graph["nodes"][2]["path"], json!("work/one"));
    assert_eq!(graph["nodes"][2]["parent"], json!(1));
    assert_eq!(graph["edges"], json!([[0, 1], [1, 4], [2, 3], [4, 5]]));
}
