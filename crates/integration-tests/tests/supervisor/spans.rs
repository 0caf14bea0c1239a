//! The spans of `tracing` that a run opens and closes.
#![cfg(unix)]

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex},
};

use integration_tests::run;
use pillion::{Restart, Supervisor};
use tracing::{
    Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};
use tracing_subscriber::{Layer, layer::Context, layer::SubscriberExt as _, registry::LookupSpan};

use crate::support::tree;

/// A span: its name, that of its parent, and its fields.
#[derive(Debug, Clone, Default)]
struct Recorded {
    name: &'static str,
    parent: Option<&'static str>,
    fields: BTreeMap<&'static str, String>,
}

impl Visit for Recorded {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.fields.insert(field.name(), format!("{value:?}").trim_matches('"').to_owned());
    }
}

/// Keeps the spans that are closed, in the order of their ends.
#[derive(Debug, Clone, Default)]
struct Recorder(Arc<Mutex<Vec<Recorded>>>);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Recorder {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let span = context.span(id).unwrap();
        let mut recorded =
            Recorded { name: span.name(), parent: span.parent().map(|it| it.name()), ..Recorded::default() };
        attributes.record(&mut recorded);
        span.extensions_mut().insert(recorded);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let span = context.span(id).unwrap();
        values.record(span.extensions_mut().get_mut::<Recorded>().unwrap());
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let recorded = context.span(&id).and_then(|span| span.extensions().get::<Recorded>().cloned());
        self.0.lock().unwrap().extend(recorded);
    }
}

impl Recorder {
    /// The spans that were closed since the last call.
    fn take(&self) -> Vec<Recorded> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

/// The fields besides the process, whose number differs.
fn shown(span: &Recorded) -> String {
    let fields = span.fields.iter().filter(|(name, _)| **name != "process.pid");
    let fields: Vec<_> = fields.map(|(name, value)| format!("{name}={value}")).collect();
    let parent = span.parent.map(|parent| format!("{parent} > ")).unwrap_or_default();
    format!("{parent}{} {}", span.name, fields.join(" ")).trim_end().to_owned()
}

// One test, because all tests of a program share the subscriber.
#[test]
fn a_start_a_failed_start_and_a_stop_are_spans() {
    let recorder = Recorder::default();
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(recorder.clone())).unwrap();
    run(async {
        let tree = tree();
        let (supervisor, _) = Supervisor::start(tree.named("traced", "listen ok announce term exit 0"));
        supervisor.ready().await.unwrap();
        let pid = supervisor.status().pid.unwrap().to_string();
        let _ = supervisor.stop().await;
        let _ = supervisor.close().await;
        let spans = recorder.take();
        let all: Vec<_> = spans.iter().map(shown).collect();
        // The number of probes is that of the attempts, of which the last one passes.
        let (last, probes): (Vec<_>, Vec<_>) = all.iter().partition(|span| !span.contains("sidecar.probe"));
        assert_eq!(
            probes.last().unwrap().as_str(),
            "sidecar.ready > sidecar.probe outcome=passed sidecar=traced"
        );
        assert_eq!(
            last,
            [
                "sidecar.start > sidecar.ready",
                "sidecar.start outcome=ready restarts=0 sidecar=traced",
                "sidecar.stop outcome=graceful process.exit.code=0 reason=Stop sidecar=traced",
            ]
        );
        let pids: Vec<_> = spans.iter().filter_map(|span| span.fields.get("process.pid")).collect();
        assert_eq!(pids, [&pid, &pid]);

        let spec = tree.named("traced", "exit 3").restart(Restart::Never);
        let (supervisor, _) = Supervisor::start(spec);
        supervisor.ready().await.unwrap_err();
        let _ = supervisor.close().await;
        let all: Vec<_> = recorder.take().iter().map(shown).collect();
        assert!(
            all.iter().any(|span| span
                == "sidecar.start otel.status_code=ERROR outcome=ExitedEarly restarts=0 sidecar=traced"),
            "{all:?}"
        );
    });
}
