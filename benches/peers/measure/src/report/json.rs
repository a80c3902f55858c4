//! The figures for programs.

use super::Report;
use serde::Serialize;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

#[derive(Serialize)]
struct Line<'a> {
    bench: &'a str,
    param: String,
    peer: &'a str,
    unit: &'a str,
    /// `null`, as `min` and `max`, where there is no figure; `failure` says why.
    median: Option<f64>,
    min: Option<f64>,
    max: Option<f64>,
    rounds: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<&'a str>,
}

pub fn write(report: &Report, path: &Path) -> io::Result<()> {
    let mut lines = Vec::new();
    for section in &report.sections {
        for row in section.rows() {
            for (peer, summary) in &row.peers {
                let summary = summary.as_ref();
                lines.push(Line {
                    bench: section.bench.name,
                    param: row.title(),
                    peer: peer.name(),
                    unit: row.unit,
                    median: summary.ok().map(|summary| summary.median),
                    min: summary.ok().map(|summary| summary.min),
                    max: summary.ok().map(|summary| summary.max),
                    rounds: summary.map_or(0, |summary| summary.rounds),
                    failure: summary.err().copied(),
                });
            }
        }
    }
    let mut file = BufWriter::new(File::create(path)?);
    serde_json::to_writer_pretty(&mut file, &lines)?;
    writeln!(file)?;
    file.flush()
}
