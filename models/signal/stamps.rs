//! The stamps of Tux Paint: named pictures with transparency, to be pasted into scenes.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use image::RgbaImage;
use image::imageops::FilterType;

use super::Error;
use super::canvas::{Canvas, mixed, scaled};
use super::photos;
use super::random::Random;

/// The package that holds the stamps.
pub(crate) const PACKAGE: &str = "tuxpaint-stamps-default";
const FOLDER: &str = "/usr/share/tuxpaint/stamps";
/// A folder there that another package fills.
const OTHERS: &str = "/usr/share/tuxpaint/stamps/cartoon/tux";
/// Largest side that is kept in memory.
const SIDE: u32 = 288;

/// All stamps, read when they are first needed.
pub(crate) struct Stamps {
    stamps: Vec<Stamp>,
}

struct Stamp {
    name: String,
    path: PathBuf,
    picture: OnceLock<RgbaImage>,
}

impl Stamps {
    /// Lists the PNG files of the package, in byte order of their names.
    ///
    /// # Errors
    /// If the package is not installed.
    pub(crate) fn list() -> Result<Self, Error> {
        let mut paths = Vec::new();
        // An unreadable folder leaves the list empty.
        collect(Path::new(FOLDER), &mut paths);
        paths.sort();
        let name = |path: &Path| {
            let path = path.strip_prefix(FOLDER).unwrap_or(path).with_extension("");
            path.to_string_lossy().into_owned()
        };
        let stamp = |path: PathBuf| Stamp { name: name(&path), path, picture: OnceLock::new() };
        let stamps: Vec<Stamp> = paths.into_iter().map(stamp).collect();
        match stamps.is_empty() {
            true => Err(Error::Missing { what: FOLDER.into(), package: PACKAGE }),
            false => Ok(Self { stamps }),
        }
    }

    /// Number of stamps.
    pub(crate) fn count(&self) -> usize {
        self.stamps.len()
    }

    /// The name of a stamp, such as `animals/birds/owl`.
    pub(crate) fn name(&self, index: usize) -> &str {
        &self.stamps[index].name
    }

    /// Pastes a stamp with its centre at `at` (pixels), its longer side `side` pixels, slightly turned, in a light that
    /// resembles that of the scene, with a soft shadow.
    ///
    /// # Errors
    /// If its file is broken.
    pub(crate) fn paste(
        &self,
        canvas: &mut Canvas,
        index: usize,
        at: [f32; 2],
        side: f32,
        random: &mut Random,
    ) -> Result<(), Error> {
        let stamp = self.picture(index)?;
        let (width, height) = (stamp.width() as f32, stamp.height() as f32);
        // Of the picture on the canvas to that of the stamp; reduced first where the steps would leave pixels out.
        let step = width.max(height) / side;
        let reduced;
        let (stamp, step) = if step > 1.3 {
            let length = |length: f32| ((length / step).round() as u32).max(1);
            reduced = image::imageops::resize(stamp, length(width), length(height), FilterType::Triangle);
            (&reduced, 1.0)
        } else {
            (stamp, step)
        };
        let (sin, cos) = (random.within(-0.2, 0.2) as f32).sin_cos();
        let light = random.within(0.75, 1.05) as f32;
        let shadow = [random.within(-0.05, 0.05) as f32 * side, random.within(0.01, 0.05) as f32 * side];
        let dark = random.within(0.0, 0.45) as f32;
        let reach = (side * 0.75 + 2.0) as isize;
        let sample = |x: f32, y: f32| -> [f32; 4] {
            let (dx, dy) = (x - at[0], y - at[1]);
            let u = (dx * cos + dy * sin) * step + stamp.width() as f32 / 2.0 - 0.5;
            let v = (dy * cos - dx * sin) * step + stamp.height() as f32 / 2.0 - 0.5;
            let (left, top) = (u.floor(), v.floor());
            let mut sum = [0.0; 4];
            for (column, row, weight) in [
                (left, top, (left + 1.0 - u) * (top + 1.0 - v)),
                (left + 1.0, top, (u - left) * (top + 1.0 - v)),
                (left, top + 1.0, (left + 1.0 - u) * (v - top)),
                (left + 1.0, top + 1.0, (u - left) * (v - top)),
            ] {
                if column >= 0.0 && row >= 0.0 && column < stamp.width() as f32 && row < stamp.height() as f32 {
                    let [r, g, b, a] = stamp.get_pixel(column as u32, row as u32).0.map(f32::from);
                    let alpha = a / 255.0 * weight;
                    sum = [sum[0] + r * alpha, sum[1] + g * alpha, sum[2] + b * alpha, sum[3] + alpha];
                }
            }
            sum
        };
        for y in (at[1] as isize - reach).max(0)..(at[1] as isize + reach).min(canvas.height as isize) {
            for x in (at[0] as isize - reach).max(0)..(at[0] as isize + reach).min(canvas.width as isize) {
                let pixel = &mut canvas.pixels[y as usize * canvas.width + x as usize];
                let (x, y) = (x as f32, y as f32);
                let shade = sample(x - shadow[0], y - shadow[1])[3] * dark;
                let [r, g, b, alpha] = sample(x, y);
                *pixel = scaled(*pixel, 1.0 - shade);
                if alpha > 0.0 {
                    let colour = [r, g, b].map(|value| value / alpha / 255.0 * light);
                    *pixel = mixed(*pixel, colour, alpha.min(1.0));
                }
            }
        }
        Ok(())
    }

    fn picture(&self, index: usize) -> Result<&RgbaImage, Error> {
        let stamp = &self.stamps[index];
        if let Some(picture) = stamp.picture.get() {
            return Ok(picture);
        }
        let image = photos::open(&stamp.path, PACKAGE)?.into_rgba8();
        let image = cropped(&image);
        let longest = image.width().max(image.height());
        let side = |side: u32| (side * SIDE).div_ceil(longest).max(1);
        let image = match longest > SIDE {
            true => image::imageops::resize(&image, side(image.width()), side(image.height()), FilterType::Triangle),
            false => image,
        };
        // Another thread may have been faster, with the same picture.
        Ok(stamp.picture.get_or_init(|| image))
    }
}

/// The part that is not transparent.
fn cropped(image: &RgbaImage) -> RgbaImage {
    let visible = image.enumerate_pixels().filter(|(_, _, pixel)| pixel.0[3] > 24);
    let (mut low, mut high) = ([u32::MAX; 2], [0; 2]);
    for (x, y, _) in visible {
        low = [low[0].min(x), low[1].min(y)];
        high = [high[0].max(x), high[1].max(y)];
    }
    if low[0] > high[0] {
        return image.clone();
    }
    image::imageops::crop_imm(image, low[0], low[1], high[0] - low[0] + 1, high[1] - low[1] + 1).to_image()
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.is_dir() && path != Path::new(OTHERS) {
            collect(&path, paths);
        } else if path.extension().is_some_and(|extension| extension == "png") {
            paths.push(path);
        }
    }
}
