//! Text to set query; the grammar stands in docs/protocols/discovery.md.

use alloc::boxed::Box;
use alloc::format;
use alloc::vec::Vec;

use super::{Aggregate, Function, SET_AGGREGATES_MAX, SET_NODES_MAX, SetError, SetQuery, Together};
use crate::Number;
use crate::language::requirement::ast::Relation;
use crate::language::requirement::lexer::Token;
use crate::language::requirement::parser::Parser;
use crate::language::requirement::{ParseError, Requirement};
use crate::language::standard::{self, Kind};

pub(super) const AGGREGATE_EXPECTED: &str =
    "`sum`, `avg`, `min`, `max` or `count`; what each node must have goes behind `where`";

/// Words with which a part of a set query begins.
pub(in crate::language::requirement) fn is_part(word: &str) -> bool {
    ["with", "where", "spread"].contains(&word)
}

pub(super) fn set(source: &str) -> Result<SetQuery, ParseError> {
    let mut parser = Parser::new(source, true)?;
    let start = parser.ahead.start;
    let least = size(&mut parser)?;
    let most = if parser.eat(&Token::Range)? { size(&mut parser)? } else { least };
    if most < least {
        return Err(parser.wrong(start, "an upper end that is not below the lower one"));
    }
    if !["node", "nodes"].iter().any(|word| parser.ahead.token == Token::Name(word)) {
        return Err(parser.unexpected("`..`, `node` or `nodes`; in a comparison numbers go to the right"));
    }
    parser.advance()?;
    let mut together = Condition::default();
    let mut requirement = Requirement::default();
    let (mut with_at, mut was_where) = (start, false);
    loop {
        let at = parser.ahead.start;
        match parser.ahead.token {
            Token::End => break,
            Token::Name("with") if together.aggregates.is_empty() && together.counts.is_empty() => {
                parser.advance()?;
                with_at = parser.ahead.start;
                together.aggregates(&mut parser)?;
            }
            Token::Name("where") if !was_where => {
                was_where = true;
                parser.advance()?;
                let from = parser.ahead.start;
                parser.clauses()?;
                // Its text is parsed anew, so that it stands alone; a flag behind it would read on otherwise.
                requirement = Requirement::parse(&source[from..parser.last_end])?;
            }
            Token::Name("spread") if together.spread.is_none() => together.spread(&mut parser)?,
            Token::Name(word) if is_part(word) => {
                parser.advance()?;
                return Err(parser.wrong(at, "each part once"));
            }
            _ => return Err(parser.unexpected("`with`, `where`, `spread by` or the end")),
        }
    }
    let together = together.done();
    SetQuery::new(least, most, together, &requirement).map_err(|error| match error {
        SetError::Size { .. } => {
            ParseError::new(source, with_at, format!("{error}"), "a number of nodes that is possible")
        }
        SetError::Long => ParseError::new(source, start, format!("{error}"), "a shorter text"),
    })
}

pub(super) fn together(source: &str) -> Result<Together, ParseError> {
    let mut parser = Parser::new(source, true)?;
    let mut together = Condition::default();
    if parser.ahead.token != Token::Name("spread") {
        together.aggregates(&mut parser)?;
    }
    if parser.ahead.token == Token::Name("spread") {
        together.spread(&mut parser)?;
    }
    match parser.ahead.token {
        Token::End => Ok(together.done()),
        _ => Err(parser.unexpected("`&&`, `spread by` or the end")),
    }
}

/// A number of nodes.
fn size(parser: &mut Parser<'_>) -> Result<u16, ParseError> {
    let at = parser.ahead.start;
    let expected = || format!("a whole number from 1 to {SET_NODES_MAX}");
    let Token::Number(number, _) = parser.ahead.token else { return Err(parser.unexpected(expected())) };
    parser.advance()?;
    let whole = number.as_thousandths() % 1_000 == 0;
    match u16::try_from(number.whole()) {
        Ok(size) if whole && (1..=SET_NODES_MAX).contains(&size) => Ok(size),
        _ => Err(parser.wrong(at, expected())),
    }
}

/// What was read so far of a [`Together`].
#[derive(Default)]
struct Condition {
    aggregates: Vec<Aggregate>,
    counts: Vec<(Relation, Number)>,
    spread: Option<Box<str>>,
}

impl Condition {
    fn done(self) -> Together {
        let Condition { aggregates, counts, spread } = self;
        let mut parts: Vec<_> = aggregates.iter().map(|aggregate| format!("{aggregate}")).collect();
        parts.extend(counts.iter().map(|(relation, bound)| format!("count {} {bound}", relation.symbol())));
        let mut source = parts.join(" && ");
        if let Some(name) = &spread {
            source += if source.is_empty() { "" } else { " " };
            source += &format!("spread by {name}");
        }
        Together {
            source: source.into(),
            aggregates: aggregates.into(),
            counts: counts.into(),
            spread: spread.map(Into::into),
        }
    }

    fn aggregates(&mut self, parser: &mut Parser<'_>) -> Result<(), ParseError> {
        loop {
            let at = parser.ahead.start;
            self.aggregate(parser)?;
            if self.aggregates.len() + self.counts.len() > SET_AGGREGATES_MAX {
                return Err(parser.wrong(at, format!("at most {SET_AGGREGATES_MAX} aggregates")));
            }
            if !parser.eat(&Token::And)? {
                return Ok(());
            }
        }
    }

    fn aggregate(&mut self, parser: &mut Parser<'_>) -> Result<(), ParseError> {
        let function = match parser.ahead.token {
            Token::Name(word) => Function::ALL.iter().find(|(name, _)| *name == word),
            _ => None,
        };
        let Some((_, function)) = function else { return Err(parser.unexpected(AGGREGATE_EXPECTED)) };
        parser.advance()?;
        if *function == Function::Count && parser.ahead.token != Token::Open {
            let relation = order(parser)?;
            let bound = parser.number("count")?;
            self.counts.push((relation, bound));
            return Ok(());
        }
        if !parser.eat(&Token::Open)? {
            return Err(parser.unexpected("`(` and the name of an attribute"));
        }
        let name_at = parser.ahead.start;
        let name = parser.name()?;
        let is_number = standard::find(&name).is_none_or(|known| matches!(known.kind, Kind::Number(_)));
        if !is_number && *function != Function::Count {
            return Err(parser.wrong(name_at, "the name of a number"));
        }
        if !parser.eat(&Token::Close)? {
            return Err(parser.unexpected("`)`"));
        }
        let relation = order(parser)?;
        let bound = parser.number(if *function == Function::Count { "" } else { &name })?;
        self.aggregates.push(Aggregate { function: *function, name: name.into(), relation, bound });
        Ok(())
    }

    fn spread(&mut self, parser: &mut Parser<'_>) -> Result<(), ParseError> {
        parser.advance()?;
        if !parser.eat(&Token::Name("by"))? {
            return Err(parser.unexpected("`by` and the name of an attribute"));
        }
        self.spread = Some(parser.name()?.into());
        Ok(())
    }
}

fn order(parser: &mut Parser<'_>) -> Result<Relation, ParseError> {
    match parser.ahead.token {
        Token::Relation(relation) if relation.is_order() => {
            parser.advance()?;
            Ok(relation)
        }
        _ => Err(parser.unexpected("`<`, `<=`, `>` or `>=`")),
    }
}
