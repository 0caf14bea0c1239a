//! Reads one HTTP answer, without an HTTP library that would correct it.

use std::io::{self, Read};

use anyhow::{Context, Result, bail, ensure};

/// An answer, or none: the server closed the connection.
#[derive(Debug, Default)]
pub struct Answer {
    /// The status code; 0 without an answer.
    pub status: u16,
    head: String,
    headers: Vec<(String, String)>,
    /// The body, without the framing of chunks.
    pub body: Vec<u8>,
}

impl Answer {
    /// Reads the answer to a request. `has_body` is false for HEAD. Blocks until the answer is complete, or the stream ends.
    ///
    /// # Errors
    /// Returns an error if the bytes are not an answer, or if the stream fails, for example by its time-out.
    pub fn read(stream: &mut impl Read, has_body: bool) -> Result<Self> {
        loop {
            let mut answer = Self::read_head(stream)?;
            // An interim response precedes the answer (RFC 9110, section 15.2).
            if (100..200).contains(&answer.status) && answer.status != 101 {
                continue;
            }
            if has_body && !matches!(answer.status, 0 | 101 | 204 | 304) {
                answer.body = answer.read_body(stream)?;
            }
            return Ok(answer);
        }
    }

    fn read_head(stream: &mut impl Read) -> Result<Self> {
        let mut bytes = Vec::new();
        while !bytes.ends_with(b"\r\n\r\n") {
            match next_byte(stream) {
                Ok(byte) => bytes.push(byte),
                Err(error) if bytes.is_empty() && is_closed(&error) => return Ok(Self::default()),
                Err(error) => {
                    return Err(error).with_context(|| {
                        format!("cannot read the head after {:?}", String::from_utf8_lossy(&bytes))
                    });
                }
            }
        }
        let head = String::from_utf8_lossy(&bytes).into_owned();
        let mut lines = head.trim_end().split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok());
        let headers = lines
            .map(|line| {
                let (name, value) = line.split_once(':').with_context(|| format!("no header: {line}"))?;
                Ok((name.to_ascii_lowercase(), value.trim().to_owned()))
            })
            .collect::<Result<_>>()?;
        Ok(Self { status: status.context("no status code")?, head, headers, body: Vec::new() })
    }

    fn read_body(&self, stream: &mut impl Read) -> Result<Vec<u8>> {
        let mut body = Vec::new();
        if let Some(length) = self.values("content-length").next() {
            read_exactly(stream, length.parse()?, &mut body)?;
        } else if self.values("transfer-encoding").next().is_some() {
            loop {
                let line = read_line(stream)?;
                let length = u64::from_str_radix(line.split(';').next().unwrap_or_default().trim_end(), 16);
                let length = length.with_context(|| format!("no length of a chunk: {line:?}"))?;
                if length == 0 {
                    // Trailers (RFC 9112, section 7.1.2).
                    while !read_line(stream)?.is_empty() {}
                    break;
                }
                read_exactly(stream, length, &mut body)?;
                ensure!(read_line(stream)?.is_empty(), "a chunk is longer than its length");
            }
        } else if let Err(error) = stream.read_to_end(&mut body)
            && !is_closed(&error)
        {
            bail!(error);
        }
        Ok(body)
    }

    /// The values of a header, whose name is in lower case.
    pub fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers.iter().filter(move |header| header.0 == name).map(|header| header.1.as_str())
    }

    /// The elements of a comma-separated header, in lower case.
    #[must_use]
    pub fn elements(&self, name: &str) -> Vec<String> {
        let elements = self.values(name).flat_map(|value| value.split(','));
        elements
            .map(|element| element.trim().to_ascii_lowercase())
            .filter(|element| !element.is_empty())
            .collect()
    }

    /// The answer as text, for the message of a failed vector.
    #[must_use]
    pub fn text(&self) -> String {
        if self.status == 0 {
            return "the server closed the connection without an answer".to_owned();
        }
        format!("{}{}", self.head, String::from_utf8_lossy(&self.body))
    }
}

fn next_byte(stream: &mut impl Read) -> io::Result<u8> {
    let mut byte = [0];
    stream.read_exact(&mut byte)?;
    Ok(byte[0])
}

/// Appends so many bytes, and holds only those that came: the server may announce more than this machine has.
fn read_exactly(stream: &mut impl Read, length: u64, body: &mut Vec<u8>) -> io::Result<()> {
    let read = stream.take(length).read_to_end(body)?;
    if u64::try_from(read).is_ok_and(|read| read == length) {
        Ok(())
    } else {
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}

fn read_line(stream: &mut impl Read) -> io::Result<String> {
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") {
        line.push(next_byte(stream)?);
    }
    Ok(String::from_utf8_lossy(&line[..line.len() - 2]).into_owned())
}

fn is_closed(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionReset | UnexpectedEof)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(answer: &str) -> Result<String> {
        let answer = Answer::read(&mut answer.as_bytes(), true)?;
        Ok(String::from_utf8_lossy(&answer.body).into_owned())
    }

    #[test]
    fn chunks_may_have_extensions_and_trailers() {
        let chunks = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;a=1\r\nab\r\n1 \r\nc\r\n0\r\nX-Sum: 1\r\n\r\n";
        assert_eq!(body(chunks).unwrap(), "abc");
    }

    #[test]
    fn a_length_that_never_comes_is_an_error_and_takes_no_memory() {
        for head in [
            "Content-Length: 18446744073709551615\r\n\r\nab",
            "Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nab",
        ] {
            assert!(body(&format!("HTTP/1.1 200 OK\r\n{head}")).is_err(), "{head}");
        }
    }
}
