//! What happens in a round.

use std::time::Duration;

use fastrand::Rng;
use integration_tests::orphans::{Death, Kind, Moment, Scenario, Through};

/// A round of ours; the same for the same seed and round.
pub(crate) fn scenario(seed: u64, round: u64) -> Scenario {
    let mut rng = rng(seed, round);
    let kind = one_of(&mut rng, &Kind::ALL);
    let death = match rng.u8(..14) {
        0 => Death::Guard,
        1 => Death::StoppedGuard,
        // Of the others it is known that something is left.
        2 if kind.is_one_process() => Death::GuardAndHost,
        3 => Death::TIME_OUT,
        _ => one_of(&mut rng, &Death::OF_THE_APP),
    };
    let through = match death {
        // `pillion run` cannot be told to die.
        Death::Own(_) | Death::StoppedGuard | Death::HostOfStoppedGuard | Death::Guard => Through::Crate,
        _ if rng.u8(..4) == 0 => Through::Command,
        _ => Through::Crate,
    };
    finish(&mut rng, through, death, kind)
}

/// A round of the rival, who has no guard that something could happen to.
pub(crate) fn scenario_of_rival(seed: u64, round: u64) -> Scenario {
    let mut rng = rng(seed, round);
    let kind = one_of(&mut rng, &Kind::ALL);
    let death = if rng.u8(..14) == 0 { Death::TIME_OUT } else { one_of(&mut rng, &Death::OF_THE_APP) };
    finish(&mut rng, Through::Rival, death, kind)
}

fn finish(rng: &mut Rng, through: Through, death: Death, kind: Kind) -> Scenario {
    let moment = match through {
        // It does not tell the test that it stops.
        Through::Command => one_of(rng, &[Moment::Starting, Moment::Ready]),
        _ if death == Death::TIME_OUT => Moment::Starting,
        _ => one_of(rng, &[Moment::Starting, Moment::Ready, Moment::Stopping]),
    };
    // In the middle of whatever goes on, rather than at a moment that the test knows of.
    let hurry = (may_hurry(death) && rng.bool()).then(|| Duration::from_micros(rng.u64(..40_000)));
    let usual = Scenario::new(death, kind);
    let grace = if kind.says_goodbye() { usual.grace } else { Duration::from_millis(rng.u64(50..300)) };
    Scenario { through, moment, hurry, grace, ..usual }
}

/// Neighbouring seeds give Wyrand unrelated sequences only after some mixing.
fn rng(seed: u64, round: u64) -> Rng {
    Rng::with_seed(Rng::with_seed(seed).u64(..) ^ Rng::with_seed(round).u64(..))
}

/// Whether it needs nobody's agreement. Ctrl-C is typed in vain before the terminal is set up.
fn may_hurry(death: Death) -> bool {
    matches!(death, Death::Signal(_) | Death::Group(_) | Death::Terminal)
}

fn one_of<T: Copy>(rng: &mut Rng, choices: &[T]) -> T {
    choices[rng.usize(..choices.len())]
}
