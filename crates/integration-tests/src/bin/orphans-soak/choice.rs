//! The random choices of a round.

use std::time::Duration;

use fastrand::Rng;
use integration_tests::orphans::{Death, HostKind, Moment, Scenario, SidecarKind};

/// A round with pillion. The same seed and round give the same scenario. `kinds` are the sidecars to choose from.
pub(crate) fn scenario(seed: u64, round: u64, kinds: &[SidecarKind]) -> Scenario {
    let mut rng = rng(seed, round);
    let kind = one_of(&mut rng, kinds);
    let death = match rng.u8(..14) {
        0 => Death::GuardKilled,
        1 => Death::GuardStopped,
        // Other kinds are known to leave a process behind.
        2 if kind.is_one_process() => Death::GuardAndHostKilled,
        3 => Death::TIME_OUT,
        _ => one_of(&mut rng, &Death::OF_THE_APP),
    };
    let host = match death {
        // `pillion run` cannot be told to end itself.
        Death::SelfInflicted(_)
        | Death::GuardStopped
        | Death::HostKilledGuardStopped
        | Death::GuardKilled => HostKind::Crate,
        _ if rng.u8(..4) == 0 => HostKind::Command,
        _ => HostKind::Crate,
    };
    finish(&mut rng, host, death, kind)
}

/// A round with the baseline, which has no guard.
pub(crate) fn scenario_of_baseline(seed: u64, round: u64, kinds: &[SidecarKind]) -> Scenario {
    let mut rng = rng(seed, round);
    let kind = one_of(&mut rng, kinds);
    let death = if rng.u8(..14) == 0 { Death::TIME_OUT } else { one_of(&mut rng, &Death::OF_THE_APP) };
    finish(&mut rng, HostKind::Baseline, death, kind)
}

fn finish(rng: &mut Rng, host: HostKind, death: Death, kind: SidecarKind) -> Scenario {
    let moment = match host {
        // It does not report that it stops.
        HostKind::Command => one_of(rng, &[Moment::Starting, Moment::Ready]),
        _ if death == Death::TIME_OUT => Moment::Starting,
        _ => one_of(rng, &[Moment::Starting, Moment::Ready, Moment::Stopping]),
    };
    // At a random moment, besides the moments that the test knows.
    let kill_after =
        (may_come_at_any_time(death) && rng.bool()).then(|| Duration::from_micros(rng.u64(..40_000)));
    let usual = Scenario::new(death, kind);
    let grace = match (kind.stops_gracefully(), kind.needs_force()) {
        (true, false) => usual.grace,
        // Shorter than in the tests, for more rounds in the same time.
        (true, true) => Duration::from_secs(1),
        (false, _) => Duration::from_millis(rng.u64(50..300)),
    };
    // A baseline leaves survivors in many rounds.
    let limit = if host == HostKind::Baseline { Scenario::SHORT_LIMIT } else { usual.limit };
    Scenario { host, moment, kill_after, grace, limit, ..usual }
}

/// Neighbouring seeds give Wyrand related sequences; the mixing separates them.
fn rng(seed: u64, round: u64) -> Rng {
    Rng::with_seed(Rng::with_seed(seed).u64(..) ^ Rng::with_seed(round).u64(..))
}

/// Whether the death needs no cooperation of the app. Ctrl-C has no effect before the terminal is set up.
fn may_come_at_any_time(death: Death) -> bool {
    matches!(death, Death::Signal(_) | Death::Group(_) | Death::TerminalClosed)
}

fn one_of<T: Copy>(rng: &mut Rng, choices: &[T]) -> T {
    choices[rng.usize(..choices.len())]
}
