//! Drives real programs from outside: AIOS and `fake-app` in a real webview ([`webview`]), and a real Chromium with the
//! pages of an attacker ([`browser`]). Linux only.
//!
//! The tests here are marked `#[ignore]`, because they need built apps and a display. `cargo xtask test` provides both.
//! They are a crate apart from `integration-tests`, which needs neither a webview nor the dependencies of this harness.
//! The helper programs of both crates lie in one folder; [`integration_tests::helper_program`] finds them there.

#![cfg(target_os = "linux")]

pub mod browser;
pub mod webview;

// Compiles the examples of this repository's README.md, which are for an app and for its backend.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
