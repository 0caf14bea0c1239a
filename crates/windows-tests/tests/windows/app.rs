//! No survivor: however the app ends, nothing of its sidecar is left, and nothing else is touched.

use windows_tests::{Contact, Witness, run};

use crate::support::App;

/// Sidecars, and who of them tells that it is there.
const KINDS: [(&str, &[&str]); 5] = [
    // Ends when it is asked to.
    ("tell PORT leader serve eof exit 0", &["leader"]),
    // Hears nothing.
    ("tell PORT leader serve park", &["leader"]),
    // Has a child that hears nothing, and that child has another.
    (
        "deaf deaf tell PORT grandchild park ; tell PORT parent park ; tell PORT leader serve eof exit 0",
        &["leader", "parent", "grandchild"],
    ),
    // Has a daemon, whose parent is gone.
    (
        "deaf detached tell PORT daemon park ; exit 0 ; tell PORT leader serve eof exit 0",
        &["leader", "daemon"],
    ),
    // A wrapper around the server.
    ("child tell PORT server serve eof park ; tell PORT wrapper eof exit 0", &["wrapper", "server"]),
];

async fn all(witness: &Witness, names: &[&str]) -> Vec<Contact> {
    let mut contacts = Vec::new();
    for name in names {
        contacts.push(witness.hear(name).await);
    }
    contacts
}

/// Nothing of any kind of sidecar survives this death of its app.
fn leaves_nothing(moment: &str, death: &str) {
    for (steps, names) in KINDS {
        run(async {
            let witness = Witness::new().await;
            let app = App::start(&witness, [moment, death], steps, None).await;
            let processes = all(&witness, names).await;
            match death {
                "park" => app.terminated().await,
                _ => app.dies().await,
            }
            for process in processes {
                process.dies().await;
            }
        });
    }
}

#[test]
fn an_app_that_is_terminated_leaves_nothing() {
    leaves_nothing("ready", "park");
}

#[test]
fn an_app_that_is_terminated_while_the_sidecar_starts_leaves_nothing() {
    leaves_nothing("starting", "park");
}

#[test]
fn an_app_that_is_terminated_while_the_sidecar_stops_leaves_nothing() {
    run(async {
        let witness = Witness::new().await;
        let steps = "deaf tell PORT rest park ; tell PORT leader serve park";
        let app = App::start(&witness, ["stopping", "park"], steps, None).await;
        let processes = all(&witness, &["leader", "rest"]).await;
        app.terminated().await;
        for process in processes {
            process.dies().await;
        }
    });
}

#[test]
fn an_app_that_exits_leaves_nothing() {
    leaves_nothing("ready", "exit");
}

#[test]
fn an_app_that_aborts_leaves_nothing() {
    leaves_nothing("ready", "abort");
}

#[test]
fn an_app_that_panics_leaves_nothing() {
    leaves_nothing("ready", "panic");
}

#[test]
fn an_app_that_drops_its_supervisor_leaves_nothing() {
    leaves_nothing("ready", "drop");
}

#[test]
fn an_app_that_leaks_its_supervisor_leaves_nothing() {
    leaves_nothing("ready", "leak");
}

#[test]
fn the_rest_of_a_crashed_sidecar_dies_with_the_app() {
    run(async {
        let witness = Witness::new().await;
        let steps = "deaf tell PORT rest park ; tell PORT leader serve hear exit 70";
        let app = App::start(&witness, ["ready", "park"], steps, None).await;
        let rest = witness.hear("rest").await;
        let mut leader = witness.hear("leader").await;
        leader.go_on().await;
        leader.dies().await;
        app.terminated().await;
        rest.dies().await;
    });
}

#[test]
fn what_the_app_starts_by_itself_outlives_it() {
    run(async {
        let witness = Witness::new().await;
        let updater = Some("tell PORT updater hear more installed exit 0");
        let app = App::start(&witness, ["ready", "park"], "tell PORT leader serve park", updater).await;
        let leader = witness.hear("leader").await;
        let mut updater = witness.hear("updater").await;
        app.terminated().await;
        leader.dies().await;
        updater.go_on().await;
        assert_eq!(updater.line().await, "installed");
        updater.dies().await;
    });
}

#[test]
fn two_apps_do_not_touch_each_other() {
    run(async {
        let (one, two) = (Witness::new().await, Witness::new().await);
        let steps = "tell PORT leader serve eof more goodbye exit 0";
        let first = App::start(&one, ["ready", "park"], steps, None).await;
        let second = App::start(&two, ["ready", "stop"], steps, None).await;
        let (gone, mut left) = (one.hear("leader").await, two.hear("leader").await);
        first.terminated().await;
        gone.dies().await;
        second.dies().await;
        assert_eq!(left.line().await, "goodbye");
        left.dies().await;
    });
}
