//! Containers of any content, most of them for readers that must not hold up a writer: they know nothing of what they hold.
//!
//! `sorted` is a map in chunks, whose copies share what did not change; `listed` a copy whose list is made by the first who
//! asks; `latest` the copy that readers share until the next change; `fanout` mailboxes that never block a writer;
//! `by_account` drops the first item of the account with the most.

pub(crate) mod by_account;
pub(crate) mod fanout;
pub(crate) mod latest;
pub(crate) mod listed;
pub(crate) mod sorted;
