//! Lines of JSON over a connection, with a limit.

use std::io;

use serde::Serialize;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// Reads lines, and keeps what follows a line for the next one.
#[derive(Debug)]
pub(crate) struct LineReader<R> {
    connection: R,
    buffer: Vec<u8>,
    /// The part of the buffer that is known to contain no newline.
    searched: usize,
    limit: usize,
}

impl<R: AsyncRead + Unpin> LineReader<R> {
    /// A reader of lines of at most `limit` bytes, with their newlines.
    pub(crate) fn new(connection: R, limit: usize) -> Self {
        Self { connection, buffer: Vec::new(), searched: 0, limit }
    }

    /// The next line without its newline, and `None` at the end of the connection. Cancel-safe: what was read is kept.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidData`] for a longer line, [`io::ErrorKind::UnexpectedEof`] for a line without its newline, of which the
    /// rest may be missing, and those of the connection.
    pub(crate) async fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            if let Some(end) = self.buffer[self.searched..].iter().position(|byte| *byte == b'\n') {
                let rest = self.buffer.split_off(self.searched + end + 1);
                let mut line = std::mem::replace(&mut self.buffer, rest);
                self.searched = 0;
                line.pop();
                return Ok(Some(line));
            }
            self.searched = self.buffer.len();
            if self.buffer.len() >= self.limit {
                let message = format!("a line is longer than {} bytes", self.limit);
                return Err(io::Error::new(io::ErrorKind::InvalidData, message));
            }
            if self.connection.read_buf(&mut self.buffer).await? == 0 {
                if self.buffer.is_empty() {
                    return Ok(None);
                }
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "the last line has no newline at its end",
                ));
            }
        }
    }

    /// Waits until the peer closes the connection, or sends something that no request allows.
    pub(crate) async fn closed(&mut self) {
        let mut byte = [0];
        let _ = self.connection.read(&mut byte).await;
    }
}

/// Writes values as lines.
#[derive(Debug)]
pub(crate) struct LineWriter<W> {
    connection: W,
    buffer: Vec<u8>,
}

impl<W: AsyncWrite + Unpin> LineWriter<W> {
    pub(crate) fn new(connection: W) -> Self {
        Self { connection, buffer: Vec::new() }
    }

    /// Adds a line, which [`flush`](Self::flush) writes.
    pub(crate) fn push(&mut self, value: &impl Serialize) -> io::Result<()> {
        serde_json::to_writer(&mut self.buffer, value)?;
        self.buffer.push(b'\n');
        Ok(())
    }

    /// How many bytes are not written yet.
    pub(crate) fn pending(&self) -> usize {
        self.buffer.len()
    }

    /// Writes the added lines. Waits for a peer that reads slowly.
    pub(crate) async fn flush(&mut self) -> io::Result<()> {
        self.connection.write_all(&self.buffer).await?;
        self.buffer.clear();
        Ok(())
    }

    /// Writes one line.
    pub(crate) async fn send(&mut self, value: &impl Serialize) -> io::Result<()> {
        self.push(value)?;
        self.flush().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn lines(bytes: &[u8], limit: usize) -> Vec<io::Result<Option<Vec<u8>>>> {
        let mut reader = LineReader::new(bytes, limit);
        let mut lines = Vec::new();
        while !matches!(lines.last(), Some(Ok(None) | Err(_))) {
            lines.push(reader.next().await);
        }
        lines
    }

    #[tokio::test]
    async fn lines_end_at_newlines() {
        let read = lines(b"{}\n\n{\"a\":1}\n", 100).await;
        let read: Vec<_> = read.into_iter().map(Result::unwrap).collect();
        assert_eq!(read, [Some(b"{}".to_vec()), Some(Vec::new()), Some(b"{\"a\":1}".to_vec()), None]);
    }

    #[tokio::test]
    async fn a_part_of_a_line_is_an_error() {
        let read = lines(b"{}\nhalf", 100).await;
        assert_eq!(read[1].as_ref().unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[tokio::test]
    async fn a_line_beyond_the_limit_is_an_error() {
        let read = lines(&[b'x'; 100], 10).await;
        assert_eq!(read.last().unwrap().as_ref().unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
