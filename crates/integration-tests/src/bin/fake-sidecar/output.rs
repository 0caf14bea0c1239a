//! The steps that write.

use std::{
    env,
    fs::File,
    io::{self, Write},
    os::unix::fs::FileExt as _,
    process,
};

use crate::steps::Steps;

/// Executes the step. Returns false if it is none of these. `port` is that of the last `listen`.
pub(crate) fn execute(step: &str, steps: &mut Steps, port: u16) -> bool {
    match step {
        "out" => write(&mut io::stdout(), &unescape(&steps.text(), port)),
        "err" => write(&mut io::stderr(), &unescape(&steps.text(), port)),
        "log" => log(&unescape(&steps.text(), port)),
        "noise" => noise(steps.number()),
        "redraw" => {
            let count: u32 = steps.number();
            (0..count).for_each(|number| write(&mut io::stdout(), format!("\r{number}").as_bytes()));
        }
        "lines" => lines(steps.number()),
        "count" => count(&File::create(steps.text()).unwrap()),
        "progress" => {
            let count: u32 = steps.number();
            let mut stdout = io::BufWriter::new(io::stdout().lock());
            (0..count).for_each(|number| writeln!(stdout, "BACKEND_STATUS:{number}").unwrap());
            stdout.flush().unwrap();
        }
        "env" => {
            let name = steps.text();
            let value = env::var(&name).map_or_else(|_| " is unset".to_owned(), |value| format!("={value}"));
            write(&mut io::stdout(), format!("{name}{value}\n").as_bytes());
        }
        "token" => {
            let (from, to): (usize, usize) = (steps.number(), steps.number());
            write(&mut io::stdout(), &env::var("PILLION_TOKEN").unwrap().as_bytes()[from..to]);
        }
        "announce" => write(&mut io::stdout(), format!("BACKEND_PORT:{port}\n").as_bytes()),
        _ => return false,
    }
    true
}

fn log(text: &[u8]) {
    let line = [text, b"\n"].concat();
    let written = io::stdout().write_all(&line).and_then(|()| io::stdout().flush());
    if written.and_then(|()| io::stderr().write_all(&line)).is_err() {
        process::exit(141);
    }
}

/// Ignores errors: in many scenarios the reader is gone.
pub(crate) fn write(stream: &mut impl Write, bytes: &[u8]) {
    let _ = stream.write_all(bytes).and_then(|()| stream.flush());
}

fn noise(mut count: usize) {
    let chunk = vec![b'x'; 64 * 1024];
    while count > 0 {
        let part = count.min(chunk.len());
        write(&mut io::stdout(), &chunk[..part]);
        count -= part;
    }
}

fn lines(count: usize) {
    let mut out = io::BufWriter::with_capacity(64 * 1024, io::stdout());
    let mut line = [b'0'; 100];
    line[99] = b'\n';
    for number in 0..count {
        let _ = out.write_all(&line);
        if number % 1000 == 0 {
            write(&mut io::stderr(), format!("err {number}\n").as_bytes());
        }
        // Counting in place is several times as fast as formatting.
        for digit in line[..99].iter_mut().rev() {
            *digit = if *digit == b'9' { b'0' } else { *digit + 1 };
            if *digit != b'0' {
                break;
            }
        }
    }
}

fn count(file: &File) -> ! {
    let mut written = [0_u64; 2];
    let pad = "x".repeat(60);
    for number in 1_u64.. {
        let stream = usize::from(number % 10 == 0);
        let line = format!("{} {pad}\n", written[stream]);
        let whole = match stream {
            0 => rustix::io::write(rustix::stdio::stdout(), line.as_bytes()),
            _ => rustix::io::write(rustix::stdio::stderr(), line.as_bytes()),
        };
        assert_eq!(whole, Ok(line.len()));
        written[stream] += 1;
        file.write_all_at(&written[stream].to_ne_bytes(), 8 * stream as u64).unwrap();
    }
    unreachable!("there are many numbers")
}

fn unescape(text: &str, port: u16) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'\\' => match rest.next().unwrap() {
                b'n' => bytes.push(b'\n'),
                b'r' => bytes.push(b'\r'),
                b's' => bytes.push(b' '),
                b'p' => bytes.extend_from_slice(port.to_string().as_bytes()),
                b'x' => {
                    let hex = [rest.next().unwrap(), rest.next().unwrap()];
                    bytes.push(u8::from_str_radix(std::str::from_utf8(&hex).unwrap(), 16).unwrap());
                }
                other => bytes.push(other),
            },
            byte => bytes.push(byte),
        }
    }
    bytes
}
