//! The seeds that are tried again and again.

/// Seeds of joins that are kept beside those of the configuration; beyond that, the oldest gives way.
const MAX_JOINED: usize = 256;

/// Those of the configuration first, then those of joins by age, none twice.
#[derive(Debug)]
pub(super) struct Seeds {
    all: Vec<String>,
    configured: usize,
}

impl Seeds {
    pub(super) fn new(configured: Vec<String>) -> Self {
        Self { configured: configured.len(), all: configured }
    }

    pub(super) fn to_vec(&self) -> Vec<String> {
        self.all.clone()
    }

    /// Keeps the seeds of a join that succeeded; says whether they are the first.
    pub(super) fn remember(&mut self, seeds: Vec<String>) -> bool {
        let were_none = self.all.is_empty();
        let skip = seeds.len().saturating_sub(MAX_JOINED);
        for seed in seeds.into_iter().skip(skip) {
            if !self.all.contains(&seed) {
                self.all.push(seed);
            }
        }
        let too_many = self.all.len().saturating_sub(self.configured + MAX_JOINED);
        self.all.drain(self.configured..self.configured + too_many);
        were_none && !self.all.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_of_joins_are_bounded_and_the_oldest_give_way_but_none_of_the_configuration() {
        let mut seeds = Seeds::new(vec!["configured".into()]);
        for at in 0..10 * MAX_JOINED {
            assert!(!seeds.remember(vec!["configured".into(), at.to_string(), at.to_string()]));
        }
        let all = seeds.to_vec();
        assert_eq!((all.len(), &*all[0], &*all[MAX_JOINED]), (1 + MAX_JOINED, "configured", "2559"));
        let mut seeds = Seeds::new(vec![]);
        assert!(
            !seeds.remember(vec![]) && seeds.remember(vec!["a".into()]) && !seeds.remember(vec!["b".into()])
        );
        seeds.remember((0..1_000).map(|at| at.to_string()).collect());
        assert_eq!(seeds.to_vec().len(), MAX_JOINED);
    }
}
