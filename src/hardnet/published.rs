//! Addresses of the published weights, from the official PyTorch implementation
//! (<https://github.com/PingoLH/Pytorch-HarDNet>, `hardnet.py`).

/// A published weight file of a network, trained on ImageNet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Published {
    /// Name of the architecture.
    pub name: &'static str,
    /// URL of the file.
    pub url: &'static str,
    /// The first digits of the file's SHA-256, which are part of its name.
    pub sha256_prefix: &'static str,
}

/// The published files, in the order of the architectures.
pub static PUBLISHED: [Published; 4] = [
    Published {
        name: "hardnet39ds",
        url: "https://ping-chao.com/hardnet/hardnet39ds-0e6c6fa9.pth",
        sha256_prefix: "0e6c6fa9",
    },
    Published {
        name: "hardnet68ds",
        url: "https://ping-chao.com/hardnet/hardnet68ds-632474d2.pth",
        sha256_prefix: "632474d2",
    },
    Published {
        name: "hardnet68",
        url: "https://ping-chao.com/hardnet/hardnet68-5d684880.pth",
        sha256_prefix: "5d684880",
    },
    Published {
        name: "hardnet85",
        url: "https://ping-chao.com/hardnet/hardnet85-a28faa00.pth",
        sha256_prefix: "a28faa00",
    },
];

/// The published weights of the network called `name`, in any spelling.
#[must_use]
pub fn published(name: &str) -> Option<&'static Published> {
    let architecture = super::find(name)?;
    PUBLISHED.iter().find(|published| published.name == architecture.name)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn every_architecture_has_its_file_whose_name_carries_the_digest() {
        for architecture in &super::super::ARCHITECTURES {
            let Published { name, url, sha256_prefix } = published(&architecture.name).unwrap();
            assert_eq!(*name, architecture.name);
            assert!(url.ends_with(&format!("/{name}-{sha256_prefix}.pth")), "{url}");
        }
        assert_eq!(published("resnet50"), None);
    }
}
