//! A plain program on the `pillion` crate that dies as it is told. What becomes of its sidecar is what the test wants to
//! know. The command line is that of `integration_tests::doomed`.
#![expect(clippy::unwrap_used, reason = "a helper that cannot do its part has to fail loudly")]

use integration_tests::doomed::{Doomed, Order, perform};
use pillion::{Program, Restart, Spec, State, Supervisor};
use tokio::runtime::{Builder, Runtime};

fn main() {
    perform::<Host>();
}

/// Has no exit event: whatever it does of its own accord, pillion does not depend on it.
struct Host {
    // Dropped in this order, as a program does that declares them in the other.
    supervisor: Supervisor,
    runtime: Runtime,
}

impl Doomed for Host {
    fn start(order: Order) -> Self {
        let spec = Spec::run("sidecar", Program::new(order.program).args(order.arguments))
            .ready_timeout(order.ready_timeout)
            .grace(order.grace)
            // What is started again while the app lives is no survivor, but would look like one.
            .restart(Restart::Never);
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let supervisor = runtime.block_on(async {
            let (supervisor, mut events) = Supervisor::start(spec);
            // As an app does that shows them.
            tokio::spawn(async move { while events.next().await.is_some() {} });
            supervisor
        });
        Self { supervisor, runtime }
    }

    fn ready(&self) -> bool {
        self.runtime.block_on(self.supervisor.ready()).is_ok()
    }

    fn begin_to_stop(&self) {
        self.runtime.block_on(async {
            let stopped = self.supervisor.clone();
            tokio::spawn(async move { stopped.stop().await });
            let mut changes = self.supervisor.watch();
            while changes.next().await.is_some_and(|status| status.state == State::Ready) {}
        });
    }

    fn stop(&self) {
        let _ = self.runtime.block_on(self.supervisor.stop());
    }
}
