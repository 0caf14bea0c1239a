//! The guard as a program of its own: [`guard`] is all of it. An app's own program can be the guard as well, by the same code.

#[path = "guard.rs"]
#[expect(unreachable_pub, reason = "it is public in this package's library")]
mod guard;

fn main() {
    guard::run(std::env::args_os().skip(1), false);
}
