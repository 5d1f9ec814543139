//! The one writer: everything that changes the store goes through this thread, in batches.

use crate::{Committed, Engine, Event, Expect, Key, Op, Record, Rejected, Shared, Snapshot, Stored};
use coracle_base::Memo;
use std::{
    sync::{Arc, mpsc},
    time::Instant,
};
use tokio::sync::oneshot;

type Answer<T> = Result<Committed<T>, Rejected<T>>;

pub(crate) struct Request<T: Stored> {
    pub ops: Vec<Op<T>>,
    pub reply: oneshot::Sender<Answer<T>>,
}

pub(crate) struct Writer<T: Stored> {
    engine: Box<dyn Engine>,
    shared: Arc<Shared<T>>,
    batch: usize,
}

/// The world as it will be once the batch is on disk.
struct Batch<T: Stored> {
    next: Snapshot<T>,
    revision: u64,
    records: Vec<Record>,
    events: Vec<Event<T>>,
    /// Answers, also to those whose preconditions failed: what they failed against may be part of this batch, and whoever is told of a conflict
    /// must find its cause in the next snapshot.
    done: Vec<(oneshot::Sender<Answer<T>>, Answer<T>)>,
}

impl<T: Stored> Writer<T> {
    pub fn new(engine: Box<dyn Engine>, shared: Arc<Shared<T>>, batch: usize) -> Self {
        Self { engine, shared, batch }
    }

    pub fn run(mut self, requests: &mpsc::Receiver<Request<T>>) {
        while let Ok(first) = requests.recv() {
            let next = self.shared.snapshot.read().clone();
            let revision = next.revision();
            let mut batch = Batch { next, revision, records: Vec::new(), events: Vec::new(), done: Vec::new() };
            batch.add(first);
            // whatever queued up while the last sync ran shares the next one
            while batch.done.len() < self.batch
                && let Ok(request) = requests.try_recv()
            {
                batch.add(request);
            }
            self.finish(batch);
        }
    }

    fn finish(&mut self, batch: Batch<T>) {
        let Batch { mut next, revision, records, events, done } = batch;
        if !records.is_empty() {
            let written = self.engine.append(&records, revision);
            // read at every health check: written only when it changes
            if written.is_err() || self.shared.failure.read().is_some() {
                *self.shared.failure.write() = written.as_ref().err().map(ToString::to_string);
            }
            if let Err(why) = written {
                for (reply, _) in done {
                    let _ = reply.send(Err(Rejected::Disk(why.clone())));
                }
                return;
            }
            next.set_revision(revision);
            let before = std::mem::replace(&mut *self.shared.snapshot.write(), next);
            self.shared.logs.publish(events, revision);
            drop(before);
        }
        for (reply, answer) in done {
            // whoever asked may have gone; the commit stands
            let _ = reply.send(answer);
        }
    }
}

impl<T: Stored> Batch<T> {
    fn add(&mut self, request: Request<T>) {
        if let Some((op, current)) = self.broken(&request.ops) {
            self.done.push((request.reply, Err(Rejected::Conflict { op, current })));
            return;
        }
        let values = request.ops.into_iter().map(|op| self.apply(op)).collect();
        self.done.push((request.reply, Ok(Committed { revision: self.revision, values })));
    }

    /// The first operation whose precondition does not hold. All are checked against the state before the commit.
    fn broken(&self, ops: &[Op<T>]) -> Option<(usize, Option<Arc<T>>)> {
        ops.iter().enumerate().find_map(|(i, op)| {
            let (key, expect) = match op {
                Op::Put { key, expect, .. } | Op::Delete { key, expect } | Op::Check { key, expect } => (key, expect),
            };
            let current = self.next.get(key);
            let holds = match expect {
                Expect::Any => true,
                Expect::Absent => current.is_none(),
                Expect::Revision(revision) => current.is_some_and(|c| c.revision() == *revision),
            };
            (!holds).then(|| (i, current.cloned()))
        })
    }

    fn apply(&mut self, op: Op<T>) -> Option<Arc<T>> {
        match op {
            Op::Put { key, draft, .. } => {
                self.revision += 1;
                let value = Arc::new(T::seal(draft, self.revision));
                let old = self.next.put(&key, &value);
                self.records.push(Record { key: key.clone(), value: Some(value.bytes().clone()) });
                self.event(key, old, Some(value.clone()));
                Some(value)
            }
            Op::Delete { key, .. } => {
                let old = self.next.remove(&key)?;
                self.revision += 1;
                self.records.push(Record { key: key.clone(), value: None });
                self.event(key, Some(old.clone()), None);
                Some(old)
            }
            Op::Check { key, .. } => self.next.get(&key).cloned(),
        }
    }

    fn event(&mut self, key: Key, old: Option<Arc<T>>, new: Option<Arc<T>>) {
        self.events.push(Event { revision: self.revision, key, old, new, at: Instant::now(), memo: Memo::default() });
    }
}
