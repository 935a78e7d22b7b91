//! Tables of published against measured values, and whether they agree.

use std::{fmt::Write as _, fs, io, path::Path};

/// The verdict on a row: a check holds or not, a plain figure only informs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Holds,
    Fails,
    Informs,
}

impl Verdict {
    pub(crate) fn of(holds: bool) -> Self {
        if holds { Self::Holds } else { Self::Fails }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Holds => "yes",
            Self::Fails => "NO",
            Self::Informs => "–",
        }
    }
}

#[derive(Debug)]
pub(crate) struct Table {
    title: String,
    rows: Vec<[String; 4]>,
    failures: usize,
}

impl Table {
    pub(crate) fn new(title: impl Into<String>) -> Self {
        let header = ["", "published, expected", "measured", "holds"].map(String::from);
        Self { title: title.into(), rows: vec![header], failures: 0 }
    }

    pub(crate) fn row(
        &mut self,
        what: impl Into<String>,
        expected: impl Into<String>,
        measured: impl Into<String>,
        verdict: Verdict,
    ) {
        self.failures += usize::from(verdict == Verdict::Fails);
        self.rows.push([what.into(), expected.into(), measured.into(), verdict.word().into()]);
    }

    pub(crate) fn failures(&self) -> usize {
        self.failures
    }

    /// Markdown, aligned, so that it reads well on a terminal and in a document.
    pub(crate) fn markdown(&self) -> String {
        let width =
            |column: usize| self.rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths = [width(0), width(1), width(2), width(3)];
        let mut out = format!("### {}\n\n", self.title);
        for (i, row) in self.rows.iter().enumerate() {
            let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
            writeln!(out, "| {} |", cells.collect::<Vec<_>>().join(" | "))
                .expect("a string takes everything");
            if i == 0 {
                let rules = widths.map(|width| "-".repeat(width));
                writeln!(out, "| {} |", rules.join(" | ")).expect("a string takes everything");
            }
        }
        out
    }

    pub(crate) fn csv(&self) -> String {
        let quote = |cell: &String| format!("\"{}\"", cell.replace('"', "\"\""));
        let lines = self.rows.iter().map(|row| row.iter().map(quote).collect::<Vec<_>>().join(","));
        lines.collect::<Vec<_>>().join("\n") + "\n"
    }

    /// Writes the table into a folder, under its title.
    pub(crate) fn save(&self, folder: &Path) -> io::Result<()> {
        let name: String = self
            .title
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' })
            .collect();
        fs::write(folder.join(format!("{name}.csv")), self.csv())
    }
}
