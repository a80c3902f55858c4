//! The medians of all, as tables in a page that may say more.

use super::{number, Report, Row, Section, Summary};
use crate::model::{Bench, Peer};
use std::fmt::Write;
use std::path::Path;
use std::{fs, io};

/// What is written stands between these lines.
const BEGIN: &str = "<!-- figures: begin -->\n";
const END: &str = "<!-- figures: end -->\n";

/// Replaces the figures of the page, which is made if there is none.
pub fn write(report: &Report, path: &Path) -> io::Result<()> {
    let page = match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => format!("{BEGIN}{END}"),
        page => page?,
    };
    fs::write(path, replaced(&page, &tables(report))?)
}

fn replaced(page: &str, tables: &str) -> io::Result<String> {
    let (before, rest) = page.split_once(BEGIN).ok_or_else(|| lacks(BEGIN))?;
    let (_, after) = rest.split_once(END).ok_or_else(|| lacks(END))?;
    Ok(format!("{before}{BEGIN}\n{tables}\n{END}{after}"))
}

fn lacks(line: &str) -> io::Error {
    let message = format!("the page lacks the line {}", line.trim_end());
    io::Error::new(io::ErrorKind::InvalidData, message)
}

fn tables(report: &Report) -> String {
    let mut text = String::new();
    for (bench, sections) in report.benches() {
        table(&mut text, bench, sections).expect("a string takes all");
    }
    let end = text.trim_end().len();
    text.truncate(end);
    text.push('\n');
    text
}

fn table(text: &mut String, bench: &Bench, sections: &[Section]) -> std::fmt::Result {
    let peers: Vec<Peer> = sections[0].peers.iter().map(|peer| peer.peer).collect();
    writeln!(text, "### `{}`: {}\n", bench.name, bench.about)?;
    write!(text, "| |")?;
    peers
        .iter()
        .try_for_each(|peer| write!(text, " {} |", peer.name()))?;
    writeln!(text, "\n|---|{}", "---:|".repeat(peers.len()))?;
    let mut failures: Vec<(Peer, &str)> = Vec::new();
    for row in sections.iter().flat_map(Section::rows) {
        write!(text, "| {} |", heading(&row))?;
        for (peer, summary) in &row.peers {
            match summary {
                Ok(summary) => write!(text, " {} |", cell(*peer, *summary))?,
                Err(_) => write!(text, " – |")?,
            }
            if let Err(reason) = *summary {
                if reason != "not measured" && !failures.contains(&(*peer, reason)) {
                    failures.push((*peer, reason));
                }
            }
        }
        writeln!(text)?;
    }
    for (i, (peer, reason)) in failures.iter().enumerate() {
        let before = if i == 0 { "\nNo figures: " } else { "; " };
        write!(text, "{before}{}: {reason}", peer.name())?;
    }
    text.push_str(if failures.is_empty() { "\n" } else { ".\n\n" });
    Ok(())
}

fn heading(row: &Row) -> String {
    match row.title() {
        title if title.is_empty() => row.unit.into(),
        title => format!("{title}, {}", row.unit),
    }
}

/// Ours in bold; of others, how many times better ours is as well.
fn cell(peer: Peer, summary: Summary) -> String {
    let figure = number(summary.median);
    match summary.ratio {
        _ if peer == Peer::Multitask => format!("**{figure}**"),
        Some(ratio) => format!("{figure} ({}×)", number(ratio)),
        None => figure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_round_the_figures_is_kept() {
        let page = format!("above\n{BEGIN}old\n{END}below\n");
        let page = replaced(&page, "new\n").unwrap();
        assert_eq!(page, format!("above\n{BEGIN}\nnew\n\n{END}below\n"));
    }

    #[test]
    fn a_page_without_a_place_for_figures_is_refused() {
        let refused = replaced("mine\n", "new\n").unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::InvalidData);
    }
}
