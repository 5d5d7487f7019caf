//! Tables in markdown, and medians.

/// The middle of `figures`, or the mean of the two that share it.
pub fn median(figures: impl IntoIterator<Item = f64>) -> f64 {
    let mut figures: Vec<f64> = figures.into_iter().collect();
    figures.sort_by(f64::total_cmp);
    assert!(!figures.is_empty(), "a median of nothing");
    (figures[(figures.len() - 1) / 2] + figures[figures.len() / 2]) / 2.0
}

/// Prints a row; the first one of a table is followed by [`rule`].
pub fn row(cells: &[String]) {
    println!("| {} |", cells.join(" | "));
}

/// The line below a table's head: columns of words, then columns of figures.
pub fn rule(words: usize, figures: usize) {
    println!("|{}{}", "---|".repeat(words), "---:|".repeat(figures));
}

/// `1.23x`
pub fn times(ratio: f64) -> String {
    format!("{ratio:.2}x")
}
