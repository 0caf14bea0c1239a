//! The slots of the open connections, so that clients without the token cannot keep out clients with it.
//!
//! A connection is *unauthorized* until admission serves one of its requests, which takes the token if the sidecar has one. A new
//! connection always gets a slot as long as an unauthorized one exists: the pool evicts the oldest unauthorized connection for it.
//! Besides, unauthorized connections never hold all slots. An authorized connection is never evicted.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::sync::oneshot;

/// The part of the slots that unauthorized connections leave free: a quarter.
const RESERVED: usize = 4;

/// The slots of one listener.
#[derive(Debug)]
pub(crate) struct Pool {
    most: usize,
    most_unauthorized: usize,
    slots: Mutex<Slots>,
}

#[derive(Debug, Default)]
struct Slots {
    /// The connections that hold a slot.
    taken: usize,
    /// The unauthorized ones among them, from the oldest to the newest, and how to evict them.
    unauthorized: BTreeMap<u64, oneshot::Sender<()>>,
    next: u64,
}

impl Pool {
    /// A pool for up to `most` connections, at least one.
    pub(crate) fn new(most: usize) -> Arc<Self> {
        let most = most.max(1);
        Arc::new(Self { most, most_unauthorized: most - most / RESERVED, slots: Mutex::default() })
    }

    /// Takes a slot for a new connection, and evicts the oldest unauthorized connection if the pool is full. Returns `None` if
    /// authorized connections hold every slot.
    pub(crate) fn take(self: &Arc<Self>) -> Option<(Slot, Eviction)> {
        let mut slots = self.lock();
        while slots.taken >= self.most || slots.unauthorized.len() >= self.most_unauthorized {
            let (_, evict) = slots.unauthorized.pop_first()?;
            slots.taken -= 1;
            // Fails if the connection has just ended, and its slot is about to be dropped.
            let _ = evict.send(());
        }
        let (evict, evicted) = oneshot::channel();
        let id = slots.next;
        slots.next += 1;
        slots.taken += 1;
        slots.unauthorized.insert(id, evict);
        let slot = Slot { pool: Arc::clone(self), id, authorized: AtomicBool::new(false) };
        Some((slot, Eviction(evicted)))
    }

    fn lock(&self) -> MutexGuard<'_, Slots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The slot of one connection. Dropping it frees the slot.
#[derive(Debug)]
pub(crate) struct Slot {
    pool: Arc<Pool>,
    id: u64,
    authorized: AtomicBool,
}

impl Slot {
    /// Marks the connection as authorized. Has no effect if the pool has already evicted it.
    pub(crate) fn authorize(&self) {
        if !self.is_authorized() && self.pool.lock().unauthorized.remove(&self.id).is_some() {
            self.authorized.store(true, Ordering::Relaxed);
        }
    }

    pub(crate) fn is_authorized(&self) -> bool {
        self.authorized.load(Ordering::Relaxed)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut slots = self.pool.lock();
        // The pool has already freed the slot of an evicted connection, which is neither unauthorized nor authorized.
        if slots.unauthorized.remove(&self.id).is_some() || self.is_authorized() {
            slots.taken -= 1;
        }
    }
}

/// Tells a connection that the pool has evicted it.
#[derive(Debug)]
pub(crate) struct Eviction(oneshot::Receiver<()>);

impl Eviction {
    /// Resolves when the pool evicts the connection. Never resolves for an authorized connection.
    pub(crate) async fn evicted(self) {
        if self.0.await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_evicted(eviction: &mut Eviction) -> bool {
        eviction.0.try_recv().is_ok()
    }

    /// The taken slots, and the unauthorized ones among them.
    fn counts(pool: &Pool) -> (usize, usize) {
        let slots = pool.lock();
        (slots.taken, slots.unauthorized.len())
    }

    #[test]
    fn a_full_pool_evicts_the_oldest_unauthorized_connection() {
        let pool = Pool::new(4);
        let mut held: Vec<_> = (0..3).map(|_| pool.take().unwrap()).collect();
        held[0].0.authorize();
        // Three unauthorized ones are the most, as one slot of four is reserved.
        let _third = pool.take().unwrap();
        let _full = pool.take().unwrap();
        assert!(!is_evicted(&mut held[0].1), "an authorized connection stays");
        assert!(is_evicted(&mut held[1].1), "the oldest unauthorized one goes");
        assert!(!is_evicted(&mut held[2].1));
    }

    #[test]
    fn unauthorized_connections_leave_a_quarter_of_the_slots_free() {
        let pool = Pool::new(8);
        let held: Vec<_> = (0..20).map(|_| pool.take().unwrap()).collect();
        assert_eq!(counts(&pool), (6, 6));
        drop(held);
        assert_eq!(counts(&pool), (0, 0));
    }

    #[test]
    fn a_pool_full_of_authorized_connections_takes_no_further_one() {
        let pool = Pool::new(4);
        let mut held: Vec<_> =
            (0..4).map(|_| pool.take().unwrap()).inspect(|(slot, _)| slot.authorize()).collect();
        assert!(pool.take().is_none());
        held.pop();
        assert!(pool.take().is_some());
    }

    #[test]
    fn an_evicted_connection_cannot_be_authorized_and_frees_its_slot_once() {
        let pool = Pool::new(1);
        let (evicted, _eviction) = pool.take().unwrap();
        let (next, _next_eviction) = pool.take().unwrap();
        evicted.authorize();
        assert!(!evicted.is_authorized());
        drop(evicted);
        assert_eq!(pool.lock().taken, 1);
        drop(next);
        assert_eq!(pool.lock().taken, 0);
    }
}
