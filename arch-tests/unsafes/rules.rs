//! What has to be so of each `unsafe`.

use super::source::{File, Kind, Use};
use regex::Regex;
use std::sync::LazyLock;

/// All faults, each as a line.
pub fn check(files: &[File]) -> Vec<String> {
    let mut faults = Vec::new();
    for file in files {
        for one in &file.uses {
            check_one(files, file, one, &mut |fault| {
                faults.push(format!("src/{}:{}: {fault}", file.name, one.line));
            });
        }
    }
    faults
}

fn check_one(files: &[File], file: &File, one: &Use, fault: &mut impl FnMut(String)) {
    let Some(says) = &one.says else {
        // What a test has for itself says enough by its few lines.
        return match one.kind {
            Kind::Contract if one.in_test => {}
            Kind::Contract => fault("no section `# Safety`".to_owned()),
            Kind::Block | Kind::Impl => fault("no comment `SAFETY:`".to_owned()),
        };
    };
    if says.is_empty() {
        fault("it says nothing".to_owned());
    }
    for (number, elsewhere) in cited(says) {
        let of = match &elsewhere {
            None => Some(file),
            Some(name) => beside(files, file, name),
        };
        if !of.is_some_and(|of| of.invariants.contains_key(&number)) {
            let name = elsewhere.unwrap_or_else(|| "this file".to_owned());
            fault(format!("{name} states no invariant {number}"));
        }
    }
}

/// The numbers that a text cites, each with the module that states it, if that is another one: `invariant 2 of `waiter``.
pub fn cited(says: &str) -> Vec<(u32, Option<String>)> {
    static CITES: LazyLock<Regex> = LazyLock::new(|| {
        let numbers = r"(?i)\b(?:by|invariants?|rule|see)\s+(\d+(?:(?:, | and | or | to )\d+)*)\b";
        Regex::new(&format!("{numbers}{}", r"(?: of `([a-z_:/]+)`)?")).unwrap()
    });
    let each = CITES.captures_iter(says).flat_map(|found| {
        let elsewhere = found.get(2).map(|name| name.as_str().to_owned());
        let mut numbers = Vec::<u32>::new();
        let mut is_range = false;
        for word in found[1].split([' ', ',']) {
            if let Ok(number) = word.parse() {
                let first = numbers.last().filter(|_| is_range);
                numbers.extend(first.map_or(number, |last| last + 1)..=number);
            }
            is_range = word == "to";
        }
        numbers
            .into_iter()
            .map(move |number| (number, elsewhere.clone()))
    });
    each.collect()
}

/// The file of a module that is named without its path: the one in the same folder goes first.
fn beside<'a>(files: &'a [File], file: &File, name: &str) -> Option<&'a File> {
    let name = name.replace("::", "/");
    let folder = file.name.rsplit_once('/').map_or("", |(folder, _)| folder);
    let is = |path: String| files.iter().find(|file| file.name == path);
    is(format!("{folder}/{name}.rs")).or_else(|| is(format!("{name}.rs")))
}
