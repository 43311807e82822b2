//! The sources of the configured streams: whether files exist and whether cameras answer.

use std::io;
use std::thread;
use std::time::Duration;

use super::{Context, Finding};
use crate::capture::{Fault, Settings};
use crate::config::{Stream, is_missing_credential};
use crate::exit::chain;

pub(super) fn look(context: &Context) -> Vec<Finding> {
    let Some(config) = &context.config else { return vec![super::not_known("sources")] };
    let timeout = context.timeout;
    // All at the same time: each camera may take the whole limit.
    thread::scope(|scope| {
        let begin = |stream| {
            let builder = thread::Builder::new().name("doc-stream".into());
            (stream, builder.spawn_scoped(scope, move || of(stream, timeout)))
        };
        let running: Vec<_> = config.streams.iter().map(begin).collect();
        let finish = |(stream, thread): (&Stream, io::Result<thread::ScopedJoinHandle<Finding>>)| match thread {
            Ok(thread) => {
                let fault = |_| Finding::error(stream.name.clone(), "the check failed", "please report it");
                thread.join().unwrap_or_else(fault)
            }
            Err(error) => super::no_thread(stream.name.clone(), &error),
        };
        running.into_iter().map(finish).collect()
    })
}

fn of(stream: &Stream, timeout: Duration) -> Finding {
    let name = stream.name.as_str();
    // This also reads the files of the password and the authorities.
    let files = [&stream.password_file, &stream.ca_file];
    let settings = match Settings::new(stream) {
        Ok(settings) => settings,
        Err(error) if files.iter().any(|file| !file.is_empty() && is_missing_credential(file)) => {
            return Finding::warning(name, chain(&error), "only the service sees its credentials: check it there");
        }
        Err(error) => {
            let remedy =
                "put the file there, readable for the service (LoadCredential= in the unit), or correct the key";
            return Finding::error(name, chain(&error), remedy);
        }
    };
    match settings.examine(timeout) {
        Ok(found) => Finding::ok(name, found),
        Err(Fault { found, remedy }) => Finding::error(name, found, remedy),
    }
}
