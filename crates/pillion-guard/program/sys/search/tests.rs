use std::collections::VecDeque;

use super::*;

const MARKER: &[u8] = b"PILLION_INSTANCE=1";
/// The guard's process id, and its unique id.
const OWN: i32 = 10;

/// A process with a unique id of a hundred times its number, forked by `parent`, which may be dead. The system tells no versions.
fn process(pid: i32, parent: i32, group: i32) -> ProcessInfo {
    let (unique_id, parent_unique_id) = (unique(pid), unique(parent));
    let (session, version, original_parent_version) = (group, 0, 0);
    ProcessInfo { pid, parent, group, session, unique_id, parent_unique_id, version, original_parent_version }
}

fn unique(pid: i32) -> u64 {
    u64::try_from(pid).unwrap() * 100
}

fn orphan(pid: i32, forked_by: i32) -> ProcessInfo {
    ProcessInfo { parent: 1, parent_unique_id: unique(forked_by), ..process(pid, 1, pid) }
}

/// A table that changes between looks: the front of each queue holds for one look.
#[derive(Default)]
struct Recorded {
    looks: VecDeque<Option<Vec<(ProcessInfo, Environment)>>>,
    now: Vec<(ProcessInfo, Environment)>,
    /// Processes that end between the list and the look at their environment.
    end_after_list: Vec<i32>,
}

impl ProcessTable for Recorded {
    fn pids(&mut self) -> Option<Vec<i32>> {
        self.now = self.looks.pop_front().unwrap()?;
        Some([OWN, 1].into_iter().chain(self.now.iter().map(|(process, _)| process.pid)).collect())
    }

    fn find(&mut self, pid: i32) -> Option<ProcessInfo> {
        if pid == OWN {
            return Some(process(OWN, 5, OWN));
        }
        self.now.iter().map(|(process, _)| *process).find(|process| process.pid == pid)
    }

    fn environment(&mut self, pid: i32, entry: &[u8]) -> Environment {
        assert_eq!(entry, MARKER);
        let (_, environment) = *self.now.iter().find(|(process, _)| process.pid == pid).unwrap();
        if self.end_after_list.contains(&pid) {
            self.now.retain(|(process, _)| process.pid != pid);
        }
        environment
    }
}

fn recorded<const N: usize>(looks: [Option<&[(ProcessInfo, Environment)]>; N]) -> Recorded {
    Recorded { looks: looks.map(|look| look.map(<[_]>::to_vec)).into(), ..Recorded::default() }
}

fn search() -> Search {
    Search::new(OWN, Some(MARKER.to_vec()))
}

fn pids(search: &Search) -> Vec<i32> {
    let mut pids: Vec<_> = search.found().iter().map(|process| process.pid).collect();
    pids.sort_unstable();
    pids
}

use Environment::{Marked, Unknown, Unmarked};

#[test]
fn a_failed_look_and_an_empty_list_are_not_none() {
    let leader = [(process(20, OWN, 20), Unmarked)];
    let mut table = recorded([None, Some(&leader), None, Some(&[]), None, Some(&[]), Some(&[])]);
    let mut search = search();
    search.remember(unique(20));
    let mut look = |search: &mut Search| {
        search.look(&mut table, Some(20), true);
        (pids(search), search.is_over())
    };
    assert_eq!(look(&mut search), (vec![], false), "the list failed");
    assert_eq!(look(&mut search), (vec![20], false));
    let (_, over) = look(&mut search);
    assert!(!over, "the list failed");
    assert_eq!(look(&mut search), (vec![], false), "one empty look");
    assert!(!look(&mut search).1, "a failed look begins the count again");
    assert!(!look(&mut search).1);
    assert_eq!(look(&mut search), (vec![], true));
}

#[test]
fn a_list_without_this_process_is_not_the_list_of_all() {
    struct Empty;
    impl ProcessTable for Empty {
        fn pids(&mut self) -> Option<Vec<i32>> {
            Some(Vec::new())
        }
        fn find(&mut self, _pid: i32) -> Option<ProcessInfo> {
            None
        }
        fn environment(&mut self, _pid: i32, _entry: &[u8]) -> Environment {
            Unmarked
        }
    }
    let mut search = search();
    for _ in 0..10 {
        search.look(&mut Empty, None, false);
        assert!(!search.is_over());
    }
}

#[test]
fn a_process_that_executes_a_program_is_asked_again() {
    let daemon = |environment| [(orphan(30, 29), environment)];
    let (executes, marked) = (daemon(Unknown), daemon(Marked));
    let mut table = recorded([Some(&executes), Some(&executes), Some(&marked), Some(&[]), Some(&[])]);
    let mut search = search();
    for found in [vec![], vec![], vec![30], vec![]] {
        search.look(&mut table, None, false);
        assert_eq!((pids(&search), search.is_over()), (found, false));
    }
    search.look(&mut table, None, false);
    assert!(search.is_over());
}

#[test]
fn a_process_that_ends_after_the_list_does_not_make_the_look_uncertain() {
    let ends = [(orphan(30, 29), Unknown)];
    let mut table = recorded([Some(&ends), Some(&ends)]);
    table.end_after_list = vec![30];
    let mut search = search();
    search.look(&mut table, None, false);
    search.look(&mut table, None, false);
    assert!(search.is_over());
}

#[test]
fn a_process_that_never_tells_does_not_make_the_search_endless() {
    let hidden = [(orphan(30, 29), Unknown)];
    let mut looks = 0;
    let mut search = search();
    while !search.is_over() {
        search.look(&mut recorded([Some(&hidden)]), None, false);
        looks += 1;
    }
    assert_eq!(looks, ENVIRONMENT_ATTEMPTS + EMPTY_LOOKS - 1);
}

#[test]
fn a_known_process_is_found_without_its_environment() {
    // A script of /bin/sh, whose environment macOS hides, its child, and a daemon of that child, which has ended.
    let first =
        [(process(20, OWN, 20), Unmarked), (process(21, 20, 20), Unmarked), (orphan(99, 98), Unmarked)];
    let second = [(orphan(30, 21), Unmarked), (orphan(99, 98), Unmarked)];
    let mut table = recorded([Some(&first), Some(&second)]);
    let mut search = search();
    search.remember(unique(20));
    search.look(&mut table, None, false);
    assert_eq!(pids(&search), [20, 21]);
    search.look(&mut table, None, false);
    assert_eq!(pids(&search), [30], "its parent is dead, and was known");
}

/// What XNU makes of an orphan that executes a program: launchd has forked it.
fn executed(orphan: ProcessInfo) -> ProcessInfo {
    ProcessInfo { parent_unique_id: unique(1), ..orphan }
}

#[test]
fn an_orphan_that_executes_a_program_is_known_by_the_version_of_its_parent() {
    let with = |version, original_parent_version, process| ProcessInfo {
        version,
        original_parent_version,
        ..process
    };
    let first = [(with(7, 6, process(20, OWN, 20)), Unmarked), (with(8, 7, process(21, 20, 20)), Unmarked)];
    // The leader has executed another program since it forked one of these.
    let second = [
        (with(9, 6, process(20, OWN, 20)), Unmarked),
        (with(12, 7, executed(orphan(30, 20))), Unmarked),
        (with(13, 8, executed(orphan(31, 21))), Unmarked),
        (with(14, 9, executed(orphan(32, 20))), Unmarked),
        (with(15, 5, executed(orphan(98, 97))), Unmarked),
        (with(16, 0, executed(orphan(99, 97))), Unmarked),
    ];
    let mut search = search();
    search.remember(unique(20));
    search.look(&mut recorded([Some(&first)]), None, false);
    search.look(&mut recorded([Some(&second[..3])]), None, false);
    assert_eq!(pids(&search), [20, 30, 31]);
    search.look(&mut recorded([Some(&second)]), None, false);
    assert_eq!(pids(&search), [20, 30, 31, 32]);
}

#[test]
fn all_processes_of_the_session_are_found() {
    let in_session = |session, process| ProcessInfo { session, ..process };
    let look = [
        (in_session(OWN, executed(orphan(30, 29))), Unmarked),
        // The system did not tell, or it is another one.
        (in_session(0, orphan(98, 97)), Unmarked),
        (in_session(98, orphan(99, 97)), Unmarked),
    ];
    for (session, found) in [(Some(OWN), vec![30]), (Some(0), vec![]), (None, vec![])] {
        let mut search = search().of_session(session);
        search.look(&mut recorded([Some(&look)]), None, false);
        assert_eq!(pids(&search), found, "{session:?}");
    }
}

#[test]
fn an_environment_is_read_again_only_after_the_execution_of_a_program() {
    let with = |version| ProcessInfo { version, ..orphan(30, 29) };
    let look = |search: &mut Search, version, environment| {
        search.look(&mut recorded([Some(&[(with(version), environment)])]), None, false);
        pids(search)
    };
    let mut search = search();
    assert_eq!(look(&mut search, 7, Unmarked), []);
    assert_eq!(look(&mut search, 7, Marked), [], "it was not read");
    assert_eq!(look(&mut search, 8, Marked), [30]);
    // A system that tells no versions.
    let mut search = self::search();
    assert_eq!(look(&mut search, 0, Unmarked), []);
    assert_eq!(look(&mut search, 0, Marked), [30]);
}

#[test]
fn a_reused_process_id_is_another_process() {
    let leader = [(process(20, OWN, 20), Unmarked)];
    let other = ProcessInfo { unique_id: 77_777, parent_unique_id: 1, ..process(20, 1, 20) };
    let mut table = recorded([Some(&leader), Some(&[(other, Unmarked)]), Some(&[(other, Unmarked)])]);
    let mut search = search();
    search.remember(unique(20));
    search.look(&mut table, Some(20), true);
    assert_eq!(pids(&search), [20]);
    search.look(&mut table, Some(20), false);
    search.look(&mut table, Some(20), false);
    assert!(search.is_over(), "neither its id nor the number of its group makes it a member");
}

#[test]
fn members_of_the_group_count_while_its_number_is_held() {
    let member = ProcessInfo { parent: 1, parent_unique_id: 7, ..process(21, 1, 20) };
    let first = [(member, Unmarked)];
    let second = [(member, Unmarked), (ProcessInfo { parent_unique_id: 8, ..process(22, 1, 20) }, Unmarked)];
    let mut table = recorded([Some(&first), Some(&second), Some(&first)]);
    let mut search = search();
    search.look(&mut table, Some(20), true);
    assert_eq!(pids(&search), [21]);
    search.look(&mut table, Some(20), false);
    assert_eq!(pids(&search), [21, 22], "a known member holds the number");
    let mut stranger = Search::new(OWN, Some(MARKER.to_vec()));
    stranger.look(&mut table, Some(20), false);
    assert_eq!(pids(&stranger), Vec::<i32>::new(), "no known member holds it");
}

#[test]
fn descendants_of_marked_processes_are_found_even_if_they_have_erased_the_marker() {
    let look = [
        (orphan(30, 29), Marked),
        // `env -i`
        (process(31, 30, 31), Unmarked),
        (process(32, 31, 32), Unmarked),
        (orphan(99, 98), Unmarked),
    ];
    let mut search = search();
    search.look(&mut recorded([Some(&look)]), None, false);
    assert_eq!(pids(&search), [30, 31, 32]);
}

#[test]
fn the_lineage_is_bounded() {
    let mut search = search();
    for id in 0..2 * LINEAGE as u64 {
        search.remember(id);
    }
    assert_eq!((search.lineage.len(), search.lineage.first()), (LINEAGE, Some(&(LINEAGE as u64))));
}

#[test]
fn what_lives_is_remembered_longer_than_what_is_dead() {
    let look = [(process(20, OWN, 20), Unmarked), (orphan(30, 20), Unmarked)];
    let mut search = search();
    search.remember_root(unique(OWN));
    search.look(&mut recorded([Some(&look)]), None, false);
    assert_eq!(pids(&search), [20, 30]);
    for id in 1_000_000..1_000_000 + LINEAGE as u64 {
        search.remember(id);
    }
    assert_eq!(search.lineage.len(), LINEAGE);
    assert!(search.is_remembered(unique(20)) && search.is_remembered(unique(OWN)));
    // A daemon of the leader, and what the guard has forked.
    let later = [(orphan(40, 20), Unmarked), (orphan(50, OWN), Unmarked), (orphan(99, 98), Unmarked)];
    search.look(&mut recorded([Some(&later)]), None, false);
    assert_eq!(pids(&search), [40, 50]);
}
