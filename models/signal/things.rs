//! What stands in rendered scenes.

use std::f32::consts::TAU;

use super::canvas::{Colour, mixed, scaled, smooth};
use super::scenes::Scene;
use super::texture::ellipse;

impl Scene<'_> {
    /// A sky down to `horizon`, clear or with clouds.
    pub(super) fn sky(&mut self, horizon: f32) {
        let zenith: Colour = match self.random.below(4) {
            0 => [0.72, 0.75, 0.78],
            1 => [0.45, 0.52, 0.62],
            2 => [0.16, 0.35, 0.72],
            _ => [0.30, 0.52, 0.82],
        };
        let edge = mixed(zenith, [0.88, 0.9, 0.92], self.within(0.4, 0.9));
        let edge = if self.chance(0.15) { mixed(edge, [0.98, 0.66, 0.38], 0.7) } else { edge };
        let (clouds, shift, size) = (self.within(0.3, 0.75), self.within(0.0, 60.0), self.within(2.0, 5.0));
        let (aspect, texture) = (self.canvas.width as f32 / self.canvas.height as f32, &self.texture);
        self.canvas.map_at(|x, y, pixel| {
            if y > horizon + 0.01 {
                return pixel;
            }
            let base = mixed(zenith, edge, (y / horizon).clamp(0.0, 1.0));
            let cloud = texture.rough(x * size * aspect + shift, y * size * 2.2, 5);
            let shade = 0.96 - 0.5 * smooth(clouds, 1.0, cloud);
            mixed(base, [shade; 3], smooth(clouds - 0.12, clouds + 0.18, cloud) * 0.9)
        });
    }

    /// Ground from `horizon` down, its texture growing towards the viewer.
    pub(super) fn ground(&mut self, horizon: f32, near: Colour, far: Colour, contrast: f32) {
        let (shift, size, texture) = (self.within(0.0, 60.0), self.within(0.6, 1.6), &self.texture);
        self.canvas.map_at(|x, y, pixel| {
            if y < horizon {
                return pixel;
            }
            let depth = 0.06 / (y - horizon + 0.03);
            let (u, v) = ((x - 0.5) * depth * 22.0 * size, depth * 26.0 * size);
            let fine = (2.2 - depth * 1.2).clamp(0.15, 1.0);
            let value = texture.rough(u + shift, v, 5) - 0.5 + 0.6 * (texture.at(u * 6.0, v * 6.0) - 0.5) * fine;
            let base = mixed(near, far, smooth(0.0, 2.0, depth));
            scaled(base, 1.0 + 2.0 * contrast * value * fine)
        });
    }

    /// A tree on the ground at `x`, `y`.
    pub(super) fn tree(&mut self, x: f32, y: f32, size: f32) {
        let aspect = self.canvas.height as f32 / self.canvas.width as f32;
        let trunk = scaled([0.32, 0.24, 0.18], self.within(0.6, 1.2));
        let lean = self.sun * size * 0.6;
        let crown = [size * 0.34 * aspect, size * 0.3];
        let shade = ellipse([x + lean * aspect * 0.6, y], [crown[0] * 1.1, size * 0.06], 0.0, 0.2, self.random);
        self.shadow(&shade, 0.5);
        let half = size * 0.035 * aspect;
        self.fill(
            &[[x - half, y - size * 0.55], [x + half, y - size * 0.55], [x + half * 1.5, y], [x - half * 1.5, y]],
            trunk,
            0.02,
            0.4,
        );
        let green = mixed([0.16, 0.34, 0.12], [0.55, 0.42, 0.12], self.within(0.0, 0.5));
        for layer in 0..4 {
            let (dx, dy) = (self.within(-0.5, 0.5) * crown[0], self.within(-0.4, 0.4) * crown[1]);
            let light = 0.6 + 0.2 * layer as f32;
            let factor = 1.0 - 0.16 * layer as f32;
            let centre = [x + dx - self.sun * 0.03, y - size * 0.68 + dy - 0.04 * size * layer as f32];
            let corners = ellipse(centre, crown.map(|radius| radius * factor), 0.0, 0.3, self.random);
            self.fill(&corners, scaled(green, light), 0.012 + 0.02 * size, 0.65);
        }
    }

    /// A house, its base line at `y`.
    pub(super) fn house(&mut self, x: f32, y: f32, width: f32, height: f32) {
        let brightness = self.within(0.4, 0.85);
        let saturation = self.within(0.05, 0.45);
        let wall = self.colour(saturation, brightness);
        self.shadow(
            &[[x, y], [x + width, y], [x + width + self.sun * 0.12, y + 0.05], [x + self.sun * 0.12, y + 0.05]],
            0.45,
        );
        self.rectangle([x, y - height, width, height], wall, 0.18);
        if self.chance(0.35) {
            let mut line = y - height;
            while line < y {
                self.rectangle([x, line, width, 0.003], scaled(wall, 0.75), 0.1);
                line += 0.016;
            }
        }
        if self.chance(0.7) {
            let roof = mixed([0.45, 0.2, 0.14], [0.3, 0.3, 0.32], self.within(0.0, 1.0));
            let peak = self.within(0.08, 0.2);
            self.fill(
                &[
                    [x - 0.012, y - height],
                    [x + width * 0.3, y - height - peak],
                    [x + width * 0.7, y - height - peak],
                    [x + width + 0.012, y - height],
                ],
                roof,
                0.02,
                0.4,
            );
        }
        let (columns, rows) = (((width / 0.07) as usize).clamp(1, 9), ((height / 0.11) as usize).clamp(1, 9));
        let (across, down) = (width / columns as f32, height / rows as f32);
        let glass = self.within(0.15, 0.55);
        for row in 0..rows {
            for column in 0..columns {
                let (left, top) = (x + across * (column as f32 + 0.25), y - height + down * (row as f32 + 0.2));
                let pane = glass * self.within(0.5, 1.5);
                self.rectangle([left - 0.004, top - 0.004, across * 0.5 + 0.008, down * 0.55 + 0.008], [0.82; 3], 0.05);
                self.rectangle([left, top, across * 0.5, down * 0.55], [pane * 0.85, pane * 0.95, pane * 1.1], 0.35);
                self.rectangle([left + across * 0.24, top, 0.004, down * 0.55], [0.8; 3], 0.05);
            }
        }
        if self.chance(0.6) {
            let door = self.colour(0.5, 0.45);
            let left = x + width * self.within(0.1, 0.75);
            self.rectangle([left, y - 0.1, 0.045, 0.1], door, 0.2);
        }
    }

    /// A car whose wheels stand at `y`.
    pub(super) fn car(&mut self, x: f32, y: f32, size: f32) {
        let brightness = self.within(0.15, 0.85);
        let saturation = self.within(0.0, 0.9);
        let paint = self.colour(saturation, brightness);
        let (w, h) = (size * self.canvas.height as f32 / self.canvas.width as f32 * 2.1, size * 0.62);
        let at = |u: f32, v: f32| [x + u * w, y - v * h];
        let shade = ellipse([x + w * 0.5, y], [w * 0.56, h * 0.12], 0.0, 0.05, self.random);
        self.shadow(&shade, 0.65);
        let outline = [(0.0, 0.15), (0.02, 0.52), (0.2, 0.6), (0.33, 0.98), (0.7, 1.0), (0.84, 0.62), (0.99, 0.52)];
        let body: Vec<[f32; 2]> = outline.into_iter().chain([(1.0, 0.15)]).map(|(u, v)| at(u, v)).collect();
        self.fill(&body, paint, 0.2, 0.12);
        self.fill(&[at(0.27, 0.62), at(0.36, 0.92), at(0.51, 0.93), at(0.51, 0.62)], [0.14, 0.17, 0.2], 0.1, 0.5);
        self.fill(&[at(0.54, 0.62), at(0.54, 0.93), at(0.68, 0.93), at(0.78, 0.62)], [0.14, 0.17, 0.2], 0.1, 0.5);
        self.fill(&[at(0.0, 0.36), at(1.0, 0.36), at(1.0, 0.33), at(0.0, 0.33)], scaled(paint, 0.6), 0.1, 0.1);
        self.fill(&[at(0.94, 0.42), at(0.99, 0.42), at(0.99, 0.5), at(0.94, 0.5)], [0.95, 0.93, 0.8], 0.1, 0.1);
        for wheel in [0.22, 0.78] {
            for (radius, grey) in [(0.21, 0.07), (0.12, 0.5), (0.04, 0.2)] {
                let wheel = ellipse(at(wheel, 0.18), [radius * w * 0.42, radius * h], 0.0, 0.0, self.random);
                self.fill(&wheel, [grey; 3], 0.03, 0.3);
            }
        }
    }

    /// A person standing at `x`, `y`.
    pub(super) fn person(&mut self, x: f32, y: f32, size: f32) {
        let aspect = self.canvas.height as f32 / self.canvas.width as f32;
        let skin = mixed([0.85, 0.66, 0.53], [0.35, 0.23, 0.17], self.within(0.0, 1.0));
        let (shirt, trousers) = (self.colour(0.6, 0.6), self.colour(0.35, 0.35));
        let w = size * aspect;
        let lean = self.sun * w * 0.8;
        self.shadow(&[[x - 0.08 * w, y], [x + 0.08 * w, y], [x + lean, y + size * 0.22]], 0.5);
        for side in [-1.0, 1.0] {
            let foot = x + side * 0.1 * w * self.within(0.5, 1.3);
            self.fill(
                &[
                    [x + side * 0.01 * w, y - 0.48 * size],
                    [x + side * 0.12 * w, y - 0.48 * size],
                    [foot + 0.05 * w, y],
                    [foot - 0.05 * w, y],
                ],
                trousers,
                0.03,
                0.3,
            );
            let hand = self.within(0.1, 0.28);
            self.fill(
                &[
                    [x + side * 0.1 * w, y - 0.8 * size],
                    [x + side * 0.16 * w, y - 0.78 * size],
                    [x + side * (hand + 0.03) * w, y - 0.45 * size],
                    [x + side * (hand - 0.03) * w, y - 0.45 * size],
                ],
                scaled(shirt, 0.85),
                0.03,
                0.3,
            );
        }
        let torso = [[-0.14, 0.82], [0.14, 0.82], [0.11, 0.45], [-0.11, 0.45]].map(|[u, v]| [x + u * w, y - v * size]);
        self.fill(&torso, shirt, 0.04, 0.3);
        let head = ellipse([x, y - 0.91 * size], [0.065 * w, 0.08 * size], 0.0, 0.03, self.random);
        self.fill(&head, skin, 0.03, 0.15);
        let hair = ellipse([x, y - 0.95 * size], [0.068 * w, 0.05 * size], 0.0, 0.05, self.random);
        let dark = self.within(0.08, 0.4);
        self.fill(&hair, [dark, dark * 0.8, dark * 0.6], 0.01, 0.4);
    }

    /// A box, a bottle or a ball standing at `x`, `y`.
    pub(super) fn thing(&mut self, x: f32, y: f32, size: f32) {
        let aspect = self.canvas.height as f32 / self.canvas.width as f32;
        let brightness = self.within(0.25, 0.9);
        let saturation = self.within(0.1, 0.9);
        let colour = self.colour(saturation, brightness);
        let w = size * aspect;
        let shade = ellipse([x + w * 0.5 + self.sun * 0.2 * w, y], [w * 0.6, size * 0.1], 0.0, 0.1, self.random);
        self.shadow(&shade, 0.5);
        match self.random.below(3) {
            0 => {
                self.rectangle([x, y - size, w, size], colour, 0.15);
                self.fill(
                    &[[x + w, y - size], [x + 1.3 * w, y - 1.15 * size], [x + 1.3 * w, y - 0.2 * size], [x + w, y]],
                    scaled(colour, 0.65),
                    0.05,
                    0.15,
                );
                self.fill(
                    &[[x, y - size], [x + 0.3 * w, y - 1.15 * size], [x + 1.3 * w, y - 1.15 * size], [x + w, y - size]],
                    scaled(colour, 1.2),
                    0.05,
                    0.15,
                );
                self.rectangle([x + 0.2 * w, y - 0.7 * size, 0.6 * w, 0.3 * size], mixed(colour, [0.95; 3], 0.8), 0.3);
            }
            1 => {
                self.rectangle([x + 0.1 * w, y - size, 0.5 * w, size], colour, 0.1);
                self.rectangle([x + 0.25 * w, y - 1.5 * size, 0.2 * w, 0.5 * size], scaled(colour, 0.8), 0.1);
                self.rectangle([x + 0.16 * w, y - size, 0.05 * w, size], mixed(colour, [1.0; 3], 0.5), 0.1);
            }
            _ => {
                let centre = [x + 0.5 * w, y - 0.45 * size];
                for (shift, radius, light) in
                    [(0.0, 0.45, 0.6), (0.05, 0.38, 0.85), (0.12, 0.24, 1.1), (0.18, 0.08, 1.5)]
                {
                    let at = [centre[0] - shift * w, centre[1] - shift * size];
                    let part = ellipse(at, [radius * w, radius * size], 0.0, 0.0, self.random);
                    self.fill(&part, scaled(colour, light), 0.05, 0.1);
                }
            }
        }
    }

    /// A shelf full of books or boxes.
    pub(super) fn shelf(&mut self, [x, y, w, h]: [f32; 4]) {
        let wood = mixed([0.42, 0.28, 0.16], [0.85; 3], self.within(0.0, 1.0));
        self.rectangle([x, y, w, h], scaled(wood, 0.5), 0.2);
        let rows = 3 + self.random.below(3);
        for row in 0..rows {
            let base = y + h * (row as f32 + 1.0) / rows as f32;
            let room = h / rows as f32;
            let mut at = x + 0.005;
            while at < x + w - 0.02 {
                let (width, height) = (self.within(0.007, 0.03), room * self.within(0.55, 0.9));
                let brightness = self.within(0.2, 0.85);
                let colour = self.colour(0.6, brightness);
                self.rectangle([at, base - height, width * 0.9, height], colour, 0.2);
                at += width + if self.chance(0.1) { 0.03 } else { 0.0 };
            }
            self.rectangle([x, base - 0.008, w, 0.012], wood, 0.2);
        }
    }

    /// A cabinet with lamps, dials, grilles and screens.
    pub(super) fn machine(&mut self, [x, y, w, h]: [f32; 4]) {
        let brightness = self.within(0.25, 0.8);
        let saturation = self.within(0.0, 0.6);
        let paint = self.colour(saturation, brightness);
        self.shadow(&[[x, y + h], [x + w, y + h], [x + w + self.sun * 0.06, y + h + 0.05], [x, y + h + 0.05]], 0.5);
        self.rectangle([x, y, w, h], paint, 0.1);
        self.rectangle([x + w - 0.012, y, 0.012, h], scaled(paint, 0.6), 0.1);
        for _ in 0..3 + self.random.below(5) {
            let (px, py) = (x + w * self.within(0.05, 0.7), y + h * self.within(0.05, 0.8));
            let aspect = self.canvas.height as f32 / self.canvas.width as f32;
            match self.random.below(4) {
                0 => {
                    let lamp = self.colour(0.9, 0.95);
                    let lens = ellipse([px, py], [0.012 * aspect * 1.4, 0.014], 0.0, 0.0, self.random);
                    self.fill(&lens, lamp, 0.05, 0.1);
                }
                1 => {
                    let (dial, needle) = (w * 0.14, self.within(0.0, TAU));
                    for (radius, grey) in [(1.1, 0.15), (1.0, 0.92)] {
                        let plate = ellipse([px, py], [dial * radius, dial * radius / aspect], 0.0, 0.0, self.random);
                        self.fill(&plate, [grey; 3], 0.05, 0.05);
                    }
                    let (dx, dy) = (needle.cos() * dial * 0.85, needle.sin() * dial * 0.85 / aspect);
                    self.fill(&[[px - 0.003, py], [px + 0.003, py], [px + dx, py + dy]], [0.7, 0.05, 0.05], 0.05, 0.1);
                }
                2 => {
                    for line in 0..6 {
                        self.rectangle([px, py + 0.012 * line as f32, w * 0.28, 0.005], scaled(paint, 0.35), 0.1);
                    }
                }
                _ => {
                    self.rectangle([px - 0.004, py - 0.004, w * 0.28, h * 0.2 + 0.008], [0.1; 3], 0.1);
                    let screen = self.colour(0.7, 0.7);
                    self.rectangle([px, py, w * 0.28 - 0.008, h * 0.2], screen, 0.8);
                }
            }
        }
    }
}
