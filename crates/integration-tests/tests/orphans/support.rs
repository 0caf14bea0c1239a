//! Running scenarios side by side.

use integration_tests::{
    orphans::{Programs, Scenario},
    run,
};
use tokio::task::JoinSet;

pub(crate) fn programs() -> Programs {
    Programs {
        host: env!("CARGO_BIN_EXE_fake-host").into(),
        rival: env!("CARGO_BIN_EXE_rival-host").into(),
        pillion: env!("CARGO_BIN_EXE_pillion-under-test").into(),
        sidecar: env!("CARGO_BIN_EXE_fake-sidecar").into(),
    }
}

/// Runs all of them, and fails with the names of those that left somebody alive, or gave no time to end.
pub(crate) fn nobody_survives(scenarios: impl IntoIterator<Item = Scenario>) {
    run(async {
        let mut running = JoinSet::new();
        for scenario in scenarios {
            running.spawn(async move { (scenario, scenario.run(&programs()).await) });
        }
        let mut failures = Vec::new();
        while let Some(ended) = running.join_next().await {
            let (scenario, outcome) = ended.unwrap();
            match outcome {
                Err(error) => failures.push(format!("{scenario:?}: {error}")),
                Ok(outcome) if !outcome.survivors.is_empty() => {
                    failures.push(format!("{scenario:?}: still alive: {:?}", outcome.survivors));
                }
                Ok(outcome) if outcome.graceful == Some(false) => {
                    failures.push(format!("{scenario:?}: was killed without being asked"));
                }
                Ok(_) => {}
            }
        }
        assert!(failures.is_empty(), "{}", failures.join("\n"));
    });
}
