//! Several sidecars that need one another.

use std::collections::BTreeMap;

use tokio::task::JoinSet;

use crate::{Spec, StopOutcome, Supervisor};

/// Sidecars by name, each started once those that it depends on are ready, and stopped before them.
///
/// None takes another one down: one that fails keeps those that depend on it waiting, which their status says, and they
/// start by themselves once it is back. One that crashes later leaves those that depend on it alone.
#[derive(Debug, Clone)]
pub struct Fleet {
    supervisors: BTreeMap<String, Supervisor>,
    /// Names in layers: each depends only on layers before its own.
    layers: Vec<Vec<String>>,
}

/// Why sidecars cannot be started together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FleetError {
    /// Two of them have the same name.
    #[error("there are two sidecars called {0:?}: give each a name of its own")]
    Twice(String),
    /// One depends on another that is not there.
    #[error("sidecar {sidecar:?} depends on {missing:?}, which is not declared; there are: {declared}")]
    Unknown {
        /// Who depends.
        sidecar: String,
        /// On whom.
        missing: String,
        /// Who there is.
        declared: String,
    },
    /// Some depend on each other in a circle, so that none of them could be the first.
    #[error("sidecars depend on each other in a circle, so that none can be the first: {}", .0.join(" -> "))]
    Cycle(Vec<String>),
}

impl Fleet {
    /// Starts all of them in the background; [`Spec::depends_on`] says in which order.
    ///
    /// # Errors
    /// When names are missing, double, or depend on each other in a circle. Nothing was started then.
    ///
    /// # Panics
    /// Outside the context of a tokio runtime with I/O and time enabled.
    pub fn start(specs: impl IntoIterator<Item = Spec>) -> Result<Self, FleetError> {
        let mut by_name = BTreeMap::new();
        for spec in specs {
            let name = spec.name.clone();
            if by_name.insert(name.clone(), spec).is_some() {
                return Err(FleetError::Twice(name));
            }
        }
        let layers = layers(&by_name)?;
        let optional: BTreeMap<_, _> =
            by_name.iter().map(|(name, spec)| (name.clone(), spec.optional)).collect();
        let mut supervisors = BTreeMap::<String, Supervisor>::new();
        for name in layers.iter().flatten() {
            let Some(spec) = by_name.remove(name) else { continue };
            let after = spec
                .depends_on
                .iter()
                .filter_map(|name| Some(supervisors.get(name)?.as_dependency(*optional.get(name)?)))
                .collect();
            let (supervisor, _events) = Supervisor::start_after(spec, after);
            supervisors.insert(name.clone(), supervisor);
        }
        Ok(Self { supervisors, layers })
    }

    /// The sidecar of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Supervisor> {
        self.supervisors.get(name)
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Supervisor> {
        self.supervisors.values()
    }

    /// Stops all: those that nobody depends on first, and each layer at the same time, every sidecar within its own grace
    /// period. Returns what it took, by name, when nothing is left. Dropping the future leaves the layers that were not
    /// asked yet as they are.
    pub async fn stop(&self) -> BTreeMap<String, StopOutcome> {
        self.end(|supervisor| async move { supervisor.stop().await }).await
    }

    /// Stops all in the order of [`stop`](Self::stop), and for the last time: from now on every start is refused, whoever
    /// asks for it, and what ends before its turn has come is not restarted. For a program that ends. Dropping the future
    /// leaves the layers that were not asked yet running, and takes no refusal back.
    pub async fn close(&self) -> BTreeMap<String, StopOutcome> {
        self.iter().for_each(Supervisor::refuse_starts);
        self.end(|supervisor| async move { supervisor.close().await }).await
    }

    /// Ends one layer after the other, the last one first.
    async fn end<F>(&self, how: impl Fn(Supervisor) -> F) -> BTreeMap<String, StopOutcome>
    where
        F: Future<Output = StopOutcome> + Send + 'static,
    {
        let mut outcomes = BTreeMap::new();
        for layer in self.layers.iter().rev() {
            let mut ends = JoinSet::new();
            for supervisor in layer.iter().filter_map(|name| self.get(name)) {
                let (name, end) = (supervisor.name().to_owned(), how(supervisor.clone()));
                ends.spawn(async move { (name, end.await) });
            }
            outcomes.extend(ends.join_all().await);
        }
        outcomes
    }
}

/// Puts the names into layers, each of which depends only on those before it.
fn layers(specs: &BTreeMap<String, Spec>) -> Result<Vec<Vec<String>>, FleetError> {
    for (sidecar, spec) in specs {
        if let Some(missing) = spec.depends_on.iter().find(|name| !specs.contains_key(*name)) {
            let declared = specs.keys().cloned().collect::<Vec<_>>().join(", ");
            return Err(FleetError::Unknown { sidecar: sidecar.clone(), missing: missing.clone(), declared });
        }
    }
    let mut layers: Vec<Vec<String>> = Vec::new();
    let mut left: BTreeMap<_, _> = specs.iter().map(|(name, spec)| (name, &spec.depends_on)).collect();
    while !left.is_empty() {
        let free: Vec<String> = left
            .iter()
            .filter(|(_, after)| after.iter().all(|name| !left.contains_key(name)))
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

/// A circle among sidecars each of which depends on another of them, its first name repeated at its end.
fn cycle(left: &BTreeMap<&String, &Vec<String>>) -> Vec<String> {
    let mut path: Vec<String> = left.keys().take(1).map(|name| (*name).clone()).collect();
    while let Some(next) = path
        .last()
        .and_then(|name| left.get(name))
        .and_then(|after| after.iter().find(|name| left.contains_key(name)))
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
    fn each_layer_depends_only_on_those_before_it() {
        let layers =
            declared(&[("api", &["db", "cache"]), ("cache", &["db"]), ("db", &[]), ("log", &[])]).unwrap();
        assert_eq!(layers, [vec!["db", "log"], vec!["cache"], vec!["api"]]);
    }

    #[test]
    fn a_circle_is_shown_without_those_that_only_lead_to_it() {
        let error = declared(&[("a", &["b"]), ("b", &["c"]), ("c", &["b"]), ("d", &[])]).unwrap_err();
        assert_eq!(error, FleetError::Cycle(["b", "c", "b"].map(str::to_owned).into()));
        assert!(error.to_string().ends_with("b -> c -> b"));
    }

    #[test]
    fn a_sidecar_that_depends_on_itself_is_a_circle() {
        assert!(matches!(declared(&[("a", &["a"])]), Err(FleetError::Cycle(path)) if path == ["a", "a"]));
    }

    #[test]
    fn an_unknown_name_is_named_with_those_there_are() {
        let error = declared(&[("api", &["bd"]), ("db", &[])]).unwrap_err().to_string();
        assert!(
            error.contains("\"api\" depends on \"bd\"") && error.contains("there are: api, db"),
            "{error}"
        );
    }
}
