//! The kernels for pictures: each agrees with plain arithmetic to the bit, and touches nothing beyond its lengths.

use super::guarded::Guarded;
use super::kernels;
use crate::kernels::picture::{SampleRows, Windows, WindowsError};
use crate::kernels::raster::{ColourMap, ONE};

/// A colour is a sum of three products, whose roundings depend on whether they are fused.
const COLOUR: f32 = 1e-5;

/// Pseudo-random numbers.
fn noise(length: usize, seed: u32) -> Vec<u16> {
    let mut state = seed;
    let next = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 16) as u16
    };
    (0..length).map(next).collect()
}

/// Weights that add up to [`ONE`].
fn weights(count: usize) -> Vec<u16> {
    let mut weights = vec![ONE / count as u16; count];
    weights[0] = (weights[0] + ONE % count as u16).min(ONE - 1);
    weights
}

/// Lengths around those of vectors and of blocks of them.
fn lengths() -> impl Iterator<Item = usize> {
    (0..70).chain([95, 96, 97, 127, 128, 129, 130, 255, 257, 300])
}

/// The sum of samples of 16 bits, as the kernels define it.
fn sum(samples: impl Iterator<Item = u16>, weights: &[u16], most_lost: usize) -> u16 {
    let products = samples.zip(weights).map(|(sample, weight)| (u32::from(sample) * u32::from(*weight)) >> 16);
    products.sum::<u32>() as u16 + (weights.len() / 2).min(most_lost) as u16
}

#[test]
fn rows_of_bytes_are_summed_within_their_ends() {
    for kernels in kernels() {
        for samples in lengths() {
            for (rows, at_end) in [(1, false), (1, true), (2, true), (9, false), (9, true)] {
                let stride = samples + 5;
                let bytes: Vec<u8> = noise((rows - 1) * stride + samples, 7).iter().map(|word| *word as u8).collect();
                let data = if at_end { Guarded::behind(&bytes) } else { Guarded::before(&bytes) };
                let weights = weights(rows);
                let mut out = vec![0; samples];
                let input = SampleRows { data: data.values(), stride, bytes: 1, shift: 0 };
                kernels.sum_rows(&input, &weights, &mut out);
                for (at, found) in out.into_iter().enumerate() {
                    let column = (0..rows).map(|row| u16::from(bytes[row * stride + at]) << 8);
                    assert_eq!(found, sum(column, &weights, 127), "{} {samples} {rows} {at}", kernels.isa());
                }
            }
        }
    }
}

#[test]
fn rows_of_words_are_summed_within_their_ends() {
    for kernels in kernels() {
        for samples in lengths() {
            for (rows, shift, at_end) in [(1, 0, false), (1, 6, true), (3, 6, false), (10, 0, true)] {
                let stride = 2 * samples + 3;
                let words = noise((rows - 1) * stride + samples, 9);
                let word = |row: usize, at: usize| words[row * samples + at] & (u16::MAX << shift);
                let mut bytes = vec![0; (rows - 1) * stride + 2 * samples];
                for (row, at) in (0..rows).flat_map(|row| (0..samples).map(move |at| (row, at))) {
                    // Above the sample there may be anything.
                    let stored = (word(row, at) >> shift) | !(u16::MAX >> shift);
                    bytes[row * stride + 2 * at..][..2].copy_from_slice(&stored.to_le_bytes());
                }
                let data = if at_end { Guarded::behind(&bytes) } else { Guarded::before(&bytes) };
                let weights = weights(rows);
                let mut out = vec![0; samples];
                kernels.sum_rows(&SampleRows { data: data.values(), stride, bytes: 2, shift }, &weights, &mut out);
                for (at, found) in out.into_iter().enumerate() {
                    let column = (0..rows).map(|row| word(row, at) & !1);
                    assert_eq!(found, sum(column, &weights, 31), "{} {samples} {rows} {at}", kernels.isa());
                }
            }
        }
    }
}

#[test]
fn white_stays_white_through_all_sums() {
    for kernels in kernels() {
        for rows in [1, 2, 9, 37, 300] {
            let data = vec![255; rows * 64];
            let weights = weights(rows);
            let mut sums = vec![0; 64];
            kernels.sum_rows(&SampleRows { data: &data, stride: 64, bytes: 1, shift: 0 }, &weights, &mut sums);
            let white = 255 * 128;
            assert!(sums.iter().all(|sum| sum.abs_diff(white) < 130), "{} {rows}: {sums:?}", kernels.isa());
            let columns: Vec<u16> = sums.iter().flat_map(|sum| vec![*sum; kernels.band()]).collect();
            let taps = rows.min(64);
            let windows = Windows::new(&[0], 1, super::pictures::weights(taps)).unwrap();
            let mut out = vec![0; kernels.band()];
            kernels.sum_columns(&columns, &windows, &mut out);
            assert!(out.iter().all(|sum| sum.abs_diff(white) < 160), "{} {rows}: {out:?}", kernels.isa());
        }
    }
}

#[test]
fn a_band_of_rows_becomes_columns_and_rows_again() {
    for kernels in kernels() {
        let band = kernels.band();
        for squares in [0, 1, 2, 5] {
            let length = squares * band;
            let rows = Guarded::behind(&noise(band * length, 3));
            let mut columns = vec![0; rows.values().len()];
            kernels.to_columns(rows.values(), &mut columns);
            for (index, value) in columns.iter().enumerate() {
                assert_eq!(*value, rows.values()[index % band * length + index / band], "{} {index}", kernels.isa());
            }
            let mut again = vec![0; columns.len()];
            kernels.to_rows(&columns, &mut again);
            assert_eq!(again, rows.values(), "{}", kernels.isa());
        }
    }
}

#[test]
fn columns_are_summed_within_their_ends() {
    for kernels in kernels() {
        let band = kernels.band();
        for (taps, step) in [(1, 1), (1, 4), (2, 2), (9, 1), (7, 3)] {
            let reach = 11 + (taps - 1) * step + 1;
            let values: Vec<u16> = noise(reach * band, 5).iter().map(|word| word >> 1).collect();
            let columns = Guarded::behind(&values);
            let starts = [0, 4, 11, 2];
            let windows = Windows::new(&starts, step, weights(taps).repeat(starts.len())).unwrap();
            let mut out = vec![0; starts.len() * band];
            kernels.sum_columns(columns.values(), &windows, &mut out);
            for (index, found) in out.into_iter().enumerate() {
                let (pixel, lane) = (index / band, index % band);
                let value = |tap: usize| u32::from(values[(starts[pixel] + tap * step) * band + lane]);
                let products = weights(taps).into_iter().enumerate();
                let expected: u32 = products.map(|(tap, w)| (value(tap) * u32::from(w) + (1 << 14)) >> 15).sum();
                assert_eq!(u32::from(found), expected, "{} {taps} {step} {index}", kernels.isa());
            }
        }
    }
}

#[test]
fn colours_are_made_for_any_number_of_pixels() {
    let map = ColourMap {
        weights: [[0.01, 0.0, 0.02], [0.01, -0.005, -0.01], [0.01, 0.02, 0.0]],
        offset: [-1.0, 2.0, 0.5],
        low: [-2.0, -1.0, 0.0],
        high: [300.0, 200.0, 400.0],
    };
    for kernels in kernels() {
        for pixels in 0..40 {
            let [y, u, v] = [1, 2, 3].map(|seed| Guarded::behind(&noise(pixels, seed)));
            let sums = [y.values(), u.values(), v.values()];
            let mut out = vec![f32::NAN; 3 * pixels];
            kernels.colours(sums, &map, &mut out);
            for (index, found) in out.into_iter().enumerate() {
                let (pixel, colour) = (index / 3, index % 3);
                let terms = (0..3).map(|i| f64::from(map.weights[colour][i]) * f64::from(sums[i][pixel]));
                let value = terms.sum::<f64>() as f32 + map.offset[colour];
                let expected = value.clamp(map.low[colour], map.high[colour]);
                let error = (found - expected).abs() / expected.abs().max(1.0);
                assert!(error < COLOUR, "{} {pixels} {index}: {found}, expected {expected}", kernels.isa());
            }
        }
    }
}

#[test]
fn windows_that_do_not_fit_together_are_refused() {
    assert_eq!(Windows::new(&[0, 1], 1, vec![1, 2, 3]).unwrap_err(), WindowsError);
    assert_eq!(Windows::new(&[usize::MAX], 1, vec![1]).unwrap_err(), WindowsError);
    assert_eq!(Windows::new(&[0], usize::MAX, vec![1, 2, 3]).unwrap_err(), WindowsError);
    assert_eq!(Windows::new(&[], 1, vec![1]).unwrap_err(), WindowsError);
}

#[test]
#[should_panic(expected = "columns of 5")]
fn columns_that_end_before_a_window_are_refused() {
    let kernels = crate::kernels::Kernels::best();
    let windows = Windows::new(&[4], 1, vec![1]).unwrap();
    kernels.sum_columns(&vec![0; 4 * kernels.band()], &windows, &mut vec![0; kernels.band()]);
}

#[test]
#[should_panic(expected = "rows of 11 bytes")]
fn rows_that_end_before_the_last_sample_are_refused() {
    let rows = SampleRows { data: &[0; 11], stride: 8, bytes: 1, shift: 0 };
    crate::kernels::Kernels::best().sum_rows(&rows, &[1, 1], &mut [0; 4]);
}
