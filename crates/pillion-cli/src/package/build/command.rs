//! Builds with any program that the declaration names.

use std::process::Command;

use pillion_config::PackageConfig;

use super::{Artifact, Built, Inputs, Order};
use crate::package::process::{Failure, declared, run};

pub(super) fn build(order: &Order<'_>, command: &[String], cwd: Option<&str>) -> Result<Built, Failure> {
    let folder = order.path("cwd", cwd.unwrap_or("."))?;
    let output = order.output();
    let expand = |word: &String| {
        word.replace(PackageConfig::OUTPUT, &output.to_string_lossy())
            .replace(PackageConfig::TARGET, order.target.as_str())
    };
    let words: Vec<_> = command.iter().map(expand).collect();
    let Some((program, arguments)) = words.split_first() else {
        return Err(Failure::refused("the command is empty"));
    };
    (order.progress)(program);
    run(Command::new(declared(program, &folder)).current_dir(&folder).args(arguments))?;
    if !output.is_file() {
        return Err(Failure::failed(format!(
            "`{}` ended, but wrote no program to {}: it must write it to the path ${{output}}",
            words.join(" "),
            output.display()
        )));
    }
    // All that the command can use is an input, as far as this command can know it.
    let inputs = Inputs { tool_folders: vec![folder], ..Inputs::default() };
    Ok(Built { artifact: Artifact::File(output), inputs, embeds_runtime: false })
}
