//! Division into parts: shares of threads, runs that fit into a cache, blocks, chunks.

use std::ops::Range;

/// The lengths of `count` divided into parts of at most `most`, as evenly as possible.
pub(super) fn even_parts(count: usize, most: usize) -> impl Iterator<Item = usize> {
    let parts = count.div_ceil(most.max(1));
    (0..parts).map(move |part| count / parts + usize::from(part < count % parts))
}

/// `range` divided into runs of at most `most`, as evenly as possible.
pub(super) fn runs(range: Range<usize>, most: usize) -> impl Iterator<Item = Range<usize>> {
    even_parts(range.len(), most).scan(range.start, |start, length| {
        let run = *start..*start + length;
        *start = run.end;
        Some(run)
    })
}

/// The share of part `part` of `parts` in `0..count`. Some shares are empty if `count` is less than `parts`.
pub(super) fn share(count: usize, part: usize, parts: usize) -> Range<usize> {
    debug_assert!(part < parts, "part {part} of {parts}");
    // `count * part / parts`, without larger intermediate results.
    let (each, rest) = (count / parts, count % parts);
    let start = |part: usize| each * part + rest * part / parts;
    start(part)..start(part + 1)
}

/// Rows in chunks of equal length, except that the last may be up to half longer: a small remainder is not worth a
/// chunk of its own.
#[derive(Debug, Clone, Copy)]
pub(super) struct Chunks {
    /// Number of rows.
    count: usize,
    /// Rows of a chunk.
    length: usize,
}

impl Chunks {
    /// `count` rows in chunks of `length`.
    pub(super) fn of(count: usize, length: usize) -> Self {
        Self { count, length }
    }

    /// Number of chunks, at least one.
    pub(super) fn number(self) -> usize {
        (self.count + self.length / 2).saturating_sub(1).checked_div(self.length).unwrap_or(0).max(1)
    }

    /// Rows of the longest chunk.
    pub(super) fn longest(self) -> usize {
        self.count.min(self.length + self.length.div_ceil(2))
    }

    /// The rows of chunk number `index`.
    pub(super) fn rows(self, index: usize) -> Range<usize> {
        let end = if index + 1 == self.number() { self.count } else { (index + 1) * self.length };
        index * self.length..end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_and_runs_are_all_there_is() {
        for (count, parts) in (0..20).flat_map(|count| (1..8).map(move |parts| (count, parts))) {
            let shares = (0..parts).flat_map(|part| share(count, part, parts));
            assert!(shares.eq(0..count), "{count} in {parts} parts");
            assert!(runs(3..3 + count, parts).flatten().eq(3..3 + count), "{count} in runs of {parts}");
            assert!(even_parts(count, parts).all(|length| (1..=parts).contains(&length)));
        }
    }

    #[test]
    fn chunks_are_all_rows_and_no_longer_than_by_half() {
        for (count, length) in (0..40).flat_map(|count| (1..9).map(move |length| (count, length))) {
            let chunks = Chunks::of(count, length);
            let rows: Vec<_> = (0..chunks.number()).map(|index| chunks.rows(index)).collect();
            assert!(rows.iter().cloned().flatten().eq(0..count), "{count} in chunks of {length}");
            assert!(rows.iter().all(|rows| rows.len() <= chunks.longest()));
        }
        assert_eq!(Chunks::of(84, 56).number(), 1);
        assert_eq!(Chunks::of(85, 56).number(), 2);
    }
}
