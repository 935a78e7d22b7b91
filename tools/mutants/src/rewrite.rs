//! Edits of a file, which may be nested.

use std::ops::Range;

#[derive(Debug)]
pub(crate) enum Edit {
    /// A text before a position.
    Insert { number: u32, at: usize, text: String },
    /// The expression `whole`, with `part` of it replaced if one of the mutants is on.
    Choose { whole: Range<usize>, part: Range<usize>, variants: Vec<(u32, String)> },
}

impl Edit {
    pub(crate) fn numbers(&self) -> Vec<u32> {
        match self {
            Self::Insert { number, .. } => vec![*number],
            Self::Choose { variants, .. } => variants.iter().map(|(number, _)| *number).collect(),
        }
    }

    fn range(&self) -> Range<usize> {
        match self {
            Self::Insert { at, .. } => *at..*at,
            Self::Choose { whole, .. } => whole.clone(),
        }
    }
}

pub(crate) fn rewrite(source: &str, mut edits: Vec<Edit>) -> String {
    // From the left to the right, the larger before those within it.
    edits.sort_by_key(|edit| (edit.range().start, usize::MAX - edit.range().end));
    render(source, 0..source.len(), &edits)
}

/// A range of the source with the edits that lie in it.
fn render(source: &str, range: Range<usize>, edits: &[Edit]) -> String {
    let (mut text, mut at) = (String::new(), range.start);
    for (index, edit) in edits.iter().enumerate() {
        let Range { start, end } = edit.range();
        if start < at || end > range.end {
            continue;
        }
        text += &source[at..start];
        at = end;
        match edit {
            Edit::Insert { text: inserted, .. } => text += inserted,
            Edit::Choose { whole, part, variants } => {
                let within = &edits[index + 1..];
                let before = render(source, whole.start..part.start, within);
                let after = render(source, part.end..whole.end, within);
                text.push('(');
                for (number, replacement) in variants {
                    text += &format!("if crate::mutant({number}) {{ {before}{replacement}{after} }} else ");
                }
                let original = render(source, part.clone(), within);
                text += &format!("{{ {before}{original}{after} }})");
            }
        }
    }
    text + &source[at..range.end]
}
