//! Whether the input made of a picture differs from an earlier one by more than noise.
//!
//! The difference of the two inputs is looked at in squares of [`SIDE`] × [`SIDE`] pixels, each colour by itself. What
//! appears, vanishes or moves changes the mean of some squares, or adds variance to them; the noise of a sensor and of a
//! codec adds about the same variance to all squares and changes their means little. How much noise there is, the picture
//! says itself: a quarter of its squares have less variance than the estimate, which has an upper limit, so that a picture
//! that changes everywhere is not taken for a noisy one.
//!
//! All limits are in codes: 1 / 255 of the range of a colour.

/// Side of a square in pixels.
const SIDE: usize = 16;

/// Colours of a pixel.
const COLOURS: usize = 3;

/// Values of a row of a square.
const ROW: usize = SIDE * COLOURS;

/// The code in units of a colour from 0 to 1.
const CODE: f32 = 1.0 / 255.0;

/// Changes of a square's mean, in codes, that count as none even without noise: a codec rounds.
const LEAST_MEAN: f32 = 2.0;

/// Standard deviation of the difference within a square, in codes, that counts as none even without noise.
const LEAST_DEVIATION: f32 = 4.0;

/// Largest standard deviation of the difference, in codes, that counts as noise.
const MOST_NOISE: f32 = 10.0;

/// By how many of its standard deviations noise may change the mean of a square.
const DEVIATIONS: f32 = 6.0;

/// How many neighbouring pixels have the same noise, after scaling and coding.
const ALIKE: f32 = 4.0;

/// How many times the variance of the noise a square may have.
const VARIANCES: f32 = 4.0;

/// Compares inputs with a reference.
#[derive(Debug)]
pub struct ChangeDetector {
    /// Columns of an input.
    width: usize,
    /// What a normalised value is multiplied with to be in codes.
    scale: [f32; COLOURS],
    /// Empty before the first one.
    reference: Vec<f32>,
    /// Every square and colour; kept, so that nothing is allocated.
    squares: Vec<Square>,
    variances: Vec<f32>,
}

/// The difference in one colour of a square, in codes.
#[derive(Debug, Clone, Copy)]
struct Square {
    mean: f32,
    variance: f32,
    /// Pixels that it has: fewer at the right and lower edges.
    pixels: f32,
}

impl ChangeDetector {
    /// For inputs of `width` columns that were divided by the standard deviations `std` of R, G and B.
    #[must_use]
    pub fn new(width: usize, std: [f32; 3]) -> Self {
        let scale = std.map(|std| std / CODE);
        Self { width, scale, reference: Vec::new(), squares: Vec::new(), variances: Vec::new() }
    }

    /// Makes `input` the reference.
    pub fn adopt(&mut self, input: &[f32]) {
        self.reference.clear();
        self.reference.extend_from_slice(input);
    }

    /// Whether `input` differs from the reference; true if there is none.
    pub fn is_changed(&mut self, input: &[f32]) -> bool {
        if self.reference.is_empty() || self.reference.len() != input.len() || self.width == 0 {
            return true;
        }
        self.compare(input);
        let noise = self.noise();
        let variance = LEAST_DEVIATION * LEAST_DEVIATION + VARIANCES * noise;
        // What is no number is a change.
        !self.squares.iter().all(|square| {
            let mean = LEAST_MEAN + DEVIATIONS * (noise * ALIKE / square.pixels).sqrt();
            square.mean.abs() <= mean && square.variance <= variance
        })
    }

    /// The variance of the noise.
    fn noise(&mut self) -> f32 {
        self.variances.clear();
        self.variances.extend(self.squares.iter().map(|square| square.variance));
        let quarter = self.variances.len() / 4;
        let (_, estimate, _) = self.variances.select_nth_unstable_by(quarter, f32::total_cmp);
        estimate.min(MOST_NOISE * MOST_NOISE)
    }

    /// Fills `squares`.
    fn compare(&mut self, input: &[f32]) {
        self.squares.clear();
        let row = self.width * COLOURS;
        for (input, reference) in input.chunks(SIDE * row).zip(self.reference.chunks(SIDE * row)) {
            for left in (0..row).step_by(ROW) {
                let right = (left + ROW).min(row);
                let (mut sums, mut squares) = ([0.0_f32; ROW], [0.0_f32; ROW]);
                for (input, reference) in input.chunks_exact(row).zip(reference.chunks_exact(row)) {
                    let values = input[left..right].iter().zip(&reference[left..right]);
                    for ((sum, square), (value, reference)) in sums.iter_mut().zip(&mut squares).zip(values) {
                        let difference = value - reference;
                        *sum += difference;
                        *square += difference * difference;
                    }
                }
                let pixels = (input.len() / row * (right - left) / COLOURS) as f32;
                for (colour, scale) in self.scale.into_iter().enumerate() {
                    let of_colour = |values: &[f32; ROW]| values.iter().skip(colour).step_by(COLOURS).sum::<f32>();
                    let mean = of_colour(&sums) / pixels * scale;
                    let square = of_colour(&squares) / pixels * scale * scale;
                    self.squares.push(Square { mean, variance: square - mean * mean, pixels });
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIDTH: usize = 100;
    const HEIGHT: usize = 90;
    const STD: [f32; 3] = [0.229, 0.224, 0.225];

    /// Numbers that are about normal, with a standard deviation of 1.
    struct Noise(u32);

    impl Noise {
        fn next(&mut self) -> f32 {
            let mut sum = 0.0;
            for _ in 0..12 {
                self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                sum += (self.0 >> 8) as f32 / (1 << 24) as f32;
            }
            sum - 6.0
        }
    }

    /// The code of the pixel in a row and a column.
    type Codes<'a> = &'a dyn Fn(usize, usize) -> f32;

    /// A picture in codes, as an input.
    fn input(code: impl Fn(usize, usize) -> f32, noise: &mut Noise, deviation: f32) -> Vec<f32> {
        let mut input = Vec::new();
        for (row, column) in (0..HEIGHT).flat_map(|row| (0..WIDTH).map(move |column| (row, column))) {
            for std in STD {
                let code = code(row, column) + deviation * noise.next();
                input.push((code * CODE - 0.45) / std);
            }
        }
        input
    }

    fn scene(row: usize, column: usize) -> f32 {
        80.0 + 60.0 * ((row / 7 + column / 11) % 2) as f32 + column as f32 / 4.0
    }

    #[test]
    fn noise_is_no_change_in_the_small_squares_at_the_edges() {
        let mut noise = Noise(7);
        let mut even = || -> Vec<f32> { (0..33 * 33 * COLOURS).map(|_| 5.0 * noise.next() * CODE / STD[1]).collect() };
        let mut detector = ChangeDetector::new(33, STD);
        detector.adopt(&even());
        for frame in 0..50 {
            assert!(!detector.is_changed(&even()), "{frame}");
        }
    }

    /// A detector that knows the scene.
    fn detector(noise: &mut Noise, deviation: f32) -> ChangeDetector {
        let mut detector = ChangeDetector::new(WIDTH, STD);
        detector.adopt(&input(scene, noise, deviation));
        detector
    }

    #[test]
    fn noise_is_no_change_however_strong() {
        for deviation in [0.0, 0.5, 2.0, 5.0, 7.0] {
            let mut noise = Noise(7);
            let mut detector = detector(&mut noise, deviation);
            for frame in 0..50 {
                assert!(!detector.is_changed(&input(scene, &mut noise, deviation)), "{deviation} {frame}");
            }
        }
    }

    #[test]
    fn what_appears_moves_or_grows_brighter_is_a_change() {
        for deviation in [0.0, 1.0, 3.0] {
            let mut noise = Noise(7);
            let mut detector = detector(&mut noise, deviation);
            let changes: [(&str, Codes<'_>); 5] = [
                ("a small thing", &|row, column| {
                    scene(row, column) + if (30..36).contains(&row) && (50..56).contains(&column) { 60.0 } else { 0.0 }
                }),
                ("at the edge", &|row, column| scene(row, column) + if row > 84 && column > 94 { 90.0 } else { 0.0 }),
                ("a step aside", &|row, column| scene(row, column + 2)),
                ("another scene", &|row, column| scene(2 * column, row)),
                ("the light", &|row, column| scene(row, column) + 6.0),
            ];
            for (what, change) in changes {
                assert!(detector.is_changed(&input(change, &mut noise, deviation)), "{what} {deviation}");
                assert!(!detector.is_changed(&input(scene, &mut noise, deviation)), "and back");
            }
        }
    }

    #[test]
    fn a_change_that_creeps_is_found_against_the_reference() {
        let mut noise = Noise(7);
        let mut detector = detector(&mut noise, 1.0);
        let light = |step: usize| move |row: usize, column: usize| scene(row, column) + step as f32 / 4.0;
        let first = (0..40).find(|step| detector.is_changed(&input(light(*step), &mut noise, 1.0)));
        assert!(first.is_some_and(|step| (4..20).contains(&step)), "{first:?}");
    }

    #[test]
    fn without_a_reference_or_with_one_of_another_size_everything_is_new() {
        let mut detector = ChangeDetector::new(4, STD);
        assert!(detector.is_changed(&[0.0; 48]));
        detector.adopt(&[0.0; 48]);
        assert!(!detector.is_changed(&[0.0; 48]));
        assert!(detector.is_changed(&[0.0; 60]));
        assert!(detector.is_changed(&[f32::NAN; 48]));
        assert!(ChangeDetector::new(0, STD).is_changed(&[]));
    }
}
