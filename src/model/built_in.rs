//! The model that comes with the program: it recognises the state of a video signal (`models/README.md`).

use std::path::Path;

use super::Error;
use super::metadata::{KEY, Metadata};
use crate::weights::file::{self, Loaded};
use crate::weights::{self, StateDict};

/// Its name.
pub const NAME: &str = "signal";

/// Its model file.
static FILE: &[u8] = include_bytes!("../../models/signal.safetensors");

/// Whether `name` means it. Case is ignored.
pub(super) fn is_named(name: &str) -> bool {
    name.eq_ignore_ascii_case(NAME)
}

/// What the model file says, and the weights.
pub(super) fn open() -> Result<(Metadata, StateDict), Error> {
    let path = || Path::new(NAME).to_owned();
    let loaded = weights::read_bytes(FILE).map_err(|source| file::Error::Content { path: path(), source });
    let Loaded { state, texts, .. } = loaded.map_err(|error| Error::Weights(error.into()))?;
    let text = texts.get(KEY).map_or("", String::as_str);
    Ok((super::open::parse(text, &path())?, state))
}
