//! Photographs of Debian packages, under free licences that `models/README.md` lists.

use std::path::{Path, PathBuf};

use image::imageops::FilterType;
use image::{ImageReader, RgbImage};

use super::Error;

/// A photograph.
#[derive(Debug)]
pub(crate) struct Photo {
    /// Name in the lists.
    pub(crate) name: &'static str,
    /// Whether it is kept for testing.
    pub(crate) held_out: bool,
    package: &'static str,
    path: PathBuf,
}

/// Largest shorter side that is kept in memory.
const SIDE: u32 = 1080;

/// The packages, their folders, what follows a name there, and the names; every fifth is held out.
const PACKAGES: [(&str, &str, &str, &[&str]); 4] = [
    (
        "plasma-workspace-wallpapers",
        "/usr/share/wallpapers",
        "/contents/images/2560x1600.jpg",
        &[
            "BytheWater",
            "ColdRipple",
            "ColorfulCups",
            "EveningGlow",
            "FallenLeaf",
            "Grey",
            "Kite",
            "OneStandsOut",
            "Path",
        ],
    ),
    (
        "mate-backgrounds",
        "/usr/share/backgrounds/mate/nature",
        ".jpg",
        &["Blinds", "Dune", "FreshFlower", "Garden", "GreenMeadow", "LadyBird", "RainDrops", "Storm", "YellowFlower"],
    ),
    (
        "lomiri-wallpapers-16.04",
        "/usr/share/backgrounds",
        ".jpg",
        &[
            "Bridge_by_Sander_Klootwijk",
            "Dragonfly_by_Bolly",
            "Picture_0B_by_freespace",
            "Picture_1A_by_freespace",
            "Wine_by_Jakkub_Mede",
            "aitzgorri_by_Aitzol_Berasategi",
            "free_by_Peter_Nerlich",
            "friends_by_Aitzol_Berasategi",
            "greentock_by_Peter_Nerlich",
            "life_by_Aitzol_Berasategi",
            "picosdeeuropa_by_Aitzol_Berasategi",
            "seeding_by_Clements_Engelhardt",
            "sunset_by_Aitzol_Berasategi",
        ],
    ),
    (
        "tuxpaint-data",
        "/usr/share/tuxpaint/templates",
        ".jpg",
        &[
            "burnt_bark",
            "cliff",
            "corn_maze",
            "lighthouse",
            "mossy_log",
            "mudstone",
            "ocean_splash",
            "ocean_waves",
            "redwoods_above",
            "rocks",
            "sheep",
            "sun_behind_clouds",
            "sun_behind_leaves",
            "trees_above",
            "trees_at_dusk",
            "wool_mill_machine",
        ],
    ),
];

/// All photographs, in a fixed order.
pub(crate) fn all() -> Vec<Photo> {
    let photos = PACKAGES.iter().flat_map(|(package, folder, ending, names)| {
        names.iter().map(move |name| Photo {
            name,
            held_out: false,
            package,
            path: Path::new(folder).join(format!("{name}{ending}")),
        })
    });
    photos.enumerate().map(|(index, photo)| Photo { held_out: index % 5 == 3, ..photo }).collect()
}

impl Photo {
    /// The picture, reduced if it is larger than any frame.
    ///
    /// # Errors
    /// If its package is not installed, or it cannot be read.
    pub(crate) fn read(&self) -> Result<RgbImage, Error> {
        let image = open(&self.path, self.package)?.into_rgb8();
        let short = image.width().min(image.height());
        if short <= SIDE {
            return Ok(image);
        }
        let side = |side: u32| (u64::from(side) * u64::from(SIDE) / u64::from(short)) as u32;
        let (width, height) = (side(image.width()), side(image.height()));
        Ok(image::imageops::resize(&image, width, height, FilterType::Triangle))
    }
}

/// The picture at `path`, which `package` installs.
///
/// # Errors
/// If it is missing or broken.
pub(crate) fn open(path: &Path, package: &'static str) -> Result<image::DynamicImage, Error> {
    if !path.exists() {
        return Err(Error::Missing { what: path.display().to_string(), package });
    }
    let decoded = ImageReader::open(path).map_err(image::ImageError::from).and_then(ImageReader::decode);
    decoded.map_err(|source| Error::Picture { path: path.to_owned(), source })
}
