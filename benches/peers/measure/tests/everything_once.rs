//! Does every peer carry out every bench? With `--tiny`, which does next to nothing of each.

use serde_json::Value;
use std::path::PathBuf;
use std::process::Command;

/// What peers cannot do, by nature.
const REASONS: &[&str] = &[
    "it has one worker",
    "it has no channel with a capacity",
    "it has no channel without a limit",
    "it cannot bound any code",
    "what is bare has no limits",
    "its tasks start at once",
    "a thread starts at once",
    "a coroutine has its stack from the beginning",
    "too many threads",
];

#[test]
fn every_peer_has_figures_in_every_bench_or_lacks_what_it_takes() {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let json = folder.join("everything.json");
    let measure = Command::new(env!("CARGO_BIN_EXE_peers-measure"))
        .arg("--tiny")
        .arg("--json")
        .arg(&json)
        .arg("--svg")
        .arg(&folder)
        .arg("--markdown")
        .arg(folder.join("everything.md"))
        .output()
        .expect("it is built");
    let errors = String::from_utf8_lossy(&measure.stderr);
    assert!(measure.status.success(), "{errors}");

    let lines = std::fs::read_to_string(&json).expect("it is written");
    let lines: Vec<Value> = serde_json::from_str(&lines).expect("it is JSON");
    let wrong: Vec<&Value> = lines.iter().filter(|line| !is_right(line)).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");

    let text = |key| {
        lines
            .iter()
            .filter_map(move |line: &Value| line[key].as_str())
    };
    for bench in ["yield", "skynet", "timers", "memory", "echo", "fairness"] {
        assert!(
            text("bench").any(|name| name == bench),
            "{bench} is missing"
        );
        assert!(folder.join(format!("{bench}.svg")).exists());
    }
    assert!(folder.join("overview.svg").exists());
    let page = std::fs::read_to_string(folder.join("everything.md")).expect("it is written");
    assert!(page.contains("### `yield`") && page.contains("### `fairness`"));
    for peer in ["multitask", "tokio current_thread", "may", "smol", "floor"] {
        assert!(text("peer").any(|name| name == peer), "{peer} is missing");
    }
}

fn is_right(line: &Value) -> bool {
    match line["failure"].as_str() {
        None => line["median"].as_f64().is_some_and(f64::is_finite),
        // Counted where the system lets us.
        Some("not measured") => line["unit"] == "calls",
        // There a task that spins on yielding keeps the connections out.
        Some(_) if line["peer"] == "may" && line["bench"] == "fairness" => true,
        Some(reason) => REASONS.contains(&reason),
    }
}
