//! Features of many pictures as a table of numbers.

/// Rows of numbers.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Table {
    columns: usize,
    values: Vec<f64>,
}

impl Table {
    /// A table with rows of `columns` numbers, one after another.
    pub(super) fn new(columns: usize, values: Vec<f64>) -> Self {
        Self { columns, values }
    }

    /// Numbers in a row.
    pub(super) fn columns(&self) -> usize {
        self.columns
    }

    /// Number of rows.
    pub(super) fn rows(&self) -> usize {
        self.values.len() / self.columns.max(1)
    }

    /// A row.
    pub(super) fn row(&self, index: usize) -> &[f64] {
        &self.values[index * self.columns..][..self.columns]
    }

    /// The table with every number times `factor`.
    pub(super) fn scaled(mut self, factor: f64) -> Self {
        self.values.iter_mut().for_each(|value| *value *= factor);
        self
    }

    /// The rows of both tables side by side.
    pub(super) fn beside(&self, other: &Self) -> Self {
        let rows = (0..self.rows()).flat_map(|index| self.row(index).iter().chain(other.row(index)).copied());
        Self { columns: self.columns + other.columns, values: rows.collect() }
    }

    /// The columns of `range` alone.
    pub(super) fn part(&self, range: std::ops::Range<usize>) -> Self {
        let rows = self.values.chunks_exact(self.columns.max(1));
        Self { columns: range.len(), values: rows.flat_map(|row| row[range.clone()].iter().copied()).collect() }
    }
}

/// Share of the usual deviation that is added to that of each column: what hardly varies in the taught pictures, such as a
/// channel that is 0 in all of them, may vary a little in others.
const FLOOR: f64 = 0.1;

/// Mean and inverse standard deviation of each column.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Standard {
    pub(super) mean: Vec<f64>,
    pub(super) scale: Vec<f64>,
}

impl Standard {
    /// Those of a table.
    pub(super) fn of(table: &Table) -> Self {
        let count = table.rows().max(1) as f64;
        let mut mean = vec![0.0; table.columns()];
        for index in 0..table.rows() {
            super::logistic::add(&mut mean, 1.0 / count, table.row(index));
        }
        let mut squares = vec![0.0; table.columns()];
        for index in 0..table.rows() {
            let row = table.row(index).iter().zip(&mean);
            squares.iter_mut().zip(row).for_each(|(sum, (x, mean))| *sum += (x - mean) * (x - mean) / count);
        }
        let deviations: Vec<f64> = squares.iter().map(|square| square.sqrt()).collect();
        let usual = deviations.iter().sum::<f64>() / deviations.len().max(1) as f64;
        let scale = deviations.iter().map(|deviation| 1.0 / (deviation + FLOOR * usual + 1e-9)).collect();
        Self { mean, scale }
    }

    /// The standardised table.
    pub(super) fn apply(&self, table: &Table) -> Table {
        let rows = table.values.chunks_exact(table.columns.max(1));
        let standard = |row: &[f64]| -> Vec<f64> {
            row.iter().zip(&self.mean).zip(&self.scale).map(|((x, mean), scale)| (x - mean) * scale).collect()
        };
        Table { columns: table.columns, values: rows.flat_map(standard).collect() }
    }
}
