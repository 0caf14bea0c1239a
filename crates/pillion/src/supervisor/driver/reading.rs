//! Reads the output of the present run.

use crate::{
    output::{Output, Read},
    report::history::Recorder,
    supervisor::driver::Driver,
};

/// How often output is read before other tasks get their turn.
pub(super) const READS_AT_ONCE: usize = 16;

impl Driver {
    /// Takes a read, and what else has come meanwhile: to wait for each read costs several times as much as to read. Announcements are
    /// published first.
    ///
    /// Then gives other tasks their turn, but not after each single line: a turn wakes a second thread of the runtime, which costs more
    /// than the line.
    pub(super) async fn absorb_output(&mut self, read: Read) {
        self.reads_in_turn += self.absorb_available(read);
        if self.reads_in_turn >= READS_AT_ONCE {
            self.reads_in_turn = 0;
            // Under a flood of output this task would use up its whole budget. Its readers wait on the same worker and would lose
            // events.
            tokio::task::yield_now().await;
        }
    }

    /// Returns the number of reads.
    fn absorb_available(&mut self, mut read: Read) -> usize {
        for reads in 1..READS_AT_ONCE {
            let (stream, announces) = (read.lines.stream, !read.announcements.is_empty());
            self.absorb(read);
            let Some(process) = self.run.process.as_mut().filter(|_| !announces) else { return reads };
            let output = &mut process.output;
            if !self.recorder.has_room(|| output.has_room()) {
                return reads;
            }
            let Some(more) = output.read_available(stream) else { return reads };
            read = more;
        }
        self.absorb(read);
        READS_AT_ONCE
    }

    pub(super) async fn read_rest(&mut self) {
        loop {
            let Some(process) = &mut self.run.process else { return };
            // The writer makes room meanwhile; a disk that hangs is noticed after a while.
            let Some(read) = read_rest(&self.recorder, &mut process.output).await else { return };
            self.absorb(read);
        }
    }
}

/// Reads output, as soon as the log file takes more. Cancel-safe.
pub(super) async fn read(recorder: &Recorder, output: &mut Output) -> Read {
    recorder.room(|| output.has_room()).await;
    output.read().await
}

/// The same for what a dead process has left. `None` once there is nothing more.
async fn read_rest(recorder: &Recorder, output: &mut Output) -> Option<Read> {
    recorder.room(|| output.has_room()).await;
    output.read_rest().await
}
