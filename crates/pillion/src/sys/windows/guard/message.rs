//! What the app tells its guard, on the guard's stdin: first the value of its argument, then messages of a letter, a length
//! (4 bytes, little-endian) and a body of that length. Numbers are little-endian. The guard answers with one byte on its stdout, when it
//! has read the value.

use std::io::Read;

/// The largest body, in bytes: a prepared HTTP request or a line may be in it.
const BODY_LIMIT: u32 = 16 << 20;

/// A message. Runs have numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Message {
    /// `R`: a run has begun.
    Run(Run),
    /// `H`: the prepared HTTP request by which the leader is asked to stop.
    HttpStop { run: u64, request: Vec<u8> },
    /// `D`: the app has asked the leader by HTTP.
    HttpStopSent { run: u64 },
    /// `A`: the app has asked the leader otherwise, which includes the end of its stdin.
    Asked { run: u64 },
    /// `E`: the app needs the run no more. It ends as after the app's death.
    End { run: u64 },
}

/// A run, and the handles that the guard's process has of it. 0 stands for none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Run {
    pub(super) run: u64,
    pub(super) grace_ms: u64,
    pub(super) job: u64,
    /// The read ends of its output.
    pub(super) outputs: [u64; 2],
    /// The write end of its stdin, if more than its end asks the leader to stop.
    pub(super) lifeline: u64,
    /// The fixed port.
    pub(super) port: u64,
    /// What to write to its stdin.
    pub(super) line: Vec<u8>,
}

impl Message {
    /// The bytes of the message. `None` if they are more than the guard reads.
    pub(super) fn encode(&self) -> Option<Vec<u8>> {
        let (kind, numbers, bytes): (u8, Vec<u64>, &[u8]) = match self {
            Self::Run(Run { run, grace_ms, job, outputs: [stdout, stderr], lifeline, port, line }) => {
                (b'R', vec![*run, *grace_ms, *job, *stdout, *stderr, *lifeline, *port], line)
            }
            Self::HttpStop { run, request } => (b'H', vec![*run], request),
            Self::HttpStopSent { run } => (b'D', vec![*run], &[]),
            Self::Asked { run } => (b'A', vec![*run], &[]),
            Self::End { run } => (b'E', vec![*run], &[]),
        };
        let numbers: Vec<u8> = numbers.into_iter().flat_map(u64::to_le_bytes).collect();
        let length =
            u32::try_from(numbers.len() + bytes.len()).ok().filter(|length| *length <= BODY_LIMIT)?;
        Some([&[kind][..], &length.to_le_bytes(), &numbers, bytes].concat())
    }

    /// Reads the next message. `None` at the end, and if what follows is not a message.
    pub(super) fn read(stream: &mut impl Read) -> Option<Self> {
        let mut head = [0; 5];
        stream.read_exact(&mut head).ok()?;
        let [kind, length @ ..] = head;
        let length = Some(u32::from_le_bytes(length)).filter(|length| *length <= BODY_LIMIT)?;
        let mut body = vec![0; length as usize];
        stream.read_exact(&mut body).ok()?;
        let mut rest = &body[..];
        let mut number = || {
            let (bytes, after) = rest.split_first_chunk()?;
            rest = after;
            Some(u64::from_le_bytes(*bytes))
        };
        let run = number()?;
        Some(match kind {
            b'R' => {
                let [grace_ms, job, stdout, stderr, lifeline, port] =
                    [number()?, number()?, number()?, number()?, number()?, number()?];
                Self::Run(Run {
                    run,
                    grace_ms,
                    job,
                    outputs: [stdout, stderr],
                    lifeline,
                    port,
                    line: rest.to_vec(),
                })
            }
            b'H' => Self::HttpStop { run, request: rest.to_vec() },
            b'D' => Self::HttpStopSent { run },
            b'A' => Self::Asked { run },
            b'E' => Self::End { run },
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_read_as_they_were_written() {
        let run = Run {
            run: 1,
            grace_ms: u64::MAX,
            job: 4,
            outputs: [8, 0],
            lifeline: 12,
            port: 8000,
            line: b"quit\n".to_vec(),
        };
        let messages = [
            Message::Run(run),
            Message::HttpStop { run: 1, request: vec![0; 70_000] },
            Message::HttpStopSent { run: 2 },
            Message::Asked { run: 3 },
            Message::End { run: u64::MAX },
        ];
        let bytes: Vec<u8> = messages.iter().filter_map(Message::encode).flatten().collect();
        let mut stream = &bytes[..];
        for message in messages {
            assert_eq!(Message::read(&mut stream), Some(message));
        }
        assert_eq!(Message::read(&mut stream), None);
    }

    #[test]
    fn a_message_that_is_too_long_is_not_written() {
        let request = vec![0; BODY_LIMIT as usize];
        assert_eq!(Message::HttpStop { run: 1, request }.encode(), None);
    }

    #[test]
    fn what_is_no_message_ends_the_stream() {
        let whole = Message::End { run: 1 }.encode().unwrap();
        let other = [b"X", &whole[1..]].concat();
        let short = [&b"E\x04\0\0\0"[..], &[0; 4]].concat();
        let long = [&b"E\xff\xff\xff\xff"[..], &[0; 4]].concat();
        for bytes in [&whole[..whole.len() - 1], &other, &short, &long, b"", b"E"] {
            assert_eq!(Message::read(&mut &bytes[..]), None, "{bytes:?}");
        }
    }
}
