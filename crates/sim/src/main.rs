//! `consort-sim`: many seeds, and what they found.
fn main() {
    let seed = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(1);
    let plan = consort_sim::Plan { seed, planted: None, verbose: std::env::args().nth(2).is_some() };
    let outcome = consort_sim::simulate(&plan);
    println!("{:?} {:?}", outcome.figures, outcome.violation);
}
