//! Findings about names, types and expressions, as authors see them.

use crate::diagnostics::check;

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
        "workflow: test
input:
  question: { type: strng }
  who: { type: object, properties: { name: string } }
  count: 5
steps:
  a: { capability: x }
",
        "
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
",
    );
}

#[test]
fn bad_defaults_are_found() {
    check(
        "workflow: test
input:
  when: { type: integer, default: soon }
steps:
  a: { capability: x }
",
        "
error[bad-default]: the default of `when` does not fit its own schema
 --> flow.yaml:3:35
  |
3 |   when: { type: integer, default: soon }
  |                                   ^^^^
",
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
  b: { capability: x, for_each: "${{ item }}" }
  c: { capability: x, repeat: { max: 2, until: "${{ output.ok && loop.count > 1 }}" }, with: { v: "${{ index }}" } }
  d: { capability: x, with: { v: "${{ success() }}" } }
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
4 |   b: { capability: x, for_each: "${{ item }}" }
  |                                      ^^^^
  |
  = help: add `for_each` to the step or its group

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
"#,
    );
}

#[test]
fn syntax_errors_point_at_the_place() {
    check(
        r#"workflow: test
steps:
  a: { capability: x, with: { v: "${{ 1 + }}", w: "${{ a and b }}", x: "${{ 'open }}" } }
  d: { capability: x, with: { v: "été ${{ inptu.x }}", w: "${{ 1 = 2 }}", y: "${{ 1 }" } }
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
  = help: there are `input`, `steps`, `item`, `index`, `loop`, `run`, `output`, `lock`, `reads`

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

error[unknown-variable]: there is no variable `inptu`
 --> flow.yaml:4:43
  |
4 |   d: { capability: x, with: { v: "été ${{ inptu.x }}", w: "${{ 1 = 2 }}", y: "${{ 1 }" } }
  |                                           ^^^^^
  |
  = help: did you mean `input`?

error[expression-syntax]: `=` has no meaning in an expression
 --> flow.yaml:4:66
  |
4 |   d: { capability: x, with: { v: "été ${{ inptu.x }}", w: "${{ 1 = 2 }}", y: "${{ 1 }" } }
  |                                                                  ^
  |
  = help: compare with `==`

error[expression-syntax]: `${{` is not closed
 --> flow.yaml:4:79
  |
4 |   d: { capability: x, with: { v: "été ${{ inptu.x }}", w: "${{ 1 = 2 }}", y: "${{ 1 }" } }
  |                                                                               ^^^^^^^
  |
  = help: end the expression with `}}`, or write `$${{` for these characters themselves
"#,
    );
}

#[test]
fn steps_are_used_by_literal_name_and_field() {
    check(
        r#"workflow: test
steps:
  a: { capability: x }
  b: { capability: x, with: { v: "${{ steps.a }}", w: "${{ steps[input.x].output }}", x: "${{ steps.a.result }}" } }
"#,
        r#"
error[bad-step-reference]: a step has several values: name one
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
"#,
    );
}

#[test]
fn calls_and_operands_are_checked() {
    check(
        r#"workflow: test
steps:
  c: { capability: x, with: { v: "${{ 'a' + 1 }}", w: "${{ size(1) }}", x: "${{ [1].map(x) }}", y: "${{ min() }}" } }
  d: { capability: x, with: { x: "${{ 'a'.matches('(') }}" } }
"#,
        r#"
error[type-mismatch]: `+` between a text and a number
 --> flow.yaml:3:39
  |
3 |   c: { capability: x, with: { v: "${{ 'a' + 1 }}", w: "${{ size(1) }}", x: "${{ [1].map(x) }}", y: "${{ min() }}" } }
  |                                       ^^^^^^^
  |
  = help: make a text of the other with `string()`

error[type-mismatch]: `size` needs a text or a list or a map, but `1` is a number
 --> flow.yaml:3:65
  |
3 |   c: { capability: x, with: { v: "${{ 'a' + 1 }}", w: "${{ size(1) }}", x: "${{ [1].map(x) }}", y: "${{ min() }}" } }
  |                                                                 ^

error[expression-syntax]: expected `,`, found `)`
 --> flow.yaml:3:90
  |
3 |   c: { capability: x, with: { v: "${{ 'a' + 1 }}", w: "${{ size(1) }}", x: "${{ [1].map(x) }}", y: "${{ min() }}" } }
  |                                                                                          ^

error[bad-arguments]: `min` takes 1 to 16 arguments (the receiver counted), found 0
 --> flow.yaml:3:105
  |
3 |   c: { capability: x, with: { v: "${{ 'a' + 1 }}", w: "${{ size(1) }}", x: "${{ [1].map(x) }}", y: "${{ min() }}" } }
  |                                                                                                         ^^^
  |
  = help: usage: `min(list)` or `min(a, b)`

error[bad-pattern]: `(` is not a pattern: unclosed group
 --> flow.yaml:4:51
  |
4 |   d: { capability: x, with: { x: "${{ 'a'.matches('(') }}" } }
  |                                                   ^^^
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
  = help: remove the step, or let the condition depend on something

error[unreachable-step]: the step can never run
 --> flow.yaml:4:34
  |
4 |   constant: { capability: x, if: "${{ 1 > 2 }}" }
  |                                  ^^^^^^^^^^^^^^^
  |
  = help: remove the step, or let the condition depend on something

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
