//! What is kept beside an object's bytes so that it is not made twice: its typed view and its protobuf form. Both weigh more than the bytes,
//! so there is room for so much of them in a process; what nobody asked for since the last round goes first, and is made again when it is
//! asked for.

use crate::protobuf::Message;
use coracle_base::Memo;
use parking_lot::Mutex;
use std::{
    any::Any,
    collections::VecDeque,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
};

/// Bytes that all of it may weigh.
const ROOM: usize = 16 << 20;

/// What is kept beside one object.
#[derive(Default)]
pub(crate) struct Beside {
    pub(crate) view: Memo<Arc<dyn Any + Send + Sync>>,
    pub(crate) protobuf: Memo<Message>,
    /// Whether somebody asked since the last round.
    used: AtomicBool,
}

impl Beside {
    /// Somebody asked.
    pub(crate) fn touch(&self) {
        // most often it is set: then the line need not be written
        if !self.used.load(Ordering::Relaxed) {
            self.used.store(true, Ordering::Relaxed);
        }
    }

    /// Something of this weight was made and kept; others may have to make room for it.
    pub(crate) fn grown(self: &Arc<Self>, weight: usize) {
        // beside what is history nothing is kept
        if self.view.get().is_none() && self.protobuf.get().is_none() {
            return;
        }
        let gone = KEPT.lock().add(Arc::downgrade(self), weight, ROOM);
        gone.iter().for_each(|beside| beside.forget());
    }

    fn forget(&self) {
        self.view.forget();
        self.protobuf.forget();
    }

    /// Nothing is kept from now on.
    pub(crate) fn let_go(&self) {
        self.view.let_go();
        self.protobuf.let_go();
    }
}

static KEPT: Mutex<Kept> = Mutex::new(Kept { queue: VecDeque::new(), weight: 0 });

/// What weighs, in the order in which it is looked at. What has died meanwhile counts until its turn.
struct Kept {
    queue: VecDeque<(Weak<Beside>, usize)>,
    weight: usize,
}

impl Kept {
    /// Takes one in; those that have to go.
    fn add(&mut self, one: Weak<Beside>, weight: usize, room: usize) -> Vec<Arc<Beside>> {
        self.queue.push_back((one, weight));
        self.weight += weight;
        let mut gone = Vec::new();
        // each is spared once a call: the second time its turn comes it was not used since
        while self.weight > room
            && let Some((one, weight)) = self.queue.pop_front()
        {
            match one.upgrade() {
                Some(kept) if kept.used.swap(false, Ordering::Relaxed) => self.queue.push_back((one, weight)),
                found => {
                    self.weight -= weight;
                    gone.extend(found);
                }
            }
        }
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_asks_for_makes_room() {
        let mut kept = Kept { queue: VecDeque::new(), weight: 0 };
        let all: Vec<Arc<Beside>> = (0..5).map(|_| Arc::default()).collect();
        let at = |one: &Arc<Beside>| all.iter().position(|other| Arc::ptr_eq(one, other));
        let mut add = |n: usize| {
            let gone = kept.add(Arc::downgrade(&all[n]), 10, 30);
            (gone.iter().filter_map(at).collect::<Vec<_>>(), kept.weight)
        };
        assert_eq!(add(0), (vec![], 10));
        assert_eq!(add(1), (vec![], 20));
        assert_eq!(add(2), (vec![], 30));
        all[0].touch();
        assert_eq!(add(3), (vec![1], 30), "the first was asked for");
        assert_eq!(add(4), (vec![2], 30));
        all.iter().for_each(|one| one.touch());
        assert_eq!(add(1), (vec![3], 30), "all were: then the eldest goes");
    }
}
