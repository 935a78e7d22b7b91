//! A mutant, as cargo-mutants lists it.

/// Line and column, both from 1, in characters.
pub(crate) type Position = (usize, usize);

#[derive(Debug)]
pub(crate) struct Mutant<'a> {
    pub(crate) number: u32,
    pub(crate) genre: &'a str,
    pub(crate) start: Position,
    pub(crate) end: Position,
    pub(crate) replacement: &'a str,
}

impl<'a> Mutant<'a> {
    /// The file and the mutant.
    pub(crate) fn parse(line: &'a str) -> Option<(&'a str, Self)> {
        let mut fields = line.splitn(8, '\t');
        let number = fields.next()?.parse().ok()?;
        let (file, genre) = (fields.next()?, fields.next()?);
        let mut figure = || fields.next()?.parse().ok();
        let (start, end) = ((figure()?, figure()?), (figure()?, figure()?));
        Some((file, Self { number, genre, start, end, replacement: fields.next()? }))
    }
}
