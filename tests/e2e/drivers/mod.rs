//! The driver matrix: programs that talk through real drivers carry out one checklist of behaviours on a plain server,
//! on an unsharded and on a sharded database of the proxy, and what they print must be the same. `tests/drivers/README.md`
//! says how the parts fit; `scripts/need drivers` installs what they are made of.

mod checklist;
mod expectation;
mod place;
mod program;
mod report;

use std::io::Write;
use std::sync::Arc;

use shardway::internal::local::Installed;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use self::checklist::Checklist;
use self::expectation::Expectations;
use self::place::Grounds;
use self::program::{PROGRAMS, Program};
use self::report::Report;
use crate::support::flavors;

/// Names programs to run, with commas between, or `all`. Without it none is run: fetching them is `make drivers`.
const ONLY_VARIABLE: &str = "SHARDWAY_TEST_DRIVERS";
const ALL: &str = "all";

#[tokio::test(flavor = "multi_thread")]
async fn every_driver_gets_the_answers_of_one_server() {
    let Ok(only) = std::env::var(ONLY_VARIABLE) else {
        return say("SKIPPED: the driver matrix (run it with: make drivers)");
    };
    let only = Some(only).filter(|only| only != ALL);
    let chosen = |program: &&Program| {
        only.as_ref().is_none_or(|only| only.split(',').any(|name| program.name.starts_with(name)))
    };
    let mut ready = Vec::new();
    let mut skipped = false;
    for program in PROGRAMS.iter().filter(chosen) {
        match program.prepare().await {
            Ok(()) => ready.push(program),
            Err(reason) => {
                skipped = true;
                say(&format!("SKIPPED: driver {}: {reason}", program.name));
            }
        }
    }
    assert!(!ready.is_empty(), "no driver can be run; install them with: scripts/need drivers");
    let checklist = Arc::new(Checklist::read());
    let expectations = Arc::new(Expectations::read(&checklist));
    let mut wrong = Vec::new();
    for flavor in flavors() {
        wrong.extend(run_all(&flavor, &ready, &checklist, &expectations).await);
    }
    // A part of the matrix cannot tell whether an expectation still holds somewhere.
    let whole = !skipped && only.is_none() && flavors().len() == 2;
    if !expectations.rewritten(whole) && whole {
        wrong.extend(expectations.unused());
    }
    assert!(wrong.is_empty(), "{} differences:\n{}", wrong.len(), wrong.join("\n"));
}

/// Every program against one flavor of servers, as many at once as there are processors; what is wrong, in words.
async fn run_all(
    flavor: &Installed,
    programs: &[&'static Program],
    checklist: &Arc<Checklist>,
    expectations: &Arc<Expectations>,
) -> Vec<String> {
    let places = Arc::new(Semaphore::new(std::thread::available_parallelism().map_or(2, usize::from)));
    let grounds = Arc::new(Grounds::open(flavor).await);
    let mut running = JoinSet::new();
    for program in programs.iter().copied().filter(|program| program.talks_to(flavor.flavor)) {
        let (places, grounds) = (Arc::clone(&places), Arc::clone(&grounds));
        let (checklist, expectations) = (Arc::clone(checklist), Arc::clone(expectations));
        running.spawn(async move {
            let _place = places.acquire_owned().await.unwrap();
            let compared = grounds.compare(program, &checklist).await;
            Report::new(program, grounds.flavor(), &compared, &checklist, &expectations)
        });
    }
    let mut reports: Vec<Report> = Vec::new();
    while let Some(report) = running.join_next().await {
        reports.push(report.unwrap());
    }
    reports.sort_by_key(|report| report.program);
    for report in &reports {
        say(&report.summary());
    }
    reports.into_iter().flat_map(|report| report.wrong).collect()
}

/// Past the capture of test output: a skip, and what was compared, must be seen in a green run.
fn say(line: &str) {
    let _written = writeln!(std::io::stderr(), "{line}");
}
