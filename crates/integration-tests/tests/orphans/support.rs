//! Runs scenarios in parallel.

use integration_tests::{
    orphans::{Programs, Scenario},
    run,
};
use tokio::task::JoinSet;

pub(crate) fn programs() -> Programs {
    Programs::built().unwrap()
}

/// Runs all scenarios. Fails with the names of those that left a survivor, or killed a sidecar without a request to stop.
pub(crate) fn assert_no_survivors(scenarios: impl IntoIterator<Item = Scenario>) {
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
                    failures.push(format!("{scenario:?}: the sidecar was killed without a request to stop"));
                }
                Ok(_) => {}
            }
        }
        assert!(failures.is_empty(), "{}", failures.join("\n"));
    });
}
