//! The section `plugins.pillion` of `tauri.conf.json` as types, without Tauri.
//!
//! The plugin `tauri-plugin-pillion` reads its declarations with this crate when an app starts. The command `pillion` checks them with
//! the same code before, so that both report the same errors in the same words. [`validate`] checks a whole section:
//!
//! ```
//! let section = r#"{ "sidecars": { "backend": { "port": 8080, "handover": true } } }"#;
//! let config: pillion_config::Config = serde_json::from_str(section).unwrap();
//! let errors = pillion_config::validate(&config);
//! assert!(errors[0].to_string().contains("contradict each other"));
//! ```

mod config;
mod validate;
mod variables;
mod watch;

pub use config::{
    Config, ConfigError, ControlConfig, DevConfig, OnChange, PackageConfig, PackageTool, ProgramSource,
    SidecarConfig, TerminalConfig,
};
pub use validate::validate;
pub use variables::Variables;
pub use watch::WatchPatterns;
