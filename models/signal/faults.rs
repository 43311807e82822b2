//! What goes wrong with a camera, as changes of a picture; and the small differences among pictures that are good.
//!
//! The sizes of blurs and grains are shares of the shorter side, so that a fault is equally visible at any frame size.

use std::sync::LazyLock;

use super::canvas::{Canvas, Colour, Mask, luma, mixed, scaled, smooth};
use super::labels::State;
use super::random::Random;
use super::texture::{Texture, ellipse, polygon, softened};

/// About the part of the shorter side that the networks see: of inputs of 128×128, it is 128 of 146.
pub(crate) const CENTRE: f64 = 1.0 / 1.125;

/// What a fault did.
pub(crate) struct Outcome {
    /// How strong it is, in a unit of its own.
    pub(crate) strength: f64,
    /// What is hidden of the scene, if only a part is.
    pub(crate) hidden: Option<Mask>,
}

impl Outcome {
    fn all(strength: f32) -> Self {
        Self { strength: f64::from(strength), hidden: None }
    }
}

/// Standard normal numbers: a million pixels need many.
static NORMAL: LazyLock<Vec<f32>> = LazyLock::new(|| {
    let mut random = Random::new(0, &[]);
    (0..1 << 16).map(|_| random.normal() as f32).collect()
});

/// Varies a picture that stays good: exposure, white balance, saturation, sharpness, noise; sometimes infrared light without
/// colour, or another hue.
pub(crate) fn vary(canvas: &mut Canvas, random: &mut Random) {
    // Some stay as they are.
    if random.unit() < 0.2 {
        return;
    }
    let mut within = |low: f64, high: f64| random.within(low, high) as f32;
    let (gamma, gain) = (within(0.8, 1.25), within(0.82, 1.1));
    let warm = within(-0.09, 0.09);
    let tint = match within(0.0, 1.0) {
        // Light of the evening.
        evening if evening < 0.08 => [1.14, 0.98, within(0.72, 0.85)],
        _ => [1.0 + warm, 1.0 + within(-0.03, 0.03), 1.0 - warm],
    };
    let contrast = within(0.75, 1.08);
    let lift = within(0.0, 1.0 - f64::from(contrast.min(1.0)));
    let pale = within(-0.25, 0.4);
    canvas.map(|pixel| {
        let pixel = mixed(pixel, [luma(pixel); 3], pale);
        let value = |channel: usize| pixel[channel].max(0.0).powf(gamma) * gain * tint[channel] * contrast + lift;
        std::array::from_fn(value)
    });
    match random.unit() {
        night if night < 0.08 => canvas.map(|pixel| [luma(pixel); 3]),
        // There are scenes in every colour: all that is not grey gets another hue.
        turned if turned < 0.2 => {
            let angle = random.within(0.0, std::f64::consts::TAU) as f32;
            let (sin, cos) = angle.sin_cos();
            let (same, next, last) = (
                (1.0 + 2.0 * cos) / 3.0,
                (1.0 - cos) / 3.0 - sin / 3.0_f32.sqrt(),
                (1.0 - cos) / 3.0 + sin / 3.0_f32.sqrt(),
            );
            canvas.map(|[r, g, b]| {
                [same * r + next * g + last * b, last * r + same * g + next * b, next * r + last * g + same * b]
            });
        }
        _ => {}
    }
    let radius = random.within(0.0, 0.004) as f32 * canvas.short() as f32;
    match random.unit() {
        soft if soft < 0.4 => *canvas = canvas.out_of_focus(radius),
        // Cameras sharpen their pictures.
        soft if soft < 0.7 => {
            let amount = random.within(0.0, 1.5) as f32;
            let blurred = canvas.out_of_focus(radius.max(1.0));
            for (pixel, blurred) in canvas.pixels.iter_mut().zip(&blurred.pixels) {
                *pixel = std::array::from_fn(|channel| pixel[channel] + amount * (pixel[channel] - blurred[channel]));
            }
        }
        _ => {}
    }
    if random.unit() < 0.5 {
        grain(canvas, random.within(0.0, 0.03) as f32, 0.0, random.unit() < 0.5, 1.0, random);
    }
}

/// Makes a fault of one kind.
pub(crate) fn apply(state: State, canvas: &mut Canvas, random: &mut Random) -> Outcome {
    match state {
        State::Black => black(canvas, random),
        State::OverExposed => over_exposed(canvas, random),
        State::OutOfFocus => {
            let radius = random.within(0.02, 0.07) as f32;
            *canvas = canvas.out_of_focus(radius * canvas.short() as f32);
            Outcome::all(radius)
        }
        State::Noise => noise(canvas, random),
        State::LowContrast => low_contrast(canvas, random),
        State::ColourCast => colour_cast(canvas, random),
        State::PartlyCovered => partly_covered(canvas, random),
        State::Covered => covered(canvas, random),
        State::Good | State::BrokenBlocks | State::Pattern(_) => Outcome::all(0.0),
    }
}

/// Adds noise: `sigma` everywhere and `shot` that grows with the light, in grains of so many pixels.
fn grain(canvas: &mut Canvas, sigma: f32, shot: f32, coloured: bool, size: f32, random: &mut Random) {
    let side = |side: usize| ((side as f32 / size) as usize).max(1);
    let (width, height) = (side(canvas.width), side(canvas.height));
    let mut at = random.below(NORMAL.len());
    let mut grains = Canvas::new(width, height, [0.0; 3]);
    for row in grains.pixels.chunks_exact_mut(width) {
        // Each row starts elsewhere in the table, so that no pattern repeats visibly.
        at = (at + random.below(NORMAL.len())) % NORMAL.len();
        for pixel in row {
            let mut next = || {
                at = (at + 1) % NORMAL.len();
                NORMAL[at]
            };
            *pixel = if coloured { [next(), next(), next()] } else { [next(); 3] };
        }
    }
    // Between the grains there is less noise, for which the factor makes up.
    let factor = if size > 1.0 { 1.4 } else { 1.0 };
    let grains = grains.resized(canvas.width, canvas.height);
    for (pixel, grain) in canvas.pixels.iter_mut().zip(&grains.pixels) {
        let light = luma(*pixel).clamp(0.0, 1.0);
        let strength = factor * (sigma * sigma + shot * shot * light).sqrt();
        *pixel = std::array::from_fn(|channel| (pixel[channel] + grain[channel] * strength).clamp(0.0, 1.0));
    }
}

fn black(canvas: &mut Canvas, random: &mut Random) -> Outcome {
    let level = match random.below(3) {
        0 => 0.0,
        1 => random.within(0.0, 0.03) as f32,
        // Black of the narrow range, shown as if it were full.
        _ => 16.0 / 255.0,
    };
    let scene = if random.unit() < 0.4 { random.within(0.0, 0.018) as f32 } else { 0.0 };
    canvas.map(|pixel| [level + scene * luma(pixel); 3]);
    if random.unit() < 0.5 {
        let (sigma, coloured) = (random.within(0.002, 0.03) as f32, random.unit() < 0.5);
        grain(canvas, sigma, 0.0, coloured, 1.0, random);
    }
    Outcome::all(level + scene)
}

fn over_exposed(canvas: &mut Canvas, random: &mut Random) -> Outcome {
    // The value that becomes white: so many of the pixels are at least as bright.
    let clipped = random.within(0.55, 0.97);
    let mut light: Vec<f32> = canvas.pixels.iter().step_by(7).map(|pixel| luma(*pixel)).collect();
    light.sort_by(f32::total_cmp);
    let white = light[((1.0 - clipped) * (light.len() - 1) as f64) as usize].max(0.02);
    let glare = random.within(0.0, 0.3) as f32;
    canvas.map(|pixel| pixel.map(|value| (value / white * 1.03 + glare * (1.0 - value)).min(1.3)));
    // Light spreads around what is clipped.
    let radius = random.within(0.002, 0.02) as f32 * canvas.short() as f32;
    let spread = canvas.out_of_focus(radius);
    for (pixel, spread) in canvas.pixels.iter_mut().zip(&spread.pixels) {
        *pixel = std::array::from_fn(|channel| pixel[channel].max(spread[channel]).min(1.0));
    }
    Outcome::all(clipped as f32)
}

fn noise(canvas: &mut Canvas, random: &mut Random) -> Outcome {
    // Grains of at least a pixel of the final picture; finer ones average out when it is reduced.
    let size = canvas.short() as f32 / random.within(110.0, 230.0) as f32;
    let sigma = random.within(0.1, 0.27) as f32;
    if random.unit() < 0.4 {
        let dark = random.within(0.3, 0.8) as f32;
        canvas.map(|pixel| scaled(pixel, dark));
    }
    let coloured = random.unit() < 0.6;
    let (sigma, shot) = match random.below(3) {
        0 => (sigma, 0.0),
        1 => (sigma * 0.6, sigma * 1.4),
        _ => (sigma * 0.8, sigma * 0.6),
    };
    grain(canvas, sigma, shot, coloured, size.max(1.0), random);
    Outcome::all(sigma.max(shot))
}

fn low_contrast(canvas: &mut Canvas, random: &mut Random) -> Outcome {
    let left = random.within(0.09, 0.27) as f32;
    let grey = random.within(0.22, 0.82) as f32;
    let blue = random.within(-0.02, 0.05) as f32;
    let air = [grey - blue, grey, grey + blue];
    let mean = canvas.mean();
    // Fog is thicker in the distance, which is up; a dull sensor is the same everywhere.
    let fog = if random.unit() < 0.5 { random.within(0.0, 0.5) as f32 } else { 0.0 };
    canvas.map_at(|_, y, pixel| {
        let share = left * (1.0 - fog * (1.0 - y));
        std::array::from_fn(|channel| air[channel] + share * (pixel[channel] - mean[channel]))
    });
    if random.unit() < 0.4 {
        let radius = random.within(0.0, 0.006) as f32 * canvas.short() as f32;
        *canvas = canvas.out_of_focus(radius);
    }
    Outcome::all(left)
}

fn colour_cast(canvas: &mut Canvas, random: &mut Random) -> Outcome {
    let channel = random.below(3);
    let others = [(channel + 1) % 3, (channel + 2) % 3];
    let kind = random.below(4);
    let (weak, strong) = (random.within(0.0, 0.35) as f32, random.within(1.0, 1.35) as f32);
    let mut gains = [1.0; 3];
    match kind {
        // One channel is weak or gone.
        0 => gains[channel] = weak,
        // One channel rules.
        1 => {
            gains[others[0]] = random.within(0.15, 0.5) as f32;
            gains[others[1]] = random.within(0.15, 0.5) as f32;
            gains[channel] = strong;
        }
        // A white balance far off: violet without the filter against infrared, orange, green.
        2 => {
            let tints = [[1.3, 0.6, 1.15], [1.35, 0.85, 0.35], [0.55, 1.1, 0.6], [0.45, 0.8, 1.35]];
            let tint = tints[random.below(tints.len())];
            let amount = random.within(0.75, 1.2) as f32;
            gains = tint.map(|gain| 1.0 + (gain - 1.0) * amount);
        }
        // Everything in shades of one colour.
        _ => {
            gains = std::array::from_fn(|index| if index == channel { 1.05 } else { weak + 0.1 });
            canvas.map(|pixel| mixed(pixel, [luma(pixel); 3], 0.75));
        }
    }
    let offset = if random.unit() < 0.3 { random.within(0.0, 0.12) as f32 } else { 0.0 };
    canvas.map(|pixel| {
        let value = |index: usize| (pixel[index] * gains[index]) + offset * (gains[index] - 0.6).max(0.0);
        std::array::from_fn(value)
    });
    let [low, high] = [f32::min as fn(f32, f32) -> f32, f32::max].map(|pick| gains.into_iter().fold(gains[0], pick));
    Outcome::all(high - low)
}

/// The colour of something close in front of the lens.
fn close_colour(random: &mut Random) -> Colour {
    let bright = random.within(0.6, 1.2) as f32;
    let colours: [Colour; 6] = [
        [0.03, 0.03, 0.035],
        [0.1, 0.09, 0.08],
        [0.62, 0.42, 0.33],
        [0.35, 0.2, 0.15],
        [0.28, 0.27, 0.25],
        [0.55, 0.5, 0.42],
    ];
    scaled(colours[random.below(colours.len())], bright)
}

/// Share of the centre that a mask hides.
fn coverage(canvas: &Canvas, mask: &[f32]) -> f32 {
    let side = (canvas.short() as f64 * CENTRE) as usize;
    let (left, top) = ((canvas.width - side) / 2, (canvas.height - side) / 2);
    let rows = mask.chunks_exact(canvas.width).skip(top).take(side);
    rows.flat_map(|row| &row[left..left + side]).sum::<f32>() / (side * side) as f32
}

fn partly_covered(canvas: &mut Canvas, random: &mut Random) -> Outcome {
    let kind = random.below(5);
    // A shape that covers too little or too much is drawn again.
    let mut best: Option<(f32, Mask)> = None;
    for _ in 0..30 {
        let mask = match kind {
            0 | 1 => near_object(canvas, random),
            2 => tape(canvas, random),
            3 => dirt(canvas, random),
            _ => drops(canvas, random),
        };
        let share = coverage(canvas, &mask);
        let misses = (0.28 - share).max(share - 0.7).max(0.0);
        let is_best = best.as_ref().is_none_or(|(best, _)| misses < *best);
        if is_best {
            best = Some((misses, mask));
        }
        if misses == 0.0 {
            break;
        }
    }
    let mask = best.map(|(_, mask)| mask).unwrap_or_default();
    let share = coverage(canvas, &mask);
    let texture = Texture::new(random);
    let (width, unit) = (canvas.width, canvas.short() as f32);
    if kind == 4 {
        // Water bends the light: the scene behind it is turned over, blurred and brighter.
        let blurred = canvas.out_of_focus(0.07 * unit);
        let (last, bright) = (blurred.pixels.len() - 1, random.within(0.85, 1.25) as f32);
        canvas.cover(&mask, |index| scaled(mixed(blurred.pixels[last - index], [0.7; 3], 0.15), bright));
        // The edges of the drops are dark.
        for (pixel, share) in canvas.pixels.iter_mut().zip(&mask) {
            let edge = (share * (1.0 - share) * 4.0).clamp(0.0, 1.0);
            *pixel = scaled(*pixel, 1.0 - 0.45 * edge);
        }
    } else {
        let colour = close_colour(random);
        let contrast = random.within(0.05, 0.35) as f32;
        canvas.cover(&mask, |index| {
            let (x, y) = ((index % width) as f32 / unit, (index / width) as f32 / unit);
            scaled(colour, 1.0 + contrast * (2.0 * texture.rough(x * 3.0, y * 3.0, 2) - 1.0))
        });
    }
    Outcome { strength: f64::from(share), hidden: Some(mask) }
}

/// A hand, a leaf, a bag: large, reaching in from a side, blurred.
fn near_object(canvas: &Canvas, random: &mut Random) -> Mask {
    let mut mask = vec![0.0; canvas.pixels.len()];
    let fingers = random.unit() < 0.35;
    let count = if fingers { 2 + random.below(3) } else { 1 };
    let side = random.within(0.0, std::f64::consts::TAU);
    for finger in 0..count {
        let at = side + (finger as f64 - (count as f64 - 1.0) / 2.0) * 0.42;
        let reach = random.within(0.25, 0.6);
        let centre = [0.5 + reach * at.cos(), 0.5 + reach * at.sin()].map(|value| value as f32);
        let (long, short) = if fingers {
            (0.6, random.within(0.09, 0.16))
        } else {
            (random.within(0.3, 0.65), random.within(0.25, 0.5))
        };
        let corners =
            ellipse(centre, [long as f32, short as f32], at as f32, if fingers { 0.05 } else { 0.25 }, random);
        polygon(canvas, &corners, 0).add_to(&mut mask, canvas.width);
    }
    softened(&mask, canvas.width, random.within(0.008, 0.07) as f32 * canvas.short() as f32)
}

/// A strip of tape or a board, sharp or soft.
fn tape(canvas: &Canvas, random: &mut Random) -> Mask {
    let mut mask = vec![0.0; canvas.pixels.len()];
    for _ in 0..1 + random.below(2) {
        let (angle, half) = (random.within(0.0, 3.2) as f32, random.within(0.12, 0.32) as f32);
        let (x, y) = (random.within(0.2, 0.8) as f32, random.within(0.2, 0.8) as f32);
        let (along, across) = ([angle.cos(), angle.sin()], [-angle.sin(), angle.cos()]);
        let corner = |u: f32, v: f32| [x + along[0] * u + across[0] * v, y + along[1] * u + across[1] * v];
        let corners = [corner(-2.0, -half), corner(2.0, -half), corner(2.0, half), corner(-2.0, half)];
        polygon(canvas, &corners, 0).add_to(&mut mask, canvas.width);
    }
    softened(&mask, canvas.width, random.within(0.004, 0.04) as f32 * canvas.short() as f32)
}

/// Patches of dirt or webs, blurred.
fn dirt(canvas: &Canvas, random: &mut Random) -> Mask {
    let texture = Texture::new(random);
    let (scale, level) = (random.within(1.6, 5.0) as f32, random.within(0.42, 0.56) as f32);
    let (soft, dense) = (random.within(0.02, 0.07) as f32, random.within(0.75, 1.0) as f32);
    let unit = canvas.short() as f32;
    let place = |index: usize| ((index % canvas.width) as f32 / unit, (index / canvas.width) as f32 / unit);
    let mask: Mask = (0..canvas.pixels.len())
        .map(|index| {
            let (x, y) = place(index);
            dense * smooth(level - soft, level + soft, texture.rough(x * scale, y * scale, 3))
        })
        .collect();
    softened(&mask, canvas.width, random.within(0.0, 0.02) as f32 * unit)
}

/// Drops of water.
fn drops(canvas: &Canvas, random: &mut Random) -> Mask {
    let mut mask = vec![0.0; canvas.pixels.len()];
    let aspect = canvas.height as f32 / canvas.width as f32;
    let largest = random.within(0.13, 0.28);
    for _ in 0..8 + random.below(24) {
        let centre = [random.within(-0.05, 1.05) as f32, random.within(-0.05, 1.05) as f32];
        let radius = random.within(0.25 * largest, largest) as f32;
        let corners = ellipse(centre, [radius * aspect, radius], 0.0, 0.12, random);
        let mut drop = polygon(canvas, &corners, 2);
        drop.soften(random.within(1.0, 3.0) as f32);
        drop.add_to(&mut mask, canvas.width);
    }
    softened(&mask, canvas.width, random.within(0.003, 0.015) as f32 * canvas.short() as f32)
}

fn covered(canvas: &mut Canvas, random: &mut Random) -> Outcome {
    let texture = Texture::new(random);
    // Skin through which light shines, cloth, cardboard, a cap that does not close. What lets no light through is black.
    let bright = random.within(0.95, 1.4) as f32;
    let colours: [Colour; 7] = [
        [0.36, 0.11, 0.07],
        [0.28, 0.08, 0.06],
        [0.45, 0.2, 0.13],
        [0.23, 0.18, 0.14],
        [0.2, 0.2, 0.21],
        [0.25, 0.23, 0.2],
        [0.3, 0.24, 0.18],
    ];
    let colour = scaled(colours[random.below(colours.len())], bright);
    let uneven = random.within(0.05, 0.3) as f32;
    let (angle, leak) = (random.within(0.0, std::f64::consts::TAU) as f32, random.within(0.0, 0.5) as f32);
    let width = random.within(0.08, 0.35) as f32;
    let leaking: Colour = mixed([1.0, 0.75, 0.6], [0.9; 3], random.unit() as f32);
    let (sin, cos) = angle.sin_cos();
    let scene = canvas.out_of_focus(0.12 * canvas.short() as f32);
    let through = if random.unit() < 0.3 { random.within(0.0, 0.05) as f32 } else { 0.0 };
    canvas.pixels.clone_from(&scene.pixels);
    canvas.map_at(|x, y, pixel| {
        let value = texture.rough(x * 2.2, y * 2.2, 2);
        let base = scaled(colour, 1.0 + uneven * (2.0 * value - 1.0));
        // Light comes in at one edge.
        let inwards = 0.62 - ((x - 0.5) * cos + (y - 0.5) * sin);
        let light = leak * (-(inwards / width).powi(2)).exp();
        let lit = mixed(base, leaking, light);
        std::array::from_fn(|channel| lit[channel] + through * pixel[channel])
    });
    if random.unit() < 0.6 {
        grain(canvas, random.within(0.0, 0.035) as f32, 0.0, random.unit() < 0.5, 1.0, random);
    }
    Outcome::all(1.0 - leak)
}
