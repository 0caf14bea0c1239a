//! Clients of a server that crashes repeatedly. Each sends its requests at a steady rate, each on a new connection, and repeats a
//! request once if its connection broke before the answer was complete, as a careful page does.

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

use super::super::{child::TIME_LIMIT, load};

pub(super) const CLIENTS: usize = 8;
/// The interval between the starts of two requests of a client, if the answer has come by then.
pub(super) const INTERVAL: Duration = Duration::from_millis(2);

/// The results of the requests.
#[derive(Debug, Default)]
pub(super) struct RequestCounts {
    pub(super) sent: u32,
    /// Requests that were repeated.
    pub(super) repeated: u32,
    /// Connections refused.
    pub(super) refused: u32,
    /// Requests that broke off twice.
    pub(super) broken: u32,
    /// The longest wait for an answer.
    pub(super) slowest: Duration,
}

/// Clients on their own thread.
#[derive(Debug)]
pub(super) struct Clients {
    shared: Arc<Shared>,
    thread: JoinHandle<Result<RequestCounts>>,
}

#[derive(Debug)]
struct Shared {
    port: AtomicU16,
    over: AtomicBool,
    /// One permit for each answer.
    answers: Semaphore,
}

enum RequestOutcome {
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

    /// Sends further requests to this port.
    pub(super) fn follow(&self, port: u16) {
        self.shared.port.store(port, Ordering::Relaxed);
    }

    /// Waits for `count` more answers.
    pub(super) async fn served(&self, count: u32) -> Result<()> {
        self.shared.answers.forget_permits(Semaphore::MAX_PERMITS);
        let served = timeout(TIME_LIMIT, self.shared.answers.acquire_many(count));
        served.await.context("the clients receive no answers")??.forget();
        Ok(())
    }

    /// Lets each client finish its request, and returns the results.
    pub(super) fn finish(self) -> Result<RequestCounts> {
        self.shared.over.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or_else(|_| bail!("the clients panicked"))
    }
}

async fn work(shared: &Arc<Shared>) -> Result<RequestCounts> {
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        clients.spawn(client(Arc::clone(shared)));
    }
    let mut all = RequestCounts::default();
    while let Some(tally) = clients.join_next().await {
        let tally = tally??;
        all.sent += tally.sent;
        all.repeated += tally.repeated;
        all.refused += tally.refused;
        all.broken += tally.broken;
        all.slowest = all.slowest.max(tally.slowest);
    }
    Ok(all)
}

async fn client(shared: Arc<Shared>) -> Result<RequestCounts> {
    let mut tally = RequestCounts::default();
    let mut due = interval(INTERVAL);
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !shared.over.load(Ordering::Relaxed) {
        due.tick().await;
        let begun = Instant::now();
        tally.sent += 1;
        let mut outcome = get(&shared).await?;
        if let RequestOutcome::Broken = outcome {
            // A GET may be sent twice (RFC 9110, section 9.2.2).
            tally.repeated += 1;
            outcome = get(&shared).await?;
        }
        match outcome {
            RequestOutcome::Answered => {
                shared.answers.add_permits(1);
                tally.slowest = tally.slowest.max(begun.elapsed());
            }
            RequestOutcome::Refused => tally.refused += 1,
            RequestOutcome::Broken => tally.broken += 1,
        }
    }
    Ok(tally)
}

async fn get(shared: &Shared) -> Result<RequestOutcome> {
    let exchange = timeout(TIME_LIMIT, exchange(shared.port.load(Ordering::Relaxed)));
    match exchange.await.context("a request was neither answered nor cut off")? {
        Ok(answer) => {
            let whole = load::length(&answer)?.is_some_and(|length| answer.len() >= length);
            Ok(if whole { RequestOutcome::Answered } else { RequestOutcome::Broken })
        }
        Err(error) => match error.kind() {
            io::ErrorKind::ConnectionRefused => Ok(RequestOutcome::Refused),
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Ok(RequestOutcome::Broken),
            _ => Err(error).context("a client failed for a reason of its own"),
        },
    }
}

/// Sends one request on a new connection, and reads the answer to its end.
async fn exchange(port: u16) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    let request = format!("GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(answer)
}
