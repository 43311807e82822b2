//! How the pictures of the taught classes vary, and how far a picture is from them: see
//! [`inference::Novelty`].

use super::logistic::{add, dot};
use super::table::{Standard, Table};
use crate::inference;
use crate::learn::random::SplitMix64;

/// Most directions of large variance.
const DIRECTIONS: usize = 40;
/// Samples for each direction.
const SAMPLES_PER_DIRECTION: usize = 5;
/// Most samples from which directions are taken.
const SAMPLES: usize = 800;
/// Steps of the search for the directions.
const STEPS: usize = 12;

/// The variation of standardised features around the centres of their classes.
#[derive(Debug, Clone)]
pub(super) struct Spread {
    centres: Vec<Vec<f64>>,
    basis: Vec<Vec<f64>>,
    variances: Vec<f64>,
    rest: f64,
}

impl Spread {
    /// That of the rows `chosen`, whose classes are `classes`.
    pub(super) fn of(table: &Table, chosen: &[usize], classes: &[usize], count: usize) -> Self {
        let length = table.columns();
        let mut centres = vec![vec![0.0; length]; count];
        let mut sizes = vec![0_usize; count];
        for &index in chosen {
            add(&mut centres[classes[index]], 1.0, table.row(index));
            sizes[classes[index]] += 1;
        }
        for (centre, size) in centres.iter_mut().zip(&sizes) {
            centre.iter_mut().for_each(|sum| *sum /= (*size).max(1) as f64);
        }
        let residual = |index: &usize| -> Vec<f64> {
            table.row(*index).iter().zip(&centres[classes[*index]]).map(|(x, centre)| x - centre).collect()
        };
        let residuals: Vec<Vec<f64>> = chosen.iter().map(residual).collect();
        let share = 1.0 / chosen.len().max(1) as f64;
        let total: f64 = residuals.iter().map(|row| dot(row, row) * share).sum();
        let directions = DIRECTIONS.min(chosen.len() / SAMPLES_PER_DIRECTION).min(length / 2);
        let some: Vec<&Vec<f64>> = residuals.iter().step_by(chosen.len().div_ceil(SAMPLES).max(1)).collect();
        let basis = directions_of(&some, length, directions);
        let along = |direction: &Vec<f64>| -> f64 {
            residuals.iter().map(|row| dot(row, direction).powi(2) * share).sum::<f64>()
        };
        let variances: Vec<f64> = basis.iter().map(along).collect();
        let left = (total - variances.iter().sum::<f64>()).max(0.0) / (length - basis.len()).max(1) as f64;
        // Of pictures that are all the same, the variance is that of the rounding.
        let rest = left.max(1e-6);
        let variances = variances.iter().map(|variance| variance + rest).collect();
        Self { centres, basis, variances, rest }
    }

    /// The distance of a standardised row to the nearest centre.
    pub(super) fn distance(&self, row: &[f64]) -> f64 {
        let of = |centre: &Vec<f64>| {
            let from: Vec<f64> = row.iter().zip(centre).map(|(x, centre)| x - centre).collect();
            let along = self.basis.iter().zip(&self.variances).map(|(direction, variance)| {
                let along = dot(direction, &from);
                along * along * (1.0 / variance - 1.0 / self.rest)
            });
            dot(&from, &from) / self.rest + along.sum::<f64>()
        };
        let nearest = self.centres.iter().map(of).fold(f64::INFINITY, f64::min);
        (nearest.max(0.0) / row.len().max(1) as f64).sqrt()
    }

    /// The same for rows that are not standardised, in units of `limit`.
    pub(super) fn finish(self, standard: &Standard, limit: f64) -> inference::Gaussian {
        let single = |values: &[f64]| values.iter().map(|value| *value as f32).collect::<Vec<f32>>();
        let flat = |rows: &[Vec<f64>]| rows.iter().flatten().map(|value| *value as f32).collect();
        inference::Gaussian {
            mean: single(&standard.mean),
            scale: single(&standard.scale),
            centres: flat(&self.centres),
            basis: flat(&self.basis),
            variances: single(&self.variances).into_iter().chain([self.rest as f32]).collect(),
            limit: limit as f32,
        }
    }
}

/// What is left of rows with the means of `cells` cells for each channel, without the mean of each channel, with a length
/// of 1: what does not depend on the light.
pub(super) fn structure(table: &Table, cells: usize) -> Table {
    let of = |index: usize| -> Vec<f64> {
        let channels = table.row(index).chunks(cells.max(1));
        let centred = channels.flat_map(|channel| {
            let mean = channel.iter().sum::<f64>() / channel.len() as f64;
            channel.iter().map(move |value| value - mean)
        });
        let mut row: Vec<f64> = centred.collect();
        let length = dot(&row, &row).sqrt() + f64::from(inference::LEAST_LENGTH);
        row.iter_mut().for_each(|value| *value /= length);
        row
    };
    Table::new(table.columns(), (0..table.rows()).flat_map(of).collect())
}

/// Orthonormal directions of the largest variance of `rows`, by orthogonal iteration (Golub and Van Loan, *Matrix
/// Computations*, 2013, 8.2.4).
fn directions_of(rows: &[&Vec<f64>], length: usize, count: usize) -> Vec<Vec<f64>> {
    let mut numbers = SplitMix64::of(&[count as u64]);
    let mut basis: Vec<Vec<f64>> =
        (0..count).map(|_| (0..length).map(|_| numbers.between(-1.0, 1.0)).collect()).collect();
    orthonormalise(&mut basis);
    for _ in 0..STEPS {
        let next = |direction: &Vec<f64>| {
            let mut sum = vec![0.0; length];
            rows.iter().for_each(|row| add(&mut sum, dot(row, direction), row));
            sum
        };
        basis = basis.iter().map(next).collect();
        orthonormalise(&mut basis);
    }
    basis
}

/// Makes vectors orthogonal and of length 1, twice, for the rounding; those that depend on others become 0.
fn orthonormalise(basis: &mut [Vec<f64>]) {
    for index in 0..basis.len() {
        let (before, rest) = basis.split_at_mut(index);
        let Some(vector) = rest.first_mut() else { return };
        let size = dot(vector, vector).sqrt();
        for _ in 0..2 {
            for other in before.iter() {
                let along = dot(other, vector);
                add(vector, -along, other);
            }
        }
        let left = dot(vector, vector).sqrt();
        let factor = if left > 1e-9 * size { 1.0 / left } else { 0.0 };
        vector.iter_mut().for_each(|value| *value *= factor);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inference::Scratch;

    fn table() -> (Table, Vec<usize>) {
        let mut numbers = SplitMix64::of(&[5]);
        let classes: Vec<usize> = (0..200).map(|index| index % 2).collect();
        let values = classes.iter().flat_map(|class| {
            let common = numbers.between(-3.0, 3.0);
            let centre = if *class == 0 { 0.0 } else { 10.0 };
            [centre + common, common, 0.0, 0.0, 0.0].map(|value| value + numbers.between(-0.1, 0.1))
        });
        (Table::new(5, values.collect()), classes)
    }

    #[test]
    fn what_varies_may_vary_and_what_does_not_is_far() {
        let (table, classes) = table();
        let all: Vec<usize> = (0..200).collect();
        let spread = Spread::of(&table, &all, &classes, 2);
        let usual: f64 = all.iter().map(|index| spread.distance(table.row(*index))).sum::<f64>() / 200.0;
        assert!((0.7..1.2).contains(&usual), "{usual}");
        assert!(spread.distance(&[2.0, 2.0, 0.0, 0.0, 0.0]) < 2.0);
        assert!(spread.distance(&[2.0, -2.0, 0.0, 0.0, 0.0]) > 10.0);
        assert!(spread.distance(&[0.0, 0.0, 0.0, 0.0, 2.0]) > 10.0);
    }

    #[test]
    fn the_distance_in_use_is_the_one_that_was_fitted() {
        let (raw, classes) = table();
        let all: Vec<usize> = (0..200).collect();
        let fitted = |rows: &Table| {
            let standard = Standard::of(rows);
            let table = standard.apply(rows);
            let spread = Spread::of(&table, &all, &classes, 2);
            let distances: Vec<f64> = all.iter().map(|index| spread.distance(table.row(*index)) / 1.5).collect();
            (spread.finish(&standard, 1.5), distances)
        };
        let ((appearance, looks), (structure, shapes)) = (fitted(&raw), fitted(&super::structure(&raw, 5)));
        let novelty = inference::Novelty { first: 2, cells: 5, appearance, structure, threshold: 1.0 };
        for (index, expected) in looks.iter().zip(&shapes).map(|(a, b)| a.max(*b)).enumerate() {
            let features: Vec<f32> = [7.0, 7.0].iter().chain(raw.row(index)).map(|value| *value as f32).collect();
            let found = novelty.distance(&features, &mut Scratch::default());
            assert!((f64::from(found) - expected).abs() < 1e-3 * expected.max(1.0), "{found} {expected}");
        }
    }
}
