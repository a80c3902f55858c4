//! What is said on a connection. Servers differ in how they read, wait and write, and in nothing else.

/// Of all requests and answers of `Echo`.
pub const MESSAGE: [u8; 64] = *b"0123456789abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKLMNOPQ\n";

pub const REQUEST: &[u8] =
    b"GET /plaintext HTTP/1.1\r\nHost: localhost\r\nAccept: text/plain\r\nConnection: keep-alive\r\n\r\n";

pub const BODY: &str = "Hello, World!";

const ANSWER: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n\r\nHello, World!";

/// What a server reads at once.
pub const BUFFER: usize = 4096;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// 64 bytes come back as they are.
    Echo,
    Http,
}

impl Protocol {
    pub fn request(self) -> &'static [u8] {
        match self {
            Protocol::Echo => &MESSAGE,
            Protocol::Http => REQUEST,
        }
    }
}

/// The server's end of one connection.
pub enum Talk {
    Echo,
    Http {
        /// The beginning of a request whose end has not come yet.
        rest: Vec<u8>,
        answers: Vec<u8>,
    },
}

impl Talk {
    pub fn new(protocol: Protocol) -> Talk {
        match protocol {
            Protocol::Echo => Talk::Echo,
            Protocol::Http => Talk::Http {
                rest: Vec::new(),
                answers: Vec::with_capacity(BUFFER),
            },
        }
    }

    /// What is to be answered to `input`; perhaps nothing yet.
    #[inline]
    pub fn answer<'a>(&'a mut self, input: &'a [u8]) -> &'a [u8] {
        match self {
            Talk::Echo => input,
            Talk::Http { rest, answers } => {
                answers.clear();
                if rest.is_empty() {
                    let used = answer_all(input, answers);
                    rest.extend_from_slice(&input[used..]);
                } else {
                    rest.extend_from_slice(input);
                    let used = answer_all(rest, answers);
                    rest.drain(..used);
                }
                answers
            }
        }
    }
}

/// Answers the requests that are whole, and says how long they are.
fn answer_all(input: &[u8], answers: &mut Vec<u8>) -> usize {
    let mut used = 0;
    while used < input.len() {
        let mut headers = [httparse::EMPTY_HEADER; 16];
        let mut request = httparse::Request::new(&mut headers);
        match request.parse(&input[used..]).expect("it is well formed") {
            httparse::Status::Complete(length) => {
                assert_eq!(request.path, Some("/plaintext"));
                used += length;
                answers.extend_from_slice(ANSWER);
            }
            httparse::Status::Partial => break,
        }
    }
    used
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_cut_anywhere_are_each_answered_once() {
        let input = REQUEST.repeat(3);
        for cut in 0..input.len() {
            let mut talk = Talk::new(Protocol::Http);
            let mut answers = talk.answer(&input[..cut]).to_vec();
            answers.extend_from_slice(talk.answer(&input[cut..]));
            assert_eq!(answers, ANSWER.repeat(3), "cut at {cut}");
        }
    }
}
