//! Fields that an endpoint throws away, and so keeps no books of.

use super::{compare::Difference, set::Set};

/// Which fields an endpoint does not write (upstream's reset fields). Paths are dotted; `*` stands for any step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reset {
    /// All of these.
    These(&'static [&'static str]),
    /// All but these.
    AllBut(&'static [&'static str]),
}

impl Reset {
    /// Nothing.
    pub const NONE: Self = Self::These(&[]);

    pub(super) fn filter(self, set: &mut Set) {
        match self {
            Self::These(paths) => {
                paths.iter().for_each(|path| set.cut(&path.split('.').collect::<Vec<_>>()));
            }
            Self::AllBut(paths) => set.keep(&paths.iter().map(|path| path.split('.').collect()).collect::<Vec<_>>()),
        }
    }

    pub(super) fn filter_both(self, difference: &mut Difference) {
        self.filter(&mut difference.changed);
        self.filter(&mut difference.removed);
    }
}
