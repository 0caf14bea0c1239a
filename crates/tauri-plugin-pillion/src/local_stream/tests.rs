use std::task::Waker;

use super::*;

fn pair() -> (LocalStream, UnixStream) {
    let (own, peer) = UnixStream::pair().unwrap();
    own.set_nonblocking(true).unwrap();
    (LocalStream::new(own), peer)
}

fn read(stream: &mut LocalStream, room: usize) -> (Poll<io::Result<Vec<u8>>>, Option<Wait>) {
    let mut bytes = vec![0; room];
    let mut buffer = ReadBuf::new(&mut bytes);
    let context = &mut Context::from_waker(Waker::noop());
    let (polled, wait) = poll_here(|| Pin::new(stream).poll_read(context, &mut buffer));
    (polled.map_ok(|()| buffer.filled().to_vec()), wait)
}

fn write(stream: &mut LocalStream, bytes: &[u8]) -> (Poll<io::Result<usize>>, Option<Wait>) {
    poll_here(|| Pin::new(stream).poll_write(&mut Context::from_waker(Waker::noop()), bytes))
}

#[test]
fn a_read_says_what_it_waits_for() {
    let (mut stream, mut peer) = pair();
    let (polled, wait) = read(&mut stream, 10);
    assert!(polled.is_pending());
    let fd = stream.bare().unwrap().as_raw_fd();
    assert_eq!(wait, Some(Wait::Readable(fd)));
    peer.write_all(b"abc").unwrap();
    let (Poll::Ready(Ok(bytes)), None) = read(&mut stream, 2) else { panic!("bytes are there") };
    assert_eq!(bytes, b"ab");
    drop(peer);
    assert_eq!(read_all(&mut stream), b"c");
}

fn read_all(stream: &mut LocalStream) -> Vec<u8> {
    let mut all = Vec::new();
    loop {
        let (Poll::Ready(Ok(bytes)), None) = read(stream, 1 << 20) else { panic!("the end is there") };
        if bytes.is_empty() {
            return all;
        }
        assert!(bytes.len() <= PIECE, "{}", bytes.len());
        all.extend(bytes);
    }
}

#[test]
fn a_write_takes_what_fits_and_then_waits() {
    let (mut stream, mut peer) = pair();
    let piece = [1; 100_000];
    let mut written = 0;
    let wait = loop {
        match write(&mut stream, &piece) {
            (Poll::Ready(taken), None) => written += taken.unwrap(),
            (Poll::Pending, wait) => break wait,
            (Poll::Ready(_), Some(wait)) => panic!("{wait:?}"),
        }
    };
    let fd = stream.bare().unwrap().as_raw_fd();
    assert_eq!(wait, Some(Wait::Writable(fd)));
    let context = &mut Context::from_waker(Waker::noop());
    let (closed, _) = poll_here(|| Pin::new(&mut stream).poll_shutdown(context));
    assert!(matches!(closed, Poll::Ready(Ok(()))));
    let mut received = Vec::new();
    peer.read_to_end(&mut received).unwrap();
    assert_eq!(received.len(), written);
}

/// Writes to a socket as much as it holds.
fn fill(peer: &mut UnixStream) -> usize {
    peer.set_nonblocking(true).unwrap();
    let mut filled = 0;
    while let Ok(written) = peer.write(&[1; 32 * 1024]) {
        filled += written;
    }
    filled
}

#[test]
fn a_flood_does_not_hold_up_the_main_thread() {
    let (mut stream, mut peer) = pair();
    let filled = fill(&mut peer);
    assert!(filled > POLL_READ_LIMIT, "{filled}");
    // As a parser does that finds no end.
    let mut bytes = vec![0; PIECE];
    let context = &mut Context::from_waker(Waker::noop());
    let (read, wait) = poll_here(|| {
        let mut read = 0;
        loop {
            let mut buffer = ReadBuf::new(&mut bytes);
            match Pin::new(&mut stream).poll_read(context, &mut buffer) {
                Poll::Ready(polled) => polled.unwrap(),
                Poll::Pending => break read,
            }
            read += buffer.filled().len();
        }
    });
    assert_eq!((read, wait), (POLL_READ_LIMIT, None), "the runtime goes on");
}

#[tokio::test]
async fn the_runtime_sees_at_once_what_is_there() {
    let (mut stream, mut peer) = pair();
    peer.write_all(b"a").unwrap();
    let mut bytes = [0; 2];
    let mut poll = |stream: &mut LocalStream| {
        let mut buffer = ReadBuf::new(&mut bytes);
        let polled = Pin::new(stream).poll_read(&mut Context::from_waker(Waker::noop()), &mut buffer);
        polled.map_ok(|()| buffer.filled().len())
    };
    assert!(matches!(poll(&mut stream), Poll::Ready(Ok(1))));
    // After a look from the main thread.
    assert!(read(&mut stream, 1).0.is_pending());
    drop(peer);
    assert!(matches!(poll(&mut stream), Poll::Ready(Ok(0))));
}

#[test]
fn a_panic_leaves_the_main_thread() {
    let panicked = std::panic::catch_unwind(|| poll_here(|| panic!("of a test")));
    assert!(panicked.is_err());
    assert_eq!(LEFT.get(), None);
}
