use super::*;

/// A run whose streams have these slots: what a line had begun with, what was read, and whether it is counted.
fn run(streams: [&[(&str, &str, bool)]; 2]) -> Vec<u8> {
    let mut run = vec![0; RUN];
    let mut order = 0;
    for (stream, slots) in streams.into_iter().enumerate() {
        let part = &mut run[RUN_HEAD + stream * STREAM..][..STREAM];
        for ((carry, bytes, filled), number) in slots.iter().zip(1_u64..) {
            let start = STREAM_HEAD + usize::try_from(number % SLOTS as u64).unwrap() * SLOT;
            let slot = &mut part[start..start + SLOT];
            slot[SLOT_HEAD..].fill(0);
            slot[SLOT_HEAD..][..carry.len()].copy_from_slice(carry.as_bytes());
            slot[SLOT_HEAD + carry.len()..][..bytes.len()].copy_from_slice(bytes.as_bytes());
            put(slot, slot::CARRY, carry.len() as u64);
            put(slot, slot::READ, if *filled { bytes.len() as u64 } else { 999 });
            put(slot, slot::AT, number);
            put(slot, slot::ORDER, order);
            order += 1;
            put(part, 0, number);
            put(part, FILLED, if *filled { number } else { number - 1 });
        }
    }
    run
}

fn written(slot: u64, lines: u64) -> Written {
    Written { slot, lines }
}

/// The lines of stdout that are not written, and the line that has begun.
fn lines(run: &[u8], commit: Written) -> (Vec<String>, String) {
    let (mut lines, mut begun) = (Vec::new(), None::<Begun>);
    for piece in unwritten(run, &[commit, Written::default()]).into_iter().filter(|it| it.stream == 0) {
        let begun = begun.get_or_insert_with(|| Begun::new(piece.carry));
        let mut skipped = 0;
        begun.feed(piece.bytes, |line, _| {
            if skipped >= piece.written {
                lines.push(String::from_utf8(line.to_vec()).unwrap());
            }
            skipped += 1;
        });
    }
    let rest = begun.unwrap_or_default().parts().0.to_vec();
    (lines, String::from_utf8(rest).unwrap())
}

#[test]
fn what_is_not_written_is_found_and_no_line_twice() {
    let run = run([&[("", "a\nb\nc", true), ("c", "c\nd\ne", true), ("e", "ee\nf", false)], &[]]);
    for (commit, expected, rest) in [
        (written(0, 0), &["a", "b", "cc", "d", "eee"][..], "f"),
        (written(0, 1), &["b", "cc", "d", "eee"], "f"),
        (written(1, 0), &["cc", "d", "eee"], "f"),
        (written(1, 2), &["eee"], "f"),
        (written(2, 0), &["eee"], "f"),
    ] {
        assert_eq!(
            lines(&run, commit),
            (expected.iter().map(ToString::to_string).collect(), rest.to_owned())
        );
    }
}

#[test]
fn the_line_that_has_begun_is_found_also_if_all_slots_are_written() {
    let all = run([&[("", "a\nb", true)], &[]]);
    assert_eq!(lines(&all, written(1, 0)), (Vec::new(), "b".to_owned()));
    // The slots are used again.
    let mut slots = [("", "one\n", true); SLOTS + 1];
    slots[SLOTS] = ("", "last\nne", true);
    assert_eq!(
        lines(&run([&slots, &[]]), written(SLOTS as u64, 0)),
        (vec!["last".to_owned()], "ne".to_owned())
    );
    assert_eq!(unwritten(&run([&[], &[]]), &[Written::default(); 2]), []);
}

#[test]
fn a_line_ends_with_the_last_slot_if_bytes_after_it_were_read_to_other_memory() {
    let mut run = run([&[("", "a\nb", true), ("b", "c", true)], &[]]);
    put(&mut run, RUN_HEAD + SKIPPED, 2);
    let ends =
        |run: &[u8]| unwritten(run, &[Written::default(); 2]).iter().map(|it| it.end).collect::<Vec<_>>();
    assert_eq!(ends(&run), [false, true]);
    // The next one would have begun with them.
    put(&mut run, RUN_HEAD + SKIPPED, 1);
    assert_eq!(ends(&run), [false, false]);
}

#[test]
fn pieces_of_both_streams_come_in_their_order() {
    let run = run([&[("", "out\n", true), ("", "rest", false)], &[("", "err\n", true)]]);
    let pieces = unwritten(&run, &[Written::default(); 2]);
    let streams: Vec<_> = pieces.iter().map(|piece| (piece.stream, piece.at)).collect();
    assert_eq!(streams, [(0, Some(1)), (1, Some(1)), (0, None)]);
}

#[test]
fn a_commit_is_read_as_it_was_written() {
    let mut header = vec![0; HEADER];
    let mut commit = Commit { file: "a.log".to_owned(), length: 4711, ..Commit::default() };
    commit.written[2][1] = written(7, 3);
    commit.encode(&mut header[COMMITS + COMMIT..][..COMMIT]);
    assert_eq!(Commit::current(&header), Some(Commit::default()));
    put(&mut header, CURRENT, 3);
    assert_eq!(Commit::current(&header), Some(commit));
    put(&mut header, COMMITS + COMMIT + 8, u64::MAX);
    assert_eq!(Commit::current(&header), None);
}

#[test]
fn of_a_long_line_the_beginning_of_what_is_shown_is_kept() {
    let mut begun = Begun::default();
    let mut lines = Vec::new();
    let long = [b"x".repeat(LINE_LIMIT), b"y".repeat(5)].concat();
    for part in [&long[..100], &long[100..], b"\nnext\r", b"now\n"] {
        begun.feed(part, |line, dropped| lines.push((line.to_vec(), dropped)));
    }
    assert_eq!(lines, [(b"x".repeat(LINE_LIMIT), 5), (b"next\rnow".to_vec(), 0)]);
    begun.skip(&[&long, b"\rshown".as_slice()].concat());
    assert_eq!(begun.parts(), (b"shown".as_slice(), 0));
    begun.skip(b"\na\nb");
    assert_eq!(begun.parts(), (b"b".as_slice(), 0));
}
