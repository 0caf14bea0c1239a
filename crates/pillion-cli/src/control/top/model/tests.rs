use super::*;

pub(in super::super) fn key(app: u32, sidecar: &str) -> Key {
    Key { app, sidecar: sidecar.to_owned() }
}

pub(in super::super) fn status(app: u32, name: &str, sidecar: &str) -> Update {
    let text = format!(
        r#"{{"sidecar":"{sidecar}","seq":1,"at":0,"state":"ready","readiness":"up","pid":77,"started":1000,"restarts":2}}"#
    );
    Update::Status(key(app, sidecar), name.to_owned(), Box::new(serde_json::from_str(&text).unwrap()))
}

pub(in super::super) fn usage(app: u32, sidecar: &str, cpu: f64, memory: u64) -> Update {
    let text = format!(
        r#"{{"sidecar":"{sidecar}","at":1,"run":1,"cpuPercent":{cpu},"memory":{memory},"processes":3,"descriptors":40}}"#
    );
    Update::Usage(key(app, sidecar), Box::new(serde_json::from_str(&text).unwrap()))
}

fn line(app: u32, sidecar: &str, text: &str) -> Update {
    Update::Line(key(app, sidecar), text.to_owned())
}

fn two() -> Model {
    let mut model = Model::default();
    model.update(status(2, "shop", "web"));
    model.update(status(1, "mail", "sync"));
    model.update(status(1, "mail", "index"));
    model
}

#[test]
fn sidecars_are_sorted_and_the_selection_stays_with_its_sidecar() {
    let mut model = two();
    let order: Vec<_> = model.rows().iter().map(|row| row.key.sidecar.as_str()).collect();
    assert_eq!(order, ["index", "sync", "web"]);
    assert_eq!(model.selected(), Some(&key(2, "web")), "the first that came");
    model.press(Press::Down);
    assert_eq!(model.selected(), Some(&key(2, "web")), "it is the last one");
    model.press(Press::Letter('k'));
    assert_eq!(model.selected(), Some(&key(1, "sync")));
    model.remove(1);
    assert_eq!((model.selected(), model.rows().len()), (Some(&key(2, "web")), 1));
    model.remove(2);
    assert_eq!(model.selected(), None);
    model.press(Press::Up);
    assert_eq!(model.selected(), None);
}

#[test]
fn only_lines_of_the_selected_sidecar_that_fit_the_search_are_shown() {
    let mut model = two();
    for text in ["GET /a", "Error: b", "GET /c", "error d\u{1b}[2J"] {
        model.update(line(2, "web", text));
        model.update(line(1, "sync", "other"));
    }
    assert_eq!(model.shown_lines(2), ["GET /c", "error d\u{fffd}[2J"]);
    for letter in "/ERROR".chars() {
        model.press(Press::Letter(letter));
    }
    model.press(Press::Enter);
    assert_eq!(model.shown_lines(9), ["Error: b", "error d\u{fffd}[2J"]);
    model.press(Press::Escape);
    assert_eq!((model.shown_lines(9).len(), model.search()), (4, ""));
    model.press(Press::Up);
    assert!(model.shown_lines(9).is_empty(), "the lines of another sidecar");
}

#[test]
fn a_letter_is_text_in_a_search_and_a_command_outside_of_it() {
    let mut model = two();
    model.press(Press::Letter('/'));
    model.press(Press::Letter('q'));
    assert!(model.is_searching() && !model.has_quit() && model.search() == "q");
    model.press(Press::Backspace);
    assert_eq!(model.search(), "");
    model.press(Press::Enter);
    model.press(Press::Letter('q'));
    assert!(model.has_quit());
}

#[test]
fn a_view_of_past_lines_stays_while_new_lines_come() {
    let mut model = two();
    for number in 0..30 {
        model.update(line(2, "web", &number.to_string()));
    }
    model.press(Press::PageUp);
    assert_eq!(model.shown_lines(2), ["18", "19"]);
    model.update(line(2, "web", "new"));
    assert_eq!(model.shown_lines(2), ["18", "19"]);
    for _ in 0..9 {
        model.press(Press::PageUp);
    }
    assert_eq!(model.shown_lines(2), ["0"]);
    model.press(Press::End);
    assert_eq!(model.shown_lines(2), ["29", "new"]);
}

#[test]
fn the_lines_that_a_search_finds_are_counted_while_old_ones_go() {
    let mut model = two();
    let text = |number: usize| if number.is_multiple_of(2) { "Even" } else { "odd" };
    for letter in "/even\r".chars() {
        model.press(if letter == '\r' { Press::Enter } else { Press::Letter(letter) });
    }
    for number in 0..LINES * 2 {
        model.update(line(2, "web", text(number)));
        assert_eq!(model.fitting, model.shown_lines(LINES).len());
    }
    model.press(Press::PageUp);
    assert_eq!(model.back(), PAGE);
    model.update(line(2, "web", "odd"));
    model.update(line(2, "web", "even"));
    assert_eq!(model.back(), PAGE + 1, "the same lines are shown");
    model.press(Press::Escape);
    assert_eq!((model.fitting, model.back()), (LINES, 0));
    model.press(Press::Up);
    assert_eq!(model.fitting, 0);
}

#[test]
fn a_problem_is_shown_until_its_app_is_found_again() {
    let mut model = two();
    model.update(Update::Problem(1, "does not answer".to_owned()));
    model.remove(1);
    model.found(2);
    assert_eq!(model.problem(), Some("does not answer"));
    model.found(1);
    assert_eq!(model.problem(), None);
}

#[test]
fn lines_and_plots_are_bounded() {
    let mut model = two();
    for number in 0..LINES as u64 + 10 {
        model.update(line(2, "web", &number.to_string()));
        model.update(usage(2, "web", 1.0, number));
    }
    assert_eq!((model.lines.len(), model.shown_lines(LINES + 9)[0]), (LINES, "10"));
    assert_eq!(model.rows()[2].memory.len(), PLOTTED);
    model.update(usage(9, "unknown", 1.0, 1));
    assert_eq!(model.rows().len(), 3);
}
