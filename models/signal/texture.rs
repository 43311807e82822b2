//! Random texture and soft shapes.

use super::canvas::{Canvas, Colour, Mask};
use super::random::Random;

/// Noise that is smooth at a scale: random values on a grid, and linear between them.
pub(crate) struct Texture {
    values: Vec<f32>,
}

/// Points of the grid along each side, after which it repeats.
const GRID: usize = 64;

impl Texture {
    pub(crate) fn new(random: &mut Random) -> Self {
        Self { values: (0..GRID * GRID).map(|_| random.unit() as f32).collect() }
    }

    /// The value at a place whose unit is the grid's, 0 to 1.
    pub(crate) fn at(&self, x: f32, y: f32) -> f32 {
        let (left, top) = (x.floor(), y.floor());
        let (across, down) = (x - left, y - top);
        let (across, down) = (across * across * (3.0 - 2.0 * across), down * down * (3.0 - 2.0 * down));
        let wrapped = |value: f32, next: i32| (value as i32 + next).rem_euclid(GRID as i32) as usize;
        let value = |dx, dy| self.values[wrapped(top, dy) * GRID + wrapped(left, dx)];
        let upper = value(0, 0) + (value(1, 0) - value(0, 0)) * across;
        let lower = value(0, 1) + (value(1, 1) - value(0, 1)) * across;
        upper + (lower - upper) * down
    }

    /// Several scales added, each half as strong as the one before, 0 to 1.
    pub(crate) fn rough(&self, x: f32, y: f32, octaves: u32) -> f32 {
        let (mut sum, mut total, mut strength, mut scale) = (0.0, 0.0, 1.0, 1.0);
        for octave in 0..octaves {
            sum += strength * self.at(x * scale + 17.3 * octave as f32, y * scale + 5.7 * octave as f32);
            total += strength;
            (strength, scale) = (strength * 0.5, scale * 2.03);
        }
        sum / total
    }
}

/// A mask of a part of a canvas; beyond it, there is nothing.
pub(crate) struct Patch {
    left: usize,
    top: usize,
    width: usize,
    values: Mask,
}

impl Patch {
    /// Calls `change` with the place and the share of every pixel of `canvas` that is covered.
    pub(crate) fn apply(&self, canvas: &mut Canvas, change: impl Fn(usize, usize, Colour, f32) -> Colour) {
        for (y, shares) in (self.top..).zip(self.values.chunks_exact(self.width.max(1))) {
            let row = &mut canvas.pixels[y * canvas.width + self.left..][..self.width];
            for (x, (pixel, share)) in row.iter_mut().zip(shares).enumerate() {
                if *share > 0.0 {
                    *pixel = change(x + self.left, y, *pixel, *share);
                }
            }
        }
    }

    /// Adds its values to a mask of the whole canvas.
    pub(crate) fn add_to(&self, mask: &mut [f32], width: usize) {
        for (y, shares) in (self.top..).zip(self.values.chunks_exact(self.width.max(1))) {
            for (value, share) in mask[y * width + self.left..].iter_mut().zip(shares) {
                *value = (*value + share).min(1.0);
            }
        }
    }

    /// Softens the edges by about `radius` pixels within the part.
    pub(crate) fn soften(&mut self, radius: f32) {
        if !self.values.is_empty() {
            self.values = softened(&self.values, self.width, radius);
        }
    }
}

/// A polygon, its corners in shares of width and height, with edges one pixel soft, and `margin` pixels around it.
pub(crate) fn polygon(canvas: &Canvas, corners: &[[f32; 2]], margin: usize) -> Patch {
    const ROWS: usize = 3;
    let (width, height) = (canvas.width as f32, canvas.height as f32);
    let corners: Vec<[f32; 2]> = corners.iter().map(|[x, y]| [x * width, y * height]).collect();
    let bounds = |axis: usize, size: usize| {
        let low = corners.iter().map(|corner| corner[axis]).fold(f32::MAX, f32::min);
        let high = corners.iter().map(|corner| corner[axis]).fold(f32::MIN, f32::max);
        let low = (low.max(0.0) as usize).saturating_sub(margin);
        (low.min(size), ((high.max(0.0).ceil() as usize).saturating_add(margin)).min(size))
    };
    let ((left, right), (top, bottom)) = (bounds(0, canvas.width), bounds(1, canvas.height));
    let part = right.saturating_sub(left);
    let mut values = vec![0.0; part * bottom.saturating_sub(top)];
    let mut crossings = Vec::new();
    for (row, out) in values.chunks_exact_mut(part.max(1)).enumerate() {
        for step in 0..ROWS {
            let y = (top + row) as f32 + (step as f32 + 0.5) / ROWS as f32;
            crossings.clear();
            for (index, [x1, y1]) in corners.iter().enumerate() {
                let [x0, y0] = corners[(index + corners.len() - 1) % corners.len()];
                if (y0 <= y) != (*y1 <= y) {
                    crossings.push(x0 + (y - y0) / (y1 - y0) * (x1 - x0) - left as f32);
                }
            }
            crossings.sort_by(f32::total_cmp);
            for pair in crossings.as_chunks::<2>().0 {
                let (start, end) = (pair[0].clamp(0.0, part as f32), pair[1].clamp(0.0, part as f32));
                for (x, share) in out.iter_mut().enumerate().take(end.ceil() as usize).skip(start as usize) {
                    let covered = (end.min(x as f32 + 1.0) - start.max(x as f32)).max(0.0);
                    *share += covered / ROWS as f32;
                }
            }
        }
    }
    Patch { left, top, width: part, values }
}

/// The corners of an ellipse, turned by an angle, its outline `wobbling` by a share of the radius.
pub(crate) fn ellipse(
    [x, y]: [f32; 2],
    [rx, ry]: [f32; 2],
    angle: f32,
    wobbling: f32,
    random: &mut Random,
) -> Vec<[f32; 2]> {
    const CORNERS: usize = 40;
    let phases: [f32; 4] = std::array::from_fn(|_| random.within(0.0, std::f64::consts::TAU) as f32);
    let (sin, cos) = angle.sin_cos();
    let corner = |index: usize| {
        let at = index as f32 / CORNERS as f32 * std::f32::consts::TAU;
        let waves = phases.iter().enumerate().map(|(wave, phase)| (at * (wave as f32 + 1.0) + phase).sin());
        let radius = 1.0 + wobbling * waves.sum::<f32>() / 2.0;
        let (dx, dy) = (at.cos() * rx * radius, at.sin() * ry * radius);
        [x + dx * cos - dy * sin, y + dx * sin + dy * cos]
    };
    (0..CORNERS).map(corner).collect()
}

/// The mask, softened by about `radius` pixels.
pub(crate) fn softened(mask: &[f32], width: usize, radius: f32) -> Mask {
    let radius = radius as usize;
    let height = mask.len() / width;
    let mut soft = mask.to_vec();
    if radius == 0 {
        return soft;
    }
    let mut line = Vec::new();
    // Two box filters in each direction are close to a triangle.
    for _ in 0..2 {
        for y in 0..height {
            line.clear();
            line.extend_from_slice(&soft[y * width..(y + 1) * width]);
            averaged(&line, radius, |x, value| soft[y * width + x] = value);
        }
        for x in 0..width {
            line.clear();
            line.extend((0..height).map(|y| soft[y * width + x]));
            averaged(&line, radius, |y, value| soft[y * width + x] = value);
        }
    }
    soft
}

fn averaged(line: &[f32], radius: usize, mut put: impl FnMut(usize, f32)) {
    let last = line.len() as isize - 1;
    let at = |index: isize| line[index.clamp(0, last) as usize];
    let reach = radius as isize;
    let mut sum: f32 = (-reach..=reach).map(at).sum();
    for index in 0..=last {
        put(index as usize, (sum / (2 * reach + 1) as f32).clamp(0.0, 1.0));
        sum += at(index + reach + 1) - at(index - reach);
    }
}
