//! Accepts connections, and reads and answers requests on each.

use std::{
    io::{self, BufRead as _, BufReader, Read, Write},
    net::Shutdown,
    sync::Arc,
    thread,
    time::Duration,
};

use rustix::event::{PollFd, PollFlags, poll};

use crate::{
    Server,
    admission::{self, Request},
    listener::{Listener, Stream},
};

/// An answer of the server.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    body: String,
    /// The server closes the connection.
    pub(crate) close: bool,
}

impl Answer {
    pub(crate) fn empty(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: String::new(),
            close: matches!(status, 101 | 400 | 401 | 403),
        }
    }

    pub(crate) fn text(status: u16, body: &str) -> Self {
        Self { body: body.to_owned(), ..Self::empty(status) }
    }

    pub(crate) fn json(body: String) -> Self {
        let mut answer = Self { body, ..Self::empty(200) };
        answer.add("Content-Type", "application/json");
        answer
    }

    pub(crate) fn add(&mut self, name: &str, value: &str) {
        self.headers.push((name.to_owned(), value.to_owned()));
    }

    /// The bytes. HEAD and some statuses have no body.
    fn bytes(&self, head_only: bool, close: bool) -> Vec<u8> {
        let mut text = format!("HTTP/1.1 {} Status\r\n", self.status);
        for (name, value) in &self.headers {
            text += &format!("{name}: {value}\r\n");
        }
        if !matches!(self.status, 101 | 204) {
            text += &format!("Content-Length: {}\r\n", self.body.len());
        }
        text += if self.status == 101 {
            "Connection: Upgrade\r\n\r\n"
        } else if close {
            "Connection: close\r\n\r\n"
        } else {
            "\r\n"
        };
        if !head_only {
            text += &self.body;
        }
        text.into_bytes()
    }
}

/// Serves until the sidecar was asked to stop, and the requests in flight have finished.
pub(crate) fn accept_all(server: &Arc<Server>, listener: Listener) {
    let mutation = &server.mutation;
    let accepting = || {
        let mut ready =
            [PollFd::new(&listener, PollFlags::IN), PollFd::new(&server.stop.wake, PollFlags::IN)];
        if poll(&mut ready, None).is_ok_and(|count| count > 0) && !ready[0].revents().is_empty() {
            match listener.accept() {
                Ok(stream) => serve(server, stream),
                // A descriptor that does not listen.
                Err(_) => thread::sleep(Duration::from_millis(10)),
            }
        }
    };
    while !server.stop.is_asked() {
        accepting();
    }
    if mutation.is("keeps-accepting") {
        let server = Arc::clone(server);
        thread::spawn(move || {
            while let Ok(stream) = listener.accept() {
                serve(&server, stream);
            }
        });
    } else {
        listener.close(mutation);
    }
    server.stop.drain(mutation);
}

fn serve(server: &Arc<Server>, stream: Stream) {
    let server = Arc::clone(server);
    thread::spawn(move || {
        let mut reader = BufReader::new(stream);
        while reader.fill_buf().is_ok_and(|bytes| !bytes.is_empty()) {
            if server.mutation.is("logs-to-stdout") {
                crate::print_line("a request\n");
            }
            server.stop.begin_request();
            let goes_on = exchange(&server, &mut reader).unwrap_or(false);
            server.stop.end_request();
            if !goes_on {
                // The client may still send its body: a close would cut the answer (RFC 9112, section 9.6).
                let stream = reader.get_mut();
                let _ = stream.close_write();
                let _ = io::copy(&mut stream.take(1 << 20), &mut io::sink());
                return;
            }
        }
    });
}

/// Reads a request, answers it, and returns whether the connection stays open.
fn exchange(server: &Server, reader: &mut BufReader<Stream>) -> io::Result<bool> {
    let first = line(reader)?;
    let mut words = first.split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let version = words.next().unwrap_or_default();
    let mut headers = Vec::new();
    loop {
        let line = line(reader)?;
        let Some((name, value)) = line.split_once(':') else { break };
        // Space and tab alone surround a value (RFC 9110, section 5.5).
        headers.push((name.to_ascii_lowercase(), value.trim_matches([' ', '\t']).to_owned()));
    }
    let request = Request { method: method.to_owned(), target: target.to_owned(), headers };
    let answer = admission::answer(server, &request);
    // Breaks no rule: a server need not serve a WebSocket at this path.
    if answer.status == 101 && server.mutation.is("closes-websockets") {
        return Ok(false);
    }
    let asks_to_close = request.values("connection").any(|value| value.eq_ignore_ascii_case("close"));
    let close = answer.close || asks_to_close || version != "HTTP/1.1";
    if !answer.close {
        read_body(&request, reader)?;
    }
    reader.get_mut().write_all(&answer.bytes(request.method == "HEAD", close))?;
    Ok(!close)
}

fn line(reader: &mut BufReader<Stream>) -> io::Result<String> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

fn read_body(request: &Request, reader: &mut BufReader<Stream>) -> io::Result<()> {
    if let Some(length) = request.only("content-length") {
        let length = length.parse().map_err(io::Error::other)?;
        reader.read_exact(&mut vec![0; length])?;
    } else if request.only("transfer-encoding").is_some() {
        loop {
            let length = usize::from_str_radix(&line(reader)?, 16).map_err(io::Error::other)?;
            // The chunk and its CRLF.
            reader.read_exact(&mut vec![0; length + 2])?;
            if length == 0 {
                break;
            }
        }
    }
    Ok(())
}

impl Stream {
    fn close_write(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Self::Unix(stream) => stream.shutdown(Shutdown::Write),
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buffer),
            Self::Unix(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(bytes),
            Self::Unix(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
