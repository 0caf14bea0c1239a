//! The light guard: what every sidecar needs, in a program of a few pages. Linux on x86-64 alone.
//!
//! ```text
//! pillion-guard resume STATE GRACE_MS SIGNAL,SCOPE,TEXT FULL
//! pillion-guard check
//! ```
//!
//! The supervisor has started the sidecar in the process that then executes this program (`sys/linux/light_guard` of the crate `pillion`):
//! a child subreaper with a session of its own, whose stdin is the socket to the supervisor, without other standard streams, and with all
//! signals waiting. `STATE` is what the supervisor knows ([`guard_state`]), `FULL` is the descriptor of the full guard's program, and
//! `program/guard.rs` describes the messages on the socket. The light guard asks the first process to end by a signal (`A`), and reports
//! the end. For every other task it *becomes the full guard*: the process executes that program (execveat(2)) with what it knows, and keeps
//! its children, its session and its signals:
//!
//! - the app is gone, or its command is another one: the full guard finds both unread in the socket, or the first by a pidfd;
//! - the stop request is more than a signal to the leader;
//! - the sidecar has a second process, or leaves one when it ends;
//! - the end cannot be reported, and is to be noted in the file of the run.
//!
//! It has no C library, no loader and no heap, so that a start costs little time, and each guard little memory. `check` is a trial before the
//! first start: the exit code is 0 if the program runs here, and can become the full guard.
//!
//! `build.rs` compiles it with the configuration `pillion_light`. Without that, it is an empty program, for clippy.

#![cfg_attr(pillion_light, no_std, no_main)]

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
#[expect(unreachable_pub, reason = "it is public in this package's library")]
#[path = "../program/decimal.rs"]
mod decimal;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
#[cfg_attr(not(pillion_light), expect(dead_code, reason = "main is empty"))]
mod guard;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
#[expect(unreachable_pub, reason = "it is public in this package's library")]
#[path = "../program/guard_state.rs"]
mod guard_state;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
#[expect(dead_code, reason = "the full guard has the other name")]
#[expect(unreachable_pub, reason = "it is public in this package's library")]
#[path = "../program/names.rs"]
mod names;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod stop_signal;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
#[expect(unsafe_code, reason = "there is neither std nor a C library")]
mod sys;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod text;

#[cfg(not(pillion_light))]
fn main() {}
