//! CEL: values, functions, errors.

use std::{collections::BTreeMap, sync::Arc};

use consort_types::{Code, Error};
use consort_workflow::{Action, BlockId, Environment, Expression, StatusFlags, StepValue, Template};
use serde_json::{Value, json};

/// Compiles an expression at a place where everything but status functions and `output` can be used.
pub(crate) fn compile(expression: &str) -> Expression {
    let source = json!({
        "workflow": "test",
        "steps": {
            "a": {"capability": "x"},
            "b-c": {"capability": "x"},
            "probe": {
                "for_each": [1],
                "repeat": {"max": 1},
                "capability": "x",
                "with": {"value": format!("${{{{ {expression} }}}}")},
            },
        },
    });
    let definition = crate::parse(&source.to_string());
    match &definition.root().steps[2].with {
        Template::Map(entries) => match &entries[0].1 {
            Template::Expression(expression) => expression.clone(),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

pub(crate) fn environment() -> Environment {
    let output =
        json!({"score": 0.75, "list": [3, 1, 2], "name": "Ada", "empty": null, "deep": {"a": {"b": [10, 20]}}});
    let step = |output: Value| StepValue { output: Arc::new(output), status: "succeeded", error: None, attempts: 2 };
    let failed = StepValue {
        status: "failed",
        error: Some(Arc::new(json!({"code": "C0304", "message": "no"}))),
        ..step(Value::Null)
    };
    Environment {
        input: Arc::new(json!({"question": "why", "n": 7, "tags": ["x", "y", "x"], "b": 1, "a": 2})),
        item: Some(Arc::new(json!({"id": 5}))),
        index: Some(3),
        loop_: Some(Arc::new(json!({"index": 1, "previous": null}))),
        run: Arc::new(json!({"id": "01J8Z3K4M5N6P7Q8R9S0T1V2W3", "workflow": "test"})),
        output: None,
        steps: BTreeMap::from([(Arc::from("a"), step(output)), (Arc::from("b-c"), failed)]),
        status: StatusFlags::default(),
        ..Environment::default()
    }
}

fn evaluate(expression: &str) -> Result<Value, Error> {
    compile(expression).evaluate(&environment())
}

/// Checks that each expression has the value.
#[track_caller]
fn check(cases: &[(&str, Value)]) {
    for (expression, expected) in cases {
        match evaluate(expression) {
            Ok(value) => assert_eq!(value.to_string(), expected.to_string(), "{expression}"),
            Err(error) => panic!("{expression}: {error}"),
        }
    }
}

/// Checks that each expression fails with a message that holds the text.
#[track_caller]
fn check_errors(cases: &[(&str, &str)]) {
    for (expression, expected) in cases {
        match evaluate(expression) {
            Ok(value) => panic!("{expression} = {value}"),
            Err(error) => assert!(error.to_string().contains(expected), "{expression}: {error}"),
        }
    }
}

#[test]
fn literals_and_arithmetic() {
    check(&[
        ("1 + 2 * 3", json!(7)),
        ("(1 + 2) * 3", json!(9)),
        ("7 / 2", json!(3)),
        ("-7 / 2", json!(-3)),
        ("-7 % 3", json!(-1)),
        ("7.0 / 2.0", json!(3.5)),
        ("1 + 0.5", json!(1.5)),
        ("10 - 3 - 2", json!(5)),
        ("0x1F", json!(31)),
        ("5u", json!(5)),
        ("1e3", json!(1000.0)),
        (".5", json!(0.5)),
        ("-9223372036854775808", json!(i64::MIN)),
        ("18446744073709551615", json!(u64::MAX)),
        ("--1", json!(1)),
        ("!!true", json!(true)),
        (r#""a" + 'b' + """c"d""""#, json!("abc\"d")),
        (r#""\u00e9\n\x41\U0001F600\\""#, json!("é\nA😀\\")),
        (r#"r"\n""#, json!("\\n")),
        ("[1, 'a', null, true] + [2.5,]", json!([1, "a", null, true, 2.5])),
        ("{'b': 1, 'a': [2]}", json!({"a": [2], "b": 1})),
        ("1 // a comment\n + 1", json!(2)),
    ]);
    check_errors(&[
        ("9223372036854775807 * 3", "integer overflow"),
        ("-9223372036854775808 - 1", "integer overflow"),
        ("18446744073709551615 * 18446744073709551615", "integer overflow"),
        ("1 / (input.n - 7)", "division by zero"),
        ("1.0 / 0.0", "not a finite number"),
        ("5.5 % 2", "`%` needs whole numbers"),
        ("input.question + input.n", "make a text of the other with `string()`"),
        ("{'a': 1, 'a': 2}", "appears twice"),
        ("-input.question", "is a text, not a number"),
    ]);
}

#[test]
fn comparison_is_exact_across_number_kinds() {
    check(&[
        ("1 == 1.0", json!(true)),
        ("1 != '1'", json!(true)),
        ("9007199254740993 == 9007199254740992.0", json!(false)),
        ("9007199254740993 > 9007199254740992.0", json!(true)),
        ("-1 < 18446744073709551615", json!(true)),
        ("1 < 1.5 && 2 > 1.5 && -1.5 < -1", json!(true)),
        ("1e300 > 18446744073709551615", json!(true)),
        ("'a' < 'b' && false < true", json!(true)),
        ("[1, {'a': 2}] == [1.0, {'a': 2.0}]", json!(true)),
        ("{'a': 1} == {'b': 1}", json!(false)),
        ("null == steps.a.output.empty", json!(true)),
        ("2 in [1, 2.0]", json!(true)),
        ("'a' in input && !('z' in input)", json!(true)),
    ]);
    check_errors(&[
        ("input.n < input.question", "cannot be ordered"),
        ("input.tags < input.tags", "cannot be ordered"),
        ("'x' in input.question", "text.contains"),
    ]);
}

#[test]
fn logic_absorbs_errors_as_cel_has_it() {
    check(&[
        ("false && input.nope", json!(false)),
        ("input.nope && false", json!(false)),
        ("input.nope || true", json!(true)),
        ("true || input.nope", json!(true)),
        ("[1, 2].exists(x, x == 2 || input.nope)", json!(true)),
        ("[0, 2].exists(x, 4 / x == 2)", json!(true)),
        ("[0, 2].all(x, 4 / x == 3)", json!(false)),
        ("input.n > 5 ? 'big' : input.nope", json!("big")),
        ("false ? 1 : true ? 2 : 3", json!(2)),
    ]);
    check_errors(&[
        ("true && input.nope", "no key `nope`"),
        ("input.nope || false", "no key `nope`"),
        ("[0, 1].exists(x, 4 / x == 3)", "division by zero"),
        ("[0, 2].exists_one(x, 4 / x == 2)", "division by zero"),
        ("input.n && true", "is a number, not `true` or `false`"),
        ("input.question ? 1 : 2", "is a text"),
    ]);
}

#[test]
fn access_names_what_is_missing_and_what_is_there() {
    check(&[
        ("steps.a.output.deep.a.b[1]", json!(20)),
        ("steps['a'].output['name']", json!("Ada")),
        ("steps[\"b-c\"].error.code + steps['b-c'].status", json!("C0304failed")),
        ("steps.a.attempts + index + loop.index + item.id", json!(11)),
        ("steps.a.error", json!(null)),
        ("has(steps.a.output.name) && !has(steps.a.output.nope)", json!(true)),
        ("has(input['question']) && !has(steps.a.error.code)", json!(true)),
        ("[[1, 2], [3]][0][1]", json!(2)),
        ("{'a': {'b': 5}}.a.b", json!(5)),
        ("run.id", json!("01J8Z3K4M5N6P7Q8R9S0T1V2W3")),
        ("loop.previous == null", json!(true)),
    ]);
    check_errors(&[
        ("steps.a.output.scre", "`steps.a.output` has no key `scre`, in `steps.a.output.scre`"),
        ("steps.a.output.scre", "did you mean `score`? (it has `deep`, `empty`, `list`, `name`, `score`)"),
        ("steps.a.output.list[3]", "it has 3 elements, the first is 0"),
        ("steps.a.output.list[-1]", "has no element -1"),
        ("steps.a.output.list[0.5]", "has no element 0.5"),
        ("steps.a.output.name.first", "`steps.a.output.name` is a text, not a map with `first`"),
        ("steps.a.output.list.x", "is a list"),
        ("item.id.x", "is a number"),
    ]);
    let error = evaluate("input.nope").unwrap_err();
    assert_eq!(error.code, Code::Expression);
}

#[test]
fn macros_walk_lists_and_maps_in_order() {
    check(&[
        ("input.map(k, k)", json!(["a", "b", "n", "question", "tags"])),
        ("input.tags.map(t, t + '!')", json!(["x!", "y!", "x!"])),
        ("[1, 2, 3, 4].map(x, x % 2 == 0, x * x)", json!([4, 16])),
        ("steps.a.output.list.filter(x, x > 1)", json!([3, 2])),
        ("steps.a.output.list.all(x, x > 0)", json!(true)),
        ("[].all(x, false) && ![].exists(x, true)", json!(true)),
        ("input.tags.exists_one(t, t == 'y') && !input.tags.existsOne(t, t == 'x')", json!(true)),
        ("[1, 2].map(x, [10, 20].map(y, x * y))", json!([[10, 20], [20, 40]])),
        ("[1, 2].map(x, [3].map(x, x))", json!([[3], [3]])),
        ("[{'v': {'w': 1}}, {'v': {'w': 2}}].map(o, o.v.w)", json!([1, 2])),
        ("[{'v': 1}].filter(o, has(o.v))", json!([{"v": 1}])),
    ]);
    check_errors(&[
        ("input.n.map(x, x)", "`input.n` is a number, not a list or a map"),
        ("[1].filter(x, x)", "not `true` or `false`"),
    ]);
}

#[test]
fn functions_on_texts() {
    check(&[
        ("size('añ😀') + size([1, 2]) + {'a': 1}.size()", json!(6)),
        ("'hello'.contains('ell') && 'hello'.startsWith('he') && 'hello'.endsWith('lo')", json!(true)),
        ("'abc123'.matches('^[a-z]+[0-9]+$')", json!(true)),
        ("'abc'.matches(input.question)", json!(false)),
        ("'Ab'.lowerAscii() + 'Ab'.upperAscii() + ' x '.trim()", json!("abABx")),
        ("'a,b,,c'.split(',')", json!(["a", "b", "", "c"])),
        ("'héy'.split('')", json!(["h", "é", "y"])),
        ("input.tags.join(', ') + ['a', 1, null].join()", json!("x, y, xa1null")),
        ("'banana'.replace('an', '-')", json!("b--a")),
        ("'héllo'.substring(1, 3) + 'héllo'.substring(3)", json!("éllo")),
    ]);
    check_errors(&[
        ("input.n.startsWith('a')", "a text is needed, found a number"),
        ("'a'.substring(2)", "`substring` from 2 to 1 is outside of 0 to 1"),
        ("'a'.matches('(' + input.question)", "is not a pattern"),
        ("[1].join(2)", "a text is needed"),
    ]);
}

#[test]
fn conversions() {
    check(&[
        ("[int('42'), int(2.9), int(-2.9), int(true), int(18446744073709551615)]", json!([42, 2, -2, 1, u64::MAX])),
        ("[double(1), double('2.5')]", json!([1.0, 2.5])),
        (
            "string(1) + string(1.5) + string(true) + string(null) + string('s') + string([1])",
            json!("11.5truenulls[1]"),
        ),
        ("bool('true') && !bool('false')", json!(true)),
        (
            "[1, 1.0, '', true, null, [], {}].map(x, type(x))",
            json!(["int", "double", "string", "bool", "null", "list", "map"]),
        ),
        ("json({'b': [1, 2.0], 'a': 'x'})", json!(r#"{"a":"x","b":[1,2.0]}"#)),
        ("fromJson('{\"a\": [1]}').a[0]", json!(1)),
    ]);
    check_errors(&[
        ("int('x')", "`\"x\"` cannot be made an integer"),
        ("int(1e30)", "integer overflow"),
        ("double('nan')", "cannot be made a number"),
        ("bool(input.n)", "cannot be made a truth value"),
        ("fromJson('{')", "the text is not JSON"),
    ]);
}

#[test]
fn functions_on_lists() {
    check(&[
        ("[min([3, 1.5, 2]), max(1, 2, 3), sum([1, 2]), sum([]), sum([1, 0.5])]", json!([1.5, 3, 3, 0, 1.5])),
        ("min('b', 'a') + max(['x', 'y'])", json!("ay")),
        ("range(3) + range(2, 4) + range(0)", json!([0, 1, 2, 2, 3])),
        ("keys(input)", json!(["a", "b", "n", "question", "tags"])),
        ("[[1, 2], 3, [[4]]].flatten()", json!([1, 2, 3, [4]])),
        ("[1, 2.0, 2, 1.0, 'a', 'a', {'x': 1}, {'x': 1.0}].distinct()", json!([1, 2.0, "a", {"x": 1}])),
        ("steps.a.output.list.sort() + ['b', 'a'].sort() + [1, 2].reverse()", json!([1, 2, 3, "a", "b", 2, 1])),
        ("[1, 2, 3, 4].slice(1, 3)", json!([2, 3])),
        ("input.tags.size()", json!(3)),
    ]);
    check_errors(&[
        ("min([])", "an empty list has no smallest or largest element"),
        ("sum(['a'])", "needs a list of numbers"),
        ("[1, 'a'].sort()", "cannot be ordered"),
        ("[1].slice(0, 2)", "is outside of 0 to 1"),
        ("keys(input.tags)", "`keys` needs a map, found a list"),
    ]);
}

#[test]
fn work_is_bounded() {
    for bomb in [
        "range(1000).map(a, range(1000).map(b, range(1000).map(c, a * b * c)))",
        "range(2000).exists(a, range(2000).exists(b, a * b < 0) || true == false)",
        "range(100000000)",
        "range(2000).map(a, input.big)",
        "range(30).map(a, 'xxxxxxxxxxxxxxxx').join(input.big_text).replace('x', input.big_text)",
        "input.big.map(x, input.big.map(y, x == y))",
        "input.big.map(x, input.big_text.matches('a.*b.*c.*d'))",
        "input.big + input.big + input.big + input.big == input.big ? 1 : range(2000000)",
    ] {
        let mut environment = environment();
        let big: Vec<Value> = (0..20_000).map(|n| json!({"n": n})).collect();
        environment.input = Arc::new(json!({"big": big, "big_text": "x".repeat(1_000_000)}));
        let error = compile(bomb).evaluate(&environment).map(|_| "a value").unwrap_err();
        assert_eq!(error.code, Code::ExpressionBudget, "{bomb}: {error}");
    }
}

#[test]
fn a_value_is_never_nested_too_deep_to_be_read_again() {
    let mut environment = environment();
    let mut deep = json!(1);
    for _ in 0..99 {
        deep = json!([deep]);
    }
    environment.item = Some(Arc::new(deep));
    assert!(compile("[item]").evaluate(&environment).is_ok());
    let error = compile("[[item]]").evaluate(&environment).unwrap_err();
    assert_eq!(error.code, Code::LimitReached);
}

#[test]
fn references_are_known_before_a_run() {
    let names = |text: &str| format!("{:?}", compile(text).references());
    assert_eq!(
        names("steps.a.output.x + steps['a'].output.y + string(item) + input.z"),
        r#"[Input, Step { up: 0, index: 0, name: "a" }, Item]"#
    );
    assert_eq!(names("[index, loop.index, run.id]"), "[Index, Loop, Run]");
    assert_eq!(names("[1].map(item, item)"), "[]");
}

#[test]
fn status_functions_answer_by_the_flags() {
    let source = "
workflow: test
steps:
  a: { capability: x }
  plain: { capability: x, needs: a }
  only: { capability: x, needs: a, if: \"${{ steps.a.output.ok }}\" }
  after: { capability: x, needs: a, if: \"${{ failure() && steps.a.status == 'failed' }}\" }
  ever: { capability: x, needs: a, if: '${{ always() }}' }
  stopped: { capability: x, needs: a, if: '${{ cancelled() || !success() }}' }
";
    let definition = crate::parse(source);
    let runs = |status: StatusFlags| -> Vec<bool> {
        let mut environment = environment();
        let failed = StepValue {
            output: Arc::new(json!({"ok": true})),
            status: if status.failure { "failed" } else { "succeeded" },
            error: None,
            attempts: 1,
        };
        environment.steps.insert(Arc::from("a"), failed);
        environment.status = status;
        definition.root().steps[1..].iter().map(|step| step.runs(&environment).unwrap()).collect()
    };
    assert_eq!(runs(StatusFlags::default()), [true, true, false, true, false]);
    assert_eq!(runs(StatusFlags { success: false, failure: true, cancelled: false }), [false, false, true, true, true]);
    assert_eq!(
        runs(StatusFlags { success: false, failure: false, cancelled: true }),
        [false, false, false, true, true]
    );
    assert!(definition.root().steps[3].condition.as_ref().unwrap().uses_status());
}

#[test]
fn loops_end_by_their_conditions() {
    let source = "
workflow: test
steps:
  until:
    repeat: { until: '${{ steps.check.output.score >= 0.5 && output.check.score > 0 }}', max: 3 }
    steps: { check: { capability: x } }
  while: { repeat: { while: '${{ output.more }}', max: 3 }, capability: x }
  count: { repeat: { max: 3 }, capability: x }
";
    let definition = crate::parse(source);
    let ends = |step: usize, output: Value| {
        let mut environment = environment();
        let inner =
            StepValue { output: Arc::new(json!({"score": 0.7})), status: "succeeded", error: None, attempts: 1 };
        environment.steps.insert(Arc::from("check"), inner);
        environment.output = Some(Arc::new(output));
        definition.root().steps[step].repeat.as_ref().unwrap().ends(&environment).unwrap()
    };
    assert!(ends(0, json!({"check": {"score": 0.7}})));
    assert!(!ends(1, json!({"more": true})));
    assert!(ends(1, json!({"more": false})));
    assert!(!ends(2, json!(null)));
    assert!(matches!(definition.root().steps[0].action, Action::Group(BlockId(1))));
}
