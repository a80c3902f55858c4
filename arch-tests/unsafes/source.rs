//! What a file has that is unsafe, and what its head states.

use proc_macro2::{Delimiter, LineColumn, TokenStream, TokenTree};
use std::collections::BTreeMap;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{Attribute, Item, Stmt};

pub struct File {
    /// Below `src/`.
    pub name: String,
    /// The numbered statements of its first lines.
    pub invariants: BTreeMap<u32, String>,
    pub uses: Vec<Use>,
}

/// One `unsafe`.
pub struct Use {
    pub kind: Kind,
    pub line: usize,
    /// What it is in, or what it is: `Type::function`.
    pub item: String,
    /// Of a test or a model.
    pub in_test: bool,
    /// What its comment says, or the section of its docs; `None` if there is none.
    pub says: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Block,
    Impl,
    /// A function or a trait: who calls it, or implements it, has to keep a promise. Not of a trait's `impl`, which asks for what
    /// the trait does.
    Contract,
}

impl File {
    pub fn read(name: &str, text: &str) -> File {
        let syntax = syn::parse_file(text).unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut spans = Spans::default();
        spans.visit_file(&syntax);
        let mut found = Vec::new();
        find(text.parse().unwrap(), false, &mut found);
        let lines: Vec<_> = text.lines().map(str::trim).collect();
        let all_tests = name.ends_with("_loom.rs");
        let uses = found.into_iter().map(|(kind, place)| {
            let line = place.line;
            let says = match kind {
                Kind::Contract => section_above(&lines, line),
                Kind::Block | Kind::Impl => comment_above(&lines, line, spans.statement_of(place)),
            };
            Use {
                kind,
                line,
                item: spans.path_to(line),
                in_test: all_tests || spans.is_test(line),
                says,
            }
        });
        let mut uses: Vec<_> = uses.collect();
        repeat_what_is_above(&mut uses);
        File {
            name: name.to_owned(),
            invariants: invariants(&lines),
            uses,
        }
    }
}

// ---- tokens: also those in macros, which are not parsed ----

/// Each `unsafe` with its kind and its place. In a type, as of a pointer to a function, it promises nothing yet; and what a trait asks for
/// is not said again where it is implemented.
fn find(tokens: TokenStream, is_for_a_trait: bool, found: &mut Vec<(Kind, LineColumn)>) {
    let mut tokens = tokens.into_iter().peekable();
    // Between `impl` and its body.
    let (mut implements, mut a_trait) = (false, false);
    while let Some(token) = tokens.next() {
        match token {
            TokenTree::Group(group) => {
                let is_body = implements && group.delimiter() == Delimiter::Brace;
                find(group.stream(), is_body && a_trait, found);
                implements &= !is_body;
            }
            TokenTree::Ident(word) if word == "impl" => (implements, a_trait) = (true, false),
            TokenTree::Ident(word) if word == "for" => a_trait = true,
            TokenTree::Ident(word) if word == "unsafe" => {
                let place = word.span().start();
                // `unsafe extern "C" fn`
                while tokens.peek().is_some_and(is_abi) {
                    tokens.next();
                }
                let kind = match tokens.peek() {
                    Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
                        Some(Kind::Block)
                    }
                    Some(TokenTree::Ident(next)) if next == "impl" => Some(Kind::Impl),
                    Some(TokenTree::Ident(next)) if next == "trait" => Some(Kind::Contract),
                    Some(TokenTree::Ident(next)) if next == "fn" => {
                        tokens.next();
                        let is_named = matches!(tokens.peek(), Some(TokenTree::Ident(_)));
                        (is_named && !is_for_a_trait).then_some(Kind::Contract)
                    }
                    other => panic!("{place:?}: what is unsafe here? {other:?}"),
                };
                found.extend(kind.map(|kind| (kind, place)));
            }
            _ => {}
        }
    }
}

fn is_abi(token: &TokenTree) -> bool {
    match token {
        TokenTree::Ident(word) => word == "extern",
        TokenTree::Literal(_) => true,
        _ => false,
    }
}

// ---- items and statements ----

/// Where things begin and end, in lines.
#[derive(Default)]
struct Spans {
    items: Vec<(usize, usize, String)>,
    tests: Vec<(usize, usize)>,
    statements: Vec<(LineColumn, LineColumn)>,
}

impl Spans {
    fn path_to(&self, line: usize) -> String {
        // The outer ones come first.
        let path = self
            .items
            .iter()
            .filter(|item| (item.0..=item.1).contains(&line));
        let path: Vec<_> = path.map(|item| item.2.as_str()).collect();
        path.join("::")
    }

    fn is_test(&self, line: usize) -> bool {
        self.tests
            .iter()
            .any(|test| (test.0..=test.1).contains(&line))
    }

    /// The first line of the innermost statement round a place, or its own.
    fn statement_of(&self, place: LineColumn) -> usize {
        let round = self.statements.iter();
        let round = round.filter(|part| (part.0..=part.1).contains(&place));
        round.map(|part| part.0.line).max().unwrap_or(place.line)
    }

    fn add(&mut self, spanned: &impl Spanned, name: String, attributes: &[Attribute]) {
        let (start, end) = lines_of(spanned);
        self.items.push((start, end, name));
        self.note_test(spanned, attributes);
    }

    fn note_test(&mut self, spanned: &impl Spanned, attributes: &[Attribute]) {
        if attributes.iter().any(is_for_tests) {
            self.tests.push(lines_of(spanned));
        }
    }
}

fn lines_of(spanned: &impl Spanned) -> (usize, usize) {
    let span = spanned.span();
    (span.start().line, span.end().line)
}

/// `cfg(test)`, `cfg(loom)` or both; not what is there without them.
fn is_for_tests(attribute: &Attribute) -> bool {
    let Ok(list) = attribute.meta.require_list() else {
        return false;
    };
    let condition = list.tokens.to_string();
    let words: Vec<_> = condition.split(|c: char| !c.is_alphanumeric()).collect();
    let names = |word| words.contains(&word);
    attribute.path().is_ident("cfg") && (names("test") || names("loom")) && !names("not")
}

/// The last word of a type's path, or the type as it is written.
fn type_name(of: &syn::Type) -> String {
    match of {
        syn::Type::Path(path) => path.path.segments.last().unwrap().ident.to_string(),
        syn::Type::Reference(reference) => type_name(&reference.elem),
        other => format!("{:?}", other.span().source_text()),
    }
}

impl<'ast> Visit<'ast> for Spans {
    fn visit_item(&mut self, item: &'ast Item) {
        match item {
            Item::Fn(item) => self.add(item, item.sig.ident.to_string(), &item.attrs),
            Item::Mod(item) => {
                let name = item.ident.to_string();
                if item.attrs.iter().any(is_for_tests) || item.content.is_none() {
                    self.note_test(item, &item.attrs);
                } else {
                    self.add(item, name, &item.attrs);
                }
            }
            Item::Impl(item) => self.add(item, type_name(&item.self_ty), &item.attrs),
            Item::Trait(item) => self.add(item, item.ident.to_string(), &item.attrs),
            Item::Static(item) => self.add(item, item.ident.to_string(), &item.attrs),
            Item::Const(item) => self.add(item, item.ident.to_string(), &item.attrs),
            Item::Macro(item) => {
                let name = item.ident.as_ref().or_else(|| item.mac.path.get_ident());
                let name = name.map(|name| format!("{name}!"));
                self.add(item, name.unwrap_or_default(), &item.attrs);
            }
            _ => {}
        }
        visit::visit_item(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.add(item, item.sig.ident.to_string(), &item.attrs);
        visit::visit_impl_item_fn(self, item);
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        self.add(item, item.sig.ident.to_string(), &item.attrs);
        visit::visit_trait_item_fn(self, item);
    }

    fn visit_stmt(&mut self, statement: &'ast Stmt) {
        let span = statement.span();
        self.statements.push((span.start(), span.end()));
        visit::visit_stmt(self, statement);
    }
}

// ---- what is written above ----

/// What follows `SAFETY:` in the nearest comment above a line (they count from 1), but not above the statement that it is of.
fn comment_above(lines: &[&str], line: usize, statement: usize) -> Option<String> {
    (statement..=line).rev().find_map(|line| {
        let above = &lines[..line - 1];
        let begin = above
            .iter()
            .rposition(|text| !is_note(text))
            .map_or(0, |last| last + 1);
        let comment = above[begin..].iter().filter(|text| !text.starts_with("#["));
        let comment = comment.map(|text| text.trim_start_matches('/').trim());
        let comment = comment.collect::<Vec<_>>().join(" ");
        comment
            .split_once("SAFETY:")
            .map(|(_, says)| says.trim().to_owned())
    })
}

fn is_note(text: &str) -> bool {
    text.starts_with("//") && !text.starts_with("///") || text.starts_with("#[")
}

/// The section `# Safety` in the docs above a line.
fn section_above(lines: &[&str], line: usize) -> Option<String> {
    let above = &lines[..line - 1];
    let is_docs =
        |text: &&str| text.starts_with("///") || text.starts_with("#[") || text.starts_with("//");
    let begin = above
        .iter()
        .rposition(|text| !is_docs(text))
        .map_or(0, |last| last + 1);
    let docs = above[begin..].iter().filter(|text| text.starts_with("///"));
    let mut docs = docs.map(|text| text.trim_start_matches('/').trim());
    docs.by_ref().find(|text| *text == "# Safety")?;
    let section = docs.take_while(|text| !text.starts_with('#'));
    let section = section.collect::<Vec<_>>().join(" ");
    Some(section.trim().to_owned())
}

/// A comment that refers to the one above is of no use in a list.
fn repeat_what_is_above(uses: &mut [Use]) {
    let mut last = String::new();
    for says in uses.iter_mut().filter_map(|one| one.says.as_mut()) {
        match says.strip_prefix("as above") {
            Some(more) => *says = format!("{}{}", last.trim_end_matches('.'), more),
            None => last = says.clone(),
        }
    }
}

/// The numbered statements in the comment that a file opens with; several may stand in one line.
fn invariants(lines: &[&str]) -> BTreeMap<u32, String> {
    let head = lines.iter().take_while(|line| line.starts_with("//!"));
    let mut paragraphs = vec![String::new()];
    for line in head.map(|line| line.trim_start_matches("//!").trim()) {
        if numbered(line).is_some() || line.is_empty() {
            paragraphs.push(String::new());
        }
        let paragraph = paragraphs.last_mut().unwrap();
        *paragraph += line;
        *paragraph += " ";
    }
    let mut found = BTreeMap::new();
    for paragraph in paragraphs {
        let mut rest = paragraph.trim();
        while let Some((number, text)) = numbered(rest) {
            let next = format!(" {}. ", number + 1);
            let (text, after) = match text.find(&next) {
                Some(at) => (&text[..at], &text[at + 1..]),
                None => (text, ""),
            };
            found.insert(number, text.trim().to_owned());
            rest = after;
        }
    }
    found
}

fn numbered(text: &str) -> Option<(u32, &str)> {
    let (number, rest) = text.split_once(". ")?;
    Some((number.parse().ok()?, rest))
}
