//! `consort workflows test`: what a test may say, and what it says when it fails.
//!
//! For: whole files of tests on the real engine. Not for: comparing documents (that has unit tests).
//! Invariant: as in `common`; waits of days take no time, and no data folder is made.

mod common;

use common::Folder;
use serde_json::Value;

/// Charges, waits a week for an answer, and takes the money back where there is none.
const ORDER: &str = "workflow: order
input: { item: { type: string }, price: { type: integer } }
steps:
  charge:
    capability: bank.charge
    with: { amount: \"${{ input.price }}\", item: \"${{ input.item }}\" }
    retry: { attempts: 3, backoff: { initial: 1h } }
    timeout: 10m
    compensate: { capability: bank.refund, with: { payment: \"${{ steps.charge.output.id }}\" } }
  cool: { wait: 7d, needs: [charge] }
  confirm: { approve: \"Send ${{ input.item }}?\", needs: [cool] }
  packed: { wait: { signal: packed }, needs: [confirm] }
  boxes:
    for_each: ${{ steps.packed.output.boxes }}
    capability: ship.box
    with: { box: \"${{ item }}\" }
  told: { wait: { event: parcels, timeout: 3d }, needs: [boxes] }
output: { paid: \"${{ steps.charge.output.id }}\", sent: \"${{ steps.boxes.output }}\" }
";

const TESTS: &str = "workflow: ../workflows/order.yaml
mocks:
  bank.charge: { output: { id: p1 } }
  bank.refund: { output: null }
  ship.box:
    - when: { box: big }
      output: by truck
    - output: by post
tests:
  - name: all goes well
    input: { item: tea, price: 7 }
    do:
      - approve: { step: confirm, by: ada, comment: fine }
      - signal: { name: packed, payload: { boxes: [small, big] } }
      - publish: { topic: parcels, data: { n: 2 } }
    expect:
      output: { paid: p1, sent: [by post, by truck] }
      output_has: { paid: p1 }
      steps:
        cool: completed
        charge: { attempts: 1, input: { amount: 7.0, item: tea }, output: { id: p1 } }
        \"boxes[1]\": { input_has: { box: big }, output: by truck }
      calls: [bank.charge: { amount: 7 }, ship.box: { box: small }, ship.box: { box: big }]
      called: { bank.refund: 0, ship.box: 2 }
  - name: a bank that is slow and then busy is asked again
    input: { item: tea, price: 7 }
    mocks:
      bank.charge:
        attempts: [{ hangs: true }, { error: busy }, { output: { id: p3 } }]
    mock_steps:
      \"boxes[0]\": { error: { message: no such box, code: C0305, permanent: true } }
    do:
      - approve: confirm
      - signal: { name: packed, payload: { boxes: [small] } }
    expect:
      status: failed
      error: no such box
      steps:
        charge: { attempts: 3 }
        boxes: { status: failed, error: C0305 }
        told: skipped
      calls: [bank.charge, bank.charge, bank.charge, bank.refund: { payment: p3 }]
  - name: nobody confirms
    input: { item: tea, price: 7 }
    do: [{ reject: confirm }]
    expect: { status: failed, called: { bank.refund: 1 } }
  - name: it waits for a person
    input: { item: tea, price: 7 }
    expect: { status: running, steps: { confirm: waiting_approval } }
  - name: it is cancelled on the second day
    input: { item: tea, price: 7 }
    do: [{ advance: 1d }, { cancel: no longer wanted }]
    expect: { status: cancelled, steps: { cool: cancelled }, called: { bank.refund: 1 } }
";

#[test]
fn a_workflow_is_tested_with_mocks_in_no_time() {
    let folder = Folder::new();
    folder.write("workflows/order.yaml", ORDER);
    folder.write("tests/order.test.yaml", TESTS);
    let ended = folder.run(&["workflows", "test"]);
    assert_eq!(ended.code, 0, "{}\n{}", ended.out, ended.err);
    assert_eq!(ended.err, "5 passed, 0 failed\n");
    assert_eq!(ended.out.lines().count(), 5);
    assert!(ended.out.starts_with("  ok  tests/order.test.yaml: all goes well\n"), "{}", ended.out);
    assert!(!folder.path().join(".consort").exists());
    let one = folder.json(&["workflows", "test", "tests/order.test.yaml", "--only", "nobody"]);
    assert_eq!((one.len(), &one[0]["result"]), (1, &Value::from("passed")));
    assert_eq!(folder.run(&["workflows", "test", "--only", "nothing of the kind"]).code, 3);
}

#[test]
fn a_test_that_fails_says_where() {
    let folder = Folder::new();
    folder.write("workflows/order.yaml", ORDER);
    let tests = "workflow: order
mocks: { bank.charge: { output: { id: p1 } } }
tests:
  - name: wrong in every way
    input: { item: tea, price: 7 }
    do: [{ approve: confirm }, { signal: unpacked }]
    expect:
      output: { paid: p2 }
      error: C0304
      steps: { charge: { attempts: 2, input_has: { amount: 8 } }, confirm: failed, nowhere: completed }
      calls: [bank.charge: { item: coffee }, bank.refund]
      called: { bank.charge: 2 }
  - name: no mock
    input: { item: tea, price: 7 }
    mocks: { bank.charge: { when: { amount: 1 }, output: 1 } }
";
    folder.write("tests/order.test.yaml", tests);
    let ended = folder.run(&["workflows", "test", "--junit", "made/report.xml"]);
    assert_eq!((ended.code, ended.err.as_str()), (1, "0 passed, 2 failed\n"), "{}", ended.out);
    for said in [
        "expected completed, found running\n",
        "`packed` is waiting: waits for signal packed\n",
        "expected {\"paid\":\"p2\"}, found none\n",
        "expected `C0304`, found none\n",
        "step `charge`, attempts\n        expected 2, found 1\n",
        "step `charge`, input\n        $.amount: expected 8, found 7\n",
        "step `confirm`\n        expected failed, found completed\n",
        "step `nowhere`\n        there is none; there are: charge, ",
        "[0] `bank.charge` by step `charge`: $.item: expected \"coffee\", found \"tea\"\n",
        "[1]: expected `bank.refund`, found none\n",
        "called, `bank.charge`\n        expected 2, found 1\n",
        "the run never waited for the signal `unpacked`\n",
        "no mock fits the call of `bank.charge` by step `charge` with `{\"amount\":7,\"item\":\"tea\"}`\n",
    ] {
        assert!(ended.out.contains(said), "{said}\n{}", ended.out);
    }
    let report = std::fs::read_to_string(folder.path().join("made/report.xml")).unwrap();
    assert!(report.contains("tests=\"2\" failures=\"2\"") && report.contains("name=\"no mock\""), "{report}");
}

#[test]
fn workflows_that_it_starts_run_too_and_what_loops_has_an_end() {
    let folder = Folder::new();
    folder.write(
        "workflows/inner.yaml",
        "workflow: inner\nsteps:\n  a: { capability: think }\noutput: ${{ steps.a.output }}\n",
    );
    let outer = "workflow: outer
steps:
  again:
    repeat: { until: \"${{ steps.child.output >= 3 }}\", max: 5 }
    steps: { child: { workflow: inner } }
  alone: { agent: solver, capability: solve, with: { n: 1 } }
output: ${{ steps.alone.output }}
";
    folder.write("workflows/outer.yaml", outer);
    let tests = "workflow: outer
mocks: { think: { calls: [{ output: 1 }, { output: 2 }, { output: 3 }] }, solve: { output: solved } }
tests: [{ name: three rounds, expect: { output: solved, called: { think: 3, solve: 1 } } }]
";
    folder.write("tests/outer.test.yaml", tests);
    let ended = folder.run(&["workflows", "test"]);
    assert_eq!(ended.code, 0, "{}\n{}", ended.out, ended.err);
}

#[test]
fn a_file_that_is_no_file_of_tests_is_refused_by_what_is_wrong() {
    let folder = Folder::new();
    folder.write("workflows/order.yaml", ORDER);
    assert_eq!(folder.run(&["workflows", "test"]).code, 3);
    for (text, said) in [
        ("workflow: [", "not YAML"),
        ("workflow: order\ntests: []\n", "has no tests"),
        ("workflow: order\ntests: [{ name: a, expct: {} }]\n", "test `a`: unknown field `expct`"),
        ("workflow: order\ntests: [{ name: a, mocks: { b: { output: 1, error: x } } }]\n", "exactly one of `output`"),
        ("workflow: order\ntests: [{ name: a, mocks: { b: { outptu: 1 } } }]\n", "`outptu: 1` is no way"),
        ("workflow: order\ntests: [{ name: a, do: [{ approved: b }] }]\n", "unknown variant `approved`"),
        ("workflow: order\ntests: [{ name: a, expect: { status: done } }]\n", "status"),
    ] {
        folder.write("tests/a.test.yaml", text);
        let ended = folder.run(&["workflows", "test"]);
        assert!(ended.code == 2 && ended.err.contains(said) && ended.out.is_empty(), "{text}: {ended:#?}");
    }
    folder.write("tests/a.test.yaml", "workflow: nowhere\ntests: [{ name: a }]\n");
    assert_eq!(folder.run(&["workflows", "test"]).code, 3);
}

#[test]
fn a_starter_has_tests_that_pass() {
    for args in [&["init"][..], &["init", "--python"]] {
        let folder = Folder::new();
        folder.ok(args);
        let ended = folder.run(&["workflows", "test"]);
        assert_eq!(ended.code, 0, "{}\n{}", ended.out, ended.err);
    }
}
