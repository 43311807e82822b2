//! Names of entries in PyTorch's form.
//!
//! PaddlePaddle calls the running statistics of a batch norm `_mean` and `_variance`. What trainers wrap around a network
//! adds prefixes to every name: training on several devices, compilation, averaging, a class with the network in a field.

/// The running statistics in PaddlePaddle and in PyTorch.
const STATISTICS: [(&str, &str); 2] = [("._mean", ".running_mean"), ("._variance", ".running_var")];

/// Prefixes that trainers add to every name, in any order and number.
const PREFIXES: [&str; 9] =
    ["module.", "_orig_mod.", "model.", "net.", "network.", "backbone.", "encoder.", "teacher.", "student."];

/// Whether an entry is the counter that averaging (`torch.optim.swa_utils`) adds to the network's.
#[must_use]
pub fn is_averaged(name: &str) -> bool {
    name.rsplit('.').next() == Some("n_averaged")
}

/// Whether the names come from PaddlePaddle, recognised by a batch norm.
pub fn are_paddle<'a>(mut names: impl Iterator<Item = &'a str>) -> bool {
    names.any(|name| STATISTICS.iter().any(|(paddle, _)| name.ends_with(paddle)))
}

/// PyTorch's name for the entry that PaddlePaddle calls `name`.
#[must_use]
pub fn from_paddle(name: &str) -> String {
    for (paddle, pytorch) in STATISTICS {
        if let Some(module) = name.strip_suffix(paddle) {
            return format!("{module}{pytorch}");
        }
    }
    name.to_owned()
}

/// Number of bytes to remove from the front of every name to get the names of the network.
pub fn prefix<'a>(names: impl Iterator<Item = &'a str> + Clone) -> usize {
    let mut length = 0;
    loop {
        let has = |prefix: &&&str| names.clone().all(|name| name[length..].starts_with(**prefix));
        match PREFIXES.iter().find(has) {
            Some(prefix) if names.clone().next().is_some() => length += prefix.len(),
            _ => return length,
        }
    }
}

/// Whether a trainer keeps averaged weights under this name: with a part such as `ema`, `swa` or `averaged`.
#[must_use]
pub fn is_average(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let mut parts = name.split(|c: char| !c.is_ascii_alphanumeric());
    // Adam's `exp_avg` is a state of the optimizer.
    !name.contains("exp") && parts.any(|part| part.ends_with("ema") || ["swa", "avg", "averaged"].contains(&part))
}

/// The prefixes of a single name, such as `ema_model.module.`: those that trainers add, or the name of an average.
#[must_use]
pub fn root(name: &str) -> &str {
    let mut length = 0;
    while let Some(dot) = name[length..].find('.') {
        let part = &name[length..=length + dot];
        if !PREFIXES.contains(&part) && !is_average(part) {
            break;
        }
        length += part.len();
    }
    &name[..length]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prefixes_of_one_name_are_those_of_trainers() {
        assert_eq!(root("ema_model.module.base.0.weight"), "ema_model.module.");
        assert_eq!(root("model.base.0.weight"), "model.");
        assert_eq!(root("base.0.weight"), "");
        assert_eq!(root("criterion.weight"), "");
    }

    #[test]
    fn averaged_weights_have_many_names() {
        for name in
            ["ema", "model_ema", "EMA", "modelEma", "net_ema", "params_ema", "swa_model", "averaged_model", "avg"]
        {
            assert!(is_average(name), "{name}");
        }
        for name in ["model", "exp_avg", "student", "average_precision", "maximum"] {
            assert!(!is_average(name), "{name}");
        }
    }

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
        assert_eq!(prefix(["_orig_mod.module.model.base.0", "_orig_mod.module.model.base.1"].into_iter()), 23);
        assert_eq!(prefix(["base.0.conv", "base.1.conv"].into_iter()), 0, "the network's own names");
        assert_eq!(prefix([].into_iter()), 0);
    }
}
