//! The place of each mutant in a file.

use std::ops::Range;

use proc_macro2::{LineColumn, Span};
use syn::{
    Arm, ExprBinary, ExprUnary,
    spanned::Spanned,
    visit::{self, Visit},
};

use crate::{
    mutant::{Mutant, Position},
    rewrite::Edit,
};

/// The edits that put these mutants into the source; a mutant without a place has no edit.
pub(crate) fn edits(source: &str, mutants: &[Mutant<'_>]) -> syn::Result<Vec<Edit>> {
    let mut places = Places { lines: Lines::of(source), mutants, edits: Vec::new() };
    places.bodies_and_guards();
    places.visit_file(&syn::parse_file(source)?);
    Ok(places.edits)
}

struct Places<'a> {
    lines: Lines<'a>,
    mutants: &'a [Mutant<'a>],
    edits: Vec<Edit>,
}

impl<'a> Places<'a> {
    fn of(&self, genre: &'static str) -> impl Iterator<Item = &'a Mutant<'a>> + use<'a> {
        self.mutants.iter().filter(move |mutant| mutant.genre == genre)
    }

    /// Mutants whose place follows from their span alone.
    fn bodies_and_guards(&mut self) {
        for mutant in self.of("FnValue") {
            let at = self.lines.offset(mutant.start);
            let text = format!("if crate::mutant({}) {{ return {}; }} ", mutant.number, mutant.replacement);
            self.edits.push(Edit::Insert { number: mutant.number, at, text });
        }
        for mutant in self.of("MatchArmGuard") {
            let range = self.lines.offset(mutant.start)..self.lines.offset(mutant.end);
            self.choose(&range, &range, mutant.number, mutant.replacement);
        }
    }

    fn operator(&mut self, genre: &'static str, whole: Span, operator: Span) {
        let (whole, range) = (self.lines.range(whole), self.lines.range(operator));
        for mutant in self.of(genre).filter(|mutant| mutant.start == position(operator.start())) {
            self.choose(&whole, &range, mutant.number, mutant.replacement);
        }
    }

    /// A mutant that replaces a part of an expression; those of one part are one edit.
    fn choose(&mut self, whole: &Range<usize>, part: &Range<usize>, number: u32, replacement: &str) {
        let variant = (number, replacement.to_owned());
        let same = self.edits.iter_mut().find_map(|edit| match edit {
            Edit::Choose { whole: other, part: its, variants } if other == whole && its == part => {
                Some(variants)
            }
            _ => None,
        });
        match same {
            Some(variants) => variants.push(variant),
            None => {
                let (whole, part) = (whole.clone(), part.clone());
                self.edits.push(Edit::Choose { whole, part, variants: vec![variant] });
            }
        }
    }
}

impl<'ast> Visit<'ast> for Places<'_> {
    fn visit_expr_binary(&mut self, node: &'ast ExprBinary) {
        self.operator("BinaryOperator", node.span(), node.op.span());
        visit::visit_expr_binary(self, node);
    }

    fn visit_expr_unary(&mut self, node: &'ast ExprUnary) {
        self.operator("UnaryOperator", node.span(), node.op.span());
        visit::visit_expr_unary(self, node);
    }

    fn visit_arm(&mut self, node: &'ast Arm) {
        let start = position(node.span().start());
        for mutant in self.of("MatchArm").filter(|mutant| mutant.start == start) {
            match &node.guard {
                Some((_, guard)) => {
                    let range = self.lines.range(guard.span());
                    self.choose(&range, &range, mutant.number, "false");
                }
                None => {
                    let at = self.lines.range(node.fat_arrow_token.span()).start;
                    let text = format!("if !crate::mutant({}) ", mutant.number);
                    self.edits.push(Edit::Insert { number: mutant.number, at, text });
                }
            }
        }
        visit::visit_arm(self, node);
    }
}

fn position(at: LineColumn) -> Position {
    (at.line, at.column + 1)
}

/// The lines of a file, to find the byte at a position.
struct Lines<'a> {
    source: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    fn of(source: &'a str) -> Self {
        let ends = source.match_indices('\n').map(|(at, _)| at + 1);
        Self { source, starts: std::iter::once(0).chain(ends).collect() }
    }

    fn offset(&self, (line, column): Position) -> usize {
        let start = self.starts[line - 1];
        let mut characters = self.source[start..].char_indices();
        characters.nth(column - 1).map_or(self.source.len(), |(at, _)| start + at)
    }

    fn range(&self, span: Span) -> Range<usize> {
        self.offset(position(span.start()))..self.offset(position(span.end()))
    }
}
