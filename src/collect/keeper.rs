//! The work of the thread: limits, pictures, and what is said about failures.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::candidate::Candidate;
use super::folder::{Folder, FolderError};
use super::jpeg::{Jpeg, JpegError};
use super::{day, name};
use crate::config;
use crate::exit::chain;
use crate::frame;

/// Why a frame could not be kept.
#[derive(Debug, thiserror::Error)]
enum KeepError {
    #[error(transparent)]
    Folder(#[from] FolderError),
    #[error(transparent)]
    Jpeg(#[from] JpegError),
    #[error(transparent)]
    Frame(#[from] frame::Error),
}

/// Keeps frames within the limits.
#[derive(Debug)]
pub(super) struct Keeper {
    folder: Folder,
    max_per_day: usize,
    interval: Duration,
    /// For each stream, the latest day and the pictures kept of it, which somebody may have taken out of the folder.
    days: BTreeMap<Arc<str>, (String, usize)>,
    kept: u64,
    /// Frames that could not be kept.
    failed: u64,
    /// Whether the latest attempt failed.
    is_failing: bool,
}

impl Keeper {
    /// Does not look at the folder yet.
    pub(super) fn new(settings: &config::Collect) -> Self {
        Self {
            folder: Folder::new(Path::new(&settings.folder), settings.max_size()),
            max_per_day: settings.max_per_day as usize,
            interval: settings.interval(),
            days: BTreeMap::new(),
            kept: 0,
            failed: 0,
            is_failing: false,
        }
    }

    /// Frames kept so far.
    pub(super) fn kept(&self) -> u64 {
        self.kept
    }

    /// Frames so far that could not be kept.
    pub(super) fn failed(&self) -> u64 {
        self.failed
    }

    /// Keeps a frame if the limits allow it. The first of several failures is reported, and then that there are none any
    /// more.
    pub(super) fn take(&mut self, candidate: &Candidate) {
        match self.keep(candidate) {
            Ok(true) => {
                self.kept += 1;
                if std::mem::take(&mut self.is_failing) {
                    tracing::info!("uncertain frames are kept again");
                }
            }
            Ok(false) => {}
            Err(error) => {
                self.failed += 1;
                let was_failing = std::mem::replace(&mut self.is_failing, true);
                match was_failing {
                    true => tracing::debug!("{}", chain(&error)),
                    false => tracing::warn!("cannot keep uncertain frames; the streams continue: {}", chain(&error)),
                }
            }
        }
    }

    fn keep(&mut self, candidate: &Candidate) -> Result<bool, KeepError> {
        let Candidate { stream, captured, label, score, full_day, samples } = candidate;
        let time = name::timestamp(*captured);
        let today = name::day(time);
        self.folder.open(stream)?;
        // The stream's own clock has measured the time between two frames; before a restart, nobody has.
        let is_first = !self.days.contains_key(stream);
        let known = self.days.entry(Arc::clone(stream)).or_default();
        if known.0 != today {
            *known = (today.clone(), 0);
        }
        known.1 = known.1.max(self.folder.count(stream, &today));
        if known.1 >= self.max_per_day {
            full_day.store(day(*captured), Ordering::Relaxed);
            return Ok(false);
        }
        let latest = is_first.then(|| self.folder.latest(stream, time)).flatten();
        let since = latest.map(|latest| time.duration_since(latest).unsigned_abs());
        if since.is_some_and(|since| since < self.interval) {
            return Ok(false);
        }
        // The tables and buffers of a large picture take tens of megabytes; they are rarely needed.
        let file = Jpeg::new().file(&samples.picture()?)?;
        self.folder.write(stream, time, name::name(time, stream, label, *score), &file)?;
        known.1 += 1;
        if known.1 == self.max_per_day {
            full_day.store(day(*captured), Ordering::Relaxed);
            tracing::info!(stream = %stream, kept = known.1, "the limit of uncertain frames for today is reached (collect.max_per_day)");
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::fs;
    use std::sync::atomic::AtomicU64;
    use std::time::SystemTime;

    use super::super::candidate::Samples;
    use super::super::{DAY_S, NONE_FULL};
    use super::*;
    use crate::frame::{Color, Layout, Picture, PixelAspect, PixelFormat};

    /// 2026-01-31, 12:00 in UTC, in milliseconds since 1970.
    const NOON: u64 = 1_769_860_800_000;

    fn candidate(stream: &str, ms: u64) -> Candidate {
        let (format, aspect) = (PixelFormat::Gray8, PixelAspect::SQUARE);
        let layout = Layout { format, width: 16, height: 16, color: Color::RGB, aspect };
        Candidate {
            stream: stream.into(),
            captured: SystemTime::UNIX_EPOCH + Duration::from_millis(ms),
            label: "open".into(),
            score: 0.5,
            full_day: Arc::new(AtomicU64::new(NONE_FULL)),
            samples: Samples::of(&Picture::packed(layout, &[128; 256]).unwrap()),
        }
    }

    fn settings(folder: &Path) -> config::Collect {
        let folder = folder.to_str().unwrap().into();
        config::Collect { folder, max_per_day: 3, interval_s: 0.0, ..config::Collect::default() }
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).into_iter().flatten();
        let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn the_limit_is_for_a_stream_and_a_day_and_holds_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let mut keeper = Keeper::new(&settings(folder.path()));
        keeper.take(&candidate("door", NOON));
        keeper.take(&candidate("door", NOON + 1));
        let mut keeper = Keeper::new(&settings(folder.path()));
        let mut last = candidate("door", NOON + 2);
        for ms in 2..9 {
            last = candidate("door", NOON + ms);
            keeper.take(&last);
            keeper.take(&candidate("yard", NOON + ms));
        }
        assert_eq!((names(&folder.path().join("door")).len(), names(&folder.path().join("yard")).len()), (3, 3));
        assert_eq!(last.full_day.load(Ordering::Relaxed), NOON / 1000 / DAY_S);
        // Pictures that have been taken out count for the day.
        fs::remove_dir_all(folder.path().join("door")).unwrap();
        keeper.folder = Folder::new(folder.path(), 1_000_000);
        keeper.take(&candidate("door", NOON + 10));
        assert_eq!(names(&folder.path().join("door")).len(), 0);
        keeper.take(&candidate("door", NOON + 12 * 3_600_000));
        assert_eq!(names(&folder.path().join("door")), ["20260201T000000.000000Z_door_0.50_open.jpg"]);
    }

    #[test]
    fn the_time_between_two_frames_holds_after_a_restart_and_a_clock_that_was_set_back_stops_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let settings = config::Collect { interval_s: 10.0, max_per_day: 50, ..settings(folder.path()) };
        for (ms, kept) in [(0, 1), (9_999, 1), (10_000, 2), (19_000, 2), (20_000, 3)] {
            Keeper::new(&settings).take(&candidate("door", NOON + ms));
            assert_eq!(names(&folder.path().join("door")).len(), kept, "{ms}");
        }
        Keeper::new(&settings).take(&candidate("door", NOON - 5_000));
        assert_eq!(names(&folder.path().join("door")).len(), 4);
    }

    #[test]
    fn the_oldest_pictures_make_room_and_other_files_stay() {
        let folder = tempfile::tempdir().unwrap();
        let (door, open) = (folder.path().join("door"), folder.path().join("open"));
        fs::create_dir(&door).unwrap();
        fs::create_dir(&open).unwrap();
        let half = vec![0; 500_000];
        let [oldest, older] = ["20250101T000000.000000Z_door_0.50.jpg", "20250102T000000.000000Z_door_0.50_open.jpg"];
        fs::write(door.join(older), &half).unwrap();
        fs::write(door.join(oldest), &half).unwrap();
        let gone = folder.path().join("gone");
        fs::create_dir(&gone).unwrap();
        fs::write(gone.join("20240101T000000.000000Z_gone_0.50.jpg"), &half).unwrap();
        // Sorted by somebody, collected otherwise, and something else.
        fs::write(open.join(oldest), &half).unwrap();
        fs::write(door.join("20230101T000000.000Z.jpg"), &half).unwrap();
        fs::write(door.join("0.jpg"), &half).unwrap();
        let mut keeper = Keeper::new(&config::Collect { max_size_mb: 1, ..settings(folder.path()) });
        keeper.take(&candidate("door", NOON));
        assert_eq!((names(&gone).len(), names(&open)), (0, vec![oldest.to_owned()]));
        let kept = "20260131T120000.000000Z_door_0.50_open.jpg";
        assert_eq!(names(&door), ["0.jpg", "20230101T000000.000Z.jpg", older, kept]);
        assert_eq!(keeper.kept(), 1);
    }

    #[test]
    fn a_clock_that_was_set_back_does_not_make_new_pictures_the_oldest() {
        let folder = tempfile::tempdir().unwrap();
        let door = folder.path().join("door");
        fs::create_dir(&door).unwrap();
        for second in 10..30 {
            fs::write(door.join(format!("209912{second}T000000.000000Z_door_0.50.jpg")), vec![0; 50_000]).unwrap();
        }
        let settings = config::Collect { max_size_mb: 1, max_per_day: 50, ..settings(folder.path()) };
        let mut keeper = Keeper::new(&settings);
        for ms in 0..5 {
            keeper.take(&candidate("door", NOON + ms));
        }
        let kept = names(&door).iter().filter(|name| name.starts_with("20260131")).count();
        assert_eq!((keeper.kept(), kept), (5, 5));
        assert!(!door.join("20991210T000000.000000Z_door_0.50.jpg").exists(), "the oldest of the others make room");
        assert!(door.join("20991229T000000.000000Z_door_0.50.jpg").exists());
    }

    #[test]
    fn a_picture_larger_than_the_folder_may_be_removes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let mut other = Folder::new(folder.path(), 100);
        other.open("door").unwrap();
        let time = name::timestamp(SystemTime::UNIX_EPOCH);
        other.write("door", time, name::name(time, "door", "a", 0.5), &[0; 60]).unwrap();
        assert!(matches!(other.write("door", time, "x".into(), &[0; 101]), Err(FolderError::Large { .. })));
        assert_eq!(names(&folder.path().join("door")).len(), 1);
        // The same name again: a picture is replaced, and counts once.
        other.write("door", time, name::name(time, "door", "a", 0.5), &[0; 40]).unwrap();
        let later = name::timestamp(SystemTime::UNIX_EPOCH + Duration::from_secs(1));
        other.write("door", later, name::name(later, "door", "a", 0.5), &[0; 60]).unwrap();
        assert_eq!(names(&folder.path().join("door")).len(), 2);
    }

    #[test]
    fn a_folder_that_is_missing_fails_until_it_is_there_and_those_above_it_are_not_made() {
        let folder = tempfile::tempdir().unwrap();
        let disk = folder.path().join("disk");
        let mut keeper = Keeper::new(&settings(&disk.join("kept")));
        keeper.take(&candidate("door", NOON));
        assert!(keeper.is_failing && !disk.exists());
        fs::create_dir(&disk).unwrap();
        keeper.take(&candidate("door", NOON + 1));
        assert_eq!((keeper.is_failing, keeper.kept(), names(&disk.join("kept/door")).len()), (false, 1, 1));
    }

    #[test]
    fn what_a_process_that_was_killed_left_half_written_is_removed_after_an_hour() {
        let folder = tempfile::tempdir().unwrap();
        let door = folder.path().join("door");
        fs::create_dir(&door).unwrap();
        let [old, new, other] = ["01", "02", "notes"].map(|name| match name {
            "notes" => door.join("notes.part"),
            day => door.join(format!("202601{day}T000000.000000Z_door_0.50_open.jpg.77.part")),
        });
        for path in [&old, &new, &other] {
            fs::write(path, "").unwrap();
        }
        let past = SystemTime::now() - Duration::from_secs(7200);
        for path in [&old, &other] {
            fs::File::options().write(true).open(path).unwrap().set_modified(past).unwrap();
        }
        Keeper::new(&settings(folder.path())).take(&candidate("door", NOON));
        assert_eq!([old, new, other].map(|path| path.exists()), [false, true, true]);
    }

    #[test]
    fn a_stream_whose_name_is_no_folder_writes_nowhere() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("kept");
        let mut keeper = Keeper::new(&settings(&root));
        for stream in ["..", ".", "a/b", "/tmp", ""] {
            keeper.take(&candidate(stream, NOON));
        }
        assert_eq!((keeper.kept(), names(folder.path()).len()), (0, 0));
    }
}
