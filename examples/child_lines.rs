//! The output of a child, line by line with a time limit; a child that says nothing is asked to go on.
//!
//! ```text
//! cargo run --example child_lines
//! ```

use multitask::process::{ChildStdin, ChildStdout, Command, Stdio};
use multitask::spawn;
use std::error::Error;
use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(1);

const SCRIPT: &str = "
    echo one
    echo two
    printf 'the beginning of three'
    read answer
    echo \", and $answer\"
    exit 4
";

fn main() -> Result<(), Box<dyn Error>> {
    let mut child = Command::new("sh")
        .args(["-c", SCRIPT])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let stdin = child.stdin.take().expect("piped");
    let stdout = child.stdout.take().expect("piped");

    spawn(|| print_lines(stdout, stdin)).join()??;
    println!("{}", child.wait()?);
    Ok(())
}

fn print_lines(stdout: ChildStdout, mut stdin: ChildStdin) -> io::Result<()> {
    stdout.set_read_timeout(Some(PATIENCE))?;
    let mut stdout = BufReader::new(stdout);
    let mut line = String::new();
    loop {
        match stdout.read_line(&mut line) {
            Ok(0) => return Ok(()),
            Ok(_) => {
                print!("child says: {line}");
                line.clear();
            }
            // What there is of the line is in `line`, and the rest will be added to it.
            Err(error) if error.kind() == ErrorKind::TimedOut => {
                println!("no line for {PATIENCE:?}, only {line:?}");
                stdin.write_all(b"the end\n")?;
            }
            Err(error) => return Err(error),
        }
    }
}
