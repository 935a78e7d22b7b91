//! A page to look at a run with: who believed what when, datagrams in space and time, verdicts in words.
//!
//! `read` runs each recorded node again and makes an [`account::Account`] of it; `build` puts them together as a [`run::Run`],
//! with `names`, `flights` (which receipt belongs to which sending), `truth` (whether a verdict is false) and `story` (the
//! words); `page` writes that as one file of HTML. What runs in the browser is beside these files: `model.js` decodes, `draw.js`,
//! `beliefs.js` and `datagrams.js` draw, `words.js` writes, `main.js` has the controls.

pub mod account;
mod build;
mod flights;
mod names;
mod page;
mod read;
pub mod run;
mod story;
#[cfg(test)]
mod tests;
mod truth;

pub use build::{About, build};
pub use page::page;
pub use read::accounts;
