//! The channel of a sidecar's events: each reader gets all events from its subscription on, and one that is too slow loses the oldest.
//!
//! It behaves as `tokio::sync::broadcast`, which makes room for all events of a channel ahead: 7 KiB for each sidecar. This one takes memory
//! for the events that a reader has not taken yet.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use tokio::sync::Notify;

/// For how many events memory is kept when all are taken.
const KEPT: usize = 4;

/// A channel, and its first reader. A reader may lag behind by so many events.
pub(crate) fn channel<T>(capacity: usize) -> (EventSender<T>, EventReceiver<T>) {
    let queue = Queue { events: VecDeque::new(), first: 0, readers: 0, closed: false };
    let shared = Arc::new(Shared { queue: Mutex::new(queue), changed: Notify::new(), capacity });
    let sender = EventSender(Arc::new(Open(shared)));
    let receiver = sender.subscribe();
    (sender, receiver)
}

/// Sends events. Clones are the same channel, which ends with the last of them.
#[derive(Debug)]
pub(crate) struct EventSender<T>(Arc<Open<T>>);

/// The same, and does not keep the channel open.
#[derive(Debug)]
pub(crate) struct WeakEventSender<T>(Weak<Open<T>>);

/// Reads events.
#[derive(Debug)]
pub(crate) struct EventReceiver<T> {
    shared: Arc<Shared<T>>,
    /// The number of the next event.
    next: u64,
}

/// Why no event was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoEvent {
    /// The reader has lost so many events.
    Missed(u64),
    /// There will be no more.
    Closed,
}

/// The channel, as long as it has a sender.
#[derive(Debug)]
struct Open<T>(Arc<Shared<T>>);

#[derive(Debug)]
struct Shared<T> {
    queue: Mutex<Queue<T>>,
    changed: Notify,
    capacity: usize,
}

#[derive(Debug)]
struct Queue<T> {
    events: VecDeque<Waiting<T>>,
    /// The number of the first of them.
    first: u64,
    readers: usize,
    closed: bool,
}

/// An event that waits for readers.
#[derive(Debug)]
struct Waiting<T> {
    event: T,
    /// How many have not taken it.
    readers: usize,
}

impl<T> EventSender<T> {
    /// Passes an event to all readers. Without a reader, it is dropped.
    pub(crate) fn send(&self, event: T) {
        let Open(shared) = &*self.0;
        let mut queue = shared.lock();
        let readers = queue.readers;
        if readers == 0 {
            return;
        }
        queue.events.push_back(Waiting { event, readers });
        let lost = if queue.events.len() > shared.capacity { queue.pop() } else { None };
        drop(queue);
        drop(lost);
        shared.changed.notify_waiters();
    }

    /// A reader of the events from now on.
    pub(crate) fn subscribe(&self) -> EventReceiver<T> {
        let Open(shared) = &*self.0;
        let mut queue = shared.lock();
        queue.readers += 1;
        let next = queue.end();
        drop(queue);
        EventReceiver { shared: Arc::clone(shared), next }
    }

    pub(crate) fn downgrade(&self) -> WeakEventSender<T> {
        WeakEventSender(Arc::downgrade(&self.0))
    }
}

impl<T> Clone for EventSender<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> WeakEventSender<T> {
    /// The sender, if there is still one.
    pub(crate) fn upgrade(&self) -> Option<EventSender<T>> {
        self.0.upgrade().map(EventSender)
    }
}

impl<T> Clone for WeakEventSender<T> {
    fn clone(&self) -> Self {
        Self(Weak::clone(&self.0))
    }
}

impl<T: Clone> EventReceiver<T> {
    /// Waits for the next event. Cancel-safe: dropping the future loses no event.
    pub(crate) async fn recv(&mut self) -> Result<T, NoEvent> {
        // During a flood there is always an event: other tasks get their turn, and this task can be aborted.
        tokio::task::coop::consume_budget().await;
        loop {
            // Before the look, so that it hears of each later event.
            let changed = self.shared.changed.notified();
            if let Some(event) = take(&self.shared, &mut self.next) {
                return event;
            }
            changed.await;
        }
    }

    /// How many events the next calls return without a wait.
    pub(crate) fn len(&self) -> usize {
        let queue = self.shared.lock();
        usize::try_from(queue.end() - self.next.max(queue.first)).unwrap_or(usize::MAX)
    }
}

/// Takes the event of this number. `None` if it has not come yet.
fn take<T: Clone>(shared: &Shared<T>, next: &mut u64) -> Option<Result<T, NoEvent>> {
    let mut queue = shared.lock();
    if let Some(missed) = queue.first.checked_sub(*next).filter(|missed| *missed > 0) {
        *next = queue.first;
        return Some(Err(NoEvent::Missed(missed)));
    }
    let closed = queue.closed;
    let Some(waiting) = usize::try_from(*next - queue.first).ok().and_then(|at| queue.events.get_mut(at))
    else {
        return closed.then_some(Err(NoEvent::Closed));
    };
    *next += 1;
    waiting.readers -= 1;
    if waiting.readers > 0 {
        return Some(Ok(waiting.event.clone()));
    }
    // The last reader of it has taken all that came before, and so has each other one.
    queue.pop().map(Ok)
}

impl<T> Drop for EventReceiver<T> {
    fn drop(&mut self) {
        let mut queue = self.shared.lock();
        queue.readers -= 1;
        let taken = usize::try_from(self.next.saturating_sub(queue.first)).unwrap_or(usize::MAX);
        queue.events.iter_mut().skip(taken).for_each(|waiting| waiting.readers -= 1);
        let done = queue.events.iter().take_while(|waiting| waiting.readers == 0).count();
        let dropped: Vec<_> = std::iter::from_fn(|| queue.pop()).take(done).collect();
        drop(queue);
        drop(dropped);
    }
}

impl<T> Drop for Open<T> {
    fn drop(&mut self) {
        self.0.lock().closed = true;
        self.0.changed.notify_waiters();
    }
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, Queue<T>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Queue<T> {
    /// The number of the next event.
    fn end(&self) -> u64 {
        self.first + self.events.len() as u64
    }

    /// Removes the oldest event.
    fn pop(&mut self) -> Option<T> {
        let oldest = self.events.pop_front()?;
        self.first += 1;
        if self.events.is_empty() {
            // A flood leaves no memory behind.
            self.events.shrink_to(KEPT);
        }
        Some(oldest.event)
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;

    use proptest::prelude::*;
    use tokio::sync::broadcast::{self, error::RecvError};

    use super::*;

    const CAPACITY: usize = 8;

    #[derive(Debug, Clone)]
    enum Step {
        Send,
        Subscribe,
        Receive(usize),
        Unsubscribe(usize),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            6 => Just(Step::Send),
            1 => Just(Step::Subscribe),
            8 => (0..4_usize).prop_map(Step::Receive),
            1 => (0..4_usize).prop_map(Step::Unsubscribe),
        ];
        proptest::collection::vec(step, 0..200)
    }

    /// What a reader gets without waiting.
    fn now<F: Future>(future: F) -> Option<F::Output> {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        match std::pin::pin!(future).poll(&mut context) {
            std::task::Poll::Ready(output) => Some(output),
            std::task::Poll::Pending => None,
        }
    }

    /// Both channels, and a reader of each.
    struct Pair {
        ours: EventReceiver<Arc<u32>>,
        theirs: broadcast::Receiver<u32>,
    }

    impl Pair {
        fn receive(&mut self) {
            // Theirs also counts what is lost.
            assert_eq!(self.ours.len(), self.theirs.len().min(CAPACITY));
            let ours = now(self.ours.recv()).map(|event| event.map(|event| *event));
            let theirs = now(self.theirs.recv()).map(|event| {
                event.map_err(|error| match error {
                    RecvError::Lagged(missed) => NoEvent::Missed(missed),
                    RecvError::Closed => NoEvent::Closed,
                })
            });
            assert_eq!(ours, theirs);
        }
    }

    proptest! {
        #[test]
        fn it_behaves_as_the_channel_of_tokio(steps in steps()) {
            let (ours, receiver) = channel(CAPACITY);
            let (theirs, their_receiver) = broadcast::channel(CAPACITY);
            let mut pairs = vec![Pair { ours: receiver, theirs: their_receiver }];
            for (number, step) in (0..).zip(steps) {
                match step {
                    Step::Send => {
                        ours.send(Arc::new(number));
                        let _ = theirs.send(number);
                    }
                    Step::Subscribe => pairs.push(Pair { ours: ours.subscribe(), theirs: theirs.subscribe() }),
                    Step::Receive(at) => pairs.get_mut(at).into_iter().for_each(Pair::receive),
                    Step::Unsubscribe(at) if at < pairs.len() => drop(pairs.remove(at)),
                    Step::Unsubscribe(_) => {}
                }
                // An event that all readers have taken is freed.
                let most = pairs.iter().map(|pair| pair.ours.len()).max().unwrap_or_default();
                prop_assert_eq!(ours.0.0.lock().events.len(), most);
            }
            drop((ours, theirs));
            for mut pair in pairs {
                (0..10).for_each(|_| pair.receive());
            }
        }
    }

    #[test]
    fn a_reader_that_takes_its_events_leaves_no_memory_reserved_for_others() {
        let (sender, mut receiver) = channel(128);
        for number in 0..1000 {
            sender.send(number);
            assert_eq!(now(receiver.recv()), Some(Ok(number)));
        }
        assert!(sender.0.0.lock().events.capacity() < 16);
        (0..1000).for_each(|number| sender.send(number));
        assert_eq!(now(receiver.recv()), Some(Err(NoEvent::Missed(1000 - 128))));
        (0..128).for_each(|_| assert!(now(receiver.recv()).unwrap().is_ok()));
        assert!(sender.0.0.lock().events.capacity() < 16, "after a flood");
    }

    #[tokio::test]
    async fn a_waiting_reader_learns_of_an_event_and_of_the_end() {
        let (sender, mut receiver) = channel(8);
        let weak = sender.downgrade();
        let reader = tokio::spawn(async move { (receiver.recv().await, receiver.recv().await) });
        tokio::task::yield_now().await;
        weak.upgrade().unwrap().send(1);
        tokio::task::yield_now().await;
        drop(sender);
        assert_eq!(reader.await.unwrap(), (Ok(1), Err(NoEvent::Closed)));
        assert!(weak.upgrade().is_none());
    }
}
