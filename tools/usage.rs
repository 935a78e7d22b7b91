//! Suggestions from the usage of a program. The programs of the lab and the examples include this file.

/// The error text for an unknown option.
pub(crate) fn unknown(usage: &str, option: &str) -> String {
    match nearest(usage, option) {
        Some(nearest) => format!("there is no option {option}; did you mean --{nearest}?"),
        None => format!("there is no option {option}"),
    }
}

/// The option in a usage that is most similar to an unknown one, without its dashes; `None` if none is similar.
fn nearest<'a>(usage: &'a str, unknown: &str) -> Option<&'a str> {
    let unknown = unknown.trim_start_matches('-');
    // The example at its end may name options of cargo.
    let options = usage.split("\nexample").next().unwrap_or_default();
    options
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '-')
        .filter_map(|word| word.strip_prefix("--").filter(|option| !option.is_empty()))
        .map(|option| (distance(option, unknown), option))
        .filter(|(distance, option)| 2 * distance <= option.len())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, option)| option)
}

/// The number of characters to insert, delete or replace (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}
