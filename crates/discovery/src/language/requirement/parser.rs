//! Tokens to tree, by recursive descent; the grammar stands in docs/protocols/discovery.md.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::Number;
use crate::language::standard::{self, Kind, Unit};

use super::ast::{Expr, Literal, Relation};
use super::error::ParseError;
use super::lexer::{Lexer, Spanned, Token};
use super::{Clause, DEPTH_MAX, REQUIREMENT_LEN_MAX};

/// The top-level `&&` parts of `source`; none when it is empty.
pub(crate) fn parse(source: &str) -> Result<Vec<Clause>, ParseError> {
    let mut parser = Parser::new(source, false)?;
    if parser.ahead.token == Token::End {
        return Ok(Vec::new());
    }
    let clauses = parser.clauses()?;
    match parser.ahead.token {
        Token::End => Ok(clauses),
        _ => Err(parser.unexpected("`&&`, `||` or the end")),
    }
}

pub(super) struct Parser<'a> {
    pub(super) source: &'a str,
    lexer: Lexer<'a>,
    pub(super) ahead: Spanned<'a>,
    /// Where the last token taken ended.
    pub(super) last_end: usize,
    /// Open parentheses and `!`.
    depth: usize,
    /// The requirement is a part of a set query: other parts may follow.
    in_set: bool,
}

impl<'a> Parser<'a> {
    pub(super) fn new(source: &'a str, in_set: bool) -> Result<Self, ParseError> {
        if source.len() > REQUIREMENT_LEN_MAX {
            let found = format!("a requirement of {} bytes", source.len());
            return Err(ParseError::new(source, 0, found, format!("at most {REQUIREMENT_LEN_MAX} bytes")));
        }
        let mut lexer = Lexer::new(source);
        let ahead = lexer.next()?;
        Ok(Parser { source, lexer, ahead, last_end: 0, depth: 0, in_set })
    }

    pub(super) fn advance(&mut self) -> Result<Spanned<'a>, ParseError> {
        let next = self.lexer.next()?;
        self.last_end = self.ahead.end;
        Ok(core::mem::replace(&mut self.ahead, next))
    }

    /// Takes the next token when it is `token`.
    pub(super) fn eat(&mut self, token: &Token<'_>) -> Result<bool, ParseError> {
        let here = self.ahead.token == *token;
        if here {
            self.advance()?;
        }
        Ok(here)
    }

    pub(super) fn unexpected(&self, expected: impl Into<String>) -> ParseError {
        self.lexer.error(self.ahead.start, self.found(), expected)
    }

    /// The error that what stands from `start` on is not what is `expected`.
    pub(super) fn wrong(&self, start: usize, expected: impl Into<String>) -> ParseError {
        let found = format!("`{}`", &self.source[start..self.last_end]);
        self.lexer.error(start, found, expected)
    }

    fn found(&self) -> String {
        match &self.ahead.token {
            Token::End => "the end".into(),
            Token::Text(_) => "a text".into(),
            _ => format!("`{}`", &self.source[self.ahead.start..self.ahead.end]),
        }
    }

    /// The whole text: `||` binds weaker than `&&`, so it makes all of it one clause.
    pub(super) fn clauses(&mut self) -> Result<Vec<Clause>, ParseError> {
        let start = self.ahead.start;
        let mut clauses = Vec::new();
        loop {
            let start = self.ahead.start;
            let expr = self.unary()?;
            clauses.push(Clause { expr, start, end: self.last_end });
            if !self.eat(&Token::And)? {
                break;
            }
        }
        if self.ahead.token != Token::Or {
            return Ok(clauses);
        }
        let mut parts =
            alloc::vec![joined(clauses.into_iter().map(|clause| clause.expr).collect(), Expr::All)];
        while self.eat(&Token::Or)? {
            parts.push(self.all()?);
        }
        Ok(alloc::vec![Clause { expr: joined(parts, Expr::Any), start, end: self.last_end }])
    }

    fn any(&mut self) -> Result<Expr, ParseError> {
        let mut parts = alloc::vec![self.all()?];
        while self.eat(&Token::Or)? {
            parts.push(self.all()?);
        }
        Ok(joined(parts, Expr::Any))
    }

    fn all(&mut self) -> Result<Expr, ParseError> {
        let mut parts = alloc::vec![self.unary()?];
        while self.eat(&Token::And)? {
            parts.push(self.unary()?);
        }
        Ok(joined(parts, Expr::All))
    }

    fn unary(&mut self) -> Result<Expr, ParseError> {
        match self.ahead.token {
            Token::Not => {
                self.descend()?;
                let inner = self.unary()?;
                self.depth -= 1;
                Ok(Expr::Not(Box::new(inner)))
            }
            Token::Open => {
                self.descend()?;
                let inner = self.any()?;
                if !self.eat(&Token::Close)? {
                    return Err(self.unexpected("`&&`, `||` or `)`"));
                }
                self.depth -= 1;
                Ok(inner)
            }
            _ => self.predicate(),
        }
    }

    /// Takes the `!` or `(` ahead.
    fn descend(&mut self) -> Result<(), ParseError> {
        if self.depth == DEPTH_MAX {
            let found = format!("{} deeper than {DEPTH_MAX}", self.found());
            let expected = format!("at most {DEPTH_MAX} nested `(` and `!`");
            return Err(self.lexer.error(self.ahead.start, found, expected));
        }
        self.depth += 1;
        self.advance()?;
        Ok(())
    }

    fn predicate(&mut self) -> Result<Expr, ParseError> {
        const EXPECTED: &str = "an attribute name, `has`, `!`, `(`, `true`, `false` or a text with `in`";
        match self.ahead.token {
            Token::True | Token::False => {
                let constant = self.advance()?.token == Token::True;
                Ok(Expr::Constant(constant))
            }
            Token::Has => {
                self.advance()?;
                Ok(Expr::Has(self.name()?))
            }
            Token::Text(_) => self.contains(),
            Token::Name(_) => self.about_name(),
            Token::Number(..) => Err(self.unexpected("an attribute name; numbers go to the right of it")),
            _ => Err(self.unexpected(EXPECTED)),
        }
    }

    pub(super) fn name(&mut self) -> Result<String, ParseError> {
        match self.ahead.token {
            Token::Name(name) => {
                self.advance()?;
                Ok(name.into())
            }
            _ => Err(self.unexpected("an attribute name")),
        }
    }

    fn contains(&mut self) -> Result<Expr, ParseError> {
        let Token::Text(text) = self.advance()?.token else {
            return Err(self.unexpected("a text"));
        };
        if !self.eat(&Token::In)? {
            return Err(self.unexpected("`in` and the name of a list"));
        }
        Ok(Expr::Contains { name: self.name()?, text })
    }

    fn about_name(&mut self) -> Result<Expr, ParseError> {
        let name = self.name()?;
        match self.ahead.token {
            Token::Relation(relation) => {
                self.advance()?;
                let literal = self.compared(&name, relation)?;
                Ok(Expr::Compare { name, relation, literal })
            }
            Token::In => {
                self.advance()?;
                if self.eat(&Token::OpenList)? { self.one_of(name) } else { self.between(name) }
            }
            Token::And | Token::Or | Token::Close | Token::End => Ok(Expr::Flag(name)),
            Token::Name(next) if self.in_set && super::set::is_part(next) => Ok(Expr::Flag(name)),
            _ => Err(self.unexpected("a comparison, `in`, `&&`, `||` or the end")),
        }
    }

    /// What stands to the right of a relation.
    fn compared(&mut self, name: &str, relation: Relation) -> Result<Literal, ParseError> {
        if relation.is_order() {
            let Token::Number(..) = self.ahead.token else {
                return Err(
                    self.unexpected(format!("a number: `{}` compares only numbers", relation.symbol()))
                );
            };
        }
        let literal = self.literal(name, "a number, a text in double quotes, `true` or `false`")?;
        match self.ahead.token {
            Token::Relation(_) => {
                Err(self.unexpected("`&&`, `||` or the end; ranges are `name in low..high`"))
            }
            _ => Ok(literal),
        }
    }

    fn literal(&mut self, name: &str, expected: &str) -> Result<Literal, ParseError> {
        match &self.ahead.token {
            Token::Number(..) => Ok(Literal::Number(self.number(name)?)),
            Token::Text(text) => {
                let literal = Literal::Text(text.clone());
                self.advance()?;
                Ok(literal)
            }
            Token::True | Token::False => Ok(Literal::Flag(self.advance()?.token == Token::True)),
            _ => Err(self.unexpected(expected)),
        }
    }

    /// A number whose unit suits the attribute, when that is a standard one.
    pub(super) fn number(&mut self, name: &str) -> Result<Number, ParseError> {
        let Token::Number(number, unit) = self.ahead.token else {
            return Err(self.unexpected("a number"));
        };
        if let Some(Kind::Number(wanted)) = standard::find(name).map(|attribute| attribute.kind)
            && unit != Unit::Plain
            && unit != wanted
        {
            let expected = match wanted {
                Unit::Plain => "a number without unit",
                Unit::Bytes => "a size in bytes",
                Unit::Hertz => "a frequency",
            };
            return Err(self.unexpected(format!("{expected} for `{name}`")));
        }
        self.advance()?;
        Ok(number)
    }

    fn between(&mut self, name: String) -> Result<Expr, ParseError> {
        let Token::Number(..) = self.ahead.token else {
            return Err(self.unexpected("`[` or a range `low..high`"));
        };
        let low = self.number(&name)?;
        if !self.eat(&Token::Range)? {
            return Err(self.unexpected("`..`"));
        }
        let high_at = self.ahead.start;
        let high = self.number(&name)?;
        if high < low {
            let found = format!("`{}`", &self.source[high_at..self.last_end]);
            return Err(self.lexer.error(high_at, found, "an upper end that is not below the lower one"));
        }
        Ok(Expr::Between { name, low, high })
    }

    /// Reads on behind the `[`.
    fn one_of(&mut self, name: String) -> Result<Expr, ParseError> {
        let mut literals: Vec<Literal> = Vec::new();
        loop {
            let at = self.ahead.start;
            let literal = self.literal(&name, "a number or a text in double quotes")?;
            let alike = match (&literal, literals.first()) {
                (Literal::Flag(_), _) => false,
                (Literal::Number(_), Some(first)) => matches!(first, Literal::Number(_)),
                (Literal::Text(_), Some(first)) => matches!(first, Literal::Text(_)),
                (_, None) => true,
            };
            if !alike {
                let found = format!("`{}`", &self.source[at..self.last_end]);
                return Err(self.lexer.error(at, found, "only numbers or only texts in a list"));
            }
            literals.push(literal);
            if self.eat(&Token::CloseList)? {
                return Ok(Expr::OneOf { name, literals });
            }
            if !self.eat(&Token::Comma)? {
                return Err(self.unexpected("`,` or `]`"));
            }
        }
    }
}

/// One part stands for itself.
fn joined(mut parts: Vec<Expr>, join: fn(Vec<Expr>) -> Expr) -> Expr {
    match parts.len() {
        1 => parts.swap_remove(0),
        _ => join(parts),
    }
}
