//! Exchanges that every way has to carry.

use std::fmt;

use crate::traffic::{Exchange, Generator, Shape, request_size, response_size};

/// Every run sends the same exchanges.
const SEED: u64 = 1;

/// Some exchanges of one kind.
pub struct Sample {
    /// As rows call it.
    pub name: String,
    /// In the order in which they are made.
    pub exchanges: Vec<Exchange>,
}

impl Sample {
    /// Generated traffic: as many exchanges as have so many bytes together.
    #[must_use]
    pub fn generated(shape: Shape, bytes: usize) -> Self {
        let mut generator = Generator::new(shape, SEED);
        Self::taken(shape.name().to_owned(), std::iter::repeat_with(|| generator.next_exchange()), bytes)
    }

    /// The first of `exchanges`, until they have so many bytes together as HTTP/1.1 text.
    pub fn taken(name: String, exchanges: impl IntoIterator<Item = Exchange>, bytes: usize) -> Self {
        let mut total = 0;
        let fits = |exchange: &Exchange| {
            let before = total;
            total += size(exchange);
            before < bytes
        };
        Self { name, exchanges: exchanges.into_iter().take_while(fits).collect() }
    }

    /// Mean bytes of a request and its reply as HTTP/1.1 text.
    #[must_use]
    pub fn mean_size(&self) -> usize {
        self.exchanges.iter().map(size).sum::<usize>() / self.exchanges.len().max(1)
    }
}

impl fmt::Debug for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sample").field("name", &self.name).field("exchanges", &self.exchanges.len()).finish()
    }
}

fn size(exchange: &Exchange) -> usize {
    request_size(&exchange.request) + response_size(&exchange.response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_as_large_as_asked() {
        for shape in Shape::ALL {
            let sample = Sample::generated(shape, 1 << 18);
            let total: usize = sample.exchanges.iter().map(size).sum();
            assert!((1 << 18..1 << 19).contains(&total), "{shape}: {total}");
        }
    }
}
