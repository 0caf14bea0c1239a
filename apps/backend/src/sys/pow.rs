//! `pow`, so that the backend does not load the C library's mathematics.
//!
//! It is the only function of `libm.so.6` that the backend needs: Tokio's scheduler keeps an average of the time that tasks take, by
//! `f64::powf`. The library takes 0.08 ms of each start, and 0.5 MiB of memory, unless another process has it loaded.

/// `x` to the power of `y`, in place of pow(3), with an error of less than one unit in the last place.
#[expect(unsafe_code, reason = "it has the name and the type of the function of C, and does the same")]
#[unsafe(no_mangle)]
extern "C" fn pow(x: f64, y: f64) -> f64 {
    libm::pow(x, y)
}
