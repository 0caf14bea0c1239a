//! `pillion top`: the sidecars of running apps in a terminal, as they are now.

mod feed;
mod model;
mod nothing;
mod screen;
#[cfg_attr(not(unix), path = "top/no_suspension.rs")]
mod suspension;
mod view;

use std::{
    collections::HashMap,
    env,
    io::{self, IsTerminal as _},
    process::ExitCode,
    thread,
    time::Duration,
};

use clap::Args as ClapArgs;
use crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use pillion_control::DiscoveredApp;
use tokio::{
    sync::mpsc,
    task::{self, JoinSet},
    time::{self, MissedTickBehavior},
};

use self::{
    feed::Message,
    model::{Key, Model, Press},
    screen::Screen,
    suspension::Suspension,
};
use super::{Stopped, render::now_ms, run, select::Selection};
use crate::interrupts::interrupts;

/// How often the screen is drawn at most, if something has changed.
const FRAME: Duration = Duration::from_millis(50);
/// How many messages wait at most. The apps wait for the rest.
const WAITING: usize = 1024;

/// Show the sidecars of running apps in the terminal, as they change: states, processor time, memory, and output.
///
/// The keys are shown at the bottom. Nothing can be changed here. The processes are measured once a second, and only while this command
/// runs.
///
/// Exit status: 0, 1 if stdin or stdout is not a terminal.
#[derive(Debug, ClapArgs)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    selection: Selection,
}

const EXAMPLES: &str = "\
Examples:
  All sidecars of all running apps:
    pillion top
  Those of one app:
    pillion top --app com.example.notes";

pub(crate) fn main(args: Args) -> ExitCode {
    run(async {
        if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
            let message = "`pillion top` needs a terminal for its input and its output: use `pillion ps --json` or `pillion logs` here";
            return Err(Stopped::Because(message.to_owned()));
        }
        if env::var_os("TERM").is_some_and(|term| term == "dumb") {
            let message = "this terminal cannot show `pillion top`, because TERM is \"dumb\": use `pillion ps` or `pillion logs` here";
            return Err(Stopped::Because(message.to_owned()));
        }
        let mut interrupts = interrupts().map_err(|error| format!("cannot wait for signals: {error}"))?;
        let mut screen = Screen::open()?;
        tokio::select! {
            shown = show(&mut screen, args.selection) => shown,
            _ = interrupts.recv() => Ok(()),
        }
    })
}

async fn show(screen: &mut Screen, selection: Selection) -> Result<(), Stopped> {
    let (sender, mut messages) = mpsc::channel(WAITING);
    let mut input = input()?;
    let mut suspension = Suspension::new()?;
    let mut feeds = JoinSet::new();
    feeds.spawn(feed::apps(selection, sender.clone()));
    let (mut model, mut apps) = (Model::default(), HashMap::new());
    let mut followed: Option<(Key, JoinSet<()>)> = None;
    let mut frames = time::interval(FRAME);
    frames.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut drawn = None;
    loop {
        // The uptimes change each second.
        let state = (model.revision(), now_ms() / 1000);
        if drawn != Some(state) {
            drawn = Some(state);
            screen.draw(|frame| view::draw(frame, &model, now_ms()))?;
        }
        tokio::select! {
            _ = frames.tick() => {}
            change = suspension.next() => {
                suspension.follow(change, screen).await?;
                drawn = None;
            }
        }
        // After a long turn the tick waits for nothing, and a signal would find no turn of its own.
        task::yield_now().await;
        while let Ok(event) = input.try_recv() {
            match event {
                Event::Key(key) if key.kind != KeyEventKind::Release => {
                    if let Some(press) = press(key) {
                        model.press(press);
                    }
                }
                Event::Resize(..) => drawn = None,
                _ => {}
            }
        }
        if input.is_closed() || model.has_quit() {
            return Ok(());
        }
        for _ in 0..WAITING {
            let Ok(message) = messages.try_recv() else { break };
            take(message, &mut model, &mut apps);
        }
        if followed.as_ref().map(|(key, _)| key) != model.selected() {
            followed = model.selected().cloned().zip(None);
            if let Some(key) = model.selected()
                && let Some(app) = apps.get(&key.app)
            {
                let mut logs = JoinSet::new();
                logs.spawn(feed::logs(DiscoveredApp::clone(app), key.clone(), sender.clone()));
                followed = Some((key.clone(), logs));
            }
        }
    }
}

fn take(message: Message, model: &mut Model, apps: &mut HashMap<u32, DiscoveredApp>) {
    match message {
        Message::Found(app) => {
            model.found(app.info().pid);
            apps.insert(app.info().pid, app);
        }
        Message::Update(update) => model.update(update),
        Message::Gone(pid) => {
            apps.remove(&pid);
            model.remove(pid);
        }
    }
}

/// Reads the keys on a thread, which ends with this program.
fn input() -> io::Result<mpsc::Receiver<Event>> {
    let (sender, receiver) = mpsc::channel(WAITING);
    thread::Builder::new().name("pillion-keys".to_owned()).spawn(move || {
        while let Ok(event) = event::read()
            && sender.blocking_send(event).is_ok()
        {}
    })?;
    Ok(receiver)
}

/// What a key means.
fn press(key: KeyEvent) -> Option<Press> {
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    Some(match key.code {
        // The terminal sends no signals while it is used.
        KeyCode::Char('c' | 'd') if control => Press::Quit,
        KeyCode::Char(_) if control => return None,
        KeyCode::Char(letter) => Press::Letter(letter),
        KeyCode::Up => Press::Up,
        KeyCode::Down => Press::Down,
        KeyCode::PageUp => Press::PageUp,
        KeyCode::PageDown => Press::PageDown,
        KeyCode::End => Press::End,
        KeyCode::Backspace => Press::Backspace,
        KeyCode::Enter => Press::Enter,
        KeyCode::Esc => Press::Escape,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_c_quits_and_other_control_keys_mean_nothing() {
        let key = |code, modifiers| press(KeyEvent::new(code, modifiers));
        assert_eq!(key(KeyCode::Char('c'), KeyModifiers::CONTROL), Some(Press::Quit));
        assert_eq!(key(KeyCode::Char('c'), KeyModifiers::NONE), Some(Press::Letter('c')));
        assert_eq!(key(KeyCode::Char('z'), KeyModifiers::CONTROL), None);
    }
}
