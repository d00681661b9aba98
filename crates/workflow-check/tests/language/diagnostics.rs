//! Findings as authors see them.
//!
//! The expected texts are what a terminal shows: a change here is a change of what people read.

use consort_types::{Code, Error};

/// Checks everything that is found in a text.
#[track_caller]
pub(crate) fn check(source: &str, expected: &str) {
    let rendered = crate::refuse(source).render("flow.yaml", source, false);
    assert!(rendered.trim() == expected.trim(), "found:\n{rendered}\n\nexpected:\n{expected}");
}

#[test]
fn misspelt_words_are_found_with_suggestions() {
    check(
        r#"workflow: test
steps:
  plan:
    capabilty: research.plan
  gather:
    capability: research.search
    with: { all: "${{ steps.paln.output }}", item: "${{ itme }}", n: "${{ siez('x') }}" }
    timout: 3s
"#,
        r#"
error[unknown-key]: a step has no key `capabilty`
 --> flow.yaml:4:5
  |
4 |     capabilty: research.plan
  |     ^^^^^^^^^
  |
  = help: did you mean `capability`?

error[unknown-step]: there is no step `paln`
 --> flow.yaml:7:29
  |
7 |     with: { all: "${{ steps.paln.output }}", item: "${{ itme }}", n: "${{ siez('x') }}" }
  |                             ^^^^
  |
  = help: did you mean `plan`?

error[unknown-variable]: there is no variable `itme`
 --> flow.yaml:7:57
  |
7 |     with: { all: "${{ steps.paln.output }}", item: "${{ itme }}", n: "${{ siez('x') }}" }
  |                                                         ^^^^
  |
  = help: did you mean `item`?

error[unknown-function]: there is no function `siez`
 --> flow.yaml:7:75
  |
7 |     with: { all: "${{ steps.paln.output }}", item: "${{ itme }}", n: "${{ siez('x') }}" }
  |                                                                           ^^^^
  |
  = help: did you mean `size`?

error[unknown-key]: a step has no key `timout`
 --> flow.yaml:8:5
  |
8 |     timout: 3s
  |     ^^^^^^
  |
  = help: did you mean `timeout`?
"#,
    );
}

#[test]
fn cycles_are_shown() {
    check(
        r#"workflow: test
steps:
  a: { capability: x, needs: b }
  b: { capability: x, with: { v: "${{ steps.group.output }}" } }
  group:
    steps:
      inner: { capability: x, if: "${{ steps.a.output.ok }}" }
  alone: { capability: x, needs: alone }
"#,
        "
error[cycle]: steps wait for each other: `a` needs `b` needs `group` needs `a`
 --> flow.yaml:3:3
  |
3 |   a: { capability: x, needs: b }
  |   ^
  |
  = help: take out one of the references; a loop over steps is a group with `repeat`

error[self-reference]: the step `alone` needs itself
 --> flow.yaml:8:34
  |
8 |   alone: { capability: x, needs: alone }
  |                                  ^^^^^
  |
  = help: take it out of `needs`
",
    );
}

#[test]
fn a_step_does_one_thing() {
    check(
        "workflow: test
steps:
  none: {}
  two: { capability: x, wait: 3s }
  also: { capability: x, expand: true }
  event: { wait: { event: orders..created, schema: {} } }
  which: { wait: { for: 3s, signal: go } }
  text: hello
",
        "
error[no-action]: the step does nothing
 --> flow.yaml:3:3
  |
3 |   none: {}
  |   ^^^^
  |
  = help: add one of `capability`, `agent`, `steps`, `workflow`, `wait`, `approve`, `consensus`, `publish`, `state`

error[contradiction]: a step does one thing, but this one has `capability` and `wait`
 --> flow.yaml:4:25
  |
4 |   two: { capability: x, wait: 3s }
  |                         ^^^^
  |
  = help: make two steps of it

error[not-available]: `expand` is not available yet in this version
 --> flow.yaml:5:26
  |
5 |   also: { capability: x, expand: true }
  |                          ^^^^^^

error[bad-value]: `orders..created` cannot be a pattern of topics: a segment is empty
 --> flow.yaml:6:27
  |
6 |   event: { wait: { event: orders..created, schema: {} } }
  |                           ^^^^^^^^^^^^^^^
  |
  = help: write segments with dots between, such as `orders.created`; patterns may have `*` and a `>` at the end

error[misplaced-key]: `schema` means nothing beside `event`
 --> flow.yaml:6:44
  |
6 |   event: { wait: { event: orders..created, schema: {} } }
  |                                            ^^^^^^
  |
  = help: take it out

error[contradiction]: `wait` needs one of `for`, `until`, `signal` and `event`
 --> flow.yaml:7:12
  |
7 |   which: { wait: { for: 3s, signal: go } }
  |            ^^^^
  |
  = help: write `wait: 30s`, `wait: { signal: NAME }` or `wait: { event: TOPIC }`

error[bad-type]: a step must be a map, found a text
 --> flow.yaml:8:9
  |
8 |   text: hello
  |         ^^^^^
  |
  = help: its keys are `description`, `capability`, `agent`, `steps`, `workflow`, `wait`, `approve`, `with`, `needs`, `if`, `for_each`, `max_parallel`, …
",
    );
}

#[test]
fn settings_belong_to_their_actions() {
    check(
        r#"workflow: test
steps:
  group: { steps: { a: { capability: x } }, with: { v: 1 }, retry: { attempts: 2 } }
  pause: { wait: 3s, timeout: 5s }
  single: { capability: x, max_parallel: 3 }
  ends: { capability: x, repeat: { until: "${{ true }}", while: "${{ true }}", max: 2 } }
  endless: { capability: x, repeat: { until: "${{ output.ok }}" } }
"#,
        r#"
error[misplaced-key]: `with` means nothing on a step of kind `group`
 --> flow.yaml:3:45
  |
3 |   group: { steps: { a: { capability: x } }, with: { v: 1 }, retry: { attempts: 2 } }
  |                                             ^^^^
  |
  = help: put it on the steps inside of the group

error[misplaced-key]: `retry` means nothing on a step of kind `group`
 --> flow.yaml:3:61
  |
3 |   group: { steps: { a: { capability: x } }, with: { v: 1 }, retry: { attempts: 2 } }
  |                                                             ^^^^^
  |
  = help: put it on the steps inside of the group

error[misplaced-key]: `timeout` means nothing on a step of kind `wait`
 --> flow.yaml:4:22
  |
4 |   pause: { wait: 3s, timeout: 5s }
  |                      ^^^^^^^
  |
  = help: use `deadline`, or `timeout` beside the `signal` or `event` of `wait`

error[misplaced-key]: `max_parallel` means nothing without `for_each`
 --> flow.yaml:5:28
  |
5 |   single: { capability: x, max_parallel: 3 }
  |                            ^^^^^^^^^^^^
  |
  = help: add `for_each`, or take it out

error[contradiction]: `until` and `while` exclude each other
 --> flow.yaml:6:58
  |
6 |   ends: { capability: x, repeat: { until: "${{ true }}", while: "${{ true }}", max: 2 } }
  |                                                          ^^^^^
  |
  = help: `until: a` is `while: !a`

error[missing-key]: `max` is missing
 --> flow.yaml:7:39
  |
7 |   endless: { capability: x, repeat: { until: "${{ output.ok }}" } }
  |                                       ^^^^^
  |
  = help: say how often at most, so that the loop always ends
"#,
    );
}

#[test]
fn names_versions_and_durations_are_checked() {
    check(
        "workflow: no good
version: [1]
timeout: 0s
steps:
  a:
    capability: a b
    timeout: 60
    deadline: soon
  b c: { capability: x }
",
        "
error[bad-name]: `no good` cannot be a workflow name
 --> flow.yaml:1:11
  |
1 | workflow: no good
  |           ^^^^^^^
  |
  = help: use letters, digits, `_`, `-` and `.`, and start with a letter or digit

error[bad-name]: the version must be a text, found a list
 --> flow.yaml:2:10
  |
2 | version: [1]
  |          ^^^

error[bad-duration]: `timeout` must be longer than zero
 --> flow.yaml:3:10
  |
3 | timeout: 0s
  |          ^^

error[bad-name]: `a b` cannot be a capability
 --> flow.yaml:6:17
  |
6 |     capability: a b
  |                 ^^^
  |
  = help: use letters, digits, `_`, `-` and `.`, and start with a letter or digit

error[bad-duration]: `timeout` must be a duration, found a number
 --> flow.yaml:7:14
  |
7 |     timeout: 60
  |              ^^
  |
  = help: write a number and a unit, such as `30s`, `1h30m` or `250ms`

error[bad-duration]: `soon` is not a duration
 --> flow.yaml:8:15
  |
8 |     deadline: soon
  |               ^^^^
  |
  = help: write a number and a unit, such as `30s`, `1h30m` or `250ms`

error[bad-name]: `b c` cannot be a step name
 --> flow.yaml:9:3
  |
9 |   b c: { capability: x }
  |   ^^^
  |
  = help: use letters, digits, `_`, `-` and `.`, and start with a letter or digit
",
    );
}

#[test]
fn numbers_and_words_are_checked() {
    check(
        "workflow: test
steps:
  a:
    capability: x
    priority: 500
    retry: { attempts: 0, backoff: { factor: 0.5, initial: 1m, max: 1s } }
    effect: wirte
    on_unknown: maybe
    concurrency: { key: x }
    continue_on_error: yes
",
        "
error[out-of-range]: `priority` is 500, but must be from -100 to 100
 --> flow.yaml:5:15
  |
5 |     priority: 500
  |               ^^^

error[out-of-range]: `attempts` is 0, but must be from 1 to 1000
 --> flow.yaml:6:24
  |
6 |     retry: { attempts: 0, backoff: { factor: 0.5, initial: 1m, max: 1s } }
  |                        ^

error[out-of-range]: `factor` must be a number from 1 to 100
 --> flow.yaml:6:46
  |
6 |     retry: { attempts: 0, backoff: { factor: 0.5, initial: 1m, max: 1s } }
  |                                              ^^^

error[contradiction]: `max` is 1s, less than `initial`, which is 1m
 --> flow.yaml:6:69
  |
6 |     retry: { attempts: 0, backoff: { factor: 0.5, initial: 1m, max: 1s } }
  |                                                                     ^^

error[bad-value]: `effect` must be one of `read`, `idempotent`, `write`
 --> flow.yaml:7:13
  |
7 |     effect: wirte
  |             ^^^^^
  |
  = help: did you mean `write`?

error[bad-value]: `on_unknown` must be one of `ask`, `retry`, `fail`, `reconcile with CAPABILITY`
 --> flow.yaml:8:17
  |
8 |     on_unknown: maybe
  |                 ^^^^^

error[missing-key]: `limit` is missing
 --> flow.yaml:9:20
  |
9 |     concurrency: { key: x }
  |                    ^^^
  |
  = help: say how many run at once

error[bad-type]: `continue_on_error` must be `true` or `false`, found a text
  --> flow.yaml:10:24
   |
10 |     continue_on_error: yes
   |                        ^^^
",
    );
}

#[test]
fn yaml_itself_is_checked() {
    check(
        "workflow: test
workflow: again
steps:
  a: { capability: x, capability: y }
  b: { capability: !secret x }
",
        "
error[duplicate-key]: the key `workflow` appears twice in this map
 --> flow.yaml:2:1
  |
2 | workflow: again
  | ^^^^^^^^
  |
  = help: keep one of them

error[duplicate-key]: the key `capability` appears twice in this map
 --> flow.yaml:4:23
  |
4 |   a: { capability: x, capability: y }
  |                       ^^^^^^^^^^
  |
  = help: keep one of them

error[unknown-tag]: YAML tags are not supported, except `!!str`
 --> flow.yaml:5:20
  |
5 |   b: { capability: !secret x }
  |                    ^^^^^^^^^
  |
  = help: leave the tag out, and quote what shall be a text
",
    );
}

#[test]
fn expressions_in_braces_need_quotes() {
    check(
        "workflow: test
steps:
  a: { capability: x, with: ${{ input.x }} }
",
        r#"
error[yaml-syntax]: not YAML: while parsing a flow mapping, did not find expected ',' or '}'
 --> flow.yaml:3:30
  |
3 |   a: { capability: x, with: ${{ input.x }} }
  |                              ^
  |
  = help: put the whole value in quotes: `"${{ … }}"`, as an expression may hold `: `, ` #`, `{` or `,`
"#,
    );
}

#[test]
fn tabs_are_explained() {
    check(
        "workflow: test
steps:
\ta: { capability: x }
",
        "
error[yaml-syntax]: not YAML: tabs disallowed within this context (block indentation)
 --> flow.yaml:3:2
  |
3 |     a: { capability: x }
  |     ^
  |
  = help: indent with spaces, not tabs
",
    );
}

#[test]
fn an_empty_file_is_explained() {
    check(
        "# nothing
",
        "
error[empty]: the file is empty
 --> flow.yaml:1:1
  |
1 | # nothing
  | ^
  |
  = help: start with `workflow: NAME` and `steps:`
",
    );
}

#[test]
fn missing_parts_are_named() {
    check(
        "description: nothing to do
",
        "
error[missing-key]: `workflow` is missing
 --> flow.yaml:1:1
  |
1 | description: nothing to do
  | ^^^^^^^^^^^
  |
  = help: name the workflow: `workflow: NAME`

error[missing-key]: `steps` is missing
 --> flow.yaml:1:1
  |
1 | description: nothing to do
  | ^^^^^^^^^^^
  |
  = help: a workflow has at least one step, under `steps:`
",
    );
}

#[test]
fn colour_changes_nothing_but_colour() {
    let source = "workflow: test\nsteps: { a: { capability: x, timeout: 5 } }\n";
    let found = crate::refuse(source);
    let (plain, styled) = (found.render("flow.yaml", source, false), found.render("flow.yaml", source, true));
    assert!(!plain.contains('\u{1b}') && styled.contains('\u{1b}'));
}

#[test]
fn findings_travel_as_json_and_as_one_error() {
    let source = "workflow: test\nsteps: { é: { capability: x, timeout: 5 } }\n";
    let found = crate::refuse(source);
    let json = serde_json::to_value(&found).unwrap();
    assert_eq!(
        json[1],
        serde_json::json!({
            "severity": "error", "code": "bad-duration", "message": "`timeout` must be a duration, found a number",
            "span": {"start": 54, "end": 55}, "line": 2, "column": 39,
            "hint": "write a number and a unit, such as `30s`, `1h30m` or `250ms`",
        })
    );
    let error = Error::from(found);
    assert_eq!(error.code, Code::BadWorkflow);
    assert!(
        error.message.starts_with("2 errors:\nline 2, column 10: `é` cannot be a step name ("),
        "{}",
        error.message
    );
    let one = Error::from(crate::refuse("workflow: test\nsteps: { a: { capability: x, timeout: 5 } }\n"));
    assert_eq!(one.message, "line 2, column 39: `timeout` must be a duration, found a number");
    assert!(one.hint.is_some());
}

#[test]
fn misspelt_schema_words_are_warnings() {
    let checked = crate::checked(
        "workflow: test\ninput: { a: { type: string, minLenght: 3 } }\nsteps: { a: { capability: x } }\n",
    );
    let warning = &checked.warnings.0[0];
    assert_eq!((warning.code, warning.hint.as_deref()), ("unknown-keyword", Some("did you mean `minLength`?")));
}

#[test]
fn instants_are_checked() {
    let found = crate::refuse("workflow: test\nsteps: { a: { wait: { until: tomorrow } } }\n");
    assert_eq!((found.0[0].code, found.0[0].message.as_str()), ("bad-time", "`tomorrow` is not an instant"));
}
