//! Builds a PyInstaller onefile sidecar, if PyInstaller can be installed. Such a program consists of two processes: a
//! bootloader, which forwards signals, and the real server.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::launcher::find;
use crate::helper_program;

/// The server. A second SIGTERM ends it without its goodbye: a stop must reach it once, by way of the bootloader alone.
const SERVER: &str = r#"
import os, signal, socket, sys, threading
from http.server import BaseHTTPRequestHandler, HTTPServer

port, announces = int(sys.argv[1]), sys.argv[2] == "announce"

def report(text):
    test = socket.create_connection(("127.0.0.1", port))
    test.sendall(text.encode() + b"\n")
    return test

stopping = threading.Event()

def stop(*_):
    if stopping.is_set():
        os._exit(1)
    stopping.set()

signal.signal(signal.SIGTERM, stop)

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass

server = HTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
held = report("up")
if announces:
    print(f"BACKEND_PORT:{server.server_port}", flush=True)
stopping.wait()
held_too = report("bye")
os._exit(0)
"#;

/// Whether [`build`] needs to install nothing: `PyInstaller` is there.
#[must_use]
pub fn is_installed() -> bool {
    find("pyinstaller").is_some()
}

/// Builds the program beside the other helper programs, or returns the one that was built before. Installs `PyInstaller` if it is
/// missing.
///
/// # Errors
/// Python, venv or `PyInstaller` is not available.
pub fn build() -> io::Result<PathBuf> {
    let folder = helper_program("fake-sidecar")?.with_file_name("onefile");
    fs::create_dir_all(&folder)?;
    // Another test may be building it.
    let lock = fs::File::create(folder.join("lock"))?;
    lock.lock()?;
    let (source, program) = (folder.join("onefile-sidecar.py"), folder.join("dist/onefile-sidecar"));
    let is_current = fs::read_to_string(&source).is_ok_and(|text| text == SERVER) && program.is_file();
    if !is_current {
        let installer = match find("pyinstaller") {
            Some(installer) => installer,
            None => install(&folder.join("venv"))?,
        };
        fs::write(folder.join("build.py"), SERVER)?;
        let options = ["--onefile", "--log-level=ERROR", "--name=onefile-sidecar", "build.py"];
        run(Command::new(installer).args(options).current_dir(&folder))?;
        fs::write(source, SERVER)?;
    }
    Ok(program)
}

fn install(venv: &Path) -> io::Result<PathBuf> {
    run(Command::new("python3").args(["-m", "venv"]).arg(venv))?;
    run(Command::new(venv.join("bin/pip")).args(["install", "--quiet", "pyinstaller"]))?;
    Ok(venv.join("bin/pyinstaller"))
}

fn run(command: &mut Command) -> io::Result<()> {
    let name = Path::new(command.get_program()).display().to_string();
    let output = command.stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    let last = stderr.lines().next_back().unwrap_or("no output").to_owned();
    Err(io::Error::other(format!("{name} ended with {}: {last}", output.status)))
}
