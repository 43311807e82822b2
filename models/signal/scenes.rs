//! Rendered scenes: plain views as cameras have them, each different.

use std::f32::consts::TAU;

use super::canvas::{Canvas, Colour, Mask, luma, mixed, scaled};
use super::random::Random;
use super::texture::{Patch, Texture, ellipse, polygon};

/// Kinds of scenes.
pub(crate) const KINDS: [&str; 6] = ["landscape", "street", "room", "workshop", "yard", "growth"];

/// A kind at random, the last one more often: it has the most to show.
pub(crate) fn kind(random: &mut Random) -> usize {
    random.below(KINDS.len() + 2).min(KINDS.len() - 1)
}

/// What all parts of one scene share.
pub(super) struct Scene<'a> {
    pub(super) canvas: Canvas,
    pub(super) texture: Texture,
    pub(super) random: &'a mut Random,
    /// Where shadows fall to, in shares of the width for each share of height.
    pub(super) sun: f32,
}

/// Renders a scene of a kind, by day or by night.
pub(crate) fn render(kind: usize, width: usize, height: usize, random: &mut Random) -> Canvas {
    let texture = Texture::new(random);
    let sun = random.within(-1.2, 1.2) as f32;
    let mut scene = Scene { canvas: Canvas::new(width, height, [0.5; 3]), texture, random, sun };
    match KINDS[kind] {
        "landscape" => scene.landscape(),
        "street" => scene.street(),
        "room" => scene.room(),
        "workshop" => scene.workshop(),
        "growth" => scene.growth(),
        _ => scene.yard(),
    }
    if scene.random.unit() < 0.2 {
        scene.night();
    }
    scene.finish();
    scene.canvas
}

impl Scene<'_> {
    pub(super) fn within(&mut self, low: f32, high: f32) -> f32 {
        self.random.within(f64::from(low), f64::from(high)) as f32
    }

    pub(super) fn chance(&mut self, share: f64) -> bool {
        self.random.unit() < share
    }

    /// A colour of a hue at random, as saturated and bright as given.
    pub(super) fn colour(&mut self, saturation: f32, brightness: f32) -> Colour {
        let hue = self.within(0.0, TAU);
        let channel = |shift: f32| brightness * (1.0 - saturation * (0.5 - 0.5 * (hue + shift).cos()));
        [channel(0.0), channel(TAU / 3.0), channel(2.0 * TAU / 3.0)]
    }

    /// Fills a polygon with a textured colour: `grain` is the size of the texture in shares of the height.
    pub(super) fn fill(&mut self, corners: &[[f32; 2]], colour: Colour, grain: f32, contrast: f32) {
        let patch = polygon(&self.canvas, corners, 0);
        self.paint(&patch, colour, grain, contrast);
    }

    pub(super) fn paint(&mut self, patch: &Patch, colour: Colour, grain: f32, contrast: f32) {
        let unit = 1.0 / (grain * self.canvas.height as f32);
        let shift = self.within(0.0, 60.0);
        let texture = &self.texture;
        patch.apply(&mut self.canvas, |x, y, pixel, share| {
            let value = texture.rough(x as f32 * unit + shift, y as f32 * unit, 3) - 0.5;
            mixed(pixel, scaled(colour, 1.0 + 2.0 * contrast * value), share)
        });
    }

    pub(super) fn rectangle(&mut self, [x, y, width, height]: [f32; 4], colour: Colour, contrast: f32) {
        let corners = [[x, y], [x + width, y], [x + width, y + height], [x, y + height]];
        self.fill(&corners, colour, 0.06, contrast);
    }

    /// Darkens where `corners` are, softly.
    pub(super) fn shadow(&mut self, corners: &[[f32; 2]], strength: f32) {
        let radius = 0.008 * self.canvas.height as f32;
        let mut patch = polygon(&self.canvas, corners, 2 * radius as usize);
        patch.soften(radius);
        patch.apply(&mut self.canvas, |_, _, pixel, share| scaled(pixel, 1.0 - strength * share));
    }

    fn landscape(&mut self) {
        let horizon = self.within(0.25, 0.6);
        self.sky(horizon + 0.05);
        let haze = [0.62, 0.68, 0.74];
        let ridges = 2 + self.random.below(3);
        for ridge in 0..ridges {
            let depth = 1.0 - (ridge as f32 + 1.0) / ridges as f32;
            let base = mixed([0.24, 0.33, 0.16], haze, depth * 0.8);
            let (shift, rise) = (self.within(0.0, 60.0), self.within(0.06, 0.22) * (0.4 + depth));
            let texture = &self.texture;
            let ridge_at = |x: f32| {
                let height = texture.rough(x * 2.6 + shift, 3.0 * ridge as f32, 5);
                horizon + 0.1 - rise * 2.0 * height + 0.03 * ridge as f32
            };
            let mut corners: Vec<[f32; 2]> =
                (0..=80).map(|step| [step as f32 / 80.0, ridge_at(step as f32 / 80.0)]).collect();
            corners.extend([[1.0, 1.0], [0.0, 1.0]]);
            self.fill(&corners, base, 0.05, 0.5 * (1.1 - depth));
        }
        let start = horizon + 0.12;
        let near = match self.random.below(4) {
            0 => [0.55, 0.46, 0.3],
            1 => [0.24, 0.36, 0.46],
            2 => [0.8, 0.82, 0.86],
            _ => [0.28, 0.42, 0.14],
        };
        self.ground(start, near, mixed(near, haze, 0.4), 0.45);
        if self.chance(0.5) {
            let (foot, peak) = (self.within(0.1, 0.7), self.within(0.3, 0.7));
            let path = [[peak, start], [peak + 0.015, start], [foot + 0.3, 1.0], [foot, 1.0]];
            self.fill(&path, [0.56, 0.5, 0.42], 0.03, 0.3);
        }
        for index in 0..self.random.below(9) {
            let y = start + 0.02 + 0.35 * (index as f32 / 9.0).powi(2);
            let (x, size) = (self.within(0.0, 1.0), (y - horizon) * self.within(0.8, 1.6));
            self.tree(x, y, size);
        }
    }

    fn street(&mut self) {
        let horizon = self.within(0.32, 0.5);
        self.sky(horizon);
        let pavement = self.within(0.4, 0.62);
        self.ground(horizon, [pavement; 3], [pavement * 0.9; 3], 0.25);
        let mut x = -0.08;
        while x < 1.0 {
            let (width, height) = (self.within(0.12, 0.32), self.within(0.15, 0.5));
            self.house(x, horizon + 0.06, width, height);
            x += width + self.within(-0.01, 0.06);
        }
        let asphalt = self.within(0.2, 0.42);
        let middle = self.within(0.3, 0.7);
        let edge = horizon + 0.1;
        self.fill(&[[middle - 0.3, edge], [middle + 0.3, edge], [1.5, 1.0], [-0.5, 1.0]], [asphalt; 3], 0.012, 0.35);
        for dash in 0..6 {
            let [top, bottom] = [0.0, 0.45].map(|part| {
                let depth = 1.0 / (7.0 - (dash as f32 + part));
                edge + (1.0 - edge) * depth
            });
            let half = |y: f32| 0.004 + 0.012 * (y - edge) / (1.0 - edge);
            let line = [
                [middle - half(top), top],
                [middle + half(top), top],
                [middle + half(bottom), bottom],
                [middle - half(bottom), bottom],
            ];
            self.fill(&line, [0.85, 0.85, 0.8], 0.02, 0.2);
        }
        for _ in 0..self.random.below(3) {
            let (x, y) = (self.within(-0.05, 0.95), edge + self.within(0.02, 0.06));
            self.tree(x, y, 0.35);
        }
        for index in 0..1 + self.random.below(4) {
            let y = edge + 0.06 + 0.1 * index as f32 + self.within(0.0, 0.05);
            let x = self.within(-0.1, 0.9);
            self.car(x, y, (y - horizon) * 0.75);
        }
        for _ in 0..self.random.below(4) {
            let y = edge + self.within(0.03, 0.4);
            let x = self.within(0.05, 0.95);
            self.person(x, y, (y - horizon) * 0.85);
        }
        if self.chance(0.6) {
            let (x, grey) = (self.within(0.05, 0.95), self.within(0.2, 0.5));
            self.rectangle([x, 0.08, 0.01, 0.75], [grey; 3], 0.1);
            self.rectangle([x - 0.05, 0.08, 0.06, 0.02], [grey; 3], 0.1);
        }
    }

    fn room(&mut self) {
        let brightness = self.within(0.45, 0.9);
        let saturation = self.within(0.0, 0.25);
        let wall = self.colour(saturation, brightness);
        self.rectangle([0.0, 0.0, 1.0, 1.0], wall, 0.05);
        let (left, right) = (self.within(0.05, 0.3), self.within(0.7, 0.95));
        let (top, floor) = (self.within(0.05, 0.2), self.within(0.6, 0.8));
        self.fill(&[[0.0, -0.2], [left, top], [left, floor], [0.0, 1.1]], scaled(wall, 0.82), 0.05, 0.06);
        self.fill(&[[1.0, -0.2], [right, top], [right, floor], [1.0, 1.1]], scaled(wall, 0.7), 0.05, 0.06);
        self.fill(&[[0.0, -0.2], [1.0, -0.2], [right, top], [left, top]], scaled([0.9; 3], brightness), 0.05, 0.05);
        let boards = mixed([0.55, 0.38, 0.22], [0.5, 0.5, 0.52], self.within(0.0, 1.0));
        self.fill(&[[left, floor], [right, floor], [1.2, 1.1], [-0.2, 1.1]], boards, 0.015, 0.3);
        for board in 0..9 {
            let at = board as f32 / 9.0;
            let (far, near) = (left + (right - left) * at, -0.2 + 1.4 * at);
            self.fill(
                &[[far, floor], [far + 0.002, floor], [near + 0.008, 1.1], [near, 1.1]],
                scaled(boards, 0.55),
                0.05,
                0.1,
            );
        }
        self.rectangle([left, floor - 0.02, right - left, 0.02], scaled(wall, 1.12), 0.05);
        // A window with what is outside.
        if self.chance(0.7) {
            let (x, y) = (self.within(left + 0.03, right - 0.25), top + 0.08);
            let (w, h) = (self.within(0.12, 0.22), self.within(0.2, 0.32));
            self.rectangle([x - 0.012, y - 0.016, w + 0.024, h + 0.032], [0.9; 3], 0.05);
            let outside = self.within(0.5, 0.95);
            self.rectangle([x, y, w, h * 0.6], [outside * 0.8, outside * 0.92, outside], 0.2);
            self.rectangle([x, y + h * 0.6, w, h * 0.4], [0.3, 0.45, 0.22], 0.6);
            self.rectangle([x + w * 0.48, y, 0.01, h], [0.88; 3], 0.05);
            self.rectangle([x, y + h * 0.45, w, 0.012], [0.88; 3], 0.05);
            let sun = [[x + 0.05, floor + 0.05], [x + w + 0.08, floor + 0.05], [x + w, 0.98], [x - 0.1, 0.98]];
            let light = polygon(&self.canvas, &sun, 0);
            light.apply(&mut self.canvas, |_, _, pixel, share| scaled(pixel, 1.0 + 0.35 * share));
        }
        for _ in 0..1 + self.random.below(3) {
            let (x, y) = (self.within(left, right - 0.1), top + self.within(0.06, 0.2));
            let (w, h) = (self.within(0.06, 0.14), self.within(0.08, 0.18));
            self.rectangle([x, y, w, h], [0.25, 0.18, 0.12], 0.2);
            let picture = self.colour(0.6, 0.7);
            self.rectangle([x + 0.008, y + 0.01, w - 0.016, h - 0.02], picture, 0.8);
        }
        if self.chance(0.7) {
            let width = self.within(0.12, 0.25);
            self.shelf([left + 0.02, floor - 0.45, width, 0.45]);
        }
        // A table with things on it.
        let (x, y, w) = (self.within(0.1, 0.5), self.within(0.66, 0.8), self.within(0.3, 0.5));
        let wood = mixed([0.5, 0.33, 0.18], [0.8, 0.72, 0.6], self.within(0.0, 1.0));
        self.shadow(&[[x, 0.97], [x + w, 0.97], [x + w + 0.05, 1.0], [x - 0.02, 1.0]], 0.5);
        for leg in [0.02, 0.92] {
            self.rectangle([x + w * leg, y, 0.02, 0.3], scaled(wood, 0.6), 0.2);
        }
        self.fill(&[[x + 0.03, y - 0.07], [x + w - 0.03, y - 0.07], [x + w, y], [x, y]], wood, 0.02, 0.3);
        self.rectangle([x, y, w, 0.02], scaled(wood, 0.7), 0.2);
        for _ in 0..2 + self.random.below(5) {
            let (at, size) = (x + 0.03 + self.within(0.0, 0.8) * w, self.within(0.04, 0.13));
            let base = y - self.within(0.01, 0.05);
            self.thing(at, base, size);
        }
        if self.chance(0.3) {
            let (x, size) = (self.within(0.3, 0.8), self.within(0.5, 0.7));
            self.person(x, 0.97, size);
        }
    }

    fn workshop(&mut self) {
        let brightness = self.within(0.35, 0.75);
        let saturation = self.within(0.0, 0.2);
        let wall = self.colour(saturation, brightness);
        self.rectangle([0.0, 0.0, 1.0, 1.0], wall, 0.15);
        let floor = self.within(0.6, 0.78);
        let concrete = self.within(0.3, 0.6);
        self.ground(floor, [concrete; 3], [concrete * 0.85; 3], 0.2);
        let mut x = self.within(-0.05, 0.1);
        while x < 0.95 {
            let (w, h) = (self.within(0.12, 0.3), self.within(0.25, 0.5));
            if self.chance(0.4) {
                self.shelf([x, floor + 0.03 - h, w, h]);
            } else {
                self.machine([x, floor + 0.05 - h, w, h]);
            }
            x += w + self.within(0.01, 0.1);
        }
        for _ in 0..self.random.below(5) {
            let (y, grey) = (self.within(0.02, 0.25), self.within(0.3, 0.75));
            self.rectangle([0.0, y, 1.0, 0.014], [grey; 3], 0.1);
            self.rectangle([0.0, y + 0.014, 1.0, 0.006], [grey * 0.5; 3], 0.1);
        }
        if self.chance(0.5) {
            let y = self.within(floor + 0.05, 0.9);
            self.rectangle([0.0, y, 1.0, 0.02], [0.85, 0.7, 0.1], 0.3);
        }
        for _ in 0..1 + self.random.below(5) {
            let (x, y, size) = (self.within(0.0, 0.95), self.within(floor + 0.06, 0.99), self.within(0.08, 0.22));
            self.thing(x, y, size);
        }
        if self.chance(0.4) {
            let (x, size) = (self.within(0.1, 0.9), self.within(0.4, 0.6));
            self.person(x, 0.95, size);
        }
    }

    fn yard(&mut self) {
        let horizon = self.within(0.2, 0.42);
        self.sky(horizon + 0.02);
        let near = mixed([0.32, 0.44, 0.18], [0.52, 0.5, 0.47], self.within(0.0, 1.0));
        self.ground(horizon, near, scaled(near, 0.9), 0.4);
        let (x, w, h) = (self.within(-0.1, 0.5), self.within(0.35, 0.6), self.within(0.25, 0.4));
        self.house(x, horizon + 0.14, w, h);
        for _ in 0..1 + self.random.below(3) {
            let (x, size) = (self.within(0.0, 1.0), self.within(0.3, 0.6));
            self.tree(x, horizon + 0.12, size);
        }
        // A fence with a gate.
        let (base, high) = (self.within(0.55, 0.8), self.within(0.12, 0.26));
        let paint = mixed([0.5, 0.34, 0.2], [0.9; 3], self.within(0.0, 1.0));
        let (gate, width, step) = (self.within(0.2, 0.6), self.within(0.15, 0.25), self.within(0.018, 0.04));
        self.shadow(&[[0.0, base], [1.0, base], [1.0, base + 0.06], [0.0, base + 0.06]], 0.3);
        let mut at = 0.0;
        while at < 1.0 {
            if at < gate || at > gate + width {
                self.rectangle([at, base - high, step * 0.6, high], paint, 0.25);
            }
            at += step;
        }
        for rail in [0.25, 0.75] {
            self.rectangle([0.0, base - high * rail, gate, 0.014], scaled(paint, 0.85), 0.2);
            self.rectangle([gate + width, base - high * rail, 1.0, 0.014], scaled(paint, 0.85), 0.2);
        }
        if self.chance(0.5) {
            let metal = self.colour(0.4, 0.4);
            self.rectangle([gate, base - high * 1.05, width, high * 1.05], metal, 0.2);
            for bar in 0..6 {
                let x = gate + width * bar as f32 / 6.0;
                self.rectangle([x, base - high * 1.05, 0.006, high * 1.05], scaled(metal, 0.5), 0.1);
            }
        }
        if self.chance(0.5) {
            let (x, y) = (self.within(0.0, 0.7), self.within(base + 0.05, 0.97));
            self.car(x, y, 0.3);
        }
        for _ in 0..self.random.below(4) {
            let (x, y, size) = (self.within(0.0, 0.95), self.within(base, 0.98), self.within(0.1, 0.25));
            self.thing(x, y, size);
        }
        if self.chance(0.4) {
            let (x, y) = (self.within(0.1, 0.9), self.within(base, 0.98));
            self.person(x, y, 0.35);
        }
    }

    /// Turns the day into a lit night.
    fn night(&mut self) {
        let dark = self.within(0.25, 0.45);
        let mut light: Mask = vec![dark; self.canvas.pixels.len()];
        for _ in 0..1 + self.random.below(4) {
            let (x, y, reach) = (self.within(0.0, 1.0), self.within(0.0, 0.7), self.within(0.25, 0.7));
            let (width, height) = (self.canvas.width as f32, self.canvas.height as f32);
            for (index, light) in light.iter_mut().enumerate() {
                let (px, py) = (index % self.canvas.width, index / self.canvas.width);
                let (dx, dy) = ((px as f32 / width - x) * width / height, (py as f32 / height - y) * 0.7);
                *light += 0.8 * (-(dx * dx + dy * dy) / (reach * reach)).exp();
            }
            let lamp = ellipse([x, y], [0.01, 0.012], 0.0, 0.0, self.random);
            let lamp = polygon(&self.canvas, &lamp, 0);
            lamp.apply(&mut self.canvas, |_, _, pixel, share| mixed(pixel, [4.0, 3.8, 3.2], share));
        }
        let warm = self.within(0.0, 1.0);
        let tint = mixed([0.9, 0.95, 1.1], [1.1, 0.95, 0.72], warm);
        for (pixel, light) in self.canvas.pixels.iter_mut().zip(light) {
            let lit: Colour = std::array::from_fn(|channel| pixel[channel] * tint[channel] * light.min(1.05));
            *pixel = mixed([luma(lit); 3], lit, 0.85);
        }
    }

    /// Uneven light, the fall-off of a lens, and its slight softness.
    fn finish(&mut self) {
        let (angle, strength, corner) = (self.within(0.0, TAU), self.within(0.0, 0.25), self.within(0.0, 0.3));
        let (sin, cos) = angle.sin_cos();
        self.canvas.map_at(|x, y, pixel| {
            let (dx, dy) = (x - 0.5, y - 0.5);
            let light = 1.0 + strength * (dx * cos + dy * sin) * 1.4 - corner * (dx * dx + dy * dy) * 1.2;
            scaled(pixel, light).map(|value| value.clamp(0.0, 1.2))
        });
    }
}
