//! Detects the processor's instruction sets and selects kernels for them.

#[cfg(target_arch = "x86_64")]
use super::avx2::Avx2;
#[cfg(target_arch = "x86_64")]
use super::avx512::Avx512;
#[cfg(target_arch = "aarch64")]
use super::neon::Neon;
use super::scalar::Scalar;
use crate::kernels::table::{Isa, Kernels};

impl Kernels {
    /// The kernels for `isa`. `None` if the processor does not have it.
    #[must_use]
    pub fn of(isa: Isa) -> Option<Self> {
        match isa {
            Isa::Scalar => Some(Scalar.kernels()),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => Avx2::detect().map(Avx2::kernels),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => Avx512::detect().map(Avx512::kernels),
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => Neon::detect().map(Neon::kernels),
            // Those of other architectures.
            _ => None,
        }
    }

    /// The kernels for the best instruction set that the processor has.
    #[must_use]
    pub fn best() -> Self {
        Self::of(Isa::best()).unwrap_or_else(|| Scalar.kernels())
    }

    /// The kernels of all tables that the processor can run, including those that suit other processors better and
    /// those that tables fall back on.
    #[cfg(test)]
    pub(in crate::kernels) fn all() -> impl Iterator<Item = Self> {
        #[cfg(target_arch = "x86_64")]
        let (one, several) = (Self::of(Isa::Avx2), Avx512::detect().map(Avx512::all));
        #[cfg(not(target_arch = "x86_64"))]
        let (one, several) = (Self::of(Isa::Neon), None::<[Self; 2]>);
        Scalar.all().into_iter().chain(one).chain(several.into_iter().flatten())
    }
}

impl Isa {
    /// Whether this processor has it.
    #[must_use]
    pub fn is_available(self) -> bool {
        Kernels::of(self).is_some()
    }

    /// The best one that this processor has.
    #[must_use]
    pub fn best() -> Self {
        Self::ALL.into_iter().rfind(|isa| isa.is_available()).unwrap_or(Self::Scalar)
    }
}
