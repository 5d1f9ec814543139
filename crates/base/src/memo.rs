//! A value that is worth keeping only for a while.

use parking_lot::RwLock;

enum State<T> {
    Empty,
    Kept(T),
    LetGo,
}

/// Made on first use and shared by all who ask, until it is let go; from then on each who asks makes one of his own.
pub struct Memo<T>(RwLock<State<T>>);

impl<T> Default for Memo<T> {
    fn default() -> Self {
        Self(RwLock::new(State::Empty))
    }
}

impl<T: Clone> Memo<T> {
    /// The value, if one is kept.
    pub fn get(&self) -> Option<T> {
        match &*self.0.read() {
            State::Kept(value) => Some(value.clone()),
            State::Empty | State::LetGo => None,
        }
    }

    /// Keeps `value`, if nothing is kept yet and it was not let go; the value to use: the one that is kept, or this one.
    pub fn keep(&self, value: T) -> T {
        let mut state = self.0.write();
        match &*state {
            State::Kept(first) => return first.clone(),
            State::Empty => *state = State::Kept(value.clone()),
            State::LetGo => {}
        }
        value
    }

    /// Keeps the value no longer; the next one is kept again.
    pub fn forget(&self) {
        let mut state = self.0.write();
        if matches!(*state, State::Kept(_)) {
            let _gone = std::mem::replace(&mut *state, State::Empty);
            // the value ends when nobody is kept waiting for it
            drop(state);
        }
    }

    /// Keeps no value from now on.
    pub fn let_go(&self) {
        *self.0.write() = State::LetGo;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_value_is_kept_until_it_is_let_go() {
        let memo = Memo::default();
        assert_eq!(memo.get(), None);
        assert_eq!((memo.keep(1), memo.keep(2), memo.get()), (1, 1, Some(1)));
        memo.forget();
        assert_eq!((memo.get(), memo.keep(2), memo.get()), (None, 2, Some(2)));
        memo.let_go();
        assert_eq!((memo.get(), memo.keep(3), memo.get()), (None, 3, None));
        memo.forget();
        assert_eq!((memo.keep(4), memo.get()), (4, None));
    }
}
