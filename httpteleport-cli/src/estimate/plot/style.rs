//! Colours and sizes.

/// Width of every picture: a README's column on a laptop, sharp when it is scaled.
pub const WIDTH: f64 = 880.0;
/// Space around everything.
pub const MARGIN: f64 = 28.0;
/// Text that matters.
pub const INK: &str = "#1f2328";
/// Text that explains.
pub const MUTED: &str = "#59636e";
/// Lines of an axis.
pub const GRID: &str = "#e4e8ec";
/// The panel under everything, so that a dark page does not matter.
pub const PANEL: &str = "#ffffff";
/// Its edge.
pub const EDGE: &str = "#d1d9e0";
/// Size of labels.
pub const LABEL: f64 = 13.0;
/// Size of ticks and notes.
pub const SMALL: f64 = 12.0;

/// What a colour stands for. They differ in lightness too, for those who see fewer hues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// This project.
    Ours,
    /// A second one of this project.
    OursToo,
    /// A third.
    OursAlso,
    /// What [`Tone::Ours`] is held against, in a picture of both and more.
    OursBefore,
    /// What [`Tone::OursToo`] is held against.
    OursTooBefore,
    /// What it is compared with.
    Other,
    /// Something else that it is compared with.
    OtherToo,
    /// A limit.
    Limit,
}

impl Tone {
    /// The colour.
    #[must_use]
    pub fn colour(self) -> &'static str {
        match self {
            Self::Ours => "#0a5cc2",
            Self::OursToo => "#0f9488",
            Self::OursAlso => "#8a4fd0",
            Self::OursBefore => "#6f9fd8",
            Self::OursTooBefore => "#6db3aa",
            Self::Other => "#a3acb5",
            Self::OtherToo => "#d9822b",
            Self::Limit => "#b3261e",
        }
    }
}
