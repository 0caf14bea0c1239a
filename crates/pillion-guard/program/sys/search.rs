//! Decides which processes belong to a sidecar on a system that adopts no orphans. Pure: [`ProcessTable`] is what the system tells, and a
//! test can be one.
//!
//! No look at a process table is exact: the system may fail, a process may be about to execute a program, and one may fork and exit between
//! the list and the look at it. So a look without a result is not yet "none": see [`Search::is_over`].

use std::collections::{BTreeMap, BTreeSet};

/// A process that lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProcessInfo {
    /// Its process id, which the system uses again after its death.
    pub pid: i32,
    /// The process id of its parent; 1 after the parent's death.
    pub parent: i32,
    /// The number of its process group.
    pub group: i32,
    /// The number of its session; 0 if the system did not tell.
    pub session: i32,
    /// A number that no other process gets before the system is restarted. It stays the same across execve(2).
    pub unique_id: u64,
    /// The unique id of the process that forked it, even after that one's death. From macOS 13 on, an orphan that executes a program has that
    /// of launchd instead (`pinsertchild` in XNU's `kern_proc.c`).
    pub parent_unique_id: u64,
    /// A number that no other process gets soon, and that each execve(2) replaces; 0 if the system does not tell.
    pub version: i32,
    /// The version that the process which forked it had then; 0 if the system does not tell, as before macOS 15.4. Nothing changes it.
    pub original_parent_version: i32,
}

/// What the environment of a process says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Environment {
    /// It has the entry.
    Marked,
    /// It does not have the entry, or the system hides it, as that of programs that belong to macOS.
    Unmarked,
    /// The system did not tell: the process is about to execute a program, or has ended.
    Unknown,
}

/// The processes of a system.
pub trait ProcessTable {
    /// The ids of all processes. `None` if the system did not tell.
    fn pids(&mut self) -> Option<Vec<i32>>;
    /// The process with this id. `None` if it is dead (reaped or not) or hidden.
    fn find(&mut self, pid: i32) -> Option<ProcessInfo>;
    /// Whether the process was started with `entry`, a `NAME=value`, in its environment.
    fn environment(&mut self, pid: i32, entry: &[u8]) -> Environment;
}

/// A search for the processes of one sidecar, which looks at the process table again and again.
#[derive(Debug)]
pub struct Search {
    /// This process, which does not belong to the sidecar.
    own: i32,
    /// The entry of the environment that only processes of the sidecar have.
    marker: Option<Vec<u8>>,
    /// The unique ids of processes whose children belong to the sidecar whatever comes: the guard and the leader.
    roots: BTreeSet<u64>,
    /// The unique ids of processes that belong to the sidecar, or did: their children belong to it, too.
    lineage: BTreeSet<u64>,
    /// The versions that they had. An orphan that has executed a program is known by that of its parent alone.
    versions: BTreeSet<i32>,
    /// A session that belongs to the sidecar.
    session: Option<i32>,
    /// The versions of living processes, by their unique ids, whose environment does not have the entry: only execve(2) changes it.
    unmarked: BTreeMap<u64, i32>,
    /// How often the system did not tell the environment of a process.
    unknown: BTreeMap<u64, u32>,
    found: Vec<ProcessInfo>,
    /// The looks in a row that were complete and found none.
    empty_looks: u32,
}

/// How many members of the lineage are remembered. Of more than that, dead ones are forgotten first, and of those the oldest.
const LINEAGE: usize = 16 * 1024;
/// How often a process is asked for its environment. A system may refuse for ever.
const ENVIRONMENT_ATTEMPTS: u32 = 50;
/// How many complete looks in a row must find none.
const EMPTY_LOOKS: u32 = 2;

impl Search {
    /// A search by `own`, the id of this process. It finds processes with this entry in their environment.
    #[must_use]
    pub fn new(own: i32, marker: Option<Vec<u8>>) -> Self {
        Self {
            own,
            marker,
            roots: BTreeSet::new(),
            lineage: BTreeSet::new(),
            versions: BTreeSet::new(),
            session: None,
            unmarked: BTreeMap::new(),
            unknown: BTreeMap::new(),
            found: Vec::new(),
            empty_looks: 0,
        }
    }

    /// Lets all processes of this session belong to the sidecar. The system must not be able to use its number again: its leader is not reaped.
    #[must_use]
    pub fn of_session(mut self, session: Option<i32>) -> Self {
        self.session = session.filter(|session| *session > 0);
        self
    }

    /// Lets all that the process with this unique id has forked and will fork belong to the sidecar, and itself too, for as long as this search
    /// lasts.
    pub fn remember_root(&mut self, unique_id: u64) {
        self.roots.insert(unique_id);
    }

    /// The same, until there are many younger ones.
    pub fn remember(&mut self, unique_id: u64) {
        self.lineage.insert(unique_id);
        while self.lineage.len() > LINEAGE {
            // The last look shows which ones live.
            let lives = |id: &u64| self.found.iter().any(|process| process.unique_id == *id);
            let oldest = self.lineage.iter().copied().find(|id| !lives(id));
            let oldest = oldest.or_else(|| self.lineage.first().copied());
            oldest.map(|oldest| self.lineage.remove(&oldest));
        }
    }

    /// Remembers a process that was found.
    fn remember_found(&mut self, process: &ProcessInfo) {
        self.remember(process.unique_id);
        if process.version != 0 {
            self.versions.insert(process.version);
        }
        if self.versions.len() > LINEAGE {
            self.versions.pop_first();
        }
    }

    fn is_remembered(&self, unique_id: u64) -> bool {
        self.roots.contains(&unique_id) || self.lineage.contains(&unique_id)
    }

    /// The processes that the last look found.
    #[must_use]
    pub fn found(&self) -> &[ProcessInfo] {
        &self.found
    }

    /// Whether no process is left, as far as one can know: the last looks were complete and found none.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.empty_looks >= EMPTY_LOOKS
    }

    /// Looks once. `group` is the process group of the sidecar, if the system cannot have used its number again; a member that is known
    /// holds the number as well.
    pub fn look(&mut self, table: &mut impl ProcessTable, group: Option<i32>, held: bool) {
        let Some(pids) = table.pids().filter(|pids| pids.contains(&self.own)) else {
            // A list without this process is not the list of all.
            self.found
                .retain(|known| table.find(known.pid).is_some_and(|now| now.unique_id == known.unique_id));
            self.empty_looks = 0;
            return;
        };
        let mut complete = true;
        let processes = pids.into_iter().filter(|pid| *pid != self.own).filter_map(|pid| table.find(pid));
        let mut others: Vec<_> = processes.collect();
        let living: BTreeSet<_> = others.iter().map(|process| process.unique_id).collect();
        self.unknown.retain(|unique_id, _| living.contains(unique_id));
        self.unmarked.retain(|unique_id, _| living.contains(unique_id));
        let known_holds = others.iter().any(|it| Some(it.group) == group && self.is_remembered(it.unique_id));
        let group = group.filter(|_| held || known_holds);
        let mut found: Vec<_> =
            others.extract_if(.., |process| Some(process.group) == group || self.is_kin(process)).collect();
        self.adopt(&mut found, &mut others);
        // The environments last: to read one takes longer than all else.
        let mut marked: Vec<_> =
            others.extract_if(.., |process| self.is_marked(table, process, &mut complete)).collect();
        marked.iter().for_each(|process| self.remember_found(process));
        found.append(&mut marked);
        self.adopt(&mut found, &mut others);
        self.empty_looks = if complete && found.is_empty() { self.empty_looks + 1 } else { 0 };
        self.found = found;
    }

    fn is_kin(&self, process: &ProcessInfo) -> bool {
        self.is_remembered(process.unique_id)
            || self.is_remembered(process.parent_unique_id)
            || self.session == Some(process.session)
            || (process.original_parent_version != 0
                && self.versions.contains(&process.original_parent_version))
    }

    /// Moves the descendants of `found` there, and remembers all of them.
    fn adopt(&mut self, found: &mut Vec<ProcessInfo>, others: &mut Vec<ProcessInfo>) {
        found.iter().for_each(|process| self.remember_found(process));
        loop {
            let is_child = |process: &mut ProcessInfo| {
                self.is_kin(process) || found.iter().any(|parent| parent.pid == process.parent)
            };
            let children: Vec<_> = others.extract_if(.., is_child).collect();
            if children.is_empty() {
                return;
            }
            children.iter().for_each(|process| self.remember_found(process));
            found.extend(children);
        }
    }

    fn is_marked(
        &mut self,
        table: &mut impl ProcessTable,
        process: &ProcessInfo,
        complete: &mut bool,
    ) -> bool {
        let Some(marker) = &self.marker else { return false };
        if process.version != 0 && self.unmarked.get(&process.unique_id) == Some(&process.version) {
            return false;
        }
        match table.environment(process.pid, marker) {
            Environment::Marked => true,
            Environment::Unmarked => {
                self.unmarked.insert(process.unique_id, process.version);
                false
            }
            Environment::Unknown => {
                // One that has ended meanwhile has nothing more to tell.
                if table.find(process.pid).is_some_and(|now| now.unique_id == process.unique_id) {
                    let attempts = self.unknown.entry(process.unique_id).or_default();
                    *attempts += 1;
                    *complete &= *attempts >= ENVIRONMENT_ATTEMPTS;
                }
                false
            }
        }
    }
}

#[cfg(test)]
#[path = "search/tests.rs"]
mod tests;
