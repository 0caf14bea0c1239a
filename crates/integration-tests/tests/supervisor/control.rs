//! What the control socket of this process tells of a private sidecar.

use integration_tests::{helper_program, run};
use pillion::Supervisor;
use pillion_control::{
    AppInfo, ClientError, ControlAnswer, ControlLevel, ControlRequest, DiscoveredApp, RefusalKind, discover,
    serve,
};

use crate::support::tree;

/// The app of this process with this name: other tests can be apps, too.
async fn found(name: &str) -> Option<DiscoveredApp> {
    let apps = discover().await.apps;
    apps.into_iter().find(|app| app.info().pid == std::process::id() && app.info().name == name)
}

/// The answers to a request, and the error at their end.
async fn answers(
    app: &DiscoveredApp,
    request: &ControlRequest,
    limit: usize,
) -> (Vec<ControlAnswer>, Option<ClientError>) {
    let mut stream = app.request(request).await.unwrap();
    let mut answers = Vec::new();
    while answers.len() < limit {
        match stream.next().await {
            Ok(Some(answer)) => answers.push(answer),
            Ok(None) => return (answers, None),
            Err(error) => return (answers, Some(error)),
        }
    }
    (answers, None)
}

#[test]
fn no_answer_contains_the_token() {
    run(async {
        let tree = tree();
        let program = tree.program(helper_program("upload-sidecar").unwrap()).private(true);
        let (backend, _events) = Supervisor::start(tree.spec(program));
        let _socket = serve(AppInfo::new("token test"), ControlLevel::Full, [backend.clone()]).unwrap();
        let token = |access: &pillion::Access| access.token.as_ref().unwrap().reveal().to_owned();
        let first = token(&backend.access().await.unwrap());
        let app = found("token test").await.unwrap();
        let name = Some("sidecar".to_owned());
        let mut all = Vec::new();
        let logs = |follow| ControlRequest::Logs {
            sidecar: "sidecar".to_owned(),
            tail: None,
            since: None,
            follow,
            levels: true,
        };
        for (request, limit) in [
            (ControlRequest::Status { sidecar: None }, 2),
            (ControlRequest::Watch { sidecar: name.clone() }, 1),
            (logs(false), 1000),
            (ControlRequest::Restart { sidecar: "sidecar".to_owned() }, 2),
            (ControlRequest::ExitReports { sidecar: name.clone() }, 20),
            (ControlRequest::Status { sidecar: name }, 2),
            (logs(false), 1000),
        ] {
            let (answers, error) = answers(&app, &request, limit).await;
            assert!(error.is_none(), "{request:?}: {error:?}");
            all.push(format!("{:?}: {answers:?} {}", app.info(), serde_json::to_string(&answers).unwrap()));
        }
        let second = token(&backend.access().await.unwrap());
        assert_ne!(first, second, "the restart has made another token");
        let all = all.join("\n");
        assert!(all.contains("Ready") && all.contains(r#""state":"ready""#), "{all}");
        assert!(!all.contains(&first) && !all.contains(&second), "{all}");
        let _ = backend.stop().await;
    });
}

#[test]
fn a_dropped_socket_is_gone_at_once_and_keeps_no_sidecar_running() {
    run(async {
        let tree = tree();
        let (backend, mut events) = Supervisor::start(tree.sidecar("listen ok announce park"));
        let socket = serve(AppInfo::new("dropped"), ControlLevel::Read, [backend.clone()]).unwrap();
        backend.ready().await.unwrap();
        let app = found("dropped").await.unwrap();
        let mut watch = app.request(&ControlRequest::Watch { sidecar: None }).await.unwrap();
        assert!(matches!(watch.next().await, Ok(Some(ControlAnswer::Status { .. }))));
        let path = socket.name().to_owned();
        drop(socket);
        assert!(!std::path::Path::new(&path).exists());
        let ended = loop {
            match watch.next().await {
                Ok(Some(_)) => {}
                other => break other,
            }
        };
        assert!(matches!(ended, Err(ClientError::Ended)), "{ended:?}");
        // The last handle: the sidecar stops, because no connection holds another one.
        drop(backend);
        while events.next().await.is_some() {}
        tree.assert_dead();
    });
}

#[test]
fn a_client_learns_that_the_app_does_not_know_its_request() {
    run(async {
        let tree = tree();
        let (backend, _events) = Supervisor::start(tree.sidecar("listen ok announce park"));
        let _socket = serve(AppInfo::new("requests"), ControlLevel::Read, [backend.clone()]).unwrap();
        let app = found("requests").await.unwrap();
        let restart = ControlRequest::Restart { sidecar: "sidecar".to_owned() };
        let (none, refused) = answers(&app, &restart, 1).await;
        assert!(none.is_empty());
        let Some(ClientError::Refused { kind, message, .. }) = refused else { panic!("{refused:?}") };
        assert_eq!(kind, RefusalKind::NotAllowed);
        assert!(message.starts_with("requests lets other programs look"), "{message}");
        let _ = backend.stop().await;
    });
}
