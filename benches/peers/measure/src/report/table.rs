//! The table for people.

use super::{number, Report, Section, Summary};
use crate::model::Peer;

pub fn print(report: &Report) {
    let counted = report.scale.rounds() - 1;
    println!("{:?} run: {counted} rounds count", report.scale);
    for (bench, sections) in report.benches() {
        println!("\n## {}: {}", bench.name, bench.about);
        sections.iter().for_each(print_section);
    }
    println!("\nx: how many times better multitask is (below 1: worse), in the median of the rounds; spread: from minimum to maximum, in parts of the median");
    for remark in &report.remarks {
        println!("{remark}");
    }
}

fn print_section(section: &Section) {
    for row in section.rows() {
        let head = format!("{} [{}]", row.title(), row.unit);
        println!(
            "\n{head:44} {:>12} {:>12} {:>8} {:>8}",
            "median", "minimum", "spread", "x"
        );
        for (peer, summary) in &row.peers {
            match summary {
                Ok(summary) => print_line(*peer, *summary),
                Err(reason) => println!("  {:42} - ({reason})", peer.name()),
            }
        }
    }
}

fn print_line(peer: Peer, summary: Summary) {
    let spread = (summary.max - summary.min) / summary.median * 100.0;
    let spread = if spread.is_finite() { spread } else { 0.0 };
    let ratio = match peer {
        Peer::Multitask => None,
        _ => summary.ratio,
    };
    println!(
        "  {:42} {:>12} {:>12} {:>7.0}% {:>8}",
        peer.name(),
        number(summary.median),
        number(summary.min),
        spread,
        ratio.map_or(String::new(), number)
    );
}
