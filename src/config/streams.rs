//! What streams share and what is their own.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value as Json;

use super::schema::{Config, Stream};
use crate::frame::Region;

impl Stream {
    /// The part of its pictures that is classified; `None`: what its model looks at.
    #[must_use]
    pub fn region(&self) -> Option<Region> {
        self.region.parse().ok()
    }

    /// `carry_over_max_s`.
    #[must_use]
    pub fn carry_over(&self) -> Duration {
        Duration::from_secs_f64(self.carry_over_max_s)
    }

    /// Whether `other` has the same frames from the same source, whatever it is called and whatever is done with them.
    #[must_use]
    pub fn has_same_source(&self, other: &Self) -> bool {
        let Self { name, model, region, weight, carry_over_max_s, .. } = other.clone();
        Self { name, model, region, weight, carry_over_max_s, ..self.clone() } == *other
    }

    /// The keys, such as `max_fps` and `rtsp.latency_ms`, whose values keep `other` from sharing the source.
    pub(super) fn source_differences(&self, other: &Self) -> Vec<String> {
        let [own, others] = [self, other].map(|stream| {
            let Self { name, model, region, weight, carry_over_max_s, .. } = self.clone();
            let stream = Self { name, model, region, weight, carry_over_max_s, ..stream.clone() };
            let mut keys = BTreeMap::new();
            for (key, value) in
                serde_json::to_value(stream).ok().and_then(|it| it.as_object().cloned()).into_iter().flatten()
            {
                match value {
                    Json::Object(inner) => {
                        keys.extend(inner.into_iter().map(|(name, it)| (format!("{key}.{name}"), it)))
                    }
                    value => drop(keys.insert(key, value)),
                }
            }
            keys
        });
        own.into_iter().filter(|(key, value)| others.get(key) != Some(value)).map(|(key, _)| key).collect()
    }
}

impl Config {
    /// The name of a stream's model.
    #[must_use]
    pub fn model_of<'a>(&'a self, stream: &'a Stream) -> &'a str {
        if stream.model.is_empty() { &self.model.name } else { &stream.model }
    }

    /// The stream with the number `index` and all others with the same source, if it is the first of them; none otherwise.
    #[must_use]
    pub fn sharing(&self, index: usize) -> Vec<&Stream> {
        let same = |stream: &&Stream| stream.has_same_source(&self.streams[index]);
        match self.streams[..index].iter().any(|stream| same(&stream)) {
            true => Vec::new(),
            false => self.streams[index..].iter().filter(same).collect(),
        }
    }

    /// The names of the models of all streams, each once.
    #[must_use]
    pub fn models(&self) -> Vec<&str> {
        let mut names = Vec::new();
        for stream in &self.streams {
            let name = self.model_of(stream);
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_that_several_streams_use_is_named_once() {
        let stream = |model: &str| Stream { model: model.into(), ..Stream::default() };
        let mut config = Config { streams: vec![stream("b"), stream(""), stream("b")], ..Config::default() };
        assert_eq!(config.models(), ["b", "signal"]);
        config.streams.push(stream("signal"));
        assert_eq!(config.models(), ["b", "signal"]);
        config.streams.retain(|stream| stream.model == "b");
        assert_eq!(config.models(), ["b"], "[model] may be used by no stream");
    }

    #[test]
    fn streams_of_one_source_share_it() {
        let stream =
            |name: &str, source: &str| Stream { name: name.into(), source: source.into(), ..Stream::default() };
        let streams = vec![stream("a", "x"), stream("b", "y"), stream("c", "x")];
        let config = Config { streams, ..Config::default() };
        let sharing: Vec<Vec<&str>> =
            (0..3).map(|index| config.sharing(index).iter().map(|stream| &*stream.name).collect()).collect();
        assert_eq!(sharing, [vec!["a", "c"], vec!["b"], vec![]]);
    }

    #[test]
    fn what_is_done_with_frames_does_not_change_the_source() {
        let stream = Stream::default();
        let other = Stream {
            name: "other".into(),
            model: "m".into(),
            region: "0,0,0.5,1".into(),
            weight: 3,
            carry_over_max_s: 9.0,
            ..stream.clone()
        };
        assert!(stream.has_same_source(&other));
        assert!(!stream.has_same_source(&Stream { max_fps: 1.0, ..other }));
    }
}
