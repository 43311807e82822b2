//! Constraints between several values.

use std::collections::BTreeSet;

use serde_json::Value as Json;

use super::address::holds_user;
use super::problem::{Places, Problem};
use super::redact::{is_secret, redact};
use super::schema::{Config, Inference, Publish, Stream};
use super::scheme::{beginnings, only_for};
use crate::choice::{AtEnd, BackendChoice, HttpKind};
use crate::plural::counted;

/// Finds the keys of streams that are set, to something else than their default, and not for the stream's source. A
/// source that is wrong has no value here.
fn misplaced(config: &Config, places: &Places, problems: &mut Vec<Problem>) {
    let defaults = serde_json::to_value(Stream::default()).unwrap_or_default();
    for (index, stream) in config.streams.iter().enumerate() {
        let section = format!("stream[{index}].");
        if !places.has(&format!("{section}source")) {
            continue;
        }
        let values = serde_json::to_value(stream).unwrap_or_default();
        for key in places.0.keys().filter_map(|key| key.strip_prefix(&section)) {
            let schemes = only_for(key).filter(|schemes| !schemes.contains(&stream.scheme()));
            let pointer = format!("/{}", key.replace('.', "/"));
            let (value, default) = (values.pointer(&pointer), defaults.pointer(&pointer));
            let (Some(schemes), Some(value)) = (schemes, value.filter(|_| value != default)) else { continue };
            let shown = match value {
                // Somebody may have written the secret instead of the name of its file.
                _ if is_secret(key.trim_end_matches("_file")) => "***".to_owned(),
                Json::String(text) => format!("{:?}", redact(text)),
                other => other.to_string(),
            };
            let schemes = beginnings(schemes);
            let source = redact(&stream.source);
            let message = format!("{shown}: only for sources with {schemes}, and this one is {source:?}; leave it out");
            problems.push(places.problem(&format!("{section}{key}"), message));
        }
    }
}

/// Finds values that conflict with each other; values that are `wrong` by themselves are skipped.
pub(super) fn check(config: &Config, places: &Places, wrong: &BTreeSet<String>, problems: &mut Vec<Problem>) {
    misplaced(config, places, problems);
    // The message begins with the value of `key`; `others` are involved as well.
    let mut problem = |key: &str, others: &[&str], message: String| {
        if !others.iter().chain([&key]).any(|key| wrong.contains(*key)) {
            problems.push(places.shared_problem(key, others, message));
        }
    };
    if config.streams.is_empty() {
        problem("stream", &[], "[]: expected at least one [[stream]] section, or a source on the command line".into());
    }
    // Problems of a stream refer to its number in the file.
    let streams_are_right = !wrong.iter().any(|key| key.starts_with("stream"));
    for (index, stream) in config.streams.iter().enumerate().filter(|_| streams_are_right) {
        let of = |key: &str| format!("stream[{index}].{key}");
        if !places.has(&of("source")) && places.has("stream") {
            let message =
                format!("\"\": the stream {:?} has none; expected one, such as \"rtsp://camera/1\"", stream.name);
            let name = of("name");
            problem(&of("source"), &[if places.has(&name) { &name } else { "stream" }], message);
        }
        let Stream { username, password_file, source, .. } = stream;
        let is_camera = stream.is_network_camera();
        let polls = matches!(stream.scheme(), "http" | "https") && stream.http.kind != HttpKind::Mjpeg;
        if polls && stream.http.poll_s >= stream.stall_timeout_s {
            let message =
                format!("{}: expected less than stall_timeout_s, {}", stream.http.poll_s, stream.stall_timeout_s);
            problem(&of("http.poll_s"), &[&of("stall_timeout_s")], message);
        }
        if stream.at_end == AtEnd::Retry && stream.retry_max_s == 0.0 {
            let message = "\"retry\": expected retry_max_s of at least 0.1, the longest wait";
            problem(&of("at_end"), &[&of("retry_max_s")], message.into());
        }
        if !password_file.is_empty() && username.is_empty() && !holds_user(source) && is_camera {
            let message = "\"\": a password needs a user name";
            problem(&of("username"), &[&of("password_file")], message.into());
        }
    }

    let is_folder = |name: &str| !matches!(name, "." | "..");
    for (index, stream) in config.streams.iter().enumerate().filter(|_| streams_are_right) {
        if !config.collect.folder.is_empty() && !is_folder(&stream.name) {
            let message =
                format!("{:?}: expected another name, since collect.folder has a folder of each stream", stream.name);
            problem(&format!("stream[{index}].name"), &["collect.folder"], message);
        }
    }

    if config.collect.folder.starts_with('~') {
        let message = format!("{:?}: expected the whole path, since only a shell replaces ~", config.collect.folder);
        problem("collect.folder", &[], message);
    }

    let Inference { workers, threads, ref cores, .. } = config.inference;
    let (needed, named) = (workers as usize * threads as usize, cores.len());
    if named > 0 && named < needed {
        let of = if threads > 1 { format!(" of {threads} threads") } else { String::new() };
        let (cores, workers) = (counted(named, "core", "cores"), counted(workers, "worker", "workers"));
        let message = format!("{cores} for {workers}{of}: expected at least {needed}, or []");
        problem("inference.cores", &["inference.workers", "inference.threads"], message);
    }
    if threads > 1 && config.inference.backend == BackendChoice::Tract {
        let message = format!("{threads}: expected 1 with inference.backend = \"tract\"");
        problem("inference.threads", &["inference.backend"], message);
    }

    let Publish { stdout, mqtt } = &config.publish;
    if !stdout.enabled && !mqtt.enabled {
        let message = "false: nothing enabled; expected publish.stdout or publish.mqtt to have enabled = true";
        problem("publish.stdout.enabled", &["publish.mqtt.enabled"], message.into());
    }
    if mqtt.enabled && mqtt.host.is_empty() {
        let message = "\"\": expected the name or the address of the broker's host";
        problem("publish.mqtt.host", &["publish.mqtt.enabled"], message.into());
    }
    if mqtt.username.is_empty() && !mqtt.password_file.is_empty() {
        let message = "\"\": MQTT sends a password only together with a user name";
        problem("publish.mqtt.username", &["publish.mqtt.password_file"], message.into());
    }
    let files = [("ca_file", &mqtt.ca_file), ("cert_file", &mqtt.cert_file), ("key_file", &mqtt.key_file)];
    let given = files.iter().find(|(_, file)| !file.is_empty()).map(|(key, _)| *key);
    let only_with_tls = given.or(mqtt.danger_accept_any_certificate.then_some("danger_accept_any_certificate"));
    if let (Some(key), false) = (only_with_tls, mqtt.tls) {
        let message = format!("false: expected true, or no {key}, which is for TLS");
        problem("publish.mqtt.tls", &[&format!("publish.mqtt.{key}")], message);
    }
    if mqtt.cert_file.is_empty() != mqtt.key_file.is_empty() {
        let keys = ["publish.mqtt.cert_file", "publish.mqtt.key_file"];
        let [key, other] = if mqtt.cert_file.is_empty() { keys } else { [keys[1], keys[0]] };
        problem(key, &[other], "\"\": a certificate needs its key, and a key its certificate".into());
    }
}
