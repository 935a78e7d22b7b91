//! The members of a run, by name.

use std::{cmp::Ordering, collections::HashMap};

use syncswim::recording::mark;

use super::account::Account;

/// Every name of or in an account, in natural order: n2 is before n10.
#[derive(Debug)]
pub(super) struct Names {
    sorted: Vec<String>,
    places: HashMap<String, usize>,
    marks: HashMap<u32, usize>,
}

impl Names {
    pub(super) fn of(accounts: &[Account]) -> Self {
        let own = accounts.iter().map(|account| &account.name);
        let told = accounts.iter().flat_map(|account| &account.beliefs).map(|(_, subject, _)| subject);
        let mut sorted: Vec<_> = own.chain(told).cloned().collect();
        sorted.sort_unstable();
        sorted.dedup();
        sorted.sort_by(|a, b| as_counted(a, b));
        let places = sorted.iter().cloned().enumerate().map(|(place, name)| (name, place)).collect();
        let marks = sorted.iter().enumerate().map(|(place, name)| (mark(name), place)).collect();
        Self { sorted, places, marks }
    }

    pub(super) fn place(&self, name: &str) -> Option<usize> {
        self.places.get(name).copied()
    }

    /// The member with this mark, as datagrams have it.
    pub(super) fn marked(&self, mark: u32) -> Option<usize> {
        self.marks.get(&mark).copied()
    }

    pub(super) fn all(&self) -> &[String] {
        &self.sorted
    }
}

/// By the text before the number at the end, then by the number.
fn as_counted(a: &str, b: &str) -> Ordering {
    let parts = |name: &str| {
        let text = name.trim_end_matches(|c: char| c.is_ascii_digit());
        (text.to_owned(), name[text.len()..].parse::<u64>().ok())
    };
    parts(a).cmp(&parts(b)).then_with(|| a.cmp(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted_as_people_count() {
        let mut names = ["n10", "n2", "db", "n1", "é-9", "n", "99999999999999999999999"];
        names.sort_by(|a, b| as_counted(a, b));
        assert_eq!(names, ["99999999999999999999999", "db", "n", "n1", "n2", "n10", "é-9"]);
    }
}
