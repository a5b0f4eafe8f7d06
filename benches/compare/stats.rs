//! What rounds say together.

/// The middle value; `None` of nothing.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(values[middle]),
        _ => Some(f64::midpoint(values[middle - 1], values[middle])),
    }
}

/// The value that this share of the sorted values does not exceed.
pub(crate) fn quantile(sorted: &[u64], share: f64) -> u64 {
    let last = sorted.len().saturating_sub(1);
    sorted.get((last as f64 * share).round() as usize).copied().unwrap_or(0)
}

/// Two legs of the same rounds, compared.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Ratio {
    /// The median of the rounds' ratios.
    pub(crate) median: f64,
    /// The ratio is below this with 95 % confidence: Student's t on the logarithms, one-sided. Endless for one round.
    pub(crate) bound: f64,
}

/// Ours by the peer's, round by round; `None` if nothing can be compared.
pub(crate) fn ratio(ours: &[f64], peers: &[f64]) -> Option<Ratio> {
    let pairs = ours.iter().zip(peers).filter(|(ours, peer)| **ours > 0.0 && **peer > 0.0);
    let ratios: Vec<f64> = pairs.map(|(ours, peer)| ours / peer).collect();
    let n = ratios.len() as f64;
    let logs: Vec<f64> = ratios.iter().map(|ratio| ratio.ln()).collect();
    let mean = logs.iter().sum::<f64>() / n;
    let variance = logs.iter().map(|log| (log - mean).powi(2)).sum::<f64>() / (n - 1.0);
    let bound =
        if ratios.len() < 2 { f64::INFINITY } else { (mean + student(ratios.len() - 1) * (variance / n).sqrt()).exp() };
    Some(Ratio { median: median(&ratios)?, bound })
}

/// The 95 % quantile of Student's t distribution.
fn student(freedom: usize) -> f64 {
    const TABLE: [f64; 20] = [
        6.314, 2.920, 2.353, 2.132, 2.015, 1.943, 1.895, 1.860, 1.833, 1.812, 1.796, 1.782, 1.771, 1.761, 1.753, 1.746,
        1.740, 1.734, 1.729, 1.725,
    ];
    // Beyond the table the last value is a little too large, which errs against us.
    TABLE.get(freedom - 1).copied().unwrap_or(TABLE[TABLE.len() - 1])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }

    #[test]
    fn quantiles() {
        let values: Vec<u64> = (0..=100).collect();
        assert_eq!((quantile(&values, 0.5), quantile(&values, 0.99), quantile(&[], 0.5)), (50, 99, 0));
    }

    #[test]
    fn equal_rounds_leave_no_doubt() {
        let Ratio { median, bound } = ratio(&[1.0, 2.0, 3.0], &[2.0, 4.0, 6.0]).unwrap();
        assert!((median - 0.5).abs() < 1e-12 && (bound - 0.5).abs() < 1e-12);
    }

    #[test]
    fn the_bound_grows_with_the_spread() {
        let ratio = ratio(&[0.9, 1.0, 1.1], &[1.0, 1.0, 1.0]).unwrap();
        // Mean log -0.00336, deviation 0.1004, t(2) 2.92: exp(-0.00336 + 2.92 × 0.1004 ÷ √3).
        assert!((ratio.bound - 1.1805).abs() < 1e-3, "{ratio:?}");
    }

    #[test]
    fn one_round_proves_nothing() {
        assert_eq!(ratio(&[1.0], &[2.0]).unwrap().bound, f64::INFINITY);
        assert_eq!(ratio(&[], &[]), None);
        assert_eq!(ratio(&[0.0], &[2.0]), None);
    }
}
