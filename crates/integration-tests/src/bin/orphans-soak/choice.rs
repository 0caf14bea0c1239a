//! What happens in a round.

use std::time::Duration;

use fastrand::Rng;
use integration_tests::orphans::{Death, Kind, Moment, Scenario, Through};

/// The scenario of a round; the same for the same seed and round.
pub(crate) fn scenario(seed: u64, round: u64) -> Scenario {
    // Neighbouring seeds give Wyrand unrelated sequences only after some mixing.
    let mut rng = Rng::with_seed(Rng::with_seed(seed).u64(..) ^ Rng::with_seed(round).u64(..));
    let kind = one_of(&mut rng, &Kind::ALL);
    let death = death(&mut rng, kind);
    let through = match death {
        // `pillion run` cannot be told to die.
        Death::Own(_) | Death::StoppedGuard | Death::Guard => Through::Crate,
        _ if rng.u8(..4) == 0 => Through::Command,
        _ => Through::Crate,
    };
    let moment = match through {
        Through::Crate | Through::Tauri => {
            one_of(&mut rng, &[Moment::Starting, Moment::Ready, Moment::Stopping])
        }
        Through::Command => Moment::Ready,
    };
    // What says goodbye must find the time to, however busy the machine is.
    let grace = if kind.says_goodbye() { 1000 } else { rng.u64(50..300) };
    // In the middle of whatever goes on, rather than at a moment that the test knows of.
    let hurry = (may_hurry(death) && rng.bool()).then(|| Duration::from_micros(rng.u64(..40_000)));
    Scenario { through, moment, hurry, grace: Duration::from_millis(grace), ..Scenario::new(death, kind) }
}

fn death(rng: &mut Rng, kind: Kind) -> Death {
    match rng.u8(..12) {
        0 => Death::Guard,
        1 => Death::StoppedGuard,
        // Of the others it is known that something is left.
        2 if kind.is_one_process() => Death::GuardAndHost,
        _ => one_of(rng, &Death::OF_THE_APP),
    }
}

/// Whether it needs nobody's agreement. Ctrl-C is typed in vain before the terminal is set up.
fn may_hurry(death: Death) -> bool {
    matches!(death, Death::Signal(_) | Death::Group(_) | Death::Terminal)
}

fn one_of<T: Copy>(rng: &mut Rng, choices: &[T]) -> T {
    choices[rng.usize(..choices.len())]
}
