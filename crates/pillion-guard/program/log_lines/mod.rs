//! The lines of a log file: `TIME RUN STREAM LEVEL TEXT`. The supervisor writes them, and after the app's death the guard: both use this
//! module, so that it needs std alone.

pub mod ansi;
pub mod journal;
pub mod level;
pub mod token;

/// How many bytes of a line are kept.
pub const LINE_LIMIT: usize = 8192;

/// The time in UTC (RFC 3339), as `2026-11-29T12:51:19.120Z`. `at` is in milliseconds since the Unix epoch.
#[must_use]
pub fn time(at: u64) -> String {
    const DAY: u64 = 24 * 60 * 60 * 1000;
    let (day, rest) = (at / DAY, at % DAY);
    let (year, month, day) = date(day);
    let (hour, minute, second) = (rest / 3_600_000, rest / 60_000 % 60, rest / 1000 % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", rest % 1000)
}

/// The name of a log file that begins at this time. Colons are not allowed on Windows.
#[must_use]
pub fn file_name(at: u64, program: &str) -> String {
    format!("{}-{program}.log", time(at).replace([':', '.'], "-"))
}

/// Year, month and day of a day since the Unix epoch. Years begin in March here, so that the leap day is the last one of a year
/// (<https://howardhinnant.github.io/date_algorithms.html>, `civil_from_days`).
fn date(days: u64) -> (u64, u64, u64) {
    const DAYS_OF_400_YEARS: u64 = 146_097;
    /// From 1 March of the year 0 to the Unix epoch.
    const TO_EPOCH: u64 = 719_468;
    let days = days + TO_EPOCH;
    let (era, day) = (days / DAYS_OF_400_YEARS, days % DAYS_OF_400_YEARS);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year + year / 4 - year / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year + u64::from(month <= 2), month, day)
}

/// What stands before the level of a line.
#[must_use]
pub fn head(at: u64, run: u64, stream: &str) -> String {
    format!("{} {run} {stream} ", time(at))
}

/// The word for the level of a line.
#[must_use]
pub fn word(level: Option<level::Level>) -> &'static str {
    level.map_or("-", level::Level::word)
}

/// Marks a line of which so many bytes were dropped; empty for a whole one.
#[must_use]
pub fn cut_note(dropped: u64) -> String {
    if dropped > 0 { format!(" … ({dropped} bytes more)") } else { String::new() }
}

/// What a terminal shows of a line: the part after its last carriage return. Carriage returns at its end do not count.
#[must_use]
pub fn shown_part(line: &[u8]) -> &[u8] {
    let line = without_returns(line);
    last(line, b'\r').map_or(line, |at| &line[at + 1..])
}

/// The place of the last such byte. A flood without newlines goes through this, so that most bytes are looked at without a branch.
fn last(bytes: &[u8], byte: u8) -> Option<usize> {
    let mut start = bytes.len();
    for block in bytes.rchunks(128) {
        start -= block.len();
        if block.iter().fold(false, |found, it| found | (*it == byte)) {
            return block.iter().rposition(|it| *it == byte).map(|at| start + at);
        }
    }
    None
}

/// Without the carriage returns at its end.
fn without_returns(line: &[u8]) -> &[u8] {
    &line[..line.iter().rposition(|byte| *byte != b'\r').map_or(0, |last| last + 1)]
}

/// Appends a line that a sidecar wrote, from its bytes, of which so many more were dropped. `head` is that of [`head`], `tokens` are the
/// digits of the tokens that are replaced in it.
pub fn append_output<'a>(
    head: &str,
    line: &[u8],
    dropped: u64,
    tokens: impl IntoIterator<Item = &'a [u8]>,
    to: &mut Vec<u8>,
) {
    // A token can be hidden by what is removed, and be whole afterwards.
    let text = ansi::plain(&String::from_utf8_lossy(shown_part(line)));
    let text = token::hide_tokens(text, tokens);
    let level = word(level::recognise(text.as_bytes()));
    to.extend_from_slice(format!("{head}{level} {text}{}\n", cut_note(dropped)).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        for (at, expected) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (951_868_800_000, "2000-03-01T00:00:00.000Z"),
            (1_764_417_600_123, "2025-11-29T12:00:00.123Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
            (1_798_761_599_001, "2026-12-31T23:59:59.001Z"),
        ] {
            assert_eq!(time(at), expected);
        }
    }

    #[test]
    fn the_last_of_a_byte_is_found_at_any_place() {
        let mut bytes = vec![b'x'; 600];
        assert_eq!((last(&bytes, b'\n'), last(&[], b'\n')), (None, None));
        for at in 0..bytes.len() {
            bytes[at] = b'\n';
            assert_eq!(last(&bytes, b'\n'), Some(at));
        }
    }

    #[test]
    fn a_line_has_no_token_and_no_control_sequence() {
        let token = "0123456789abcdef".repeat(4);
        let line = format!("old\r\x1b[31mERROR\x1b[0m {}\x1b[1m{} end\x07ÿ", &token[..30], &token[30..]);
        let mut to = Vec::new();
        append_output("1970 1 stdout ", line.as_bytes(), 3, Some(token.as_bytes()), &mut to);
        append_output("1970 1 stderr ", b"\xff plain", 0, None, &mut to);
        let text = String::from_utf8(to).unwrap();
        assert_eq!(
            text,
            "1970 1 stdout error ERROR [token] end\u{ff} … (3 bytes more)\n1970 1 stderr - \u{fffd} plain\n"
        );
    }
}
