//! Go's programs: built when they are needed, from the standard library alone.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, io};

/// Where children find the program.
const VARIABLE: &str = "PEERS_GO";

/// Builds it beside this program, and lets children know; `Err` says why not.
pub fn build() -> Result<(), String> {
    let program = beside_this_one().map_err(|error| error.to_string())?;
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("go");
    let mut go = Command::new("go");
    go.args(["build", "-o"]).arg(&program).arg(".");
    // Nothing is fetched, neither modules nor another toolchain.
    go.env("GOFLAGS", "-mod=mod").env("GOPROXY", "off");
    go.env("GOTOOLCHAIN", "local").env("GOWORK", "off");
    match go.current_dir(sources).output() {
        Ok(output) if output.status.success() => {
            env::set_var(VARIABLE, program);
            Ok(())
        }
        Ok(output) => Err(String::from_utf8_lossy(&output.stderr).trim().into()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err("there is no Go toolchain on the PATH".into())
        }
        Err(error) => Err(error.to_string()),
    }
}

/// To start it.
pub fn command() -> Command {
    Command::new(env::var_os(VARIABLE).unwrap_or_default())
}

fn beside_this_one() -> io::Result<PathBuf> {
    Ok(env::current_exe()?.with_file_name("peers-go"))
}
