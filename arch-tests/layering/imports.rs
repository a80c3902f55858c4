//! What each module names outside itself: `use` items, paths in code and types, and paths inside macro calls.
//!
//! 1. A path counts for the longest beginning of it that is a module; one that begins at the crate's root and goes
//!    through no module counts for the root.
//! 2. Names brought in by `use`, renamed or not, by a glob, or inside a function are followed to what they stand for.
//! 3. A visibility such as `pub(in crate::rt)` names a module without depending on it, and does not count.

use crate::source::{attributes, is_for_tests, name_of, Body, Path, Scope, Source};
use proc_macro2::{Delimiter, Group, Ident, TokenStream, TokenTree};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{
    Attribute, Block, ImplItem, Item, ItemExternCrate, ItemMacro, ItemUse, Local, Macro, Meta,
    Stmt, UseTree, Visibility,
};

/// One mention of a module or crate.
pub struct Import {
    pub file: String,
    pub line: usize,
    pub from: Path,
    pub to: Target,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    Module(Path),
    Crate(String),
    /// A crate itself, or all of it, exported under a name of ours: others could then name it without being seen.
    WholeCrate(String),
}

/// A path as it was written.
#[derive(Clone)]
pub struct Use {
    pub names: Path,
    /// It began with `::`, so its first name is a crate's.
    pub global: bool,
    pub line: usize,
}

/// A path that starts at a root: this crate's, or another's.
enum Absolute {
    Ours(Path),
    Foreign(Path),
}

pub fn of_body(source: &Source, body: &Body) -> Vec<Import> {
    let mut finder = Finder {
        source,
        body,
        blocks: Vec::new(),
        found: Vec::new(),
    };
    body.items.iter().for_each(|item| finder.visit_item(item));
    finder.found
}

/// Adds the names that the `use` items among `items` bring into `scope`.
pub fn add_uses<'a>(items: impl IntoIterator<Item = &'a Item>, scope: &mut Scope) {
    for item in items
        .into_iter()
        .filter(|item| !is_for_tests(attributes(item)))
    {
        match item {
            Item::Use(item) => {
                for Leaf { used, end } in leaves(item) {
                    match end {
                        End::Name(name) => scope.aliases.push((name, used)),
                        End::Glob => scope.globs.push(used),
                    }
                }
            }
            Item::ExternCrate(ItemExternCrate {
                ident,
                rename: Some((_, name)),
                ..
            }) => {
                let used = Use {
                    names: vec![name_of(ident)],
                    global: true,
                    line: ident.span().start().line,
                };
                scope.aliases.push((name_of(name), used));
            }
            _ => {}
        }
    }
}

/// One name, or one glob, of a `use` item.
struct Leaf {
    used: Use,
    end: End,
}

enum End {
    Name(String),
    Glob,
}

fn leaves(item: &ItemUse) -> Vec<Leaf> {
    let mut found = Vec::new();
    add_leaves(
        &item.tree,
        item.leading_colon.is_some(),
        &mut Vec::new(),
        &mut found,
    );
    found
}

fn add_leaves(tree: &UseTree, global: bool, prefix: &mut Path, found: &mut Vec<Leaf>) {
    let line = tree.span().start().line;
    let used = |names: Path| Use {
        names,
        global,
        line,
    };
    match tree {
        UseTree::Path(path) => {
            prefix.push(name_of(&path.ident));
            add_leaves(&path.tree, global, prefix, found);
            prefix.pop();
        }
        UseTree::Group(group) => group
            .items
            .iter()
            .for_each(|tree| add_leaves(tree, global, prefix, found)),
        UseTree::Glob(_) => found.push(Leaf {
            used: used(prefix.clone()),
            end: End::Glob,
        }),
        UseTree::Name(leaf) => {
            let names = extend(prefix, &leaf.ident);
            let name = names.last().cloned().unwrap_or_default();
            found.push(Leaf {
                used: used(names),
                end: End::Name(name),
            });
        }
        UseTree::Rename(leaf) => {
            let names = extend(prefix, &leaf.ident);
            found.push(Leaf {
                used: used(names),
                end: End::Name(name_of(&leaf.rename)),
            });
        }
    }
}

/// `prefix` and `name`; `self` at the end of a group stands for the prefix.
fn extend(prefix: &Path, name: &Ident) -> Path {
    match name_of(name).as_str() {
        "self" if !prefix.is_empty() => prefix.clone(),
        name => [prefix.as_slice(), &[name.to_owned()]].concat(),
    }
}

/// The second pass over one module.
struct Finder<'a> {
    source: &'a Source,
    body: &'a Body,
    /// What the `use` items of the blocks around the present place bring in, the innermost last.
    blocks: Vec<Scope>,
    found: Vec<Import>,
}

impl Finder<'_> {
    fn record(&mut self, used: &Use) {
        if let Some(absolute) = self.resolve(used) {
            let to = match absolute {
                Absolute::Ours(path) => Target::Module(self.source.module_of(&path)),
                Absolute::Foreign(path) => Target::Crate(path[0].clone()),
            };
            self.push(to, used.line);
        }
    }

    fn push(&mut self, to: Target, line: usize) {
        let from = self.source.module_of(&self.body.path);
        self.found.push(Import {
            file: self.body.file.clone(),
            line,
            from,
            to,
        });
    }

    fn resolve(&self, used: &Use) -> Option<Absolute> {
        let in_blocks = self
            .blocks
            .iter()
            .rev()
            .find_map(|scope| self.source.through(scope, &self.body.path, used, 0));
        in_blocks.or_else(|| self.source.resolve(&self.body.path, used, 0))
    }

    /// Paths in tokens that no parser has seen: a macro's arguments or its rules. `prefix` stands before a `::{`.
    fn scan(&mut self, tokens: TokenStream, prefix: &[String]) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut at = 0;
        while at < tokens.len() {
            match &tokens[at] {
                TokenTree::Group(group) if is_restriction(&tokens[..at], group) => {}
                TokenTree::Group(group) => self.scan(group.stream(), &[]),
                TokenTree::Ident(word) if word == "as" => at += 1,
                TokenTree::Ident(_) => {
                    at = self.scan_path(&tokens, at, prefix);
                    continue;
                }
                _ => {}
            }
            at += 1;
        }
    }

    /// Records the path that begins at `start`, and answers with the place after it.
    fn scan_path(&mut self, tokens: &[TokenTree], start: usize, prefix: &[String]) -> usize {
        let before = &tokens[..start];
        let line = tokens[start].span().start().line;
        let mut names = prefix.to_vec();
        let mut at = start;
        while let Some(TokenTree::Ident(name)) = tokens.get(at) {
            names.push(name_of(name));
            at += 1;
            if !is_separator(&tokens[at.min(tokens.len())..]) {
                break;
            }
            at += 2;
            if let Some(TokenTree::Group(group)) = tokens.get(at).filter(|next| is_braced(next)) {
                self.scan(group.stream(), &names);
                return at + 1;
            }
        }
        let is_member =
            matches!(before.last(), Some(TokenTree::Punct(point)) if point.as_char() == '.');
        let is_variable =
            matches!(before.last(), Some(TokenTree::Punct(sign)) if sign.as_char() == '$');
        let global = prefix.is_empty() && start >= 2 && is_separator(&tokens[start - 2..]);
        if names.len() > 1 && !is_member && (!is_variable || names[0] == "crate") {
            self.record(&Use {
                names,
                global,
                line,
            });
        }
        at
    }
}

fn is_separator(tokens: &[TokenTree]) -> bool {
    let is_colon =
        |token: &TokenTree| matches!(token, TokenTree::Punct(sign) if sign.as_char() == ':');
    tokens.len() >= 2 && tokens[..2].iter().all(is_colon)
}

fn is_braced(token: &TokenTree) -> bool {
    matches!(token, TokenTree::Group(group) if group.delimiter() == Delimiter::Brace)
}

/// Whether `group` is the `(in path)` of a visibility.
fn is_restriction(before: &[TokenTree], group: &Group) -> bool {
    group.delimiter() == Delimiter::Parenthesis
        && matches!(before.last(), Some(TokenTree::Ident(word)) if word == "pub")
}

impl<'ast> Visit<'ast> for Finder<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        if !is_for_tests(attributes(item)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_impl_item(&mut self, item: &'ast ImplItem) {
        let attributes = match item {
            ImplItem::Const(item) => item.attrs.as_slice(),
            ImplItem::Fn(item) => &item.attrs,
            _ => &[],
        };
        if !is_for_tests(attributes) {
            visit::visit_impl_item(self, item);
        }
    }

    fn visit_local(&mut self, local: &'ast Local) {
        if !is_for_tests(&local.attrs) {
            visit::visit_local(self, local);
        }
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        for Leaf { used, .. } in leaves(item) {
            self.record(&used);
            let exported = !matches!(item.vis, Visibility::Inherited);
            match self.resolve(&used) {
                Some(Absolute::Foreign(path)) if exported && path.len() == 1 => {
                    self.push(Target::WholeCrate(path[0].clone()), used.line);
                }
                _ => {}
            }
        }
    }

    fn visit_item_extern_crate(&mut self, item: &'ast ItemExternCrate) {
        let name = name_of(&item.ident);
        if self.source.crates.contains(&name) {
            let line = item.ident.span().start().line;
            self.push(Target::Crate(name.clone()), line);
            if !matches!(item.vis, Visibility::Inherited) {
                self.push(Target::WholeCrate(name), line);
            }
        }
    }

    fn visit_block(&mut self, block: &'ast Block) {
        let mut scope = Scope::default();
        let items = block.stmts.iter().filter_map(|statement| match statement {
            Stmt::Item(item) => Some(item),
            _ => None,
        });
        add_uses(items, &mut scope);
        self.blocks.push(scope);
        visit::visit_block(self, block);
        self.blocks.pop();
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names: Path = path
            .segments
            .iter()
            .map(|segment| name_of(&segment.ident))
            .collect();
        let global = path.leading_colon.is_some();
        if names.len() > 1 || global {
            self.record(&Use {
                names,
                global,
                line: path.span().start().line,
            });
        }
        visit::visit_path(self, path);
    }

    /// The rules of a macro for users name what users see, where they write it.
    fn visit_item_macro(&mut self, item: &'ast ItemMacro) {
        let is_export = |attribute: &Attribute| attribute.path().is_ident("macro_export");
        if !item.attrs.iter().any(is_export) {
            visit::visit_item_macro(self, item);
        }
    }

    fn visit_macro(&mut self, call: &'ast Macro) {
        self.visit_path(&call.path);
        self.scan(call.tokens.clone(), &[]);
    }

    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        match &attribute.meta {
            Meta::List(list) if !list.path.is_ident("doc") => self.scan(list.tokens.clone(), &[]),
            _ => {}
        }
    }

    /// See 3.
    fn visit_visibility(&mut self, _: &'ast Visibility) {}
}

/// Longer chains of renames than this are taken for circles.
const MAX_RENAMES: usize = 8;

/// Globs are followed this deep into a chain; the path of a glob itself begins with none.
const MAX_GLOBS: usize = 4;

impl Source {
    /// The module of a file that the path's longest known beginning belongs to.
    pub fn module_of(&self, path: &[String]) -> Path {
        let known = (0..=path.len())
            .rev()
            .find_map(|length| self.scopes.get(&path[..length]));
        known
            .map(|scope| scope.file_module.clone())
            .unwrap_or_default()
    }

    /// What a path written in the module `from` stands for; nothing, where it begins with a name of no interest here.
    fn resolve(&self, from: &[String], used: &Use, renames: usize) -> Option<Absolute> {
        let first = used.names.first()?;
        if renames > MAX_RENAMES {
            return None;
        }
        if used.global {
            return self.foreign(used);
        }
        match first.as_str() {
            "crate" => return Some(Absolute::Ours(used.names[1..].to_vec())),
            "self" | "super" => return Some(relative(from, &used.names)),
            _ => {}
        }
        let scope = self.scopes.get(from)?;
        if scope.children.contains(first) {
            return Some(Absolute::Ours([from, used.names.as_slice()].concat()));
        }
        self.through(scope, from, used, renames)
            .or_else(|| self.foreign(used))
    }

    /// The same, where the first name was brought in by a `use` of `scope`, which stands in the module `from`.
    fn through(
        &self,
        scope: &Scope,
        from: &[String],
        used: &Use,
        renames: usize,
    ) -> Option<Absolute> {
        let (first, rest) = used.names.split_first()?;
        if used.global {
            return None;
        }
        let aliases = scope.aliases.iter().filter(|(name, _)| name == first);
        let mut targets = aliases.map(|(_, alias)| Use {
            names: [alias.names.as_slice(), rest].concat(),
            ..alias.clone()
        });
        let named = targets.find_map(|target| self.resolve(from, &target, renames + 1));
        let mut globs = scope.globs.iter().take_while(|_| renames < MAX_GLOBS);
        named.or_else(|| globs.find_map(|glob| self.through_glob(glob, from, used, renames)))
    }

    fn through_glob(
        &self,
        glob: &Use,
        from: &[String],
        used: &Use,
        renames: usize,
    ) -> Option<Absolute> {
        let Absolute::Ours(opened) = self.resolve(from, glob, renames + MAX_GLOBS)? else {
            return None;
        };
        let scope = self.scopes.get(&opened)?;
        if scope.children.contains(&used.names[0]) {
            return Some(Absolute::Ours(
                [opened.as_slice(), used.names.as_slice()].concat(),
            ));
        }
        self.through(scope, &opened, used, renames + 1)
    }

    fn foreign(&self, used: &Use) -> Option<Absolute> {
        self.crates
            .contains(&used.names[0])
            .then(|| Absolute::Foreign(used.names.clone()))
    }
}

/// `self::…` and `super::super::…`, from the module `from`.
fn relative(from: &[String], names: &[String]) -> Absolute {
    let ups = names
        .iter()
        .take_while(|name| *name == "super" || *name == "self");
    let (steps, supers) = ups.fold((0, 0), |(steps, supers), name| {
        (steps + 1, supers + usize::from(name == "super"))
    });
    let base = &from[..from.len().saturating_sub(supers)];
    Absolute::Ours([base, &names[steps..]].concat())
}
