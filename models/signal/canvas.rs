//! Pictures while they are made: three values per pixel, usually in 0..=1, in the gamma of sRGB.

use image::RgbImage;

/// A colour or a pixel: red, green, blue, 0 to 1.
pub(crate) type Colour = [f32; 3];

/// A picture.
#[derive(Debug, Clone)]
pub(crate) struct Canvas {
    pub(crate) width: usize,
    pub(crate) height: usize,
    /// Row by row.
    pub(crate) pixels: Vec<Colour>,
}

/// How much of something there is at each pixel, 0 to 1, row by row.
pub(crate) type Mask = Vec<f32>;

/// Luma (BT.601).
pub(crate) fn luma([r, g, b]: Colour) -> f32 {
    0.299 * r + 0.587 * g + 0.114 * b
}

/// `from` and `to` mixed, with this share of `to`.
pub(crate) fn mixed(from: Colour, to: Colour, share: f32) -> Colour {
    std::array::from_fn(|channel| from[channel] + (to[channel] - from[channel]) * share)
}

/// `colour` times `factor`.
pub(crate) fn scaled(colour: Colour, factor: f32) -> Colour {
    colour.map(|value| value * factor)
}

/// 0 up to `low`, 1 from `high`, smooth between.
pub(crate) fn smooth(low: f32, high: f32, value: f32) -> f32 {
    let x = ((value - low) / (high - low)).clamp(0.0, 1.0);
    x * x * (3.0 - 2.0 * x)
}

impl Canvas {
    pub(crate) fn new(width: usize, height: usize, colour: Colour) -> Self {
        Self { width, height, pixels: vec![colour; width * height] }
    }

    /// The part of `image` at `x`, `y`.
    pub(crate) fn cut(image: &RgbImage, [x, y, width, height]: [usize; 4]) -> Self {
        let stride = 3 * image.width() as usize;
        let rows = image.as_raw().chunks_exact(stride).skip(y).take(height);
        let pixels = rows.flat_map(|row| row[3 * x..3 * (x + width)].as_chunks::<3>().0);
        let pixels = pixels.map(|pixel| pixel.map(|value| f32::from(value) / 255.0)).collect();
        Self { width, height, pixels }
    }

    /// The whole of `image`.
    pub(crate) fn of(image: &RgbImage) -> Self {
        Self::cut(image, [0, 0, image.width() as usize, image.height() as usize])
    }

    /// Eight bits per value, clipped.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.pixels.iter().flatten().map(|value| (value * 255.0 + 0.5).clamp(0.0, 255.0) as u8).collect()
    }

    /// The shorter side.
    pub(crate) fn short(&self) -> usize {
        self.width.min(self.height)
    }

    /// Changes every pixel.
    pub(crate) fn map(&mut self, change: impl Fn(Colour) -> Colour) {
        for pixel in &mut self.pixels {
            *pixel = change(*pixel);
        }
    }

    /// Changes every pixel, given its place: x and y from 0 to 1.
    pub(crate) fn map_at(&mut self, change: impl Fn(f32, f32, Colour) -> Colour) {
        let (width, height) = (self.width as f32, self.height as f32);
        for (y, row) in self.pixels.chunks_exact_mut(self.width).enumerate() {
            for (x, pixel) in row.iter_mut().enumerate() {
                *pixel = change((x as f32 + 0.5) / width, (y as f32 + 0.5) / height, *pixel);
            }
        }
    }

    /// Lays `colour` over the picture where `mask` is.
    pub(crate) fn cover(&mut self, mask: &[f32], colour: impl Fn(usize) -> Colour) {
        for (index, (pixel, share)) in self.pixels.iter_mut().zip(mask).enumerate() {
            if *share > 0.0 {
                *pixel = mixed(*pixel, colour(index), *share);
            }
        }
    }

    /// Mean of the pixels.
    pub(crate) fn mean(&self) -> Colour {
        let mut sum = [0.0_f64; 3];
        for pixel in &self.pixels {
            for (sum, value) in sum.iter_mut().zip(pixel) {
                *sum += f64::from(*value);
            }
        }
        sum.map(|sum| (sum / self.pixels.len().max(1) as f64) as f32)
    }

    /// How far the light of the brightest and the darkest 3 % of the pixels is apart.
    pub(crate) fn contrast(&self) -> f32 {
        let mut light: Vec<f32> = self.pixels.iter().map(|pixel| luma(*pixel)).collect();
        light.sort_by(f32::total_cmp);
        let at = |share: f32| light[(share * light.len().saturating_sub(1) as f32) as usize];
        at(0.97) - at(0.03)
    }

    /// Mean difference of the light of pixels from that of their neighbours: how much is sharp or noisy.
    pub(crate) fn detail(&self) -> f32 {
        let light: Vec<f32> = self.pixels.iter().map(|pixel| luma(*pixel)).collect();
        let width = self.width;
        let inside =
            (width + 1..light.len().saturating_sub(width + 1)).filter(|at| (1..width - 1).contains(&(at % width)));
        let (sum, count) = inside.fold((0.0, 0), |(sum, count), at| {
            let around = (light[at - 1] + light[at + 1] + light[at - width] + light[at + width]) / 4.0;
            (sum + (light[at] - around).abs(), count + 1)
        });
        sum / count.max(1) as f32
    }

    /// The part at `x`, `y`.
    pub(crate) fn part(&self, [x, y, width, height]: [usize; 4]) -> Self {
        let rows = self.pixels.chunks_exact(self.width).skip(y).take(height);
        Self { width, height, pixels: rows.flat_map(|row| &row[x..x + width]).copied().collect() }
    }

    /// The square in the middle that a network sees, as wide as `share` of the shorter side.
    pub(crate) fn centre(&self, share: f64) -> Self {
        let side = (self.short() as f64 * share) as usize;
        self.part([(self.width - side) / 2, (self.height - side) / 2, side, side])
    }

    /// Scaled with a triangle filter that is widened for reduction, as Pillow's `BILINEAR`.
    pub(crate) fn resized(&self, width: usize, height: usize) -> Self {
        if [width, height] == [self.width, self.height] {
            return self.clone();
        }
        // The rows first, so that the pass over the columns, which reads whole rows, has less to do.
        let taps = Taps::new(self.width, width);
        let mut narrow = Vec::with_capacity(width * self.height);
        for row in self.pixels.chunks_exact(self.width) {
            narrow.extend(taps.iter().map(|(first, weights)| {
                let mut sum = [0.0; 3];
                for (weight, pixel) in weights.iter().zip(&row[first..]) {
                    add(&mut sum, *pixel, *weight);
                }
                sum
            }));
        }
        let mut pixels = vec![[0.0; 3]; width * height];
        for (out, (first, weights)) in pixels.chunks_exact_mut(width).zip(Taps::new(self.height, height).iter()) {
            for (weight, row) in weights.iter().zip(narrow.chunks_exact(width).skip(first)) {
                for (sum, pixel) in out.iter_mut().zip(row) {
                    add(sum, *pixel, *weight);
                }
            }
        }
        Self { width, height, pixels }
    }

    /// Turned by `angle` (radians) around the middle, and enlarged so that no corner stays empty.
    pub(crate) fn turned(&self, angle: f32) -> Self {
        let (sin, cos) = angle.sin_cos();
        let (width, height) = (self.width as f32, self.height as f32);
        let aspect = (width / height).max(height / width);
        let step = 1.0 / (cos.abs() + aspect * sin.abs());
        let sample = |x: f32, y: f32| -> Colour {
            let (u, v) = ((x - 0.5 * width) * step, (y - 0.5 * height) * step);
            let x = (u * cos + v * sin + 0.5 * width).clamp(0.0, width - 1.001);
            let y = (v * cos - u * sin + 0.5 * height).clamp(0.0, height - 1.001);
            let at = |x: usize, y: usize| self.pixels[y * self.width + x];
            let (left, top) = (x as usize, y as usize);
            let (right, below) = ((left + 1).min(self.width - 1), (top + 1).min(self.height - 1));
            let row = |y: usize| mixed(at(left, y), at(right, y), x.fract());
            mixed(row(top), row(below), y.fract())
        };
        let rows = (0..self.height).flat_map(|y| (0..self.width).map(move |x| (x as f32, y as f32)));
        Self { pixels: rows.map(|(x, y)| sample(x, y)).collect(), ..*self }
    }

    /// Blurred by a disc of `radius` pixels, as a lens out of focus does; a large one at a reduced size.
    pub(crate) fn out_of_focus(&self, radius: f32) -> Self {
        const LARGEST: f32 = 5.0;
        if radius < 0.3 {
            return self.clone();
        }
        if radius > LARGEST {
            let factor = LARGEST / radius;
            let side = |side: usize| ((side as f32 * factor).round() as usize).max(8);
            let small = self.resized(side(self.width), side(self.height));
            return small.out_of_focus(LARGEST).resized(self.width, self.height);
        }
        let mut blurred = Self::new(self.width, self.height, [0.0; 3]);
        let (reach, last) = (radius.ceil() as isize, self.width as isize - 1);
        let row_at = |y: isize| {
            let y = y.clamp(0, self.height as isize - 1) as usize;
            &self.pixels[y * self.width..(y + 1) * self.width]
        };
        for y in 0..self.height {
            let out = &mut blurred.pixels[y * self.width..(y + 1) * self.width];
            let mut total = 0.0;
            for dy in -reach..=reach {
                let row = row_at(y as isize + dy);
                for dx in -reach..=reach {
                    let distance = ((dx * dx + dy * dy) as f32).sqrt();
                    let weight = (radius + 0.5 - distance).clamp(0.0, 1.0);
                    if weight == 0.0 {
                        continue;
                    }
                    total += weight;
                    let (start, end) = ((-dx).max(0) as usize, (last - dx.max(0)) as usize);
                    // Inside without clamping, the borders with it.
                    for x in (0..start.min(self.width)).chain(end + 1..self.width) {
                        add(&mut out[x], row[(x as isize + dx).clamp(0, last) as usize], weight);
                    }
                    if end >= start {
                        let from = (start as isize + dx) as usize;
                        for (sum, pixel) in out[start..=end].iter_mut().zip(&row[from..]) {
                            add(sum, *pixel, weight);
                        }
                    }
                }
            }
            for pixel in out {
                *pixel = scaled(*pixel, 1.0 / total);
            }
        }
        blurred
    }
}

fn add(sum: &mut Colour, pixel: Colour, weight: f32) {
    for (sum, value) in sum.iter_mut().zip(pixel) {
        *sum += value * weight;
    }
}

/// The samples of which each sample of a scaled row is made.
struct Taps {
    first: Vec<usize>,
    weights: Vec<Vec<f32>>,
}

impl Taps {
    fn new(from: usize, to: usize) -> Self {
        let scale = from as f64 / to as f64;
        let reach = scale.max(1.0);
        let (mut first, mut weights) = (Vec::with_capacity(to), Vec::with_capacity(to));
        for index in 0..to {
            let centre = (index as f64 + 0.5) * scale;
            let start = (centre - reach + 0.5).max(0.0) as usize;
            let end = ((centre + reach + 0.5) as usize).min(from);
            let taps = (start..end).map(|at| (1.0 - ((at as f64 + 0.5 - centre) / reach).abs()).max(0.0));
            let sum: f64 = taps.clone().sum();
            weights.push(taps.map(|weight| (weight / sum) as f32).collect());
            first.push(start);
        }
        Self { first, weights }
    }

    fn iter(&self) -> impl Iterator<Item = (usize, &[f32])> {
        self.first.iter().copied().zip(self.weights.iter().map(Vec::as_slice))
    }
}
