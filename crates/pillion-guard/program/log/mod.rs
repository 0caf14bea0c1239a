//! What the app and the guard know about the lines of a log: their levels. Both use the same code, so that no reader can tell which of them
//! wrote a line.

pub mod level;
