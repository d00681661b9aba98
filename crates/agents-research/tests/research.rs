//! The research assistant through its public boundary: real files in, reports and reviews out.

use std::path::Path;

use consort_agents_research::research::evaluation::evaluate;
use consort_agents_research::research::model::{
    AnalyzeInput, PlaceUnit, PlanInput, QueryInput, ReviewInput, SearchInput, Sources, Support, ValidateInput,
    WriteInput,
};
use consort_agents_research::research::{
    Library, Outcome, ResearchConfig, Silent, analyze, plan, review, run, search, validate, write,
};
use consort_agents_research::{BuiltinConfig, builtin};
use consort_types::{Code, EffectClass};
use tempfile::TempDir;

/// A folder with one small file of each format.
fn folder() -> TempDir {
    let dir = tempfile::tempdir().expect("temp dir");
    let files = [
        (
            "lease.md",
            "# Leases\n\nA lease is ownership until a deadline.\nIt lasts 30 seconds.\n\nLeases are short because a dead owner must not block others.\n",
        ),
        ("mill.txt", "THE OLD MILL\n\nThe mill was built by Jane Holm in 1743. It grinds rye.\n"),
        (
            "pump.html",
            "<html><title>Pumps</title><nav>The pump costs nothing</nav><main><h1>Pump P4</h1>\n<p>The pump P4 delivers\n40 litres per minute.</p></main></html>",
        ),
        ("valve.rst", "Valves\n======\n\nUse ``valve --open`` to open the valve.\n"),
    ];
    for (name, text) in files {
        std::fs::write(dir.path().join(name), text).expect("write");
    }
    dir
}

fn ask(dir: &Path, question: &str) -> Outcome {
    let library = Library::new(ResearchConfig::default());
    run(&library, question, &dir.display().to_string(), &Silent).expect("a report")
}

#[test]
fn answers_come_first_and_cite_their_place() {
    let dir = folder();
    for (question, answer, file, lines) in [
        ("What is a lease?", "A lease is ownership until a deadline.", "lease.md", (3, 3)),
        ("Why are leases short?", "Leases are short because a dead owner must not block others.", "lease.md", (6, 6)),
        ("Who built the mill?", "The mill was built by Jane Holm in 1743.", "mill.txt", (3, 3)),
        (
            "How many litres per minute does the pump P4 deliver?",
            "The pump P4 delivers 40 litres per minute.",
            "pump.html",
            (2, 3),
        ),
        ("How do I open the valve?", "Use `valve --open` to open the valve.", "valve.rst", (4, 4)),
    ] {
        let outcome = ask(dir.path(), question);
        let first = &outcome.report.ledger[0];
        assert_eq!(first.claim, answer, "{question}\n{}", outcome.report.markdown);
        assert!(first.file.ends_with(file) && first.citation == 1);
        assert_eq!(
            (first.place.unit, first.place.first, first.place.last),
            (PlaceUnit::Line, lines.0, lines.1),
            "{question}"
        );
        assert!(outcome.report.markdown.contains("[1]") && outcome.report.markdown.contains("## Sources\n\n1. "));
        assert_eq!(outcome.review.checked, outcome.review.verified);
        assert!(outcome.review.score >= 0.8 && outcome.review.problems.is_empty(), "{:?}", outcome.review);
    }
}

#[test]
fn what_is_not_there_is_not_answered() {
    let dir = folder();
    let outcome = ask(dir.path(), "What is the boiling point of helium?");
    assert!(outcome.report.ledger.is_empty(), "{}", outcome.report.markdown);
    assert!(outcome.report.markdown.contains("_Not found in these documents._"));
    assert_eq!(outcome.report.coverage[0].support, Support::None);
}

/// A folder with one file.
fn one(name: &str, text: &str) -> TempDir {
    let dir = tempfile::tempdir().expect("temp dir");
    std::fs::write(dir.path().join(name), text).expect("write");
    dir
}

#[test]
fn an_answer_is_about_the_subject_of_the_question() {
    let page = "<h1>Settings</h1><dl><dt>max_connections<dd><p>How many clients may be connected. The default is 100.</p>\
        <dt>reserved_connections<dd><p>Kept for the owner, out of <code>max_connections</code>. The default value is three \
        connections.</p></dl>";
    let dir = one("settings.html", page);
    let outcome = ask(dir.path(), "What is the default value of max_connections?");
    assert!(outcome.report.ledger[0].claim.contains("100"), "{}", outcome.report.markdown);
    assert!(outcome.report.markdown.contains("**max\\_connections:**"), "{}", outcome.report.markdown);
}

#[test]
fn a_list_is_answered_with_its_members() {
    let text = "# Journal\n\nThe journal is fast. But there are also disadvantages:\n\n- It needs shared memory.\n- It works \
        on one host only.\n\nThe disadvantages of a car are another matter.\n";
    let outcome = ask(one("journal.md", text).path(), "What are the disadvantages of the journal?");
    let claims: Vec<&str> = outcome.report.ledger.iter().map(|e| e.claim.as_str()).take(3).collect();
    assert_eq!(claims[1..], ["It needs shared memory.", "It works on one host only."], "{}", outcome.report.markdown);
}

#[test]
fn an_instruction_comes_with_its_code_and_a_reason_is_not_the_effect() {
    let text = "# FAQ\n\n## How do I list all tables?\n\nAsk the schema:\n\n    SELECT name FROM schema;\n\n## Texts\n\nYou \
        cannot change a text in place, because texts are immutable.\n\n## Why are texts immutable?\n\nIt makes them \
        quick to compare.\n";
    let dir = one("faq.md", text);
    let outcome = ask(dir.path(), "How do I list all tables?");
    assert!(outcome.report.markdown.contains("```\nSELECT name FROM schema;\n```"), "{}", outcome.report.markdown);
    let outcome = ask(dir.path(), "Why are texts immutable?");
    assert_eq!(outcome.report.ledger[0].claim, "It makes them quick to compare.", "{}", outcome.report.markdown);
}

#[test]
fn a_unit_is_quoted_whole_and_an_operator_is_no_other_operator() {
    let entry = "<html><title>linecache</title><main><h1>linecache</h1><p>Lines of files are kept in a cache by this module.</p>\
        <dl><dt>linecache.clearcache()</dt><dd>Clear the cache. Use this function when files have changed.</dd>\
        <dt>linecache.getline()</dt><dd>Get a line of the cache or of its file.</dd></dl></main></html>";
    let outcome = ask(one("linecache.html", entry).path(), "What does linecache.clearcache do?");
    let claims: Vec<&str> = outcome.report.ledger.iter().map(|e| e.claim.as_str()).collect();
    assert_eq!(claims[..2], ["Clear the cache.", "Use this function when files have changed."], "{claims:?}");

    let table = "<html><title>cube</title><main><h1>Operators of cubes</h1><table><tr><th>Operator</th><th>Description</th></tr>\
        <tr><td>cube &lt;-&gt; cube</td><td>Computes the Euclidean distance between the two cubes.</td></tr>\
        <tr><td>cube &lt;=&gt; cube</td><td>Computes the Chebyshev distance between the two cubes.</td></tr></table></main></html>";
    let outcome = ask(one("cube.html", table).path(), "What does the <=> operator compute for cubes?");
    assert!(outcome.report.ledger[0].claim.contains("Chebyshev"), "{}", outcome.report.markdown);

    let changes = "# Source packages\n\nProblematic changes which cause dpkg-source to halt with an error are:\n\n\
        - Adding or removing symbolic links.\n- Creating directories other than debian.\n";
    let outcome = ask(one("source.md", changes).path(), "Which problematic changes cause dpkg-source to halt?");
    assert!(
        outcome.report.ledger.iter().any(|e| e.claim.starts_with("Creating directories")),
        "a lead without its list"
    );
}

#[test]
fn options_differ_by_case_and_files_by_encoding() {
    let page = "<dl><dt>-E<dd>If set, traps are inherited.<dt>-e<dd>Exit at once if a command fails.</dl>";
    let outcome = ask(one("shell.html", page).path(), "What does -e do?");
    assert_eq!(outcome.report.ledger[0].claim, "Exit at once if a command fails.");
    let dir = tempfile::tempdir().expect("temp dir");
    std::fs::write(dir.path().join("m\u{fc}hle.txt"), b"The M\xfchle grinds 40 bags a day.\n").expect("write");
    let outcome = ask(dir.path(), "How many bags does the M\u{fc}hle grind?");
    assert_eq!(outcome.report.ledger[0].claim, "The M\u{fc}hle grinds 40 bags a day.");
}

#[test]
fn files_are_read_in_the_encoding_that_they_are_in() {
    let dir = tempfile::tempdir().expect("temp dir");
    let utf16: Vec<u8> =
        "\u{feff}The main pump was replaced on 3 May 2021.\r\n".encode_utf16().flat_map(u16::to_be_bytes).collect();
    let page = b"<html><head><meta charset=iso-8859-2></head><body><p>The mayor of the town is Luk\xe1\xb9 Nov\xe1k.</p></body></html>";
    let files: [(&str, &[u8]); 4] = [
        ("plain.txt", b"The Kr\xfcger bridge was built in 1903 by S\xf8ren \xc5kerlund.\n"),
        ("pump.txt", &utf16),
        ("mayor.html", page),
        ("tariff.md", "\u{feff}---\r\ntitle: Tariff of the harbour\r\ndate: 2025-02-01\r\n---\r\n\r\nThe berth fee is 34 euros.\r\n".as_bytes()),
    ];
    for (name, bytes) in files {
        std::fs::write(dir.path().join(name), bytes).expect("write");
    }
    for (question, answer) in [
        ("Who built the Kr\u{fc}ger bridge?", "The Kr\u{fc}ger bridge was built in 1903 by S\u{f8}ren \u{c5}kerlund."),
        ("When was the main pump replaced?", "The main pump was replaced on 3 May 2021."),
        ("Who is the mayor of the town?", "The mayor of the town is Luk\u{e1}\u{161} Nov\u{e1}k."),
        ("What is the berth fee?", "The berth fee is 34 euros."),
    ] {
        let outcome = ask(dir.path(), question);
        assert_eq!(outcome.report.ledger[0].quote, answer, "{}", outcome.report.markdown);
        assert_eq!(outcome.review.checked, outcome.review.verified);
        assert!(!outcome.report.markdown.contains(['\u{feff}', '\u{fffd}']));
    }
    let tariff = ask(dir.path(), "What is the berth fee?").report.markdown;
    assert!(tariff.contains("Tariff of the harbour: `") && tariff.contains("dated 2025-02-01"), "{tariff}");
}

#[test]
fn letters_that_only_look_different_are_found_and_quoted_as_they_are() {
    let dir = tempfile::tempdir().expect("temp dir");
    for (name, text) in [
        ("a.txt", "A \u{fb01}nal certi\u{fb01}cate costs 63 euros.\n"),
        ("b.txt", "A \u{ff57}\u{ff49}\u{ff44}\u{ff45} gate weighs \u{ff17}\u{ff17} kilograms.\n"),
        ("c.txt", "The Mu\u{308}hle grinds 40 bags a day.\n"),
    ] {
        std::fs::write(dir.path().join(name), text).expect("write");
    }
    for (question, quote) in [
        ("What does a final certificate cost?", "A \u{fb01}nal certi\u{fb01}cate costs 63 euros."),
        (
            "How many kilograms does a wide gate weigh?",
            "A \u{ff57}\u{ff49}\u{ff44}\u{ff45} gate weighs \u{ff17}\u{ff17} kilograms.",
        ),
        ("How many bags does the M\u{fc}hle grind?", "The Mu\u{308}hle grinds 40 bags a day."),
    ] {
        let outcome = ask(dir.path(), question);
        assert_eq!(outcome.report.ledger[0].quote, quote, "{}", outcome.report.markdown);
        assert_eq!(outcome.report.coverage[0].support, Support::Answered, "{}", outcome.report.markdown);
        assert_eq!(outcome.review.checked, outcome.review.verified);
    }
}

#[test]
fn a_file_that_changed_is_not_quoted_and_is_read_anew() {
    let dir = one("a.md", "The limit of the gateway is 40 requests a second.\n");
    let cache = tempfile::tempdir().expect("temp dir");
    let library = Library::new(ResearchConfig { cache: Some(cache.path().to_owned()), ..ResearchConfig::default() });
    let plan = plan(&PlanInput { question: "What is the limit of the gateway?".into() }).expect("a plan");
    let sources = || Sources::One(dir.path().display().to_string());
    let query = QueryInput::Full(Box::new(plan.queries[0].clone()));
    let results = vec![search(&library, &SearchInput { query, sources: sources() }, &Silent).expect("hits")];
    let indexes = || {
        std::fs::read_dir(cache.path()).expect("cache").filter(|e| e.as_ref().is_ok_and(|e| e.path().is_dir())).count()
    };
    assert_eq!(indexes(), 1);
    let evidence = validate(&ValidateInput { plan: plan.clone(), results }).expect("evidence");
    let analysis = analyze(&AnalyzeInput { plan: plan.clone(), evidence: evidence.clone() }).expect("analysis");
    let input = WriteInput { plan: plan.clone(), evidence, analysis, feedback: None };
    let report = write(&input).expect("a report");
    assert!(report.markdown.contains("40 requests"), "{}", report.markdown);

    std::fs::write(dir.path().join("a.md"), "The limit of the gateway is 90 requests a second.\n").expect("write");
    let seen = review(&library, &ReviewInput { plan: plan.clone(), report }, &Silent).expect("a review");
    assert_eq!((seen.problems[0].kind.as_str(), seen.verified), ("changed", 0));
    assert_eq!(indexes(), 0, "an index with a file that is gone is no cache");

    let again = write(&WriteInput { feedback: Some(seen), ..input }).expect("a report");
    assert!(again.ledger.is_empty() && again.markdown.contains("has changed since it was read"), "{}", again.markdown);
    assert!(ask(dir.path(), "What is the limit of the gateway?").report.markdown.contains("90 requests"));
}

#[cfg(unix)]
#[test]
fn a_messy_folder_is_read_and_what_is_left_out_is_said() {
    use std::os::unix::ffi::OsStrExt as _;
    let dir = one("a, b.md", "The gate closes at ten.\n");
    let name = |bytes: &[u8]| dir.path().join(std::ffi::OsStr::from_bytes(bytes));
    std::fs::write(name(b"name-\xff.md"), "The canteen opens at noon.\n").expect("write");
    std::fs::write(name(b"line\nbreak.md"), "The guard sleeps at dawn.\n").expect("write");
    std::fs::write(name(b"empty.html"), "<nav><a href=x>Home</a></nav>").expect("write");
    std::os::unix::fs::symlink("/etc/passwd", name(b"out.txt")).expect("link");
    let _socket = std::os::unix::net::UnixListener::bind(name(b"pipe.md")).expect("a socket");
    for (question, answer, file) in [
        ("When does the gate close?", "The gate closes at ten.", "a, b.md"),
        ("When does the canteen open?", "The canteen opens at noon.", "name-\\xff.md"),
        ("When does the guard sleep?", "The guard sleeps at dawn.", "line\\nbreak.md"),
    ] {
        let outcome = ask(dir.path(), question);
        let markdown = &outcome.report.markdown;
        assert_eq!(outcome.report.ledger[0].claim, answer, "{markdown}");
        assert_eq!(outcome.review.checked, outcome.review.verified);
        assert!(markdown.lines().any(|l| l.starts_with("1. ") && l.contains(file)), "{markdown}");
        for limit in
            ["1 file left out: no text", "1 file left out: not a regular file", "a link that leads out of the sources"]
        {
            assert!(markdown.contains(limit), "{limit}\n{markdown}");
        }
    }
    let cache = tempfile::tempdir().expect("temp dir");
    let library = Library::new(ResearchConfig { cache: Some(cache.path().to_owned()), ..ResearchConfig::default() });
    let of = |path: std::path::PathBuf| {
        let sources = Sources::One(path.display().to_string());
        search(&library, &SearchInput { query: QueryInput::Text("gate".into()), sources }, &Silent)
    };
    let alone = of(name(b"a, b.md")).expect("hits").corpus;
    assert_eq!((alone.files, alone.skipped.len()), (1, 0));
    for remove in [&b"name-\xff.md"[..], b"line\nbreak.md", b"empty.html"] {
        std::fs::remove_file(name(remove)).expect("remove");
    }
    let beside = of(dir.path().to_owned()).expect("hits").corpus;
    assert_eq!((beside.fingerprint, beside.files), (alone.fingerprint, 1), "the same files have one index");
    assert_eq!((beside.skipped.len(), &beside.sources), (2, &vec![dir.path().display().to_string()]));
    let refused = of(name(b"pipe.md")).expect_err("a socket");
    assert!(refused.code == Code::BadInput && refused.message.contains("pipe.md"), "{refused}");
}

#[test]
fn a_search_that_is_cancelled_stops_before_its_files_are_read() {
    struct Cancelled;
    impl consort_agents_research::research::Observer for Cancelled {
        fn progress(&self, _: &str) {}
        fn cancelled(&self) -> bool {
            true
        }
    }
    let dir = folder();
    let input =
        SearchInput { query: QueryInput::Text("mill".into()), sources: Sources::One(dir.path().display().to_string()) };
    let library = Library::new(ResearchConfig::default());
    assert_eq!(search(&library, &input, &Cancelled).expect_err("cancelled").code, Code::Cancelled);
    assert_eq!(search(&library, &input, &Silent).expect("hits").corpus.files, 4, "the next one is not held up");
}

#[test]
fn a_weak_answer_says_so() {
    let dir = folder();
    let outcome = ask(dir.path(), "Which company sells the pump P4?");
    let markdown = &outcome.report.markdown;
    assert_ne!(outcome.report.coverage[0].support, Support::Answered, "{markdown}");
    assert!(markdown.contains("_A weak answer:") || markdown.contains("_Not found in these documents"), "{markdown}");
}

#[test]
fn the_same_files_give_the_same_bytes_with_and_without_cache() {
    let dir = folder();
    let cache = tempfile::tempdir().expect("temp dir");
    let config = ResearchConfig { cache: Some(cache.path().to_owned()), ..ResearchConfig::default() };
    let sources = dir.path().display().to_string();
    let question = "What is a lease and how long does it last?";
    let answer = |library: &Library| run(library, question, &sources, &Silent).expect("a report");
    let built = answer(&Library::new(config.clone()));
    let (cached, memory) = (answer(&Library::new(config)), answer(&Library::new(ResearchConfig::default())));
    let bytes = |o: &Outcome| serde_json::to_string(o).expect("JSON");
    assert_eq!(bytes(&built), bytes(&cached));
    assert_eq!(bytes(&built), bytes(&memory));
    assert_eq!(
        std::fs::read_dir(cache.path()).expect("cache").filter(|e| e.as_ref().is_ok_and(|e| e.path().is_dir())).count(),
        1
    );
}

#[test]
fn many_searches_of_one_library_share_one_index() {
    let dir = folder();
    let cache = tempfile::tempdir().expect("temp dir");
    let library = Library::new(ResearchConfig { cache: Some(cache.path().to_owned()), ..ResearchConfig::default() });
    let input =
        SearchInput { query: QueryInput::Text("pump".into()), sources: Sources::One(dir.path().display().to_string()) };
    let outputs: Vec<String> = std::thread::scope(|scope| {
        let search = || serde_json::to_string(&search(&library, &input, &Silent).expect("hits")).expect("JSON");
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(search)).collect();
        threads.into_iter().map(|t| t.join().expect("thread")).collect()
    });
    assert!(outputs.windows(2).all(|pair| pair[0] == pair[1]) && outputs[0].contains("40 litres"));
}

#[test]
fn the_review_catches_changed_files_forged_quotes_and_uncited_sentences() {
    let dir = folder();
    let library = Library::new(ResearchConfig::default());
    let outcome = ask(dir.path(), "What is a lease?");
    let check =
        |report| review(&library, &ReviewInput { plan: outcome.plan.clone(), report }, &Silent).expect("a review");

    let mut forged = outcome.report.clone();
    forged.ledger[0].quote = "A lease is for ever.".into();
    assert_eq!(check(forged).problems[0].kind, "citation");

    let mut moved = outcome.report.clone();
    moved.ledger[0].place.first = 1;
    assert_eq!(check(moved).problems[0].kind, "citation");

    let mut uncited = outcome.report.clone();
    uncited.markdown = uncited.markdown.replace("## Answer\n\n", "## Answer\n\nLeases are made of cheese.\n\n");
    let seen = check(uncited);
    assert!(seen.problems.iter().any(|p| p.kind == "uncited") && seen.score < 1.0, "{seen:?}");

    let mut gap = outcome.report.clone();
    gap.markdown = gap.markdown.replace("\n1. ", "\n2. ");
    assert!(check(gap).problems.iter().any(|p| p.kind == "form"));

    std::fs::write(dir.path().join("lease.md"), "# Leases\n\nA lease is ownership until a deadline.\n").expect("write");
    let seen = check(outcome.report.clone());
    assert!(seen.score < 0.8 && seen.problems[0].message.contains("has changed"), "{seen:?}");
}

#[test]
fn contradictions_are_shown_with_both_sides_and_the_newer_one_answers() {
    let dir = tempfile::tempdir().expect("temp dir");
    std::fs::write(dir.path().join("old.txt"), "Date: 2020-01-01\n\nA backup of the database is kept for 14 days.\n")
        .expect("write");
    std::fs::write(dir.path().join("new.txt"), "Date: 2026-01-01\n\nA backup of the database is kept for 35 days.\n")
        .expect("write");
    let outcome = ask(dir.path(), "How long is a backup of the database kept?");
    assert!(outcome.report.ledger[0].claim.contains("35 days"), "{}", outcome.report.markdown);
    let part = outcome.report.markdown.split("## Contradictions").nth(1).expect("a section");
    assert!(part.contains("14 days") && part.contains("35 days") && part.contains("is newer"), "{part}");
}

#[test]
fn sources_may_be_a_list_or_a_text_and_must_exist() {
    let dir = folder();
    let library = Library::new(ResearchConfig::default());
    let two = format!("{0}/lease.md, {0}/mill.txt", dir.path().display());
    let of = |sources| search(&library, &SearchInput { query: QueryInput::Text("mill".into()), sources }, &Silent);
    assert_eq!(of(Sources::One(two)).expect("hits").corpus.files, 2);
    assert_eq!(of(Sources::Many(vec![dir.path().display().to_string()])).expect("hits").corpus.files, 4);
    assert_eq!(of(Sources::One("no-such-folder".into())).expect_err("missing").code, Code::SourceNotFound);
    assert_eq!(plan(&PlanInput { question: "?".into() }).expect_err("no question").code, Code::BadInput);
}

#[test]
fn damaged_and_hostile_files_are_left_out_and_counted() {
    let dir = folder();
    std::fs::write(dir.path().join("broken.pdf"), b"%PDF-1.7\nnot really").expect("write");
    std::fs::write(dir.path().join("binary.txt"), [0_u8, 159, 146, 150]).expect("write");
    std::fs::write(dir.path().join("deep.html"), "<div>".repeat(200_000)).expect("write");
    let outcome = ask(dir.path(), "What is a lease?");
    assert!(outcome.report.markdown.contains("1 file left out: binary"));
    assert!(outcome.report.markdown.contains("1 file left out: PDF that cannot be read"));
}

#[test]
fn the_agent_declares_six_reading_capabilities_with_schemas() {
    let agents = builtin(BuiltinConfig::default());
    let research = agents.iter().find(|a| a.name() == "research").expect("the agent");
    let declaration = research.declaration().expect("a declaration");
    let names: Vec<&str> = declaration.capabilities.iter().map(|c| c.name.as_str()).collect();
    let expected = [
        "research.analyze",
        "research.plan",
        "research.review",
        "research.search",
        "research.validate",
        "research.write",
    ];
    let mut sorted = names.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, expected);
    for capability in &declaration.capabilities {
        assert_eq!(capability.effect, EffectClass::Read, "{}", capability.name);
        assert!(
            capability.input_schema.get("properties").is_some() && capability.output_schema.get("properties").is_some()
        );
    }
}

#[test]
fn the_shipped_workflow_is_right() {
    let text = include_str!("../../../workflows/research.yaml");
    let checked = consort_workflow_check::check(text).unwrap_or_else(|d| panic!("{d:?}"));
    assert!(checked.warnings.0.is_empty(), "{:?}", checked.warnings);
}

/// The figures stand in docs/research.md; a change that makes answers worse must say so here.
#[test]
fn the_evaluation_set_is_answered_as_well_as_documented() {
    let scores = evaluate(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../evaluation")).expect("scores");
    let all = scores.summary().all;
    println!("{scores}");
    assert!(all.answerable >= 60 && all.unanswerable >= 10);
    assert_eq!(all.verified, all.answerable + all.unanswerable, "every citation holds\n{scores}");
    assert!(all.cited * 100 >= all.answerable * FLOOR_CITED, "{scores}");
    assert!(all.honest * 100 >= all.unanswerable * FLOOR_HONEST, "{scores}");
}

/// Per cent of the answerable questions that are answered with the right place.
const FLOOR_CITED: usize = 93;
/// Per cent of the unanswerable questions that are said to have no answer.
const FLOOR_HONEST: usize = 93;
