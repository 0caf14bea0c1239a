//! The arguments of the program as steps.

use std::{env, fmt::Debug, str::FromStr, vec};

/// The steps that are followed by the steps of a child, up to the semicolon.
const CHILD_STEPS: [&str; 5] = ["fork", "fork-without-env", "new-group", "daemon", "exec"];

/// The steps that are left.
pub(crate) struct Steps(vec::IntoIter<String>);

impl Steps {
    pub(crate) fn from_arguments() -> Self {
        let arguments: Vec<_> = env::args().skip(1).collect();
        Self(arguments.into_iter())
    }

    /// Those that are left for this process, without those of its children.
    pub(crate) fn own(&self) -> impl Iterator<Item = &str> {
        let mut in_child = false;
        self.0.as_slice().iter().map(String::as_str).filter(move |step| {
            in_child = CHILD_STEPS.contains(step) || in_child && *step != ";";
            !in_child
        })
    }

    pub(crate) fn next(&mut self) -> Option<String> {
        self.0.next()
    }

    /// The next argument of a step.
    pub(crate) fn text(&mut self) -> String {
        self.0.next().expect("the last step needs an argument")
    }

    pub(crate) fn number<N: FromStr<Err: Debug>>(&mut self) -> N {
        self.text().parse().unwrap()
    }

    /// The steps of a child.
    pub(crate) fn of_child(&mut self) -> Vec<String> {
        self.0.by_ref().take_while(|step| step != ";").collect()
    }
}
