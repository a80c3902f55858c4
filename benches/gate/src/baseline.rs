//! What the mechanisms have cost when they were blessed: the file, and the comparison with it.

use crate::count::Cost;
use crate::mechanism::{self, Mechanism};
use std::fmt::{self, Write};
use std::fs;
use std::io;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/baseline.txt");

/// A part of what it was that more or less does not matter: what the compiler makes of unrelated changes.
const ALLOWED: f64 = 0.05;
/// What is written has two decimals.
const GRAIN: f64 = 0.01;

const HEAD: &str = "\
# What an operation of each mechanism costs: instructions of the program, and its calls of the C library and the system.
# Written by `cargo run --profile bench -p gate -- --bless`; see src/main.rs.
";

#[derive(Debug, PartialEq)]
pub struct Baseline {
    pub compiler: String,
    /// What it was compiled for,
    target: String,
    /// with which extensions of the processor.
    features: String,
    costs: Vec<(String, Cost)>,
}

impl Baseline {
    /// These costs, of this program.
    pub fn here(costs: Vec<(&Mechanism, Cost)>) -> Self {
        let named = |(mechanism, cost): (&Mechanism, _)| (mechanism.name.to_string(), cost);
        Baseline {
            compiler: env!("GATE_COMPILER").into(),
            target: env!("GATE_TARGET").into(),
            features: env!("GATE_FEATURES").into(),
            costs: costs.into_iter().map(named).collect(),
        }
    }

    pub fn read() -> Result<Self, String> {
        let text = fs::read_to_string(FILE).map_err(|error| format!("{FILE}: {error}"))?;
        Self::parse(&text)
    }

    pub fn write(&self) -> io::Result<()> {
        fs::write(FILE, self.to_string())?;
        println!("\nwritten: {FILE}");
        Ok(())
    }

    fn parse(text: &str) -> Result<Self, String> {
        let mut baseline = Baseline {
            compiler: String::new(),
            target: String::new(),
            features: String::new(),
            costs: Vec::new(),
        };
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        for line in lines.filter(|line| !line.is_empty()) {
            let (key, value) = line.split_once(' ').unwrap_or((line, ""));
            match key {
                "compiler" => baseline.compiler = value.into(),
                "target" => baseline.target = value.into(),
                "features" => baseline.features = value.into(),
                name => {
                    let cost = parse_cost(value);
                    let cost = cost.ok_or_else(|| format!("{FILE}: not a cost: {line}"))?;
                    baseline.costs.push((name.into(), cost));
                }
            }
        }
        Ok(baseline)
    }

    /// # Errors
    /// They are counts of different instructions.
    pub fn comparable(&self, now: &Baseline) -> Result<(), String> {
        if (&self.target, &self.features) == (&now.target, &now.features) {
            return Ok(());
        }
        Err(format!(
            "The baseline is that of {} ({}), this is {} ({}): nothing can be said.",
            self.target, self.features, now.target, now.features
        ))
    }

    /// # Errors
    /// The mechanisms are not the same.
    pub fn changes<'a>(&'a self, now: &'a Baseline) -> Result<Vec<Change<'a>>, String> {
        let names = |baseline: &'a Baseline| baseline.costs.iter().map(|(name, _)| name);
        if !names(self).eq(names(now)) {
            return Err(format!("{FILE} has other mechanisms: --bless writes it"));
        }
        let pairs = self.costs.iter().zip(&now.costs);
        let change = |((name, was), (_, now)): (&'a (String, Cost), &(String, Cost))| Change {
            name,
            was: *was,
            now: *now,
        };
        Ok(pairs.map(change).collect())
    }
}

fn parse_cost(text: &str) -> Option<Cost> {
    let mut numbers = text.split_whitespace().map(str::parse::<f64>);
    let (instructions, calls) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
    numbers.next().is_none().then_some(Cost {
        instructions,
        calls,
    })
}

/// The text of the file.
impl fmt::Display for Baseline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEAD}#")?;
        for Mechanism {
            name, operation, ..
        } in mechanism::ALL
        {
            writeln!(f, "# {name}: {operation}")?;
        }
        writeln!(f, "\ncompiler {}", self.compiler)?;
        writeln!(f, "target {}\nfeatures {}\n", self.target, self.features)?;
        for (name, cost) in &self.costs {
            let Cost {
                instructions,
                calls,
            } = cost;
            writeln!(f, "{name:12} {instructions:>9.2} {calls:>6.2}")?;
        }
        Ok(())
    }
}

/// Of one mechanism.
pub struct Change<'a> {
    name: &'a str,
    was: Cost,
    now: Cost,
}

impl Change<'_> {
    /// What is to be said against it, if that is more than may be.
    pub fn verdict(&self) -> Option<String> {
        let Change { name, was, now } = self;
        let mut verdict = String::new();
        for (what, was, now) in [
            ("instructions", was.instructions, now.instructions),
            ("calls", was.calls, now.calls),
        ] {
            if (now - was).abs() > ALLOWED * was + GRAIN {
                let how = if now > was { "DEARER" } else { "CHEAPER" };
                let _infallible = write!(
                    verdict,
                    "\n{name} has become {how}: {now:.2} {what} instead of {was:.2}"
                );
            }
        }
        (!verdict.is_empty()).then_some(verdict)
    }
}

pub fn print(changes: &[Change]) {
    println!(
        "{:12} {:>12} {:>9} {:>8} {:>8} {:>9}",
        "each", "instructions", "baseline", "change", "calls", "baseline"
    );
    for Change { name, was, now } in changes {
        let change = (now.instructions / was.instructions - 1.0) * 100.0;
        println!(
            "{name:12} {:>12.2} {:>9.2} {change:>+7.2}% {:>8.2} {:>9.2}",
            now.instructions, was.instructions, now.calls, was.calls
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn baseline(instructions: f64, calls: f64) -> Baseline {
        let cost = Cost {
            instructions,
            calls,
        };
        Baseline {
            compiler: "rustc 1.2.3".into(),
            target: "x86_64-unknown-linux-gnu".into(),
            features: "fxsr,sse".into(),
            costs: vec![("yield".into(), cost)],
        }
    }

    fn verdict(was: (f64, f64), now: (f64, f64)) -> Option<String> {
        let (was, now) = (baseline(was.0, was.1), baseline(now.0, now.1));
        let changes = was.changes(&now).expect("the same mechanism");
        changes[0].verdict()
    }

    #[test]
    fn what_is_written_can_be_read_again() {
        let baseline = baseline(107.17, 0.02);
        assert_eq!(Baseline::parse(&baseline.to_string()), Ok(baseline));
    }

    #[test]
    fn a_twentieth_more_or_less_passes_and_more_than_that_does_not() {
        assert_eq!(verdict((200.0, 4.0), (210.0, 4.2)), None);
        assert_eq!(verdict((200.0, 4.0), (190.0, 3.8)), None);
        let dearer = verdict((200.0, 4.0), (210.1, 4.0)).expect("it is dearer");
        assert!(dearer.contains("DEARER: 210.10 instructions"), "{dearer}");
        let cheaper = verdict((200.0, 4.0), (189.9, 4.0)).expect("it is cheaper");
        assert!(cheaper.contains("CHEAPER"), "{cheaper}");
    }

    #[test]
    fn a_call_that_was_not_there_is_seen_though_the_instructions_are_as_many() {
        let dearer = verdict((200.0, 0.0), (200.0, 1.0)).expect("it is dearer");
        assert!(dearer.contains("1.00 calls instead of 0.00"), "{dearer}");
    }

    #[test]
    fn other_mechanisms_and_other_processors_are_not_compared() {
        let (was, mut now) = (baseline(1.0, 0.0), baseline(1.0, 0.0));
        now.features.push_str(",avx");
        assert!(was.comparable(&now).is_err());
        now.costs.push(("echo".into(), now.costs[0].1));
        assert!(was.changes(&now).is_err());
    }
}
