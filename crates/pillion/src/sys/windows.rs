//! A job object, by process-wrap: created suspended, assigned, resumed; killed when its last handle closes.

use std::{
    io,
    process::Stdio,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use process_wrap::tokio::{ChildWrapper, CommandWrap, CreationFlags, JobObject, KillOnDrop};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::ChildStdin,
};
use windows::Win32::System::Threading::CREATE_NO_WINDOW;

use super::{Order, Spawned};
use crate::status::Exit;

/// A job object with the process that was started in it. Dropping it kills what is left in the job.
#[derive(Debug)]
pub(crate) struct Group {
    child: Mutex<Box<dyn ChildWrapper>>,
    /// The other end of its stdin.
    lifeline: Mutex<Option<ChildStdin>>,
    pid: u32,
}

impl Group {
    /// Starts the program in a job of its own, with pipes for its standard streams. The job needs no guard: it is killed
    /// when its last handle closes, by whatever death of ours.
    pub(crate) fn spawn(order: Order) -> io::Result<Spawned> {
        let mut command = order.command;
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut wrap = CommandWrap::from(tokio::process::Command::from(command));
        // No console window flashes up for a console program.
        let mut child =
            wrap.wrap(CreationFlags(CREATE_NO_WINDOW)).wrap(KillOnDrop).wrap(JobObject).spawn()?;
        let missing = || io::Error::other("a standard stream was not piped");
        let lifeline = Mutex::new(child.stdin().take());
        let stdout = Pipe(Box::new(child.stdout().take().ok_or_else(missing)?));
        let stderr = Pipe(Box::new(child.stderr().take().ok_or_else(missing)?));
        let pid = child.id().unwrap_or_default();
        let group = Self { child: Mutex::new(child), lifeline, pid };
        Ok(Spawned { group, stdout, stderr, unguarded: None })
    }

    /// The process id of the process that was started.
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// Waits until that process has ended. May be dropped and called again.
    pub(crate) async fn exited(&self) -> Exit {
        loop {
            match self.with_child(|child| child.inner_mut().try_wait()) {
                Ok(Some(status)) => return Exit { code: status.code(), signal: None },
                Ok(None) => tokio::time::sleep(Duration::from_millis(10)).await,
                Err(_) => return Exit { code: None, signal: None },
            }
        }
    }

    /// Ends stdin, which is the whole request: Windows has no signal that a program without a console receives.
    pub(crate) fn ask(&self) {
        *self.lifeline.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Kills every process of the job.
    pub(crate) fn kill(&self) {
        let _ = self.with_child(|child| child.start_kill());
    }

    /// Kills what is left in the job once the leader has ended.
    pub(crate) async fn emptied(&self) {
        self.kill();
    }

    fn with_child<T>(&self, act: impl FnOnce(&mut dyn ChildWrapper) -> T) -> T {
        act(self.child.lock().unwrap_or_else(PoisonError::into_inner).as_mut())
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The reading end of a pipe.
pub(crate) struct Pipe(Box<dyn AsyncRead + Send + Sync + Unpin>);

impl Pipe {
    /// Reads what is there, and waits where nothing is. 0 is the end. Nothing is lost when it is dropped.
    pub(crate) async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer).await
    }

    /// Reads what comes within a moment: `None` where nothing does.
    pub(crate) async fn read_now(&mut self, buffer: &mut [u8]) -> Option<io::Result<usize>> {
        tokio::time::timeout(Duration::from_millis(20), self.0.read(buffer)).await.ok()
    }
}
