//! Choices from a fixed set of words, shared by the configuration, flags, help, messages and reports.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A choice from a fixed set of words.
pub trait Choice: FromStr<Err = UnknownWord> + Clone + Send + Sync + 'static {
    /// The words, in the order of messages and help.
    const WORDS: &'static [&'static str];
}

/// A word that is not among those of a choice.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{word}`: expected one of {}", words.join(", "))]
pub struct UnknownWord {
    /// The word.
    pub word: String,
    /// The allowed words.
    pub words: &'static [&'static str],
}

macro_rules! choice {
    ($(#[$about:meta])* $choice:ident { $($(#[$doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
        pub enum $choice {
            $($(#[$doc])* #[serde(rename = $word)] $variant,)+
        }

        impl $choice {
            /// All variants, in the order of messages and help.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The word.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }
        }

        impl Choice for $choice {
            const WORDS: &'static [&'static str] = &[$($word,)+];
        }

        impl FromStr for $choice {
            type Err = UnknownWord;

            fn from_str(word: &str) -> Result<Self, UnknownWord> {
                match word {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(UnknownWord { word: word.to_owned(), words: Self::WORDS }),
                }
            }
        }

        impl fmt::Display for $choice {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.pad(self.name())
            }
        }
    };
}

choice! {
    /// The backend that runs a network.
    BackendChoice {
        /// The native engine, or tract for networks that the native engine does not support.
        #[default]
        Auto = "auto",
        /// The program's own engine.
        Native = "native",
        /// tract.
        Tract = "tract",
    }
}

choice! {
    /// The instruction set of the native engine.
    IsaChoice {
        /// The best one that the processor supports.
        #[default]
        Auto = "auto",
        /// Plain Rust; the compiler vectorises it as the target allows.
        Scalar = "scalar",
        /// x86-64 with AVX2 and FMA, 256 bits.
        Avx2 = "avx2",
        /// x86-64 with AVX-512 F and VL, 512 bits.
        Avx512 = "avx512",
        /// 64-bit ARM, 128 bits.
        Neon = "neon",
    }
}

choice! {
    /// How the native engine trades memory for speed.
    MemoryMode {
        /// Fast: weights are stored in the form in which they are used.
        #[default]
        Fast = "fast",
        /// Less memory, slower: the weights of Winograd convolutions are stored untransformed and transformed at each
        /// use.
        Lean = "lean",
    }
}

choice! {
    /// Which coded frames of a video are decoded.
    Decode {
        /// As few as `max_fps` allows: key frames alone if they come often enough, or frames that others refer to if every
        /// second picture is enough; otherwise all.
        #[default]
        Auto = "auto",
        /// All.
        All = "all",
        /// Those that others refer to.
        Reference = "reference",
        /// Key frames alone.
        Key = "key",
    }
}

choice! {
    /// What becomes of a stream whose source has no more frames. Cameras have no end: it counts as a failure there.
    AtEnd {
        /// The stream ends.
        #[default]
        Stop = "stop",
        /// It begins again at once.
        Loop = "loop",
        /// It is opened again after a wait, as a failed camera is.
        Retry = "retry",
    }
}

choice! {
    /// Transport of an RTSP camera's packets.
    RtspTransport {
        /// TCP, within the session's connection.
        #[default]
        Tcp = "tcp",
        /// UDP.
        Udp = "udp",
        /// UDP first, then multicast, then TCP.
        Auto = "auto",
    }
}

choice! {
    /// What a web camera sends.
    HttpKind {
        /// What the type of its answer says.
        #[default]
        Auto = "auto",
        /// Pictures without end in one answer.
        Mjpeg = "mjpeg",
        /// One picture for each request.
        Picture = "picture",
    }
}

choice! {
    /// What the packets of a `udp://` source hold.
    Payload {
        /// MPEG-TS.
        #[default]
        Mpegts = "mpegts",
        /// MPEG-TS in RTP.
        RtpMpegts = "rtp-mpegts",
        /// H.264 in RTP.
        RtpH264 = "rtp-h264",
        /// H.265 in RTP.
        RtpH265 = "rtp-h265",
        /// JPEG in RTP.
        RtpJpeg = "rtp-jpeg",
    }
}

choice! {
    /// Who calls whom over SRT.
    SrtMode {
        /// This program, unless the address has no host.
        #[default]
        Auto = "auto",
        /// This program.
        Caller = "caller",
        /// The encoder.
        Listener = "listener",
    }
}

choice! {
    /// What a V4L2 camera delivers: pixels, or coded pictures. Pixel formats of RGB and BGR are named by the order of
    /// the bytes in memory.
    CameraFormat {
        /// The one that suits best, by the rule of `capture/scheme/v4l2/choose.rs`.
        #[default]
        Auto = "auto",
        /// 4:2:0, luma and one plane of chroma.
        Nv12 = "nv12",
        /// NV12 with the other order of chroma.
        Nv21 = "nv21",
        /// 4:2:0, three planes.
        I420 = "i420",
        /// I420 with the other order of chroma.
        Yv12 = "yv12",
        /// 4:2:2, packed; YUY2 elsewhere. What most USB cameras have.
        Yuyv = "yuyv",
        /// 4:2:2, packed.
        Uyvy = "uyvy",
        /// 4:2:2, packed.
        Yvyu = "yvyu",
        /// 4:2:2, luma and one plane of chroma.
        Nv16 = "nv16",
        /// 4:2:2, three planes.
        I422 = "i422",
        /// Three bytes for each pixel.
        Rgb = "rgb",
        /// Three bytes for each pixel.
        Bgr = "bgr",
        /// Four bytes for each pixel, the last unused.
        Rgbx = "rgbx",
        /// Four bytes for each pixel, the last unused.
        Bgrx = "bgrx",
        /// Four bytes for each pixel, the first unused.
        Xrgb = "xrgb",
        /// Four bytes for each pixel, the first unused.
        Xbgr = "xbgr",
        /// Brightness only.
        Grey = "grey",
        /// A sequence of JPEG pictures.
        Mjpeg = "mjpeg",
        /// H.264.
        H264 = "h264",
        /// H.265.
        H265 = "h265",
    }
}

choice! {
    /// Where published weights can be fetched.
    WeightSource {
        /// The authors' own server.
        #[default]
        Authors = "authors",
        /// The authors' repository on GitHub.
        Github = "github",
        /// The server of PaddleClas, with weights of its own training.
        Paddleclas = "paddleclas",
    }
}

choice! {
    /// The rule by which training changes parameters.
    OptimizerChoice {
        /// Stochastic gradient descent with momentum.
        #[default]
        Sgd = "sgd",
        /// Adam, whose weight decay is part of the gradient.
        Adam = "adam",
        /// Adam with decoupled weight decay.
        AdamW = "adamw",
    }
}

choice! {
    /// What computes the backbone of a network in training.
    DeviceChoice {
        /// The processor.
        #[default]
        Cpu = "cpu",
        /// An NVIDIA graphics card (feature `train-cuda`).
        Cuda = "cuda",
        /// A graphics card with Vulkan (feature `train-wgpu`).
        Wgpu = "wgpu",
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    #[test]
    fn words_lead_back_to_what_they_name_in_text_and_in_files() {
        assert_eq!(IsaChoice::ALL.len(), IsaChoice::WORDS.len());
        for (choice, word) in IsaChoice::ALL.iter().zip(IsaChoice::WORDS) {
            assert_eq!(word.parse::<IsaChoice>().unwrap(), *choice);
            let json = serde_json::to_string(choice).unwrap();
            assert_eq!(json, format!("\"{word}\""));
            assert_eq!(serde_json::from_str::<IsaChoice>(&json).unwrap(), *choice);
            assert_eq!(choice.to_string(), *word);
        }
    }

    #[test]
    fn an_unknown_word_is_an_error_that_lists_those_there_are() {
        assert_eq!("Lean".parse::<MemoryMode>().unwrap_err().to_string(), "`Lean`: expected one of fast, lean");
        assert!("".parse::<BackendChoice>().is_err());
    }
}
