use std::sync::mpsc;

use super::*;

fn steps(folder: &Path) -> Steps {
    Steps {
        logs: folder.to_owned(),
        printer: Arc::default(),
        stopped: Arc::default(),
        gives_way: false,
        total: TestCounts::default(),
    }
}

#[test]
fn steps_beside_run_at_the_same_time() {
    let folder = tempfile::tempdir().unwrap();
    let (to_second, at_second) = mpsc::channel();
    let (to_first, at_first) = mpsc::channel();
    let result = steps(folder.path()).beside(
        |steps| {
            // Neither could end if one ran after the other.
            steps.check("first", || {
                to_second.send(())?;
                Ok(at_first.recv()?)
            })?;
            Ok(7)
        },
        move |steps| {
            steps.check("second", || {
                at_second.recv()?;
                Ok(to_first.send(())?)
            })
        },
    );
    assert_eq!(result.unwrap(), 7);
}

#[test]
fn no_step_begins_after_a_failure_beside_and_the_cause_is_reported() {
    for first_fails in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let fails = |steps: &mut Steps| steps.check("fails", || bail!("the cause"));
        let continues = |steps: &mut Steps| {
            while !steps.stopped.load(Ordering::SeqCst) {
                thread::yield_now();
            }
            steps.check("later", || panic!("it begins"))
        };
        let mut steps = steps(folder.path());
        let result =
            if first_fails { steps.beside(fails, continues) } else { steps.beside(continues, fails) };
        let error = format!("{:#}", result.unwrap_err());
        assert!(error.contains("the cause") && error.contains("fails"), "{error}");
    }
}

#[cfg(unix)]
#[test]
fn commands_that_give_way_keep_their_words_folder_and_environment() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().canonicalize().unwrap();
    let sh = xshell::Shell::new().unwrap();
    sh.change_dir(&folder);
    sh.set_var("KEPT", "a b");
    let script = r#"nice; echo "$KEPT|$1|$(pwd)""#;
    let mut steps = steps(&folder);
    for (name, gives_way) in [("before", false), ("after", true)] {
        if gives_way {
            steps.give_way();
        }
        steps.run(name, xshell::cmd!(sh, "sh -c {script} sh 'an argument'")).unwrap();
    }
    let read = |name: &str| fs::read_to_string(folder.join(format!("{name}.log"))).unwrap();
    let rest = format!("\na b|an argument|{}\n", folder.display());
    // The tests may run with a priority that is not the usual one.
    let niceness =
        |name: &str| read(name).strip_suffix(&rest).map(|number| number.parse::<i32>().unwrap()).unwrap();
    assert_eq!(niceness("after"), (niceness("before") + 19).min(19));
}

#[test]
fn the_tests_of_both_sides_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let mut steps = steps(folder.path());
    let one = |steps: &mut Steps| {
        steps.total += TestCounts { passed: 2, failed: 1 };
        Ok(())
    };
    steps.beside(one, one).unwrap();
    assert_eq!(steps.total, TestCounts { passed: 4, failed: 2 });
}

#[test]
fn the_errors_of_both_sides_are_reported() {
    let folder = tempfile::tempdir().unwrap();
    let both = std::sync::Barrier::new(2);
    let fails = |steps: &mut Steps, why: &'static str| {
        steps.check(why, || {
            both.wait();
            bail!(why)
        })
    };
    let result = steps(folder.path()).beside(|steps| fails(steps, "one"), |steps| fails(steps, "other"));
    let error = format!("{:#}", result.unwrap_err());
    assert!(error.contains("one") && error.contains("other"), "{error}");
}

#[test]
fn a_panic_stops_the_steps_beside_and_is_passed_on() {
    for first_panics in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let panics = |_: &mut Steps| -> Result<()> { panic!("on purpose") };
        let continues = |steps: &mut Steps| {
            while !steps.stopped.load(Ordering::SeqCst) {
                thread::yield_now();
            }
            Ok(())
        };
        let mut steps = steps(folder.path());
        panic::catch_unwind(AssertUnwindSafe(|| {
            if first_panics { steps.beside(panics, continues) } else { steps.beside(continues, panics) }
        }))
        .unwrap_err();
    }
}
