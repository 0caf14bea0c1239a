//! The output of a sidecar.

use std::time::{SystemTime, UNIX_EPOCH};

use pillion::{SidecarEvent, Supervisor};
use tokio::io::AsyncWrite;

use super::End;
use crate::{ControlAnswer, LogLine, line::LineWriter};

pub(super) async fn send<W: AsyncWrite + Unpin>(
    sidecar: &Supervisor,
    tail: Option<usize>,
    since: Option<u64>,
    follow: bool,
    writer: &mut LineWriter<W>,
) -> Result<(), End> {
    let _ = (tail, since);
    let Some(mut events) = sidecar.subscribe().filter(|_| follow) else { return Ok(()) };
    let mut seq = 0;
    while let Some(event) = events.next().await {
        match event {
            SidecarEvent::Output(batch) => {
                for line in batch.lines() {
                    seq += 1;
                    let line = LogLine {
                        seq,
                        at: now(),
                        run: 0,
                        stream: batch.stream,
                        level: None,
                        text: line.text(),
                    };
                    writer.push(&ControlAnswer::Line(line))?;
                }
            }
            SidecarEvent::Missed(lines) => writer.push(&ControlAnswer::Missed { lines })?,
            _ => {}
        }
        writer.flush().await?;
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "it is only shown")]
fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
