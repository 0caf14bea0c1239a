//! Clients that go on asking a server that crashes again and again, as a careful page does: each request on a connection
//! of its own, at a steady pace, and sent once more where its connection broke before the answer was whole.

use std::{
    io,
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU16, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Semaphore,
    task::JoinSet,
    time::{MissedTickBehavior, interval, timeout},
};

use super::super::{child::PATIENCE, load};

pub(super) const CLIENTS: usize = 8;
/// The pause from the beginning of a client's request to the next one's, where the answer is there by then.
pub(super) const PACE: Duration = Duration::from_millis(2);

/// What became of the requests.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) sent: u32,
    /// Sent a second time, which is the same request.
    pub(super) again: u32,
    /// Nobody listened.
    pub(super) refused: u32,
    /// Broken off the second time, too.
    pub(super) broken: u32,
    /// The longest that anybody waited for an answer.
    pub(super) slowest: Duration,
}

/// Clients at work on a thread of their own.
#[derive(Debug)]
pub(super) struct Clients {
    shared: Arc<Shared>,
    thread: JoinHandle<Result<Tally>>,
}

#[derive(Debug)]
struct Shared {
    port: AtomicU16,
    over: AtomicBool,
    /// A permit for each answer.
    answers: Semaphore,
}

enum Outcome {
    Answered,
    Refused,
    Broken,
}

impl Clients {
    pub(super) fn start(port: u16) -> Result<Self> {
        let answers = Semaphore::new(0);
        let shared = Arc::new(Shared { port: port.into(), over: false.into(), answers });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let clients = Arc::clone(&shared);
        let thread = thread::spawn(move || runtime.block_on(work(&clients)));
        Ok(Self { shared, thread })
    }

    /// Tells them where the server is from now on.
    pub(super) fn follow(&self, port: u16) {
        self.shared.port.store(port, Ordering::Relaxed);
    }

    /// Waits until so many more requests are answered.
    pub(super) async fn served(&self, count: u32) -> Result<()> {
        self.shared.answers.forget_permits(Semaphore::MAX_PERMITS);
        let served = timeout(PATIENCE, self.shared.answers.acquire_many(count));
        served.await.context("the clients get no answers")??.forget();
        Ok(())
    }

    /// Lets each finish its request, and answers how all went.
    pub(super) fn finish(self) -> Result<Tally> {
        self.shared.over.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or_else(|_| bail!("the clients panicked"))
    }
}

async fn work(shared: &Arc<Shared>) -> Result<Tally> {
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        clients.spawn(client(Arc::clone(shared)));
    }
    let mut all = Tally::default();
    while let Some(tally) = clients.join_next().await {
        let tally = tally??;
        all.sent += tally.sent;
        all.again += tally.again;
        all.refused += tally.refused;
        all.broken += tally.broken;
        all.slowest = all.slowest.max(tally.slowest);
    }
    Ok(all)
}

async fn client(shared: Arc<Shared>) -> Result<Tally> {
    let mut tally = Tally::default();
    let mut due = interval(PACE);
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !shared.over.load(Ordering::Relaxed) {
        due.tick().await;
        let begun = Instant::now();
        tally.sent += 1;
        let mut outcome = get(&shared).await?;
        if let Outcome::Broken = outcome {
            // A GET may be sent twice (RFC 9110, section 9.2.2).
            tally.again += 1;
            outcome = get(&shared).await?;
        }
        match outcome {
            Outcome::Answered => {
                shared.answers.add_permits(1);
                tally.slowest = tally.slowest.max(begun.elapsed());
            }
            Outcome::Refused => tally.refused += 1,
            Outcome::Broken => tally.broken += 1,
        }
    }
    Ok(tally)
}

async fn get(shared: &Shared) -> Result<Outcome> {
    let exchange = timeout(PATIENCE, exchange(shared.port.load(Ordering::Relaxed)));
    match exchange.await.context("a request was neither answered nor broken off")? {
        Ok(answer) => {
            let whole = load::length(&answer)?.is_some_and(|length| answer.len() >= length);
            Ok(if whole { Outcome::Answered } else { Outcome::Broken })
        }
        Err(error) => match error.kind() {
            io::ErrorKind::ConnectionRefused => Ok(Outcome::Refused),
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Ok(Outcome::Broken),
            _ => Err(error).context("a client is in trouble of its own"),
        },
    }
}

/// One request on one connection, read to its end.
async fn exchange(port: u16) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    let request = format!("GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(answer)
}
