//! What running apps tell `pillion top`, each by tasks of its own.

use std::{
    collections::HashMap,
    future::{self, Future},
    time::Duration,
};

use pillion_control::{
    AnswerStream, ClientError, ControlAnswer, ControlRequest, DiscoveredApp, RefusalKind, discover,
};
use tokio::{sync::mpsc, task::JoinSet, time};

use super::{
    super::select::{Selection, failed, means, named, problems},
    model::{Key, Update},
    nothing::Running,
};

/// How often new apps are looked for.
const LOOK: Duration = Duration::from_secs(2);
/// How many past lines are shown of a sidecar that is selected.
const PAST_LINES: u64 = 1000;

/// What comes.
#[derive(Debug)]
pub(super) enum Message {
    Found(DiscoveredApp),
    Update(Update),
    /// The app with this process id has ended.
    Gone(u32),
}

/// Follows the selected apps: those that run, and those that start later. Ends when the receiver is gone.
pub(super) async fn apps(selection: Selection, sender: mpsc::Sender<Message>) {
    let mut followed = JoinSet::new();
    let mut known = HashMap::new();
    let (mut running, mut said) = (Running::default(), String::new());
    loop {
        let found = discover().await;
        running.problems = problems(&found);
        running.apps = found.apps.iter().map(|app| app.info().clone()).collect();
        running.without_sidecar.retain(|pid| running.apps.iter().any(|app| app.pid == *pid));
        for app in found.apps {
            let is_meant = selection.app.as_ref().is_none_or(|name| means(name, app.info()));
            let pid = app.info().pid;
            if is_meant && !known.values().any(|known| *known == pid) {
                if sender.send(Message::Found(app.clone())).await.is_err() {
                    return;
                }
                let task = followed.spawn(follow(app, selection.sidecar.clone(), sender.clone()));
                known.insert(task.id(), pid);
            }
        }
        let next = time::sleep(LOOK);
        tokio::pin!(next);
        loop {
            let nothing = running.nothing(&selection);
            if nothing != said {
                said.clone_from(&nothing);
                if sender.send(Message::Update(Update::Nothing(nothing))).await.is_err() {
                    return;
                }
            }
            tokio::select! {
                () = &mut next => break,
                Some(ended) = followed.join_next_with_id() => {
                    let (id, ended) = match ended {
                        Ok((id, ended)) => (id, Some(ended)),
                        Err(error) => (error.id(), None),
                    };
                    let Some(pid) = known.remove(&id) else { continue };
                    match ended {
                        Some(Ended::WithoutSidecar) => drop(running.without_sidecar.insert(pid)),
                        _ => running.apps.retain(|app| app.pid != pid),
                    }
                    if sender.send(Message::Gone(pid)).await.is_err() {
                        return;
                    }
                }
            }
        }
    }
}

/// Why an app is not followed any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// It has ended, or gave an error, which is shown.
    App,
    /// It has no sidecar of the selected name.
    WithoutSidecar,
}

/// Follows one app to its end.
async fn follow(app: DiscoveredApp, sidecar: Option<String>, sender: mpsc::Sender<Message>) -> Ended {
    let pid = app.info().pid;
    let key = |sidecar: &str| Key { app: pid, sidecar: sidecar.to_owned() };
    let statuses = async {
        let mut answers = app.request(&ControlRequest::Watch { sidecar: sidecar.clone() }).await?;
        while let Some(answer) = answers.next().await? {
            if let ControlAnswer::Status { status } = answer {
                let update = Update::Status(key(&status.sidecar), app.info().name.clone(), status);
                let _ = sender.send(Message::Update(update)).await;
            }
        }
        Ok::<_, ClientError>(())
    };
    let usages = async {
        let request = ControlRequest::Usage { sidecar: sidecar.clone(), interval_ms: None };
        if let Err(error) = usage(app.request(&request).await, &key, &sender).await {
            let words = match error {
                ClientError::Ended | ClientError::Refused { kind: RefusalKind::UnknownSidecar, .. } => return,
                ClientError::Refused { kind: RefusalKind::UnknownRequest, .. } => {
                    format!(
                        "{} is of an older version, which does not tell what its sidecars use",
                        named(app.info())
                    )
                }
                error => failed(app.info(), &error),
            };
            let _ = sender.send(Message::Update(Update::Problem(pid, words))).await;
        }
    };
    match beside(statuses, usages).await {
        Ok(()) | Err(ClientError::Ended) => {}
        // A name that this app does not have is one of another app.
        Err(ClientError::Refused { kind: RefusalKind::UnknownSidecar, .. }) => return Ended::WithoutSidecar,
        Err(error) => {
            let words = failed(app.info(), &error);
            let _ = sender.send(Message::Update(Update::Problem(pid, words))).await;
        }
    }
    Ended::App
}

/// Waits for the first one; the second one goes on for as long.
async fn beside<T>(first: impl Future<Output = T>, second: impl Future<Output = ()>) -> T {
    let second = async {
        second.await;
        future::pending().await
    };
    tokio::select! {
        ended = first => ended,
        never = second => never,
    }
}

async fn usage(
    answers: Result<AnswerStream, ClientError>,
    key: &impl Fn(&str) -> Key,
    sender: &mpsc::Sender<Message>,
) -> Result<(), ClientError> {
    let mut answers = answers?;
    while let Some(answer) = answers.next().await? {
        if let ControlAnswer::Usage { usage } = answer {
            let update = Update::Usage(key(&usage.sidecar), usage);
            let _ = sender.send(Message::Update(update)).await;
        }
    }
    Ok(())
}

/// Follows the output of one sidecar until this task is aborted, or the app ends.
pub(super) async fn logs(app: DiscoveredApp, key: Key, sender: mpsc::Sender<Message>) {
    match lines(&app, &key, &sender).await {
        Ok(()) | Err(ClientError::Ended) => {}
        Err(error) => {
            let words = failed(app.info(), &error);
            let _ = sender.send(Message::Update(Update::Problem(key.app, words))).await;
        }
    }
}

async fn lines(app: &DiscoveredApp, key: &Key, sender: &mpsc::Sender<Message>) -> Result<(), ClientError> {
    let request = ControlRequest::Logs {
        sidecar: key.sidecar.clone(),
        tail: Some(PAST_LINES),
        since: None,
        follow: true,
        levels: false,
    };
    let mut answers = app.request(&request).await?;
    while let Some(answer) = answers.next().await? {
        let update = match answer {
            ControlAnswer::Line(entry) => Update::Line(key.clone(), entry.plain_text().into_owned()),
            ControlAnswer::Missed { lines } => Update::Missed(key.clone(), lines),
            _ => continue,
        };
        if sender.send(Message::Update(update)).await.is_err() {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_app_is_followed_for_as_long_as_its_statuses_come() {
        assert_eq!(beside(future::ready(1), future::pending()).await, 1);
        let (end, ended) = tokio::sync::oneshot::channel();
        let followed = beside(async { ended.await.unwrap() }, async { end.send(2).unwrap() });
        assert_eq!(followed.await, 2, "the end of the second one ends nothing");
    }
}
