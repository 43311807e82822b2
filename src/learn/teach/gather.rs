//! Computes the features of all pictures, several pictures at the same time.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use crossbeam_channel::Sender;

use super::augment::Augmentation;
use super::data::Sample;
use super::report::LeftOut;
use super::{Error, Set, Signature, TeachOptions};
use crate::capture::{Still, StillError};
use crate::exit::chain;
use crate::frame::Region;
use crate::inference;
use crate::kernels::runtime::Threads;
use crate::learn::features::{FeatureSession, PictureError};
use crate::learn::random::SplitMix64;
use crate::model::Extractor;
use crate::shutdown::Stopped;

/// The features of pictures.
pub(super) struct Gathered {
    /// Rows of all pictures, each picture's own first, then those of its variants.
    pub(super) features: Vec<f32>,
    pub(super) columns: usize,
    /// Which pictures have rows.
    pub(super) used: Vec<bool>,
    /// One for each used picture.
    pub(super) signatures: Vec<Signature>,
    pub(super) left_out: Vec<LeftOut>,
}

/// A picture's number, and its rows.
type Found = (usize, Result<Rows, PictureError>);

/// The features of a picture and its variants.
struct Rows {
    features: Vec<f32>,
    signature: Signature,
}

/// Computes the features of all pictures and their variants. `progress` receives the number of pictures done.
///
/// # Errors
/// If the network fails, or a thread cannot be started.
pub(super) fn gather(
    extractor: &Extractor,
    set: &Set,
    options: &TeachOptions,
    variants: usize,
    stopped: &Stopped,
    mut progress: impl FnMut(u64),
) -> Result<Gathered, Error> {
    let workers = options.threads.clamp(1, set.samples.len().max(1));
    let sessions = (0..workers).map(|_| FeatureSession::new(extractor, &Threads::one()));
    let sessions: Vec<FeatureSession> = sessions.collect::<Result<_, _>>()?;
    let columns = sessions.first().map_or(0, FeatureSession::length);
    let work = Work {
        samples: &set.samples,
        region: options.region,
        variants,
        stopped,
        next: AtomicUsize::new(0),
        is_over: AtomicBool::new(false),
    };
    let mut rows: Vec<Option<Result<Rows, PictureError>>> = set.samples.iter().map(|_| None).collect();
    thread::scope(|scope| {
        let (sender, found) = crossbeam_channel::bounded::<Found>(2 * workers);
        for (index, mut session) in sessions.into_iter().enumerate() {
            let (work, sender) = (&work, sender.clone());
            let builder = thread::Builder::new().name(format!("teach-{index}"));
            if let Err(error) = builder.spawn_scoped(scope, move || work.run(&mut session, &sender)) {
                work.is_over.store(true, Ordering::Relaxed);
                return Err(Error::Thread(error));
            }
        }
        drop(sender);
        let mut outcome = Ok(());
        for (done, (number, result)) in found.iter().enumerate() {
            match result {
                Err(PictureError::Inference(error)) => outcome = outcome.and(Err(error.into())),
                result => rows[number] = Some(result),
            }
            progress(done as u64 + 1);
        }
        outcome
    })?;
    if stopped.is_set() {
        return Err(Error::Stopped);
    }
    let mut gathered =
        Gathered { features: Vec::new(), columns, used: Vec::new(), signatures: Vec::new(), left_out: Vec::new() };
    for (sample, rows) in set.samples.iter().zip(rows.into_iter().flatten()) {
        gathered.used.push(rows.is_ok());
        match rows {
            Ok(rows) => {
                gathered.features.extend(rows.features);
                gathered.signatures.push(rows.signature);
            }
            Err(error) => {
                let error = chain(&error);
                tracing::warn!("left out: {error}");
                gathered.left_out.push(LeftOut { file: sample.path.clone(), error });
            }
        }
    }
    Ok(gathered)
}

/// What the threads share.
struct Work<'a> {
    samples: &'a [Sample],
    region: Region,
    variants: usize,
    stopped: &'a Stopped,
    /// The next picture that nobody has taken.
    next: AtomicUsize,
    /// Set if the network fails: it will fail for the other pictures, too.
    is_over: AtomicBool,
}

impl Work<'_> {
    /// Sends the rows of pictures until there are none left.
    fn run(&self, session: &mut FeatureSession, sender: &Sender<Found>) {
        while !self.stopped.is_set() && !self.is_over.load(Ordering::Relaxed) {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(sample) = self.samples.get(number) else { return };
            let rows = self.rows(session, &sample.path);
            if matches!(rows, Err(PictureError::Inference(_))) {
                self.is_over.store(true, Ordering::Relaxed);
            }
            if sender.send((number, rows)).is_err() {
                return;
            }
        }
    }

    /// The features of picture number `number` and its variants.
    fn rows(&self, session: &mut FeatureSession, path: &Path) -> Result<Rows, PictureError> {
        let still = loop {
            match Still::open(path) {
                // Large pictures of other threads leave no memory for this one yet.
                Err(StillError::NoRoom { .. }) if !self.stopped.is_set() => {}
                still => break still?,
            }
        };
        let (picture, name) = (still.picture()?, || path.display().to_string());
        let mut features = Vec::with_capacity(session.length() * (self.variants + 1));
        let mut signature = None;
        session.look_at(self.region);
        features.extend(session.changed(&picture, name, |transform, input| {
            signature = Some(Signature::of(transform, input));
        })?);
        // The variants of a picture do not depend on the other ones.
        let key = SplitMix64::of_text(path.file_name().unwrap_or_default().as_encoded_bytes()).bits();
        for variant in 0..self.variants {
            let augmentation = Augmentation::of(key, variant as u64);
            session.look_at(augmentation.region(&self.region));
            features.extend(session.changed(&picture, name, |transform, input| augmentation.apply(transform, input))?);
        }
        let signature = signature.ok_or(inference::Error::NoOutput)?;
        Ok(Rows { features, signature })
    }
}
