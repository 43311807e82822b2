//! Memory layouts of pictures: which samples lie where.

/// Memory layout of samples. The names are GStreamer's; those with a number at the end have samples of as many bits in two
/// bytes, the lower one first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names are the field's; `components` holds the facts")]
pub enum PixelFormat {
    Gray8,
    Gray16,
    Rgb,
    Bgr,
    Rgbx,
    Bgrx,
    Xrgb,
    Xbgr,
    Nv12,
    Nv21,
    Nv16,
    I420,
    Yv12,
    Y42b,
    Y444,
    Yuy2,
    Yvyu,
    Uyvy,
    /// NV12 with samples of 10 bits, which are the upper ones.
    P010,
    /// With samples of 10 bits, which are the lower ones.
    I42010,
    /// Y42B with samples of 10 bits, which are the lower ones.
    I42210,
    /// With samples of 10 bits, which are the lower ones.
    Y44410,
}

/// How a sample is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SampleDepth {
    /// Bytes of a sample, 1 or 2.
    pub bytes: usize,
    /// Significant bits, 8 to 16.
    pub bits: u32,
    /// Unused bits above these.
    pub spare: u32,
}

/// Where the samples of one component (Y, U, V or R, G, B) lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Component {
    /// Index of the plane that holds it.
    pub plane: usize,
    /// Byte offset of its first sample in a row.
    pub offset: usize,
    /// Bytes from one sample to the next in a row.
    pub step: usize,
    /// log2 of the horizontal subsampling.
    pub shift_x: u32,
    /// log2 of the vertical subsampling.
    pub shift_y: u32,
}

const fn component(plane: usize, offset: usize, step: usize, shift_x: u32, shift_y: u32) -> Component {
    Component { plane, offset, step, shift_x, shift_y }
}

const fn packed(step: usize, offsets: [usize; 3]) -> [Component; 3] {
    [component(0, offsets[0], step, 0, 0), component(0, offsets[1], step, 0, 0), component(0, offsets[2], step, 0, 0)]
}

const fn packed_422(luma: usize, u: usize, v: usize) -> [Component; 3] {
    [component(0, luma, 2, 0, 0), component(0, u, 4, 1, 0), component(0, v, 4, 1, 0)]
}

const fn planar(u: usize, v: usize, shift_x: u32, shift_y: u32) -> [Component; 3] {
    [component(0, 0, 1, 0, 0), component(u, 0, 1, shift_x, shift_y), component(v, 0, 1, shift_x, shift_y)]
}

/// The same components with samples of two bytes.
const fn wide([a, b, c]: [Component; 3]) -> [Component; 3] {
    const fn doubled(c: Component) -> Component {
        component(c.plane, 2 * c.offset, 2 * c.step, c.shift_x, c.shift_y)
    }
    [doubled(a), doubled(b), doubled(c)]
}

const fn semi_planar(u: usize, v: usize, shift_y: u32) -> [Component; 3] {
    [component(0, 0, 1, 0, 0), component(1, u, 2, 1, shift_y), component(1, v, 2, 1, shift_y)]
}

impl PixelFormat {
    /// The components in the order Y, U, V or R, G, B; a single one for greyscale.
    #[must_use]
    pub fn components(self) -> &'static [Component] {
        const GRAY8: [Component; 1] = [component(0, 0, 1, 0, 0)];
        const GRAY16: [Component; 1] = [component(0, 0, 2, 0, 0)];
        const RGB: [Component; 3] = packed(3, [0, 1, 2]);
        const BGR: [Component; 3] = packed(3, [2, 1, 0]);
        const RGBX: [Component; 3] = packed(4, [0, 1, 2]);
        const BGRX: [Component; 3] = packed(4, [2, 1, 0]);
        const XRGB: [Component; 3] = packed(4, [1, 2, 3]);
        const XBGR: [Component; 3] = packed(4, [3, 2, 1]);
        const NV12: [Component; 3] = semi_planar(0, 1, 1);
        const NV21: [Component; 3] = semi_planar(1, 0, 1);
        const NV16: [Component; 3] = semi_planar(0, 1, 0);
        const I420: [Component; 3] = planar(1, 2, 1, 1);
        const YV12: [Component; 3] = planar(2, 1, 1, 1);
        const Y42B: [Component; 3] = planar(1, 2, 1, 0);
        const Y444: [Component; 3] = planar(1, 2, 0, 0);
        const YUY2: [Component; 3] = packed_422(0, 1, 3);
        const YVYU: [Component; 3] = packed_422(0, 3, 1);
        const UYVY: [Component; 3] = packed_422(1, 0, 2);
        const P010: [Component; 3] = wide(NV12);
        const I42010: [Component; 3] = wide(I420);
        const I42210: [Component; 3] = wide(Y42B);
        const Y44410: [Component; 3] = wide(Y444);
        match self {
            Self::Gray8 => &GRAY8,
            Self::Gray16 => &GRAY16,
            Self::Rgb => &RGB,
            Self::Bgr => &BGR,
            Self::Rgbx => &RGBX,
            Self::Bgrx => &BGRX,
            Self::Xrgb => &XRGB,
            Self::Xbgr => &XBGR,
            Self::Nv12 => &NV12,
            Self::Nv21 => &NV21,
            Self::Nv16 => &NV16,
            Self::I420 => &I420,
            Self::Yv12 => &YV12,
            Self::Y42b => &Y42B,
            Self::Y444 => &Y444,
            Self::Yuy2 => &YUY2,
            Self::Yvyu => &YVYU,
            Self::Uyvy => &UYVY,
            Self::P010 => &P010,
            Self::I42010 => &I42010,
            Self::I42210 => &I42210,
            Self::Y44410 => &Y44410,
        }
    }

    /// How its samples are stored.
    #[must_use]
    pub fn depth(self) -> SampleDepth {
        let (bytes, bits, spare) = match self {
            Self::Gray16 => (2, 16, 0),
            Self::P010 => (2, 10, 0),
            Self::I42010 | Self::I42210 | Self::Y44410 => (2, 10, 6),
            _ => (1, 8, 0),
        };
        SampleDepth { bytes, bits, spare }
    }

    /// Number of planes.
    #[must_use]
    pub fn planes(self) -> usize {
        self.components().iter().map(|component| component.plane + 1).max().unwrap_or(0)
    }

    /// Rows of `plane` in a picture of `height` rows.
    #[must_use]
    pub fn plane_rows(self, plane: usize, height: usize) -> usize {
        let shift = self.components().iter().find(|c| c.plane == plane).map_or(0, |c| c.shift_y);
        (height + (1 << shift) - 1) >> shift
    }

    /// Bytes of a row of `plane` that hold samples in a picture of `width` columns.
    #[must_use]
    pub fn row_bytes(self, plane: usize, width: usize) -> usize {
        let bytes = self.depth().bytes;
        let of =
            |c: &Component| ((width + (1 << c.shift_x) - 1) >> c.shift_x).saturating_sub(1) * c.step + c.offset + bytes;
        self.components().iter().filter(|c| c.plane == plane).map(of).max().unwrap_or(0)
    }
}
