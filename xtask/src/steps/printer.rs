//! Prints the steps, numbered. Steps that run beside others are held back until those have ended, so that the order is always the same.

use std::{
    io::{self, Write},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

/// Prints the steps of one thread.
#[derive(Debug, Default)]
pub(super) struct Printer {
    /// The number of steps that are printed, by all printers.
    number: Arc<AtomicUsize>,
    /// The steps that are held back, or `None` if they are printed at once.
    held: Mutex<Option<Vec<Step>>>,
}

#[derive(Debug)]
struct Step {
    name: String,
    outcome: Option<String>,
}

impl Printer {
    /// A printer that holds its steps back until [`release`](Self::release).
    pub(super) fn held(&self) -> Self {
        Self { number: Arc::clone(&self.number), held: Mutex::new(Some(Vec::new())) }
    }

    /// Prints the number and the name of a step that begins.
    pub(super) fn begin(&self, name: &str) {
        match self.lock().as_mut() {
            Some(steps) => steps.push(Step { name: name.to_owned(), outcome: None }),
            None => self.write_name(&mut io::stdout().lock(), name),
        }
    }

    /// Prints the outcome of the step that began last.
    pub(super) fn end(&self, outcome: &str) {
        match self.lock().as_mut() {
            Some(steps) => steps.last_mut().expect("a step has begun").outcome = Some(outcome.to_owned()),
            None => write(&mut io::stdout().lock(), &format!("{outcome}\n")),
        }
    }

    /// Prints what was held back, and what follows at once.
    pub(super) fn release(&self) {
        self.release_to(&mut io::stdout().lock());
    }

    fn release_to(&self, output: &mut impl Write) {
        let mut held = self.lock();
        for Step { name, outcome } in held.take().into_iter().flatten() {
            self.write_name(output, &name);
            if let Some(outcome) = outcome {
                write(output, &format!("{outcome}\n"));
            }
        }
    }

    fn write_name(&self, output: &mut impl Write, name: &str) {
        let number = self.number.fetch_add(1, Ordering::Relaxed) + 1;
        write(output, &format!("{number:2}. {name:<28}"));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Vec<Step>>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A terminal that is gone does not fail the steps.
fn write(output: &mut impl Write, text: &str) {
    let _ = output.write_all(text.as_bytes()).and_then(|()| output.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn held_steps_are_printed_after_those_beside_and_numbered_then() {
        let printer = Printer::default();
        let held = printer.held();
        held.begin("build");
        held.end("  2.0 s");
        held.begin("test");
        let mut output = Vec::new();
        printer.write_name(&mut output, "lint");
        held.release_to(&mut output);
        let output = String::from_utf8(output).unwrap();
        let (lint, build, test) =
            (format!("{:<28}", "lint"), format!("{:<28}", "build"), format!("{:<28}", "test"));
        assert_eq!(output, format!(" 1. {lint} 2. {build}  2.0 s\n 3. {test}"));
        assert!(held.lock().is_none());
    }
}
