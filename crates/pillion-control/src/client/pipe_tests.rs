//! Both ends of the control pipe. A client finds an app by the names of pipes, which Wine does not list: this test knows the name.

use pillion::{Program, Restart, Spec, State, Supervisor};

use super::*;
use crate::{AppInfo, serve};

#[tokio::test(flavor = "multi_thread")]
async fn a_client_reads_states_and_restarts_a_sidecar_until_the_app_closes_its_pipe() {
    let program = Program::new("no-such-program-anywhere");
    let (supervisor, _events) = Supervisor::start(Spec::run("notes", program).restart(Restart::Never));
    let mut watch = supervisor.watch();
    while watch.next().await.unwrap().state != State::Failed {}
    let socket = serve(AppInfo::new("Notes"), ControlLevel::Full, [supervisor]).unwrap();
    let address = socket.address();
    let (greeting, _) = open(&address, ANSWER_TIMEOUT).await.unwrap();
    assert_eq!((greeting.app.name.as_str(), greeting.app.pid), ("Notes", std::process::id()));
    let app = DiscoveredApp { address, greeting };

    // Two clients at once.
    let (all, unknown) = tokio::join!(app.statuses(None), app.statuses(Some("other")));
    let [status] = <[_; 1]>::try_from(all.unwrap()).unwrap();
    assert_eq!((status.sidecar.as_str(), status.state), ("notes", State::Failed));
    assert!(matches!(unknown, Err(ClientError::Refused { .. })), "{unknown:?}");
    let mut restarted = app.request(&ControlRequest::Restart { sidecar: "notes".to_owned() }).await.unwrap();
    let answer = restarted.next().await;
    assert!(matches!(answer, Err(ClientError::Refused { .. })), "the program does not exist: {answer:?}");

    drop(socket);
    loop {
        match app.statuses(None).await {
            // The task that serves the pipe has not been dropped yet, or was while this client connected.
            Ok(_) | Err(ClientError::Silent) => tokio::task::yield_now().await,
            Err(ClientError::Ended) => break,
            Err(error) => panic!("{error}"),
        }
    }
}
