//! Several sidecars, started and stopped in the order of their dependencies.

use std::collections::{BTreeMap, VecDeque};

use tokio::task::JoinSet;

use crate::{
    InvalidSpec, Readiness, Spec, State, Status, StopOutcome, Supervisor, state::Requester, task::task,
};

/// Several sidecars by name. Each starts when its dependencies are ready, and stops before them.
///
/// A failing sidecar does not stop others. Dependents that have not started wait, and their status says so; they start once it
/// recovers. Dependents that already run go on, except those that are [restarted with it](Spec::restart_with).
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use pillion::{Fleet, Spec};
///
/// let database = Spec::run("database", "./database");
/// let backend = Spec::run("backend", "./backend").depends_on(["database"]);
/// let fleet = Fleet::start([database, backend])?;
/// let endpoint = fleet.get("backend").ok_or("not declared")?.ready().await?;
/// println!("call it at {}", endpoint.base_url()?);
/// let outcomes = fleet.close().await; // the backend first, then the database
/// # let _ = outcomes;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Fleet {
    supervisors: BTreeMap<String, Supervisor>,
    /// The names in layers. A sidecar depends only on sidecars of earlier layers.
    layers: Vec<Vec<String>>,
}

/// Why a fleet cannot start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FleetError {
    /// Two sidecars have the same name.
    #[error("two sidecars are called {0:?}: give each its own name")]
    Twice(String),
    /// A sidecar depends on one that is not declared.
    #[error(
        "sidecar {sidecar:?} depends on {missing:?} (`{field}`), which is not declared; declared: {declared}"
    )]
    #[non_exhaustive]
    Unknown {
        /// The dependent sidecar.
        sidecar: String,
        /// The field with the name: `dependsOn` or `restartWith`.
        field: &'static str,
        /// The name that is not declared.
        missing: String,
        /// The declared names, separated by commas.
        declared: String,
    },
    /// Sidecars depend on each other in a cycle. The first name is repeated at the end.
    #[error("sidecars depend on each other in a cycle, so none can start first: {}", .0.join(" -> "))]
    Cycle(Vec<String>),
    /// The declaration of a sidecar contradicts itself.
    #[error("sidecar {sidecar:?}: {invalid}")]
    #[non_exhaustive]
    Invalid {
        /// The name of the sidecar.
        sidecar: String,
        /// The contradiction.
        invalid: InvalidSpec,
    },
}

impl Fleet {
    /// Starts all sidecars in the background, in the order of [`Spec::depends_on`] and [`Spec::restart_with`].
    ///
    /// # Errors
    /// An unknown name, a duplicate name, a dependency cycle, or a declaration that contradicts itself. Then no sidecar has started.
    ///
    /// # Panics
    /// Outside the context of a tokio runtime with I/O and time enabled.
    #[track_caller]
    pub fn start(specs: impl IntoIterator<Item = Spec>) -> Result<Self, FleetError> {
        let mut by_name = by_name(specs)?;
        let layers = layers(&by_name)?;
        let optional: BTreeMap<_, _> =
            by_name.iter().map(|(name, spec)| (name.clone(), spec.optional)).collect();
        let mut supervisors = BTreeMap::<String, Supervisor>::new();
        for name in layers.iter().flatten() {
            let Some(spec) = by_name.remove(name) else { continue };
            let dependency = |name: &String| {
                let restart = spec.restart_with.contains(name);
                Some(supervisors.get(name)?.as_dependency(*optional.get(name)?, restart))
            };
            let after = spec.dependencies().filter_map(dependency).collect();
            let (supervisor, _events) = Supervisor::start_after(spec, after);
            supervisors.insert(name.clone(), supervisor);
        }
        Ok(Self { supervisors, layers })
    }

    /// Checks what [`start`](Self::start) checks, and starts nothing.
    ///
    /// # Errors
    /// Those of `start`.
    pub fn validate<'a>(specs: impl IntoIterator<Item = &'a Spec>) -> Result<(), FleetError> {
        layers(&by_name(specs.into_iter().cloned())?).map(drop)
    }

    /// The sidecar with this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Supervisor> {
        self.supervisors.get(name)
    }

    /// All sidecars, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &Supervisor> {
        self.supervisors.values()
    }

    /// Stops all sidecars, dependents first; independent sidecars stop at the same time, each within its own grace period. Returns
    /// the outcomes by name when no process is left. Dropping the future leaves the sidecars running that were not asked yet.
    ///
    /// # Panics
    /// Outside the context of a tokio runtime.
    pub async fn stop(&self) -> BTreeMap<String, StopOutcome> {
        self.end(|supervisor| async move { supervisor.stop().await }).await
    }

    /// Stops all sidecars as [`stop`](Self::stop) does, for the last time: every later start is refused, and a sidecar that ends
    /// before its turn is not restarted. Call it when the program ends. Dropping the future leaves the sidecars running that were
    /// not asked yet; their starts stay refused.
    ///
    /// # Panics
    /// Outside the context of a tokio runtime.
    pub async fn close(&self) -> BTreeMap<String, StopOutcome> {
        self.iter().for_each(Supervisor::refuse_starts);
        self.end(|supervisor| async move { supervisor.close().await }).await
    }

    /// Stops all sidecars as [`stop`](Self::stop) does, and then runs `work`, which replaces their files, such as the installation of an
    /// update. If `work` fails, those that ran before, or would have started by themselves, start again, and also if the future is dropped.
    /// If `work` succeeds, they stay stopped for the new version of the app, which starts them; [`Supervisor::restart`] starts one in this
    /// version.
    ///
    /// A sidecar that runs [on demand](Spec::on_demand) and was idle starts as well, because a use does not start a stopped one; it is
    /// idle again after the time without a use.
    ///
    /// # Errors
    /// Those of `work`.
    ///
    /// # Panics
    /// Outside the context of a tokio runtime.
    pub async fn stop_while<T, E>(&self, work: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        let in_order = self.layers.iter().flatten().filter_map(|name| self.get(name));
        let up = in_order.filter(|it| is_up_or_comes_up(&it.status()));
        let mut stopped = RestartOnDrop(up.cloned().collect());
        let _ = self.end(|supervisor| async move { supervisor.stop_for(Requester::Update).await }).await;
        let result = work.await;
        if result.is_ok() {
            stopped.0.clear();
        }
        // Each start has begun when this call returns, so that `ready` waits for it; a dependency begins before its dependents.
        while let Some(supervisor) = stopped.0.front() {
            supervisor.begin_restart().await;
            stopped.0.pop_front();
        }
        result
    }

    /// Ends the layers one after the other, the last one first.
    async fn end<F>(&self, end: impl Fn(Supervisor) -> F) -> BTreeMap<String, StopOutcome>
    where
        F: Future<Output = StopOutcome> + Send + 'static,
    {
        let mut outcomes = BTreeMap::new();
        for layer in self.layers.iter().rev() {
            let mut ends = JoinSet::new();
            for supervisor in layer.iter().filter_map(|name| self.get(name)) {
                let (name, ending) = (supervisor.name().to_owned(), end(supervisor.clone()));
                ends.spawn(task(async move { (name, ending.await) }));
            }
            outcomes.extend(ends.join_all().await);
        }
        outcomes
    }
}

/// Requests a start of each sidecar when it is dropped, of dependencies first.
struct RestartOnDrop(VecDeque<Supervisor>);

impl Drop for RestartOnDrop {
    fn drop(&mut self) {
        self.0.iter().for_each(Supervisor::request_restart);
    }
}

/// Whether it runs, or starts again by itself, as soon as a dependency is ready or with a use.
fn is_up_or_comes_up(status: &Status) -> bool {
    let stays_down = status.state == State::Stopping && status.readiness == Readiness::Down;
    !stays_down && !matches!(status.state, State::Stopped | State::Failed)
}

/// The valid specifications by name.
fn by_name(specs: impl IntoIterator<Item = Spec>) -> Result<BTreeMap<String, Spec>, FleetError> {
    let mut by_name = BTreeMap::new();
    for spec in specs {
        let name = spec.name.clone();
        spec.validate().map_err(|invalid| FleetError::Invalid { sidecar: name.clone(), invalid })?;
        if by_name.insert(name.clone(), spec).is_some() {
            return Err(FleetError::Twice(name));
        }
    }
    Ok(by_name)
}

/// Sorts the names into layers. A sidecar depends only on sidecars of earlier layers.
fn layers(specs: &BTreeMap<String, Spec>) -> Result<Vec<Vec<String>>, FleetError> {
    for (sidecar, spec) in specs {
        for (field, names) in [("dependsOn", &spec.depends_on), ("restartWith", &spec.restart_with)] {
            if let Some(missing) = names.iter().find(|name| !specs.contains_key(*name)) {
                let (sidecar, missing) = (sidecar.clone(), missing.clone());
                let declared = specs.keys().cloned().collect::<Vec<_>>().join(", ");
                return Err(FleetError::Unknown { sidecar, field, missing, declared });
            }
        }
    }
    let mut layers: Vec<Vec<String>> = Vec::new();
    let mut left: BTreeMap<_, Vec<_>> =
        specs.iter().map(|(name, spec)| (name, spec.dependencies().collect())).collect();
    while !left.is_empty() {
        let free: Vec<String> = left
            .iter()
            .filter(|(_, after)| after.iter().all(|name| !left.contains_key(*name)))
            .map(|(name, _)| (*name).clone())
            .collect();
        if free.is_empty() {
            return Err(FleetError::Cycle(cycle(&left)));
        }
        left.retain(|name, _| !free.contains(name));
        layers.push(free);
    }
    Ok(layers)
}

/// A dependency cycle among sidecars that each depend on another one of `left`. Its first name is repeated at its end.
fn cycle(left: &BTreeMap<&String, Vec<&String>>) -> Vec<String> {
    let mut path: Vec<String> = left.keys().take(1).map(|name| (*name).clone()).collect();
    while let Some(next) = path
        .last()
        .and_then(|name| left.get(name))
        .and_then(|after| after.iter().copied().find(|name| left.contains_key(name)))
    {
        if let Some(start) = path.iter().position(|name| name == next) {
            path.drain(..start);
            path.push(next.clone());
            break;
        }
        path.push(next.clone());
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declared(specs: &[(&str, &[&str])]) -> Result<Vec<Vec<String>>, FleetError> {
        let spec = |(name, after): &(&str, &[&str])| {
            ((*name).to_owned(), Spec::run(*name, "x").depends_on(after.iter().copied()))
        };
        layers(&specs.iter().map(spec).collect())
    }

    #[test]
    fn a_layer_depends_only_on_earlier_layers() {
        let layers =
            declared(&[("api", &["db", "cache"]), ("cache", &["db"]), ("db", &[]), ("log", &[])]).unwrap();
        assert_eq!(layers, [vec!["db", "log"], vec!["cache"], vec!["api"]]);
    }

    #[test]
    fn the_error_shows_the_cycle_alone() {
        let error = declared(&[("a", &["b"]), ("b", &["c"]), ("c", &["b"]), ("d", &[])]).unwrap_err();
        assert_eq!(error, FleetError::Cycle(["b", "c", "b"].map(str::to_owned).into()));
        assert!(error.to_string().ends_with("b -> c -> b"));
    }

    #[test]
    fn a_sidecar_that_depends_on_itself_is_a_cycle() {
        assert!(matches!(declared(&[("a", &["a"])]), Err(FleetError::Cycle(path)) if path == ["a", "a"]));
    }

    #[test]
    fn the_error_names_the_unknown_sidecar_and_the_declared_ones() {
        let error = declared(&[("api", &["bd"]), ("db", &[])]).unwrap_err().to_string();
        assert!(
            error.contains("\"api\" depends on \"bd\" (`dependsOn`)") && error.contains("declared: api, db"),
            "{error}"
        );
    }

    #[test]
    fn a_sidecar_that_is_restarted_with_another_one_depends_on_it() {
        let spec = |name: &str, with: &[&str]| {
            (name.to_owned(), Spec::run(name, "x").restart_with(with.iter().copied()))
        };
        let order = layers(&[spec("api", &["db", "db"]), spec("db", &[])].into()).unwrap();
        assert_eq!(order, [vec!["db"], vec!["api"]]);
        let unknown = layers(&[spec("api", &["bd"])].into()).unwrap_err().to_string();
        assert!(unknown.contains("\"api\" depends on \"bd\" (`restartWith`)"), "{unknown}");
        let cycle = layers(&[spec("api", &["db"]), spec("db", &["api"])].into()).unwrap_err();
        assert_eq!(cycle, FleetError::Cycle(["api", "db", "api"].map(str::to_owned).into()));
    }
}
