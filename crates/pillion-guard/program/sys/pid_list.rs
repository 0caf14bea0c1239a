//! Reads a list of process ids whose length no call tells in advance.

/// How many ids the first call has space for.
const SPACE: usize = 1024;
/// Of more, no system of this kind has that many processes (`kern.maxproc`): it does not answer as it should.
const MAX_PIDS: usize = 1 << 20;

/// All ids. `fill` writes ids to the space, and returns their count, or 0 or less for an error, as `proc_listallpids` of libproc does. A
/// list that fills its space may be cut, and is read again with more. `None` if the system did not tell.
pub(super) fn complete(mut fill: impl FnMut(&mut [i32]) -> i32) -> Option<Vec<i32>> {
    let mut pids = vec![0; SPACE];
    while pids.len() <= MAX_PIDS {
        let count = usize::try_from(fill(&mut pids)).ok().filter(|count| *count > 0)?;
        if count < pids.len() {
            pids.truncate(count);
            return Some(pids);
        }
        pids.resize(2 * pids.len(), 0);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A system with this many processes at each call.
    fn system(counts: &[usize]) -> Option<Vec<i32>> {
        let mut counts = counts.iter();
        complete(|space| {
            let count = space.len().min(*counts.next().unwrap());
            for (id, place) in (1..).zip(&mut space[..count]) {
                *place = id;
            }
            i32::try_from(count).unwrap()
        })
    }

    #[test]
    fn a_list_that_fills_its_space_is_read_again() {
        for count in [1, SPACE - 1, SPACE, SPACE + 1, 5 * SPACE] {
            let pids = system(&[count; 4]).unwrap();
            assert!(pids.len() == count && pids.last() == Some(&i32::try_from(count).unwrap()), "{count}");
        }
        // Processes start and end between the calls.
        assert_eq!(system(&[SPACE, 3]).unwrap(), [1, 2, 3]);
        assert_eq!(system(&[SPACE, 2 * SPACE, 7 * SPACE, SPACE]).unwrap().len(), SPACE);
    }

    #[test]
    fn an_error_is_not_an_empty_list() {
        assert_eq!(complete(|_| 0), None);
        assert_eq!(complete(|_| -1), None);
        // The second call fails.
        assert_eq!(system(&[SPACE, 0]), None);
    }

    #[test]
    fn a_system_that_always_fills_the_space_is_given_up() {
        assert_eq!(complete(|space| i32::try_from(space.len()).unwrap()), None);
    }
}
