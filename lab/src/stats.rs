//! Statistics of samples.

/// The value below which this share of the samples lies; not a number if there are none.
pub fn percentile(samples: &[f64], share: f64) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().saturating_sub(1) as f64;
    sorted.get((last * share).round() as usize).copied().unwrap_or(f64::NAN)
}

/// Not a number if there are none.
pub fn mean(samples: &[f64]) -> f64 {
    samples.iter().sum::<f64>() / samples.len() as f64
}

/// In hundredths of a second; a value that is not a number stands for an event that did not happen.
pub fn seconds(value: f64) -> String {
    if value.is_nan() { "never".into() } else { format!("{value:.2}") }
}
