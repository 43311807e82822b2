//! Photographs of Debian packages, under free licences that `models/README.md` lists.

use std::io::Cursor;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::{fs, io};

use image::imageops::FilterType;
use image::{DynamicImage, ImageError, ImageFormat, ImageReader, RgbImage};

use super::Error;

/// A photograph.
#[derive(Debug)]
pub(crate) struct Photo {
    /// Name in the lists.
    pub(crate) name: String,
    /// Whether it is kept for testing.
    pub(crate) held_out: bool,
    package: &'static str,
    path: PathBuf,
    /// Its number in a resource file; None if the file is the picture.
    entry: Option<usize>,
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

/// A package with resource files, each of which holds many WebP photographs.
const COLLECTIONS: &str = "gcompris-qt-data";
const COLLECTIONS_FOLDER: &str = "/usr/share/gcompris-qt/rcc";
/// The resource files, and how many photographs at the beginning of each are taken: in `categorization`, those after them
/// show things on an even ground, fish, and monuments that are in another file, too.
const RESOURCES: [(&str, usize); 6] = [
    ("categorization", 28),
    ("erase", 33),
    ("explore_farm_animals", 9),
    ("explore_monuments", 49),
    ("explore_world_animals", 15),
    ("explore_world_music", 9),
];
/// Those there that are almost black or blue all over, or show something on an even ground.
const LEFT_OUT: [(&str, usize); 3] = [("erase", 9), ("erase", 28), ("explore_world_music", 2)];

/// All photographs, in a fixed order.
pub(crate) fn all() -> Vec<Photo> {
    let files = PACKAGES.iter().flat_map(|(package, folder, ending, names)| {
        names.iter().map(move |name| Photo {
            name: (*name).into(),
            held_out: false,
            package,
            path: Path::new(folder).join(format!("{name}{ending}")),
            entry: None,
        })
    });
    let entries = RESOURCES.iter().flat_map(|(file, count)| (0..*count).map(move |entry| (*file, entry)));
    let entries = entries.filter(|entry| !LEFT_OUT.contains(entry)).map(|(file, entry)| Photo {
        name: format!("{file}-{entry}"),
        held_out: false,
        package: COLLECTIONS,
        path: Path::new(COLLECTIONS_FOLDER).join(format!("{file}.rcc")),
        entry: Some(entry),
    });
    let photos = files.chain(entries);
    photos.enumerate().map(|(index, photo)| Photo { held_out: index % 5 == 3, ..photo }).collect()
}

impl Photo {
    /// The picture, reduced if it is larger than any frame.
    ///
    /// # Errors
    /// If its package is not installed, or it cannot be read.
    pub(crate) fn read(&self) -> Result<RgbImage, Error> {
        let image = match self.entry {
            None => open(&self.path, self.package)?,
            Some(entry) => open_entry(&self.path, entry, self.package)?,
        };
        let image = image.into_rgb8();
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
pub(crate) fn open(path: &Path, package: &'static str) -> Result<DynamicImage, Error> {
    if !path.exists() {
        return Err(Error::Missing { what: path.display().to_string(), package });
    }
    let decoded = ImageReader::open(path).map_err(ImageError::from).and_then(ImageReader::decode);
    decoded.map_err(|source| Error::Picture { path: path.to_owned(), source })
}

/// A photograph of a resource file of Qt, which stores WebP pictures as they are.
///
/// # Errors
/// If the file is missing, or has no such picture.
fn open_entry(path: &Path, entry: usize, package: &'static str) -> Result<DynamicImage, Error> {
    if !path.exists() {
        return Err(Error::Missing { what: path.display().to_string(), package });
    }
    let decode = || {
        let bytes = fs::read(path)?;
        let Some(picture) = webp_pictures(&bytes).into_iter().nth(entry) else {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("there is no picture {entry}")).into());
        };
        ImageReader::with_format(Cursor::new(&bytes[picture]), ImageFormat::WebP).decode()
    };
    decode().map_err(|source: ImageError| Error::Picture { path: path.to_owned(), source })
}

/// Where WebP pictures are in a file that holds them among others: `RIFF`, the length of the rest, `WEBP`.
fn webp_pictures(bytes: &[u8]) -> Vec<Range<usize>> {
    let headers =
        bytes.windows(12).enumerate().filter(|(_, header)| header.starts_with(b"RIFF") && header.ends_with(b"WEBP"));
    let ends = headers.filter_map(|(at, header)| {
        let rest = u32::from_le_bytes(header[4..8].try_into().ok()?) as usize;
        Some((at, at + 8 + rest))
    });
    ends.filter(|(_, end)| *end <= bytes.len()).map(|(at, end)| at..end).collect()
}
