//! Names of entries, as PyTorch has them.
//!
//! PaddlePaddle calls the running statistics of a batch norm `_mean` and `_variance`. Training on several
//! devices puts `module.` before every name.

/// What PaddlePaddle calls the running statistics, and what PyTorch calls them.
const STATISTICS: [(&str, &str); 2] = [("._mean", ".running_mean"), ("._variance", ".running_var")];

/// What training on several devices puts before every name.
const PREFIX: &str = "module.";

/// Whether these are the names of a network from PaddlePaddle: it has a batch norm that tells.
pub fn are_paddle<'a>(mut names: impl Iterator<Item = &'a str>) -> bool {
    names.any(|name| STATISTICS.iter().any(|(paddle, _)| name.ends_with(paddle)))
}

/// The name that PyTorch has for an entry that PaddlePaddle calls `name`.
#[must_use]
pub fn from_paddle(name: &str) -> String {
    for (paddle, pytorch) in STATISTICS {
        if let Some(module) = name.strip_suffix(paddle) {
            return format!("{module}{pytorch}");
        }
    }
    name.to_owned()
}

/// How many bytes to take off every name, so that those of the network remain.
pub fn prefix<'a>(mut names: impl Iterator<Item = &'a str>) -> usize {
    if names.all(|name| name.starts_with(PREFIX)) { PREFIX.len() } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_of_paddle_get_the_names_of_pytorch() {
        assert_eq!(from_paddle("base.0.norm._mean"), "base.0.norm.running_mean");
        assert_eq!(from_paddle("base.0.norm._variance"), "base.0.norm.running_var");
        assert_eq!(from_paddle("base.0.norm.weight"), "base.0.norm.weight");
        assert_eq!(from_paddle("batch_mean"), "batch_mean");
        assert!(are_paddle(["a.weight", "a._variance"].into_iter()));
        assert!(!are_paddle(["a.weight", "a.running_var", "batch_mean"].into_iter()));
    }

    #[test]
    fn the_prefix_goes_when_every_name_has_it() {
        assert_eq!(prefix(["module.a", "module.b"].into_iter()), 7);
        assert_eq!(prefix(["module.a", "b"].into_iter()), 0);
    }
}
