//! Unsafe code is only here, as in the other crates. It is what the compiler cannot check: that a function is what C calls by this name.

mod pow;
