//! What `pillion top` says while it has no sidecar to show.

use std::collections::HashSet;

use pillion_control::AppInfo;

use super::super::select::{Selection, means, named};

/// Which apps run, as far as they are known.
#[derive(Debug, Default)]
pub(super) struct Running {
    pub(super) apps: Vec<AppInfo>,
    /// Apps that gave no answer, and directories that cannot be used, in words.
    pub(super) problems: Vec<String>,
    /// The process ids of those that have no sidecar of the selected name.
    pub(super) without_sidecar: HashSet<u32>,
}

impl Running {
    /// Why nothing is shown, and what to do, in lines.
    pub(super) fn nothing(&self, selection: &Selection) -> String {
        let meant: Vec<_> = self
            .apps
            .iter()
            .filter(|app| selection.app.as_ref().is_none_or(|name| means(name, app)))
            .collect();
        let lacks = |app: &&AppInfo| self.without_sidecar.contains(&app.pid);
        let (text, apps) = match (&selection.app, &selection.sidecar) {
            _ if self.apps.is_empty() => {
                ("No app with sidecars runs as this user. One that starts is shown here.".to_owned(), vec![])
            }
            (Some(name), _) if meant.is_empty() => (
                format!("No app {name:?} runs. It is shown here when it starts. These apps run:"),
                self.apps.iter().collect(),
            ),
            (_, Some(name)) if meant.iter().all(lacks) => (
                format!(
                    "No sidecar {name:?} runs. `pillion ps` lists the sidecars. These apps have none of this name:"
                ),
                meant,
            ),
            _ => ("These apps have told of no sidecar yet:".to_owned(), meant),
        };
        let apps = apps.into_iter().map(named).chain(self.problems.iter().cloned());
        apps.fold(text, |text, line| format!("{text}\n  {line}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selection(app: Option<&str>, sidecar: Option<&str>) -> Selection {
        Selection { app: app.map(str::to_owned), sidecar: sidecar.map(str::to_owned) }
    }

    #[test]
    fn each_reason_has_its_words() {
        let mut running = Running::default();
        for selection in [selection(None, None), selection(Some("Notes"), Some("web"))] {
            assert!(running.nothing(&selection).starts_with("No app with sidecars runs as this user."));
        }
        running.problems.push("the app with the process id 7: no answer".to_owned());
        assert!(
            running.nothing(&selection(None, None)).ends_with("\n  the app with the process id 7: no answer")
        );

        let shop = AppInfo::new("Shop").identifier("com.example.shop");
        let (pid, listed) = (shop.pid, named(&shop));
        running.apps.push(shop);
        let text = running.nothing(&selection(Some("Notes"), None));
        assert!(text.starts_with("No app \"Notes\" runs.") && text.contains(&listed), "{text}");
        assert!(text.contains("process id 7"), "{text}");

        // Until an app has said that it has no such sidecar, nothing is claimed.
        let web = selection(Some("shop"), Some("web"));
        assert!(running.nothing(&web).starts_with("These apps have told of no sidecar yet:\n  Shop"));
        running.without_sidecar.insert(pid);
        let text = running.nothing(&web);
        assert!(text.starts_with("No sidecar \"web\" runs.") && text.contains(&listed), "{text}");
    }
}
