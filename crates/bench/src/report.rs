//! Figures as JSON lines.
//!
//! For: one figure a line on standard output. Not for: prose.
//! Invariant: the names of workloads, metrics and units never change their meaning.

use serde_json::json;

/// Prints one figure.
pub(crate) fn figure(workload: &str, transport: &str, metric: &str, value: f64, unit: &str) {
    let value = (value * 1000.0).round() / 1000.0;
    let line = json!({ "workload": workload, "transport": transport, "metric": metric, "value": value, "unit": unit });
    println!("{line}");
}

/// Says what is no figure, on standard error.
pub(crate) fn notice(text: &str) {
    eprintln!("{text}");
}

/// The value at a share of the sorted samples; 0 where there are none.
pub(crate) fn quantile(samples: &mut [f64], share: f64) -> f64 {
    samples.sort_unstable_by(f64::total_cmp);
    let last = samples.len().saturating_sub(1);
    #[allow(clippy::cast_sign_loss, reason = "a share of a count is not negative")]
    let at = (share * last as f64).round() as usize;
    samples.get(at).copied().unwrap_or(0.0)
}

/// The middle sample.
pub(crate) fn median(samples: &mut [f64]) -> f64 {
    quantile(samples, 0.5)
}
