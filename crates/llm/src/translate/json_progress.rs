//! Follows a JSON object that comes in pieces, keeping none of them: has it ended, can it still become one?
//!
//! The arguments of a tool call come so. The memory it takes does not depend on their length.

/// Deeper objects and arrays count as malformed; no parser of the vendors' SDKs takes them.
const MAX_DEPTH: u32 = 128;

/// The next piece cannot follow what came before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the JSON is malformed")]
pub(crate) struct Malformed;

/// How far an object has come.
#[derive(Debug, Clone, Default)]
pub(crate) struct JsonProgress {
    state: State,
    depth: u32,
    /// One bit for each open bracket, the innermost the lowest: 1 is an object.
    objects: u128,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    /// Nothing but white space came.
    #[default]
    Start,
    /// Behind `{`: a name or `}`.
    FirstName,
    /// Behind a comma of an object.
    Name,
    Colon,
    Value,
    /// Behind `[`: a value or `]`.
    FirstValue,
    /// Behind a value.
    AfterValue,
    String(Role),
    Escape(Role),
    /// Within `\u`: the hexadecimal digits still to come.
    Hex(Role, u8),
    /// Within `true`, `false`, `null`: what still has to come.
    Word(&'static [u8]),
    Number(Number),
    End,
}

/// What a string is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Name,
    Value,
}

/// The last thing of a number that came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Number {
    Minus,
    Zero,
    Digits,
    Point,
    Fraction,
    Exponent,
    Sign,
    Power,
}

impl JsonProgress {
    /// Takes the next piece.
    ///
    /// # Errors
    /// No object can begin like this.
    pub(crate) fn push(&mut self, piece: &[u8]) -> Result<(), Malformed> {
        piece.iter().try_for_each(|byte| self.byte(*byte))
    }

    /// Whether nothing but white space came.
    pub(crate) const fn is_empty(&self) -> bool {
        matches!(self.state, State::Start)
    }

    /// Whether the object has ended.
    pub(crate) const fn is_complete(&self) -> bool {
        matches!(self.state, State::End)
    }

    fn byte(&mut self, byte: u8) -> Result<(), Malformed> {
        self.state = match self.state {
            State::String(role) => match byte {
                b'"' if role == Role::Name => State::Colon,
                b'"' => State::AfterValue,
                b'\\' => State::Escape(role),
                0..0x20 => return Err(Malformed),
                _ => return Ok(()),
            },
            State::Escape(role) => match byte {
                b'u' => State::Hex(role, 4),
                b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => State::String(role),
                _ => return Err(Malformed),
            },
            State::Hex(role, left) if byte.is_ascii_hexdigit() => match left {
                1 => State::String(role),
                _ => State::Hex(role, left - 1),
            },
            State::Hex(..) => return Err(Malformed),
            State::Word([next, rest @ ..]) if *next == byte => match rest {
                [] => State::AfterValue,
                _ => State::Word(rest),
            },
            State::Word(_) => return Err(Malformed),
            State::Number(number) => match number.next(byte) {
                Some(next) => State::Number(next),
                None if number.may_end() => self.between(State::AfterValue, byte)?,
                None => return Err(Malformed),
            },
            state => self.between(state, byte)?,
        };
        Ok(())
    }

    /// A byte outside of strings, words and numbers.
    fn between(&mut self, state: State, byte: u8) -> Result<State, Malformed> {
        if matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
            return Ok(state);
        }
        match (state, byte) {
            (State::Start, b'{') => self.open(true),
            (State::FirstName | State::Name, b'"') => Ok(State::String(Role::Name)),
            (State::Colon, b':') => Ok(State::Value),
            (State::FirstName, b'}') => Ok(self.close()),
            (State::FirstValue, b']') => Ok(self.close()),
            (State::AfterValue, b',') => Ok(if self.is_in_object() { State::Name } else { State::Value }),
            (State::AfterValue, b'}') if self.is_in_object() => Ok(self.close()),
            (State::AfterValue, b']') if !self.is_in_object() => Ok(self.close()),
            (State::Value | State::FirstValue, _) => self.value(byte),
            _ => Err(Malformed),
        }
    }

    fn value(&mut self, byte: u8) -> Result<State, Malformed> {
        match byte {
            b'{' => self.open(true),
            b'[' => self.open(false),
            b'"' => Ok(State::String(Role::Value)),
            b't' => Ok(State::Word(b"rue")),
            b'f' => Ok(State::Word(b"alse")),
            b'n' => Ok(State::Word(b"ull")),
            b'-' => Ok(State::Number(Number::Minus)),
            b'0' => Ok(State::Number(Number::Zero)),
            b'1'..=b'9' => Ok(State::Number(Number::Digits)),
            _ => Err(Malformed),
        }
    }

    fn open(&mut self, is_object: bool) -> Result<State, Malformed> {
        if self.depth == MAX_DEPTH {
            return Err(Malformed);
        }
        self.depth += 1;
        self.objects = self.objects << 1 | u128::from(is_object);
        Ok(if is_object { State::FirstName } else { State::FirstValue })
    }

    fn close(&mut self) -> State {
        self.depth -= 1;
        self.objects >>= 1;
        if self.depth == 0 { State::End } else { State::AfterValue }
    }

    const fn is_in_object(&self) -> bool {
        self.objects & 1 == 1
    }
}

impl Number {
    const fn next(self, byte: u8) -> Option<Self> {
        Some(match (self, byte) {
            (Self::Minus, b'0') => Self::Zero,
            (Self::Minus | Self::Digits, b'0'..=b'9') => Self::Digits,
            (Self::Zero | Self::Digits, b'.') => Self::Point,
            (Self::Point | Self::Fraction, b'0'..=b'9') => Self::Fraction,
            (Self::Zero | Self::Digits | Self::Fraction, b'e' | b'E') => Self::Exponent,
            (Self::Exponent, b'+' | b'-') => Self::Sign,
            (Self::Exponent | Self::Sign | Self::Power, b'0'..=b'9') => Self::Power,
            _ => return None,
        })
    }

    const fn may_end(self) -> bool {
        matches!(self, Self::Zero | Self::Digits | Self::Fraction | Self::Power)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_object_is_followed_exactly_as_a_parser_reads_it() {
        for text in [
            "{}",
            " { } ",
            r#"{"a":1}"#,
            r#"{"a":[],"b":{"c":[1,-2.5e+3,0,true,false,null,"\u00e4\"}"]}}"#,
            r#"{"a":1,}"#,
            r#"{"a"}"#,
            r#"{"a":01}"#,
            r#"{"a":1.}"#,
            r#"{"a":-}"#,
            r#"{"a":[1,]}"#,
            r#"{"a":[1}"#,
            r#"{"a":{"b":1]"#,
            r#"{"a":"\x"}"#,
            "{\"a\":\"\n\"}",
            r#"{"a":tru}"#,
            r#"{"a":1}}"#,
            r#"{"a":1} 2"#,
            "[]",
            "1",
            "",
        ] {
            let is_object = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(text).is_ok();
            let mut progress = JsonProgress::default();
            let whole = progress.push(text.as_bytes()).is_ok() && progress.is_complete();
            assert_eq!(whole, is_object, "{text}");
        }
    }

    #[test]
    fn a_depth_of_128_is_the_deepest() {
        for (depth, good) in [(127, true), (128, false)] {
            let text = format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
            assert_eq!(JsonProgress::default().push(text.as_bytes()).is_ok(), good);
        }
    }

    proptest! {
        #[test]
        fn whatever_a_parser_takes_is_complete_and_no_beginning_of_it(text in "[{}\\[\\]\",:a0-9eE.+\\-\\\\u \n]{0,24}", cut in 0_usize..24) {
            let text = format!("{{{text}}}");
            let is_object = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(&text).is_ok();
            let mut progress = JsonProgress::default();
            let pieces = text.as_bytes().split_at(cut.min(text.len()));
            let whole = progress.push(pieces.0).and_then(|()| progress.push(pieces.1)).is_ok() && progress.is_complete();
            // A lone surrogate and a number beyond a double's range are well-formed, and serde_json takes neither.
            prop_assert!(whole == is_object || (whole && text.contains(['u', 'e', 'E'])), "{}", text);
        }
    }
}
