//! Batch normalisation over all pixels of a batch, with the activation after it, and its gradient.
//!
//! S. Ioffe, C. Szegedy: Batch Normalization, <https://arxiv.org/abs/1502.03167>. Channels are independent; everything
//! here is per channel. A map is `[pixels, channels]`.

use super::{Arithmetic, dispatch};

/// Pixels that are summed in single precision before they are added to a sum in double precision.
const BLOCK: usize = 256;

/// Adds the sum and the sum of squares of each channel of `map` to `sums` and `squares`, all `[channels]`.
///
/// # Panics
/// If `map` is not a whole number of pixels.
pub fn moments(map: &[f32], sums: &mut [f64], squares: &mut [f64]) {
    let channels = sums.len();
    assert!(squares.len() == channels && map.len().is_multiple_of(channels), "{channels} channels");
    let (mut sum, mut square) = (vec![0.0; channels], vec![0.0; channels]);
    for block in map.chunks(BLOCK * channels) {
        sum.fill(0.0);
        square.fill(0.0);
        add_moments(Moments { map: block, sum: &mut sum, square: &mut square });
        for (total, part) in sums.iter_mut().zip(&sum).chain(squares.iter_mut().zip(&square)) {
            *total += f64::from(*part);
        }
    }
}

struct Moments<'a> {
    map: &'a [f32],
    sum: &'a mut [f32],
    square: &'a mut [f32],
}

fn add_moments(call: Moments<'_>) {
    #[inline(always)]
    fn body<A: Arithmetic>(call: Moments<'_>) {
        let Moments { map, sum, square } = call;
        for pixel in map.chunks_exact(sum.len()) {
            for ((value, sum), square) in pixel.iter().zip(&mut *sum).zip(&mut *square) {
                *sum += value;
                *square = A::multiply_add(*value, *value, *square);
            }
        }
    }
    dispatch!(body, call: Moments<'_>)
}

/// A map before and after normalisation and activation.
#[derive(Debug)]
pub struct Apply<'a> {
    /// `[pixels, channels]`.
    pub map: &'a [f32],
    /// `[channels]`.
    pub scale: &'a [f32],
    /// `[channels]`.
    pub shift: &'a [f32],
    /// The smallest result.
    pub low: f32,
    /// The largest result.
    pub high: f32,
    /// `[pixels, channels]`: `min(max(scale · map + shift, low), high)`.
    pub out: &'a mut [f32],
}

/// Normalises a map: see [`Apply`].
///
/// # Panics
/// If lengths do not fit.
pub fn apply(call: Apply<'_>) {
    #[inline(always)]
    fn body<A: Arithmetic>(call: Apply<'_>) {
        let Apply { map, scale, shift, low, high, out } = call;
        for (pixel, out) in map.chunks_exact(scale.len()).zip(out.chunks_exact_mut(scale.len())) {
            for (((value, scale), shift), out) in pixel.iter().zip(scale).zip(shift).zip(out) {
                *out = A::multiply_add(*value, *scale, *shift).max(low).min(high);
            }
        }
    }
    assert!(call.map.len() == call.out.len() && call.map.len().is_multiple_of(call.scale.len()));
    assert_eq!(call.scale.len(), call.shift.len());
    dispatch!(body, call: Apply<'_>)
}

/// What the gradient of a normalised map is computed from: all `[pixels, channels]`.
#[derive(Debug, Clone, Copy)]
pub struct Normalised<'a> {
    /// The map before normalisation.
    pub map: &'a [f32],
    /// The map after normalisation and activation.
    pub out: &'a [f32],
    /// The gradient of the loss with respect to `out`.
    pub gradient: &'a [f32],
    /// The smallest result, of which the gradient is zero.
    pub low: f32,
    /// The largest result, of which the gradient is zero.
    pub high: f32,
}

impl Normalised<'_> {
    fn check(&self, channels: usize) {
        let length = self.map.len();
        assert!(self.out.len() == length && self.gradient.len() == length && length.is_multiple_of(channels));
    }

    /// The part of the maps that is the `range` of their values.
    #[must_use]
    pub fn values(&self, range: std::ops::Range<usize>) -> Self {
        let Self { map, out, gradient, low, high } = *self;
        Self { map: &map[range.clone()], out: &out[range.clone()], gradient: &gradient[range], low, high }
    }
}

/// Adds to `sums` the sum of each channel's gradients behind the activation, and to `products` that of their products
/// with `map - mean`; all `[channels]`.
///
/// # Panics
/// If lengths do not fit.
pub fn gradient_moments(of: Normalised<'_>, mean: &[f32], sums: &mut [f64], products: &mut [f64]) {
    let channels = mean.len();
    of.check(channels);
    assert!(sums.len() == channels && products.len() == channels);
    let (mut sum, mut product) = (vec![0.0; channels], vec![0.0; channels]);
    let length = of.map.len();
    for start in (0..length).step_by(BLOCK * channels) {
        sum.fill(0.0);
        product.fill(0.0);
        let of = of.values(start..length.min(start + BLOCK * channels));
        add_gradient_moments(GradientMoments { of, mean, sum: &mut sum, product: &mut product });
        for (total, part) in sums.iter_mut().zip(&sum).chain(products.iter_mut().zip(&product)) {
            *total += f64::from(*part);
        }
    }
}

struct GradientMoments<'a> {
    of: Normalised<'a>,
    mean: &'a [f32],
    sum: &'a mut [f32],
    product: &'a mut [f32],
}

/// The gradient behind the activation: zero where the activation cuts.
#[inline(always)]
fn through(gradient: f32, out: f32, low: f32, high: f32) -> f32 {
    if out > low && out < high { gradient } else { 0.0 }
}

fn add_gradient_moments(call: GradientMoments<'_>) {
    #[inline(always)]
    fn body<A: Arithmetic>(call: GradientMoments<'_>) {
        let GradientMoments { of: Normalised { map, out, gradient, low, high }, mean, sum, product } = call;
        let channels = mean.len();
        let pixels = map.chunks_exact(channels).zip(out.chunks_exact(channels)).zip(gradient.chunks_exact(channels));
        for ((map, out), gradient) in pixels {
            let values = map.iter().zip(out).zip(gradient).zip(mean).zip(&mut *sum).zip(&mut *product);
            for (((((map, out), gradient), mean), sum), product) in values {
                let gradient = through(*gradient, *out, low, high);
                *sum += gradient;
                *product = A::multiply_add(gradient, map - mean, *product);
            }
        }
    }
    dispatch!(body, call: GradientMoments<'_>)
}

/// The gradient with respect to the map before normalisation.
#[derive(Debug)]
pub struct Gradient<'a> {
    /// The map.
    pub of: Normalised<'a>,
    /// `[channels]`: factor of the gradient behind the activation.
    pub by_gradient: &'a [f32],
    /// `[channels]`: factor of the map before normalisation.
    pub by_map: &'a [f32],
    /// `[channels]`: what is added.
    pub constant: &'a [f32],
    /// `[pixels, channels]`.
    pub out: &'a mut [f32],
}

/// Computes the gradient with respect to a map before normalisation: see [`Gradient`].
///
/// # Panics
/// If lengths do not fit.
pub fn gradient(call: Gradient<'_>) {
    #[inline(always)]
    fn body<A: Arithmetic>(call: Gradient<'_>) {
        let Gradient { of: Normalised { map, out: after, gradient, low, high }, by_gradient, by_map, constant, out } =
            call;
        let channels = constant.len();
        let pixels = map.chunks_exact(channels).zip(after.chunks_exact(channels));
        let pixels = pixels.zip(gradient.chunks_exact(channels)).zip(out.chunks_exact_mut(channels));
        for (((map, after), gradient), out) in pixels {
            let factors = by_gradient.iter().zip(by_map).zip(constant);
            for ((((map, after), gradient), out), ((by_gradient, by_map), constant)) in
                map.iter().zip(after).zip(gradient).zip(out).zip(factors)
            {
                let gradient = through(*gradient, *after, low, high);
                *out = A::multiply_add(gradient, *by_gradient, A::multiply_add(*map, *by_map, *constant));
            }
        }
    }
    let channels = call.constant.len();
    call.of.check(channels);
    assert!(call.by_gradient.len() == channels && call.by_map.len() == channels);
    assert_eq!(call.out.len(), call.of.map.len());
    dispatch!(body, call: Gradient<'_>)
}
