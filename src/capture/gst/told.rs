//! What the log knows of a stream.

use std::sync::{Mutex, PoisonError};

/// What has been logged of a stream, over all its pipelines: a file in a loop and a camera that reconnects would log the same
/// again.
#[derive(Debug, Default)]
pub(super) struct Told(Mutex<Last>);

#[derive(Debug, Default)]
struct Last {
    decoder: String,
    format: String,
    formats: u64,
}

impl Told {
    /// Whether `decoder` is news: it is not the latest one.
    pub(super) fn decoder(&self, decoder: &str) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_news = last.decoder != decoder;
        if is_news {
            decoder.clone_into(&mut last.decoder);
        }
        is_news
    }

    /// The number of formats so far, if `format` is news: it is not the latest one, and the number is a power of two, since
    /// the camera decides how often it changes.
    pub(super) fn format(&self, format: &str) -> Option<u64> {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if last.format == format {
            return None;
        }
        format.clone_into(&mut last.format);
        last.formats += 1;
        last.formats.is_power_of_two().then_some(last.formats)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stays_the_same_is_logged_once() {
        let told = Told::default();
        assert!(told.decoder("avdec_h264"));
        assert!(!told.decoder("avdec_h264"));
        assert!(told.decoder("avdec_h265"));
        let formats = ["a", "a", "b", "a", "b", "b", "a"].map(|format| told.format(format));
        assert_eq!(formats, [Some(1), None, Some(2), None, Some(4), None, None]);
    }
}
