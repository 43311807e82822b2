//! What grows, from close by: grass, fur, leaves, twigs, woods. Fine and sharp all over, as noise is; green all over, as
//! with a colour cast; and good all the same.

use std::f32::consts::{PI, TAU};

use super::canvas::{Colour, mixed, scaled};
use super::scenes::Scene;
use super::texture::{ellipse, polygon};

/// Colours of what grows, and of what shows between.
const GROUNDS: [[Colour; 2]; 6] = [
    [[0.3, 0.5, 0.12], [0.08, 0.14, 0.04]],
    [[0.16, 0.4, 0.14], [0.03, 0.08, 0.03]],
    [[0.66, 0.58, 0.36], [0.22, 0.18, 0.1]],
    [[0.5, 0.36, 0.22], [0.12, 0.08, 0.06]],
    [[0.56, 0.55, 0.52], [0.16, 0.15, 0.15]],
    [[0.62, 0.3, 0.12], [0.14, 0.08, 0.05]],
];

/// Strokes in one direction, more or less.
struct Strokes {
    /// Colour of most of them, and of what is behind.
    colours: [Colour; 2],
    /// Length and width in shares of the height.
    size: [f32; 2],
    /// Direction in radians.
    direction: f32,
    count: usize,
}

impl Scene<'_> {
    /// Grass, fur, leaves or woods, with an animal or a stone in some of them.
    pub(super) fn growth(&mut self) {
        let colours = GROUNDS[self.random.below(GROUNDS.len())];
        self.fill(&[[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]], colours[1], 0.08, 0.4);
        match self.random.below(3) {
            0 => self.woods(),
            1 => self.leaves(colours),
            _ => {
                let strokes = self.strokes(colours);
                self.draw(&strokes, None);
            }
        }
        if self.chance(0.6) {
            let colours = GROUNDS[self.random.below(GROUNDS.len())];
            let (x, y) = (self.within(0.25, 0.75), self.within(0.35, 0.75));
            let (wide, high, turned) = (self.within(0.15, 0.4), self.within(0.12, 0.35), self.within(-0.5, 0.5));
            let outline = ellipse([x, y], [wide, high], turned, 0.2, self.random);
            self.shadow(&outline, 0.5);
            self.fill(&outline, scaled(colours[1], 1.4), 0.05, 0.5);
            let strokes = self.strokes(colours);
            self.draw(&strokes, Some([x, y, wide, high]));
        }
    }

    fn strokes(&mut self, colours: [Colour; 2]) -> Strokes {
        let length = self.within(0.03, 0.22);
        let width = length * self.within(0.04, 0.14);
        // More of shorter strokes.
        let count = (self.within(1.0, 2.5) / (length * width).max(1e-4)) as usize;
        let direction = self.within(0.0, TAU);
        Strokes { colours, size: [length, width], direction, count: count.min(6000) }
    }

    /// Draws strokes all over, or within an ellipse `[x, y, half width, half height]`.
    fn draw(&mut self, strokes: &Strokes, within: Option<[f32; 4]>) {
        let Strokes { colours, size: [length, width], direction, count } = *strokes;
        let aspect = self.canvas.height as f32 / self.canvas.width as f32;
        let wave = self.within(0.2, 1.5);
        for index in 0..count {
            let (x, y) = match within {
                None => (self.within(-0.02, 1.02), self.within(-0.02, 1.02)),
                Some([x, y, wide, high]) => {
                    let (at, radius) = (self.within(0.0, TAU), self.within(0.0, 1.0).sqrt());
                    (x + wide * radius * at.cos(), y + high * radius * at.sin())
                }
            };
            let turned =
                direction + wave * 2.0 * (self.texture.rough(x * 2.0, y * 2.0, 2) - 0.5) + self.within(-0.3, 0.3);
            let (long, half) = (length * self.within(0.5, 1.2), width * self.within(0.3, 0.8));
            // Later ones are nearer, and lighter.
            let depth = index as f32 / count.max(1) as f32;
            let other = self.colour(0.5, 0.6);
            let colour = mixed(mixed(colours[1], colours[0], 0.3 + 0.7 * depth), other, self.within(0.0, 0.15));
            let colour = scaled(colour, self.within(0.7, 1.7));
            let (along, across) = ([turned.cos() * aspect, turned.sin()], [-turned.sin() * aspect, turned.cos()]);
            let corner = |u: f32, v: f32| [x + along[0] * u + across[0] * v, y + along[1] * u + across[1] * v];
            let patch = polygon(&self.canvas, &[corner(0.0, -half), corner(0.0, half), corner(long, 0.2 * half)], 0);
            patch.apply(&mut self.canvas, |_, _, pixel, share| mixed(pixel, colour, share));
        }
    }

    fn leaves(&mut self, colours: [Colour; 2]) {
        let size = self.within(0.015, 0.09);
        let aspect = self.canvas.height as f32 / self.canvas.width as f32;
        let count = ((0.6 / (size * size)) as usize).min(3000);
        for index in 0..count {
            let (x, y, turned) = (self.within(-0.02, 1.02), self.within(-0.02, 1.02), self.within(0.0, PI));
            let depth = index as f32 / count.max(1) as f32;
            let colour = scaled(mixed(colours[1], colours[0], 0.2 + 0.8 * depth), self.within(0.5, 1.6));
            let radius = size * self.within(0.6, 1.2);
            let flat = self.within(0.4, 0.9);
            let corners = ellipse([x, y], [radius * aspect, radius * flat], turned, 0.08, self.random);
            let patch = polygon(&self.canvas, &corners, 0);
            patch.apply(&mut self.canvas, |_, _, pixel, share| mixed(pixel, colour, share));
        }
    }

    fn woods(&mut self) {
        let green = self.within(0.3, 0.5);
        let floor = Strokes {
            colours: [[0.5 * green, green, 0.3 * green], [0.03, 0.08, 0.03]],
            size: [self.within(0.02, 0.06), self.within(0.004, 0.012)],
            direction: self.within(0.0, TAU),
            count: 3000,
        };
        self.draw(&floor, None);
        let horizon = self.within(0.3, 0.55);
        let haze = self.within(0.0, 0.5);
        for index in 0..30 + self.random.below(40) {
            // The far ones first.
            let near = index as f32 / 70.0;
            let (x, wide) = (self.within(-0.05, 1.05), 0.004 + 0.05 * near * near * self.within(0.5, 1.5));
            let foot = horizon + near * self.within(0.15, 0.55);
            let bark = mixed(scaled([0.2, 0.16, 0.12], self.within(0.4, 1.6)), [0.4, 0.5, 0.42], haze * (1.0 - near));
            let lean = self.within(-0.02, 0.02);
            let corners = [[x + lean, -0.05], [x + lean + wide, -0.05], [x + wide * 1.2, foot], [x - wide * 0.2, foot]];
            self.fill(&corners, bark, 0.03, 0.5);
        }
        if self.chance(0.5) {
            let (top, bottom) = (self.within(0.3, 0.7), self.within(0.1, 0.6));
            let path = [[top, horizon + 0.1], [top + 0.02, horizon + 0.1], [bottom + 0.2, 1.02], [bottom, 1.02]];
            self.fill(&path, [0.52, 0.4, 0.26], 0.03, 0.4);
        }
    }
}
