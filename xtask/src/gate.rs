//! Runs the stages of the gate, lets their output through, and counts the tests.
//!
//! For: `cargo xtask test`, and starting single programs of the workspace. Not for: choosing what is checked.
//! Invariant: the last line of a run is `N passed, N failed`; it names no failure only when every stage was good.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::project::Project;
use crate::stages::{self, Action, STAGES, Stage};

/// How often a stage with a time limit is checked.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Tests counted from the lines of the test harness.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Count {
    passed: u64,
    failed: u64,
}

impl Count {
    fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

/// How a stage ended.
struct Ended {
    count: Count,
    /// Why it is bad, if it is.
    failure: Option<String>,
}

impl Ended {
    /// Failed, before any test was counted.
    fn bad(failure: String) -> Self {
        Self { count: Count::default(), failure: Some(failure) }
    }
}

/// The stages that the flags select: all of them, or those behind each `--only`.
pub(crate) fn choose(flags: &[&str]) -> Result<Vec<&'static Stage>, String> {
    let mut wanted = Vec::new();
    for pair in flags.chunks(2) {
        match *pair {
            ["--only", name] => wanted.push(name),
            _ => return Err(format!("`{}` is not a flag of `test`", pair[0])),
        }
    }
    if let Some(unknown) = wanted.iter().find(|name| !STAGES.iter().any(|stage| stage.name == **name)) {
        return Err(format!("there is no stage `{unknown}`; `cargo xtask test --list` shows them"));
    }
    Ok(STAGES.iter().filter(|stage| wanted.is_empty() || wanted.contains(&stage.name)).collect())
}

/// What a run came to.
#[derive(Debug, Default, PartialEq, Eq)]
struct Verdict {
    count: Count,
    /// The names of the stages that failed.
    failures: Vec<&'static str>,
}

/// Runs the stages in order; true when all are good.
pub(crate) fn run(project: &Project, chosen: &[&Stage]) -> Result<bool, String> {
    let started = Instant::now();
    let verdict = run_stages(project, chosen)?;
    say(&summary(&verdict.failures, started.elapsed()));
    say(&format!("{} passed, {} failed", verdict.count.passed, verdict.count.failed));
    Ok(verdict.failures.is_empty())
}

fn run_stages(project: &Project, chosen: &[&Stage]) -> Result<Verdict, String> {
    let mut verdict = Verdict::default();
    for (i, stage) in chosen.iter().enumerate() {
        let place = format!("[{}/{}] {}", i + 1, chosen.len(), stage.name);
        say(&format!("{place}: {} ({})", stage.why, stages::shown(stage.action)));
        let began = Instant::now();
        let ended = run_stage(project, stage)?;
        let seconds = began.elapsed().as_secs_f64();
        verdict.count.add(ended.count);
        let Some(failure) = ended.failure else {
            say(&format!("{place}: good after {seconds:.1} s"));
            continue;
        };
        say(&format!("{place}: FAILED after {seconds:.1} s: {failure}"));
        say(&format!("    again: cargo xtask test --only {}", stage.name));
        verdict.failures.push(stage.name);
        // A failed stage without a failed test counts as one, so that the last line never looks good by mistake.
        verdict.count.failed += u64::from(ended.count.failed == 0);
        if stage.others_need_it {
            say("    the stages behind it need it and were not run");
            break;
        }
    }
    Ok(verdict)
}

fn summary(failures: &[&str], elapsed: Duration) -> String {
    let seconds = elapsed.as_secs();
    match failures {
        [] => format!("every stage is good after {seconds} s"),
        names => format!("failed after {seconds} s: {}", names.join(", ")),
    }
}

/// A line on standard output, at once.
fn say(line: &str) {
    println!("{line}");
    let _ = std::io::stdout().flush();
}

fn run_stage(project: &Project, stage: &Stage) -> Result<Ended, String> {
    let mut command = match stage.action {
        Action::Own(_, chore) => return Ok(judge_chore(chore(project))),
        Action::Cargo(args) => with_args(project.cargo(), args),
        Action::Binary([name, args @ ..]) => with_args(project.command(binary(project, stages::PROFILE, name)?), args),
        Action::Script([path, args @ ..]) => with_args(project.command(project.root().join(path)), args),
        Action::Binary([]) | Action::Script([]) => return Err(format!("stage `{}` runs nothing", stage.name)),
    };
    match command.stdout(Stdio::piped()).spawn() {
        Ok(child) => Ok(follow(child, stage.time_max, std::io::stdout())),
        Err(e) => Ok(Ended::bad(format!("could not be started: {e}"))),
    }
}

fn judge_chore(result: Result<bool, String>) -> Ended {
    match result {
        Ok(true) => Ended { count: Count::default(), failure: None },
        Ok(false) => Ended::bad("it found something to mend".to_owned()),
        Err(message) => Ended::bad(message),
    }
}

fn with_args(mut command: Command, args: &[&str]) -> Command {
    command.args(args);
    command
}

/// Passes the output through until the program ends or its time is over.
fn follow(mut child: Child, time_max: Option<Duration>, to: impl Write + Send + 'static) -> Ended {
    let reader = child.stdout.take().map(|out| std::thread::spawn(move || pass_through(out, to)));
    let failure = match wait(&mut child, time_max) {
        Ok(Some(status)) if status.success() => None,
        Ok(Some(status)) => Some(status.to_string()),
        Ok(None) => {
            // What the program itself started may still hold the pipe: do not wait for its end.
            return Ended::bad(format!("stopped, because it took longer than {:?}", time_max.unwrap_or_default()));
        }
        Err(e) => Some(format!("could not be waited for: {e}")),
    };
    let count = reader.map(JoinHandle::join).and_then(Result::ok).unwrap_or_default();
    let failure = failure.or_else(|| (count.failed > 0).then(|| format!("{} tests failed", count.failed)));
    Ended { count, failure }
}

/// The exit status, or none when the time was over and the program was stopped.
fn wait(child: &mut Child, time_max: Option<Duration>) -> std::io::Result<Option<ExitStatus>> {
    let Some(time_max) = time_max else {
        return child.wait().map(Some);
    };
    let began = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if began.elapsed() > time_max {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// Copies every line as it comes and counts the tests in it.
fn pass_through(out: ChildStdout, mut to: impl Write) -> Count {
    let mut reader = BufReader::new(out);
    let mut count = Count::default();
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line).is_ok_and(|bytes| bytes > 0) {
        // Our own output may be closed; the stage is still run to its end and counted.
        let _ = to.write_all(&line).and_then(|()| to.flush());
        count.add(harness_line(&String::from_utf8_lossy(&line)).unwrap_or_default());
        line.clear();
    }
    count
}

/// Reads `test result: ok. 3 passed; 0 failed; 0 ignored; …`.
fn harness_line(line: &str) -> Option<Count> {
    let (_, counts) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let number = |word: &str| {
        let part = counts.split(';').map(str::trim).find(|part| part.ends_with(word))?;
        part.split(' ').next()?.parse().ok()
    };
    Some(Count { passed: number("passed")?, failed: number("failed")? })
}

/// Builds a program of the workspace in release and runs it on our own output; true when it succeeds. It is built with
/// the features of the whole workspace, as the gate does, so that nothing is compiled twice.
pub(crate) fn run_binary(project: &Project, name: &str, args: &[&str]) -> Result<bool, String> {
    build_binary(project, name)?;
    let status = project.command(binary(project, "release", name)?).args(args).status();
    Ok(status.map_err(|e| format!("cannot run `{name}`: {e}"))?.success())
}

/// Builds a release program of the workspace.
pub(crate) fn build_binary(project: &Project, name: &str) -> Result<(), String> {
    let build = project.cargo().args(["build", "--workspace", "--release", "--bin", name]).status();
    if !build.map_err(|e| format!("cannot run cargo: {e}"))?.success() {
        return Err(format!("`{name}` could not be built"));
    }
    Ok(())
}

/// Where cargo puts a program of a profile. A name such as `examples/x` is an example.
fn binary(project: &Project, profile: &str, name: &str) -> Result<PathBuf, String> {
    Ok(project.target_folder()?.join(profile).join(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, time_max: Option<Duration>) -> Ended {
        let child = Command::new("sh").args(["-c", script]).stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        follow(child.expect("a shell"), time_max, std::io::sink())
    }

    #[test]
    fn lines_of_the_harness_are_counted_and_others_are_not() {
        let line = "test result: FAILED. 12 passed; 3 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s";
        assert_eq!(harness_line(line), Some(Count { passed: 12, failed: 3 }));
        for line in ["test a::b ... ok", "test result: ", "the test result: ok. 1 passed; 0 failed"] {
            assert_eq!(harness_line(line), None, "{line}");
        }
    }

    #[test]
    fn counts_of_all_harness_lines_are_summed() {
        let ended = shell(
            "printf 'test result: ok. 2 passed; 0 failed;\\nnoise\\ntest result: ok. 3 passed; 0 failed;\\n'",
            None,
        );
        assert_eq!(ended.count, Count { passed: 5, failed: 0 });
        assert!(ended.failure.is_none());
    }

    #[test]
    fn a_bad_exit_is_a_failure_and_so_is_a_failed_test_behind_a_good_exit() {
        assert!(shell("exit 3", None).failure.is_some_and(|failure| failure.contains('3')));
        let ended = shell("echo 'test result: FAILED. 1 passed; 2 failed;'", None);
        assert_eq!(ended.failure.as_deref(), Some("2 tests failed"));
    }

    #[test]
    fn a_program_may_take_its_time_and_no_more() {
        assert!(shell("true", Some(Duration::from_hours(1))).failure.is_none());
        let failure = shell("exec sleep 3600", Some(Duration::ZERO)).failure;
        assert!(failure.is_some_and(|failure| failure.starts_with("stopped")));
    }

    #[test]
    fn stages_are_chosen_by_name_in_the_order_of_the_table() {
        let names =
            |flags: &[&str]| choose(flags).map(|chosen| chosen.iter().map(|stage| stage.name).collect::<Vec<_>>());
        assert_eq!(names(&[]).map(|all| all.len()), Ok(STAGES.len()));
        assert_eq!(names(&["--only", "tidy", "--only", "fmt"]), Ok(vec!["fmt", "tidy"]));
        for flags in [&["--only"][..], &["--only", "nothing"], &["--all"]] {
            assert!(names(flags).is_err(), "{flags:?}");
        }
    }

    #[test]
    fn a_failed_stage_counts_as_one_and_ends_the_run_only_when_others_need_it() {
        let project = Project::find().expect("the workspace");
        let stage = |name, program, others_need_it| Stage {
            name,
            why: "a test of the gate",
            action: Action::Script(program),
            time_max: None,
            others_need_it,
        };
        let good = stage("good", &["/bin/true"], true);
        let bad = stage("bad", &["/bin/false"], false);
        let missing = stage("missing", &["/bin/there-is-no-such-program"], true);
        let run = |chosen: &[&Stage]| run_stages(&project, chosen);
        let verdict = |failed, failures| Ok(Verdict { count: Count { passed: 0, failed }, failures });
        let chore = |name, chore| Stage { action: Action::Own(&[], chore), ..stage(name, &[], false) };
        let untidy = chore("untidy", |_| Ok(false));
        let broken = chore("broken", |_| Err("no reason".to_owned()));
        assert_eq!(run(&[&good, &chore("neat", |_| Ok(true))]), verdict(0, vec![]));
        assert_eq!(run(&[&untidy, &broken]), verdict(2, vec!["untidy", "broken"]));
        assert_eq!(run(&[&bad, &good, &missing, &bad]), verdict(2, vec!["bad", "missing"]));
    }

    #[test]
    fn the_summary_names_what_failed() {
        assert_eq!(summary(&[], Duration::from_secs(9)), "every stage is good after 9 s");
        assert_eq!(summary(&["fmt", "tests"], Duration::from_secs(9)), "failed after 9 s: fmt, tests");
    }
}
