//! A public page holds as many connections to the sidecar as the browser lets it. The browser asks for permission before it sends a
//! request to loopback (Local Network Access), but not before it connects.

use std::{
    env,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use pillion::{Liveness, Spec, State};
use serde_json::json;
use tokio::{
    io::{copy, sink},
    net::TcpListener,
    sync::watch,
    try_join,
};

use super::{Counter, attacker_server, careful_browser};

/// Asks under many names, because browsers limit the connections to one name. Returns how many requests were sent.
const HOLD: &str = "
    const [port, count, done] = arguments;
    const urls = Array.from({ length: count }, (_, at) => `http://h${at}.test:${port}/health`);
    Promise.allSettled(urls.map((url) => fetch(url, { mode: 'no-cors' }))).then((results) =>
        done(results.filter(({ status }) => status === 'fulfilled').length));
";
/// How many names the page asks under.
const NAMES: usize = 300;
/// How many connections a sidecar serves at the same time.
const CONNECTIONS: usize = 256;
/// How many times the page asks under all names.
const ROUNDS: usize = 8;
/// A variable with the number of seconds that the page shall go on instead.
const SECONDS: &str = "STARVATION_SECONDS";
/// How many requests the app sends in each round, one after the other, each on a new connection.
const REQUESTS: usize = 10;

/// A server that accepts connections and keeps them. Returns its port, and the number of open connections.
async fn silent_server() -> Result<(u16, watch::Receiver<usize>)> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let port = listener.local_addr()?.port();
    let (sender, open) = watch::channel(0);
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            let sender = sender.clone();
            tokio::spawn(async move {
                sender.send_modify(|open| *open += 1);
                let _ = copy(&mut connection, &mut sink()).await;
                sender.send_modify(|open| *open -= 1);
            });
        }
    });
    Ok((port, open))
}

/// The median and the longest time of a request of the app.
fn summary(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    format!("median {:?}, longest {:?} of {}", times[times.len() / 2], times[times.len() - 1], times.len())
}

async fn app_requests(counter: &Counter, times: &mut Vec<Duration>) -> Result<()> {
    for _ in 0..REQUESTS {
        let start = Instant::now();
        ensure!(counter.hits().await?.is_empty(), "a request of the page reached a handler");
        times.push(start.elapsed());
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Chromium: cargo xtask test"]
async fn a_page_that_holds_connections_neither_starves_the_app_nor_restarts_the_sidecar() -> Result<()> {
    let seconds = env::var(SECONDS).ok().map(|seconds| seconds.parse()).transpose()?;
    let server = attacker_server().await?;
    let browser = careful_browser(&server, &[]).await?;
    browser.show(&format!("http://evil.test:{}", server.port()), false).await?;
    let hold = async |port: u16| {
        let sent = browser.execute(HOLD, vec![json!(port), json!(NAMES)]).await?;
        ensure!(sent == json!(0), "the browser lets the page send {sent} requests");
        Ok(())
    };

    // The page can hold every connection of a server that keeps them.
    let (port, open) = silent_server().await?;
    while *open.borrow() < CONNECTIONS {
        hold(port).await?;
    }

    let mut spec = Spec::run("counter", Counter::program().private(true));
    if seconds.is_none() {
        // Often enough for a short test. An answer may take a minute.
        spec = spec.liveness(Liveness::new(Duration::from_secs(1), 60));
    }
    let counter = Counter::start_as(spec).await?;
    let supervisor = counter.supervisor.as_ref().expect("it was started here");
    let pid = supervisor.status().pid;
    let (mut quiet, mut starved) = (Vec::new(), Vec::new());
    app_requests(&counter, &mut quiet).await?;
    let (start, mut round) = (Instant::now(), 0);
    while seconds.map_or(round < ROUNDS, |seconds| start.elapsed() < Duration::from_secs(seconds)) {
        try_join!(hold(counter.port), app_requests(&counter, &mut starved))?;
        round += 1;
    }
    eprintln!("{round} rounds; quiet: {}; starved: {}", summary(quiet), summary(starved));
    let status = supervisor.status();
    assert_eq!((status.state, status.pid, status.restarts), (State::Ready, pid, 0));
    counter.stop().await;
    Ok(())
}
