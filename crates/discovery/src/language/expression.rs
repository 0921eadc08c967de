//! Numeric expressions over attributes: `2 * mem.free / 1GiB - load.1m`. By them a user says which of two
//! nodes is better.
//!
//! Read once into a list of steps for a stack, so that neither evaluating nor dropping one recurses. Exact
//! decimals of three places; what overflows saturates, so that a larger sum never becomes a smaller one.

#[cfg(test)]
mod tests;

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::language::facts::FACTS_MAX;
use crate::language::requirement::lexer::{Lexer, Spanned, Token};
use crate::language::standard::{self, Kind};
use crate::{Attributes, FactsAsk, Number, ParseError, Value};

/// Bytes of an expression's text. Our guess: ten times what people write.
pub const EXPRESSION_LEN_MAX: usize = 1_024;
/// Parentheses, functions and signs around one another, as in a requirement.
const DEPTH_MAX: usize = 32;

const OPERAND: &str = "a number, an attribute, `min(`, `max(`, `-` or `(`";

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Push(Number),
    /// The attribute's value, or what stands for a missing one.
    Load(Box<str>, Number),
    Negate,
    Two(Operator),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    Min,
    Max,
}

/// A number for each node; the higher one is better, where something is chosen by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expression {
    steps: Vec<Step>,
}

impl Expression {
    pub fn parse(source: &str) -> Result<Self, ParseError> {
        Expression::parse_from(source, 0)
    }

    /// The expression behind byte `from` of a text; errors tell the place in the whole text.
    pub fn parse_from(source: &str, from: usize) -> Result<Self, ParseError> {
        if source.len() > EXPRESSION_LEN_MAX {
            let found = format!("{} bytes", source.len());
            return Err(ParseError::new(source, 0, found, format!("at most {EXPRESSION_LEN_MAX}")));
        }
        let mut parser =
            Parser { lexer: Lexer::starting_at(source, from), steps: Vec::new(), names: Vec::new() };
        parser.sum(0)?;
        let rest = parser.lexer.next()?;
        match rest.token {
            Token::End => Ok(Expression { steps: parser.steps }),
            _ => Err(parser.unexpected(source, &rest, "`+`, `-`, `*`, `/` or the end")),
        }
    }

    /// The attributes that it reads.
    pub fn facts(&self) -> FactsAsk {
        let names = self.steps.iter().filter_map(|step| match step {
            Step::Load(name, _) => Some(&**name),
            _ => None,
        });
        // The parser has refused more than there may be, and the lexer names that are none.
        FactsAsk::new(names).unwrap_or_default()
    }

    /// A missing attribute, and one that is neither number nor flag, counts as 0 or as what stands behind its
    /// `??`; the flag `true` as 1. What is divided by nothing is as large as can be, with its sign; nothing
    /// by nothing is 0.
    pub fn of(&self, attributes: &Attributes) -> Number {
        let mut stack: Vec<i64> = Vec::new();
        for step in &self.steps {
            let value = match step {
                Step::Push(number) => number.as_thousandths(),
                Step::Load(name, missing) => match attributes.value(name) {
                    Some(Value::Number(number)) => number.as_thousandths(),
                    Some(Value::Flag(flag)) => Number::from_whole(i64::from(*flag)).as_thousandths(),
                    _ => missing.as_thousandths(),
                },
                Step::Negate => stack.pop().unwrap_or(0).saturating_neg(),
                Step::Two(operator) => {
                    let (right, left) = (stack.pop().unwrap_or(0), stack.pop().unwrap_or(0));
                    operator.of(left, right)
                }
            };
            stack.push(value);
        }
        Number::from_thousandths(stack.pop().unwrap_or(0))
    }
}

impl Operator {
    /// Calculates in thousandths.
    fn of(self, left: i64, right: i64) -> i64 {
        let (wide_left, wide_right) = (i128::from(left), i128::from(right));
        let saturated = |wide: i128| wide.clamp(i64::MIN.into(), i64::MAX.into()) as i64;
        match self {
            Operator::Add => left.saturating_add(right),
            Operator::Subtract => left.saturating_sub(right),
            Operator::Multiply => saturated(wide_left * wide_right / 1_000),
            Operator::Divide if right == 0 => left.signum().saturating_mul(i64::MAX),
            Operator::Divide => saturated(wide_left * 1_000 / wide_right),
            Operator::Min => left.min(right),
            Operator::Max => left.max(right),
        }
    }
}

struct Parser<'a> {
    lexer: Lexer<'a>,
    steps: Vec<Step>,
    names: Vec<&'a str>,
}

impl<'a> Parser<'a> {
    fn sum(&mut self, depth: usize) -> Result<(), ParseError> {
        self.product(depth)?;
        while let Some((sign, _)) = self.lexer.take(&['+', '-']) {
            self.product(depth)?;
            self.steps.push(Step::Two(if sign == '+' { Operator::Add } else { Operator::Subtract }));
        }
        Ok(())
    }

    fn product(&mut self, depth: usize) -> Result<(), ParseError> {
        self.operand(depth)?;
        while let Some((sign, _)) = self.lexer.take(&['*', '/']) {
            self.operand(depth)?;
            self.steps.push(Step::Two(if sign == '*' { Operator::Multiply } else { Operator::Divide }));
        }
        Ok(())
    }

    fn operand(&mut self, depth: usize) -> Result<(), ParseError> {
        if let Some((sign, at)) = self.lexer.take(&['-', '(']) {
            let depth = self.deeper(depth, at)?;
            if sign == '-' {
                self.operand(depth)?;
                self.steps.push(Step::Negate);
                return Ok(());
            }
            self.sum(depth)?;
            return self.close();
        }
        let spanned = self.lexer.next()?;
        match spanned.token {
            Token::Number(number, _) => self.steps.push(Step::Push(number)),
            Token::Name(name @ ("min" | "max")) => {
                if let Some((_, at)) = self.lexer.take(&['(']) {
                    return self.function(name, self.deeper(depth, at)?);
                }
                self.attribute(name, spanned.start)?;
            }
            Token::Name(name) => self.attribute(name, spanned.start)?,
            _ => return Err(self.unexpected(self.lexer.source(), &spanned, OPERAND)),
        }
        Ok(())
    }

    fn deeper(&self, depth: usize, at: usize) -> Result<usize, ParseError> {
        if depth < DEPTH_MAX {
            return Ok(depth + 1);
        }
        Err(self.lexer.error(
            at,
            "one more",
            format!("at most {DEPTH_MAX} of `(` and `-` around one another"),
        ))
    }

    fn function(&mut self, name: &str, depth: usize) -> Result<(), ParseError> {
        let operator = if name == "min" { Operator::Min } else { Operator::Max };
        self.sum(depth)?;
        while self.lexer.take(&[',']).is_some() {
            self.sum(depth)?;
            self.steps.push(Step::Two(operator));
        }
        self.close()
    }

    fn close(&mut self) -> Result<(), ParseError> {
        if self.lexer.take(&[')']).is_some() {
            return Ok(());
        }
        let spanned = self.lexer.next()?;
        Err(self.unexpected(self.lexer.source(), &spanned, "`+`, `-`, `*`, `/` or `)`"))
    }

    fn attribute(&mut self, name: &'a str, at: usize) -> Result<(), ParseError> {
        if let Some(Kind::Text | Kind::List) = standard::find(name).map(|attribute| attribute.kind) {
            return Err(self.lexer.error(at, format!("the text `{name}`"), "an attribute that is a number"));
        }
        if !self.names.contains(&name) {
            if self.names.len() >= FACTS_MAX {
                return Err(self.lexer.error(at, "one more", format!("at most {FACTS_MAX} attributes")));
            }
            self.names.push(name);
        }
        let mut missing = Number::default();
        if let Some((_, at)) = self.lexer.take(&['?']) {
            if self.lexer.take(&['?']).is_none() {
                return Err(self.lexer.error(at, "`?`", "`??` and what a missing attribute counts as"));
            }
            let spanned = self.lexer.next()?;
            let Token::Number(number, _) = spanned.token else {
                return Err(self.unexpected(
                    self.lexer.source(),
                    &spanned,
                    "what a missing attribute counts as",
                ));
            };
            missing = number;
        }
        self.steps.push(Step::Load(name.into(), missing));
        Ok(())
    }

    fn unexpected(&self, source: &str, spanned: &Spanned<'_>, expected: &str) -> ParseError {
        let found = match &source[spanned.start..spanned.end] {
            "" => String::from("the end"),
            found => format!("`{found}`"),
        };
        self.lexer.error(spanned.start, found, expected)
    }
}
