//! Findings as authors see them.
//!
//! The expected texts are what a terminal shows: a change here is a change of what people read.

use consort_types::{Code, Error};

/// Checks everything that is found in a text.
#[track_caller]
fn check(source: &str, expected: &str) {
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
fn the_declared_input_is_known() {
    check(
        r#"workflow: test
input:
  question: { type: string, minLenght: 3 }
  who: { type: object, properties: { name: { type: string } }, additionalProperties: false }
steps:
  a: { capability: x, with: { q: "${{ input.questoin }}" } }
  b: { capability: x, for_each: "${{ input.question }}" }
  c: { capability: x, if: "${{ input.question }}" }
  d: { capability: x, with: { v: "${{ input.question > 3 }}", w: "${{ input.question.x }}" } }
"#,
        r#"
warning[unknown-keyword]: JSON Schema has no keyword `minLenght`
 --> flow.yaml:3:29
  |
3 |   question: { type: string, minLenght: 3 }
  |                             ^^^^^^^^^
  |
  = help: did you mean `minLength`?

error[unknown-field]: `input` has no field `questoin`
 --> flow.yaml:6:39
  |
6 |   a: { capability: x, with: { q: "${{ input.questoin }}" } }
  |                                       ^^^^^^^^^^^^^^
  |
  = help: did you mean `question`?

error[type-mismatch]: `for_each` must be a list, found a text
 --> flow.yaml:7:33
  |
7 |   b: { capability: x, for_each: "${{ input.question }}" }
  |                                 ^^^^^^^^^^^^^^^^^^^^^^^^

error[type-mismatch]: `if` must be true or false, but this is a text
 --> flow.yaml:8:27
  |
8 |   c: { capability: x, if: "${{ input.question }}" }
  |                           ^^^^^^^^^^^^^^^^^^^^^^^^
  |
  = help: compare it, such as `size(value) > 0`

error[type-mismatch]: `>` between a text and a number
 --> flow.yaml:9:39
  |
9 |   d: { capability: x, with: { v: "${{ input.question > 3 }}", w: "${{ input.question.x }}" } }
  |                                       ^^^^^^^^^^^^^^^^^^

error[type-mismatch]: `input.question` is a text, which has no fields
 --> flow.yaml:9:71
  |
9 |   d: { capability: x, with: { v: "${{ input.question > 3 }}", w: "${{ input.question.x }}" } }
  |                                                                       ^^^^^^^^^^^^^^^^
"#,
    );
}

#[test]
fn bad_schemas_point_at_the_field() {
    check(
        r#"workflow: test
input:
  question: { type: strng }
  who: { type: object, properties: { name: string } }
  count: 5
steps:
  a: { capability: x }
"#,
        r#"
error[bad-schema]: `strng` is not a type of JSON Schema
 --> flow.yaml:3:21
  |
3 |   question: { type: strng }
  |                     ^^^^^
  |
  = help: did you mean `string`?

error[bad-input]: the field `count` must be a JSON Schema or the name of a type
 --> flow.yaml:5:10
  |
5 |   count: 5
  |          ^
  |
  = help: the types are `string`, `number`, `integer`, `boolean`, `array`, `object`, `null`
"#,
    );
}

#[test]
fn bad_defaults_are_found() {
    check(
        r#"workflow: test
input:
  when: { type: integer, default: soon }
steps:
  a: { capability: x }
"#,
        r#"
error[bad-default]: the default of `when` does not fit its own schema
 --> flow.yaml:3:35
  |
3 |   when: { type: integer, default: soon }
  |                                   ^^^^
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
        r#"
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
"#,
    );
}

#[test]
fn steps_out_of_sight_are_explained() {
    check(
        r#"workflow: test
steps:
  group:
    steps:
      inner: { capability: x, with: { v: "${{ steps.group.output }}" } }
      other: { capability: x, needs: peek }
  peek: { capability: x, with: { v: "${{ steps.inner.output }}" }, needs: inner }
  me: { capability: x, with: { v: "${{ steps.me.output }}" } }
"#,
        r#"
error[self-reference]: the step is inside of `group`, and so cannot use its outcome
 --> flow.yaml:5:53
  |
5 |       inner: { capability: x, with: { v: "${{ steps.group.output }}" } }
  |                                                     ^^^^^
  |
  = help: use the steps beside it; the iteration before is `loop.previous`

error[unknown-step]: `peek` is a step outside of this group
 --> flow.yaml:6:38
  |
6 |       other: { capability: x, needs: peek }
  |                                      ^^^^
  |
  = help: `needs` names steps beside this one: put it on the group

error[invisible-step]: the step `inner` is inside of `group`, and cannot be seen from here
 --> flow.yaml:7:48
  |
7 |   peek: { capability: x, with: { v: "${{ steps.inner.output }}" }, needs: inner }
  |                                                ^^^^^
  |
  = help: use the group's output: `steps.group.output.inner`

error[invisible-step]: the step `inner` is inside of `group`, and cannot be seen from here
 --> flow.yaml:7:75
  |
7 |   peek: { capability: x, with: { v: "${{ steps.inner.output }}" }, needs: inner }
  |                                                                           ^^^^^
  |
  = help: need the group instead: it ends when all of its steps have

error[self-reference]: the step `me` uses its own outcome
 --> flow.yaml:8:46
  |
8 |   me: { capability: x, with: { v: "${{ steps.me.output }}" } }
  |                                              ^^
  |
  = help: in `until` an iteration's output is `output`; the one before is `loop.previous`
"#,
    );
}

#[test]
fn variables_belong_to_their_loops() {
    check(
        r#"workflow: test
steps:
  a: { capability: x, with: { v: "${{ item }}", w: "${{ loop.index }}", x: "${{ output }}" } }
  b: { capability: x, for_each: "${{ item }}", with: { v: "${{ loop.previous }}" } }
  c: { capability: x, repeat: { max: 2, until: "${{ output.ok && loop.count > 1 }}" }, with: { v: "${{ index }}" } }
  d: { capability: x, with: { v: "${{ success() }}" } }
output: ${{ item }}
"#,
        r#"
error[out-of-scope]: `item` has no value outside of `for_each`
 --> flow.yaml:3:39
  |
3 |   a: { capability: x, with: { v: "${{ item }}", w: "${{ loop.index }}", x: "${{ output }}" } }
  |                                       ^^^^
  |
  = help: add `for_each` to the step or its group

error[out-of-scope]: `loop` has no value outside of `repeat`
 --> flow.yaml:3:57
  |
3 |   a: { capability: x, with: { v: "${{ item }}", w: "${{ loop.index }}", x: "${{ output }}" } }
  |                                                         ^^^^
  |
  = help: in `for_each` the position is `index`

error[out-of-scope]: `output` is known only in `until` and `while`
 --> flow.yaml:3:81
  |
3 |   a: { capability: x, with: { v: "${{ item }}", w: "${{ loop.index }}", x: "${{ output }}" } }
  |                                                                                 ^^^^^^
  |
  = help: another step's output is `steps.NAME.output`

error[out-of-scope]: `item` has no value outside of `for_each`
 --> flow.yaml:4:38
  |
4 |   b: { capability: x, for_each: "${{ item }}", with: { v: "${{ loop.previous }}" } }
  |                                      ^^^^
  |
  = help: add `for_each` to the step or its group

error[out-of-scope]: `loop` has no value outside of `repeat`
 --> flow.yaml:4:64
  |
4 |   b: { capability: x, for_each: "${{ item }}", with: { v: "${{ loop.previous }}" } }
  |                                                                ^^^^
  |
  = help: in `for_each` the position is `index`

error[unknown-field]: `loop` has no field `count`
 --> flow.yaml:5:66
  |
5 |   c: { capability: x, repeat: { max: 2, until: "${{ output.ok && loop.count > 1 }}" }, with: { v: "${{ index }}" } }
  |                                                                  ^^^^^^^^^^
  |
  = help: there are `index`, `previous`

error[out-of-scope]: `index` has no value outside of `for_each`
 --> flow.yaml:5:104
  |
5 |   c: { capability: x, repeat: { max: 2, until: "${{ output.ok && loop.count > 1 }}" }, with: { v: "${{ index }}" } }
  |                                                                                                        ^^^^^
  |
  = help: in `repeat` the count is `loop.index`

error[misplaced-function]: `success`, `failure`, `always` and `cancelled` can be called only in `if`
 --> flow.yaml:6:39
  |
6 |   d: { capability: x, with: { v: "${{ success() }}" } }
  |                                       ^^^^^^^^^

error[out-of-scope]: `item` has no value outside of `for_each`
 --> flow.yaml:7:13
  |
7 | output: ${{ item }}
  |             ^^^^
  |
  = help: add `for_each` to the step or its group
"#,
    );
}

#[test]
fn a_step_does_one_thing() {
    check(
        r#"workflow: test
steps:
  none: {}
  two: { capability: x, wait: 3s }
  later: { consensus: { of: x } }
  also: { capability: x, expand: true }
  event: { wait: { event: orders.created } }
  which: { wait: { for: 3s, signal: go } }
  text: hello
"#,
        r#"
error[no-action]: the step does nothing
 --> flow.yaml:3:3
  |
3 |   none: {}
  |   ^^^^
  |
  = help: add one of `capability`, `agent`, `steps`, `workflow`, `wait`, `approve`

error[contradiction]: a step does one thing, but this one has `capability` and `wait`
 --> flow.yaml:4:25
  |
4 |   two: { capability: x, wait: 3s }
  |                         ^^^^
  |
  = help: make two steps of it

error[not-available]: `consensus` is not available yet in this version
 --> flow.yaml:5:12
  |
5 |   later: { consensus: { of: x } }
  |            ^^^^^^^^^

error[not-available]: `expand` is not available yet in this version
 --> flow.yaml:6:26
  |
6 |   also: { capability: x, expand: true }
  |                          ^^^^^^

error[not-available]: `event` is not available yet in this version
 --> flow.yaml:7:20
  |
7 |   event: { wait: { event: orders.created } }
  |                    ^^^^^

error[contradiction]: `wait` needs one of `for`, `until` and `signal`
 --> flow.yaml:8:12
  |
8 |   which: { wait: { for: 3s, signal: go } }
  |            ^^^^
  |
  = help: write `wait: 30s`, or `wait: { signal: NAME }`

error[bad-type]: a step must be a map, found a text
 --> flow.yaml:9:9
  |
9 |   text: hello
  |         ^^^^^
  |
  = help: its keys are `description`, `capability`, `agent`, `steps`, `workflow`, `wait`, `approve`, `with`, `needs`, `if`, `for_each`, `max_parallel`, …
"#,
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
  = help: use `deadline`, or `wait: { signal: NAME, timeout: … }`

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
fn plain_values_are_checked() {
    check(
        r#"workflow: no good
version: [1]
timeout: 0s
steps:
  a:
    capability: a b
    timeout: 60
    deadline: soon
    priority: 500
    retry: { attempts: 0, backoff: { factor: 0.5, initial: 1m, max: 1s } }
    effect: wirte
    on_unknown: maybe
    concurrency: { key: x }
    continue_on_error: yes
    needs: [1]
  b c: { capability: x }
  p: { wait: soon }
  q: { wait: { until: tomorrow } }
"#,
        r#"
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

error[out-of-range]: `priority` is 500, but must be from -100 to 100
 --> flow.yaml:9:15
  |
9 |     priority: 500
  |               ^^^

error[out-of-range]: `attempts` is 0, but must be from 1 to 1000
  --> flow.yaml:10:24
   |
10 |     retry: { attempts: 0, backoff: { factor: 0.5, initial: 1m, max: 1s } }
   |                        ^

error[out-of-range]: `factor` must be a number from 1 to 100
  --> flow.yaml:10:46
   |
10 |     retry: { attempts: 0, backoff: { factor: 0.5, initial: 1m, max: 1s } }
   |                                              ^^^

error[contradiction]: `max` is 1s, less than `initial`, which is 1m
  --> flow.yaml:10:69
   |
10 |     retry: { attempts: 0, backoff: { factor: 0.5, initial: 1m, max: 1s } }
   |                                                                     ^^

error[bad-value]: `effect` must be one of `read`, `idempotent`, `write`
  --> flow.yaml:11:13
   |
11 |     effect: wirte
   |             ^^^^^
   |
   = help: did you mean `write`?

error[bad-value]: `on_unknown` must be one of `ask`, `retry`, `fail`, `reconcile with CAPABILITY`
  --> flow.yaml:12:17
   |
12 |     on_unknown: maybe
   |                 ^^^^^

error[missing-key]: `limit` is missing
  --> flow.yaml:13:20
   |
13 |     concurrency: { key: x }
   |                    ^^^
   |
   = help: say how many run at once

error[bad-type]: `continue_on_error` must be `true` or `false`, found a text
  --> flow.yaml:14:24
   |
14 |     continue_on_error: yes
   |                        ^^^

error[bad-name]: the step name must be a text, found a number
  --> flow.yaml:15:13
   |
15 |     needs: [1]
   |             ^

error[bad-name]: `b c` cannot be a step name
  --> flow.yaml:16:3
   |
16 |   b c: { capability: x }
   |   ^^^
   |
   = help: use letters, digits, `_`, `-` and `.`, and start with a letter or digit

error[bad-duration]: `soon` is not a duration
  --> flow.yaml:17:14
   |
17 |   p: { wait: soon }
   |              ^^^^
   |
   = help: write a number and a unit, such as `30s`, `1h30m` or `250ms`

error[bad-time]: `tomorrow` is not an instant
  --> flow.yaml:18:23
   |
18 |   q: { wait: { until: tomorrow } }
   |                       ^^^^^^^^
   |
   = help: write it as RFC 3339 in UTC, such as `2026-11-22T10:00:00Z`
"#,
    );
}

#[test]
fn expressions_point_at_the_place() {
    check(
        r#"workflow: test
steps:
  a: { capability: x, with: { v: "${{ 1 + }}", w: "${{ a and b }}", x: "${{ 'open }}" } }
  b: { capability: x, with: { v: "${{ steps.a }}", w: "${{ steps[input.x].output }}", x: "${{ steps.a.result }}" } }
  c: { capability: x, with: { v: "${{ 'a' + 1 }}", w: "${{ size(1) }}", x: "${{ [1].map(x) }}", y: "${{ min() }}" } }
  d: { capability: x, with: { v: "été ${{ inptu.x }}", w: "${{ 1 = 2 }}", x: "${{ 'a'.matches('(') }}", y: "${{ 1 }" } }
"#,
        r#"
error[expression-syntax]: expected a value, found the end of the expression
 --> flow.yaml:3:42
  |
3 |   a: { capability: x, with: { v: "${{ 1 + }}", w: "${{ a and b }}", x: "${{ 'open }}" } }
  |                                          ^

error[unknown-variable]: there is no variable `a`
 --> flow.yaml:3:56
  |
3 |   a: { capability: x, with: { v: "${{ 1 + }}", w: "${{ a and b }}", x: "${{ 'open }}" } }
  |                                                        ^
  |
  = help: there are `input`, `steps`, `item`, `index`, `loop`, `run`, `output`

error[expression-syntax]: expected an operator or the end, found `and`
 --> flow.yaml:3:58
  |
3 |   a: { capability: x, with: { v: "${{ 1 + }}", w: "${{ a and b }}", x: "${{ 'open }}" } }
  |                                                          ^^^
  |
  = help: write `&&`

error[expression-syntax]: the text is not closed
 --> flow.yaml:3:77
  |
3 |   a: { capability: x, with: { v: "${{ 1 + }}", w: "${{ a and b }}", x: "${{ 'open }}" } }
  |                                                                             ^^^^^
  |
  = help: end it with `'`

error[bad-step-reference]: a step has several values: say which
 --> flow.yaml:4:45
  |
4 |   b: { capability: x, with: { v: "${{ steps.a }}", w: "${{ steps[input.x].output }}", x: "${{ steps.a.result }}" } }
  |                                             ^
  |
  = help: write `steps.a.output`, `.status`, `.error` or `.attempts`

error[bad-step-reference]: `steps` needs a literal name, so that dependencies are known before a run
 --> flow.yaml:4:66
  |
4 |   b: { capability: x, with: { v: "${{ steps.a }}", w: "${{ steps[input.x].output }}", x: "${{ steps.a.result }}" } }
  |                                                                  ^^^^^
  |
  = help: write `steps.NAME.output`, or `steps["NAME"].output` for a name with `-` or `.`

error[bad-step-reference]: a step has no `result`
 --> flow.yaml:4:103
  |
4 |   b: { capability: x, with: { v: "${{ steps.a }}", w: "${{ steps[input.x].output }}", x: "${{ steps.a.result }}" } }
  |                                                                                                       ^^^^^^
  |
  = help: what it returned is under `output`: `steps.a.output.result`

error[type-mismatch]: `+` between a text and a number
 --> flow.yaml:5:39
  |
5 |   c: { capability: x, with: { v: "${{ 'a' + 1 }}", w: "${{ size(1) }}", x: "${{ [1].map(x) }}", y: "${{ min() }}" } }
  |                                       ^^^^^^^
  |
  = help: make a text of the other with `string()`

error[type-mismatch]: `size` needs a text or a list or a map, but `1` is a number
 --> flow.yaml:5:65
  |
5 |   c: { capability: x, with: { v: "${{ 'a' + 1 }}", w: "${{ size(1) }}", x: "${{ [1].map(x) }}", y: "${{ min() }}" } }
  |                                                                 ^

error[expression-syntax]: expected `,`, found `)`
 --> flow.yaml:5:90
  |
5 |   c: { capability: x, with: { v: "${{ 'a' + 1 }}", w: "${{ size(1) }}", x: "${{ [1].map(x) }}", y: "${{ min() }}" } }
  |                                                                                          ^

error[bad-arguments]: `min` takes 1 to 16 arguments (the receiver counted), found 0
 --> flow.yaml:5:105
  |
5 |   c: { capability: x, with: { v: "${{ 'a' + 1 }}", w: "${{ size(1) }}", x: "${{ [1].map(x) }}", y: "${{ min() }}" } }
  |                                                                                                         ^^^
  |
  = help: usage: `min(list)` or `min(a, b)`

error[unknown-variable]: there is no variable `inptu`
 --> flow.yaml:6:43
  |
6 |   d: { capability: x, with: { v: "été ${{ inptu.x }}", w: "${{ 1 = 2 }}", x: "${{ 'a'.matches('(') }}", y: "${{ 1 }" } }
  |                                           ^^^^^
  |
  = help: did you mean `input`?

error[expression-syntax]: `=` has no meaning in an expression
 --> flow.yaml:6:66
  |
6 |   d: { capability: x, with: { v: "été ${{ inptu.x }}", w: "${{ 1 = 2 }}", x: "${{ 'a'.matches('(') }}", y: "${{ 1 }" } }
  |                                                                  ^
  |
  = help: compare with `==`

error[bad-pattern]: `(` is not a pattern: unclosed group
 --> flow.yaml:6:95
  |
6 |   d: { capability: x, with: { v: "été ${{ inptu.x }}", w: "${{ 1 = 2 }}", x: "${{ 'a'.matches('(') }}", y: "${{ 1 }" } }
  |                                                                                               ^^^

error[expression-syntax]: `${{` is not closed
 --> flow.yaml:6:109
  |
6 |   d: { capability: x, with: { v: "été ${{ inptu.x }}", w: "${{ 1 = 2 }}", x: "${{ 'a'.matches('(') }}", y: "${{ 1 }" } }
  |                                                                                                             ^^^^^^^
  |
  = help: end the expression with `}}`, or write `$${{` for these characters themselves
"#,
    );
}

#[test]
fn conditions_are_truth_values() {
    check(
        r#"workflow: test
steps:
  never: { capability: x, if: false }
  constant: { capability: x, if: "${{ 1 > 2 }}" }
  broken: { capability: x, if: "${{ 1 / 0 > 2 }}" }
  plain: { capability: x, if: success() }
  text: { capability: x, if: "${{ run.id }}" }
  around: { capability: x, if: "not ${{ true }}" }
"#,
        r#"
error[unreachable-step]: the step can never run
 --> flow.yaml:3:31
  |
3 |   never: { capability: x, if: false }
  |                               ^^^^^
  |
  = help: take the step out, or let the condition look at something

error[unreachable-step]: the step can never run
 --> flow.yaml:4:34
  |
4 |   constant: { capability: x, if: "${{ 1 > 2 }}" }
  |                                  ^^^^^^^^^^^^^^^
  |
  = help: take the step out, or let the condition look at something

error[constant-error]: division by zero, in `1 / 0 > 2`
 --> flow.yaml:5:32
  |
5 |   broken: { capability: x, if: "${{ 1 / 0 > 2 }}" }
  |                                ^^^^^^^^^^^^^^^^^^^

error[bad-type]: `if` must be one expression, found plain text
 --> flow.yaml:6:31
  |
6 |   plain: { capability: x, if: success() }
  |                               ^^^^^^^^^
  |
  = help: write `${{ success() }}`

error[type-mismatch]: `if` must be true or false, but this is a text
 --> flow.yaml:7:30
  |
7 |   text: { capability: x, if: "${{ run.id }}" }
  |                              ^^^^^^^^^^^^^^^^
  |
  = help: compare it, such as `size(value) > 0`

error[bad-type]: `if` must be one expression, found text around it
 --> flow.yaml:8:32
  |
8 |   around: { capability: x, if: "not ${{ true }}" }
  |                                ^^^^^^^^^^^^^^^^^^
  |
  = help: put all of it inside one `${{ … }}`
"#,
    );
}

#[test]
fn yaml_itself_is_checked() {
    check(
        r#"workflow: test
workflow: again
steps:
  a: { capability: x, capability: y }
  b: { capability: !secret x }
"#,
        r#"
error[duplicate-key]: the key `workflow` stands twice in this map
 --> flow.yaml:2:1
  |
2 | workflow: again
  | ^^^^^^^^
  |
  = help: keep one of them

error[duplicate-key]: the key `capability` stands twice in this map
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
"#,
    );
}

#[test]
fn expressions_in_braces_need_quotes() {
    check(
        r#"workflow: test
steps:
  a: { capability: x, with: ${{ input.x }} }
"#,
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
        r#"
error[yaml-syntax]: not YAML: tabs disallowed within this context (block indentation)
 --> flow.yaml:3:2
  |
3 |     a: { capability: x }
  |     ^
  |
  = help: indent with spaces, not tabs
"#,
    );
}

#[test]
fn an_empty_file_is_explained() {
    check(
        r#"# nothing
"#,
        r#"
error[empty]: the file is empty
 --> flow.yaml:1:1
  |
1 | # nothing
  | ^
  |
  = help: start with `workflow: NAME` and `steps:`
"#,
    );
}

#[test]
fn missing_parts_are_named() {
    check(
        r#"description: nothing to do
"#,
        r#"
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
"#,
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
    let definition =
        crate::parse("workflow: test\ninput: { a: { type: string, minLenght: 3 } }\nsteps: { a: { capability: x } }\n");
    let warning = &definition.warnings.0[0];
    assert_eq!((warning.code, warning.hint.as_deref()), ("unknown-keyword", Some("did you mean `minLength`?")));
}
