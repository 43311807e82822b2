//! Windows over maps: the rows of a matrix whose product with the weights is a convolution, and the way back.

/// A square window that moves over a map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Rows and columns of the window.
    pub kernel: usize,
    /// Rows and columns from one window to the next.
    pub stride: usize,
    /// Rows and columns of zeros around the map.
    pub padding: usize,
}

/// A map of one picture or several: `[pictures, height, width, channels]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// Channels.
    pub channels: usize,
}

impl Size {
    /// Pixels of one picture.
    #[must_use]
    pub fn pixels(&self) -> usize {
        self.height * self.width
    }

    /// Values of one picture.
    #[must_use]
    pub fn values(&self) -> usize {
        self.pixels() * self.channels
    }
}

impl Window {
    /// Rows and columns of the map of all windows over one of `height` × `width`.
    #[must_use]
    pub fn over(&self, height: usize, width: usize) -> [usize; 2] {
        [height, width].map(|side| (side + 2 * self.padding).saturating_sub(self.kernel) / self.stride + 1)
    }

    /// Whether windows are single pixels, one for each.
    #[must_use]
    pub fn is_pixel(&self) -> bool {
        *self == Self { kernel: 1, stride: 1, padding: 0 }
    }
}

/// A map among those whose channels are concatenated.
#[derive(Debug)]
pub struct Part<M> {
    /// `[pictures, height, width, channels]`.
    pub map: M,
    /// Its channels.
    pub channels: usize,
}

/// The windows of the output pixels `first..` of all pictures, as many as `rows` holds: each row is
/// `[kernel, kernel, channels]`, with the channels of all `parts` in order and zeros outside of the map. `height` and
/// `width` are those of the parts.
///
/// # Panics
/// If lengths do not fit.
pub fn gather(window: Window, [height, width]: [usize; 2], parts: &[Part<&[f32]>], first: usize, rows: &mut [f32]) {
    let depth = parts.iter().map(|part| part.channels).sum::<usize>();
    let row = window.kernel * window.kernel * depth;
    visit(window, [height, width], first, rows.len() / row, |index, tap, pixel| {
        let start = index * row + tap * depth;
        let mut to = &mut rows[start..start + depth];
        match pixel {
            None => to.fill(0.0),
            Some(pixel) => {
                for Part { map, channels } in parts {
                    let (here, rest) = to.split_at_mut(*channels);
                    here.copy_from_slice(&map[pixel * channels..][..*channels]);
                    to = rest;
                }
            }
        }
    });
}

/// Adds `rows`, gradients of what [`gather`] writes, to the gradients of the maps.
///
/// # Panics
/// If lengths do not fit.
pub fn scatter(
    window: Window,
    [height, width]: [usize; 2],
    parts: &mut [Part<&mut [f32]>],
    first: usize,
    rows: &[f32],
) {
    let depth = parts.iter().map(|part| part.channels).sum::<usize>();
    let row = window.kernel * window.kernel * depth;
    visit(window, [height, width], first, rows.len() / row, |index, tap, pixel| {
        let Some(pixel) = pixel else { return };
        let start = index * row + tap * depth;
        let mut from = &rows[start..start + depth];
        for Part { map, channels } in &mut *parts {
            let (here, rest) = from.split_at(*channels);
            for (to, value) in map[pixel * *channels..][..*channels].iter_mut().zip(here) {
                *to += value;
            }
            from = rest;
        }
    });
}

/// Calls `tap` for every element of `count` windows from the output pixel `first` on, with the number of the window,
/// that of the element, and the input pixel under it, counted over all pictures; `None` if it is outside of the map.
fn visit(
    window: Window,
    [height, width]: [usize; 2],
    first: usize,
    count: usize,
    mut tap: impl FnMut(usize, usize, Option<usize>),
) {
    let Window { kernel, stride, padding } = window;
    let [out_height, out_width] = window.over(height, width);
    let inside = |position: usize, offset: usize, side: usize| {
        (position * stride + offset).checked_sub(padding).filter(|at| *at < side)
    };
    for index in 0..count {
        let pixel = first + index;
        let (picture, pixel) = (pixel / (out_height * out_width), pixel % (out_height * out_width));
        let (y, x) = (pixel / out_width, pixel % out_width);
        for row in 0..kernel {
            let at_row = inside(y, row, height);
            for column in 0..kernel {
                let at = at_row.zip(inside(x, column, width));
                let at = at.map(|(y, x)| (picture * height + y) * width + x);
                tap(index, row * kernel + column, at);
            }
        }
    }
}
