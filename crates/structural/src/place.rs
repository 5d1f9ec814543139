//! Where in an object a walk is; only written out when there is something to say.

use std::fmt;

/// A place, as a chain towards the root.
#[derive(Clone, Copy, Debug)]
pub enum Place<'a> {
    /// The object itself.
    Root,
    /// A place known as text.
    At(&'a str),
    /// `parent.name`.
    Field(&'a Place<'a>, &'a str),
    /// `parent[name]`.
    Key(&'a Place<'a>, &'a str),
    /// `parent[index]`.
    Index(&'a Place<'a>, usize),
}

impl<'a> Place<'a> {
    /// A field of this.
    pub fn field(&'a self, name: &'a str) -> Self {
        Self::Field(self, name)
    }

    /// An entry of this.
    pub fn key(&'a self, name: &'a str) -> Self {
        Self::Key(self, name)
    }

    /// An item of this.
    pub fn index(&'a self, index: usize) -> Self {
        Self::Index(self, index)
    }

    /// As errors name it: the root itself is upstream's nil path.
    pub fn path(&self) -> String {
        let path = self.to_string();
        if path.is_empty() { "<nil>".into() } else { path }
    }
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::At(text) => f.write_str(text),
            Self::Field(Place::Root, name) => f.write_str(name),
            Self::Field(parent, name) => write!(f, "{parent}.{name}"),
            Self::Key(parent, name) => write!(f, "{parent}[{name}]"),
            Self::Index(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}
