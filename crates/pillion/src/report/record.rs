//! What is remembered of a sidecar for a diagnosis: its states over time, what was declared, and what must not be told.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use pillion_protocol::Token;

use crate::{spec::Spec, status::Status};

/// How many statuses are kept.
const STATUSES: usize = 200;
/// How many tokens are kept: each is of one run, and the kept output can be that of many.
const TOKENS: usize = 200;

/// The record of one sidecar. Clones are the same record.
#[derive(Debug, Clone, Default)]
pub(crate) struct Record(Arc<Mutex<Recorded>>);

#[derive(Debug, Default)]
struct Recorded {
    statuses: VecDeque<Status>,
    tokens: VecDeque<Token>,
    /// The specifications that it was started with, the newest last: a swap can bring another one.
    specs: VecDeque<Arc<Spec>>,
}

impl Record {
    pub(crate) fn add_status(&self, status: &Status) {
        push(&mut self.lock().statuses, status.clone(), STATUSES);
    }

    pub(crate) fn add_token(&self, token: &Token) {
        push(&mut self.lock().tokens, token.clone(), TOKENS);
    }

    pub(crate) fn add_spec(&self, spec: Arc<Spec>) {
        push(&mut self.lock().specs, spec, STATUSES);
    }

    /// Oldest first.
    pub(crate) fn statuses(&self) -> Vec<Status> {
        self.lock().statuses.iter().cloned().collect()
    }

    pub(crate) fn tokens(&self) -> Vec<Token> {
        self.lock().tokens.iter().cloned().collect()
    }

    pub(crate) fn specs(&self) -> Vec<Arc<Spec>> {
        self.lock().specs.iter().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Recorded> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn push<T>(values: &mut VecDeque<T>, value: T, limit: usize) {
    if values.len() == limit {
        values.pop_front();
    }
    if values.is_empty() {
        // Most sidecars have one specification and one run, and a collection that grows by itself makes room for four at once.
        values.reserve_exact(1);
    }
    values.push_back(value);
}
