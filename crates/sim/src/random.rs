//! Chance from one seed.
//!
//! For: every decision of a simulation. Not for: secrets. Nothing else in the crate is random.
//! Invariant: the same seed gives the same numbers on every machine.

/// A generator: xoshiro256**, seeded by splitmix64.
#[derive(Clone, Debug)]
pub(crate) struct Random {
    state: [u64; 4],
}

fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Random {
    /// The generator of a seed.
    pub(crate) fn new(seed: u64) -> Self {
        let mut state = seed;
        Self { state: std::array::from_fn(|_| splitmix(&mut state)) }
    }

    /// 64 random bits.
    pub(crate) fn bits(&mut self) -> u64 {
        let result = self.state[1].wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let t = self.state[1] << 17;
        self.state[2] ^= self.state[0];
        self.state[3] ^= self.state[1];
        self.state[1] ^= self.state[2];
        self.state[0] ^= self.state[3];
        self.state[2] ^= t;
        self.state[3] = self.state[3].rotate_left(45);
        result
    }

    /// A number below `end`; 0 where `end` is 0.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.bits()) * u128::from(end)) >> 64) as u64
    }

    /// A number from `from` to `to`, both included.
    pub(crate) fn between(&mut self, from: u64, to: u64) -> u64 {
        from + self.below(to - from + 1)
    }

    /// Yes, `per_mille` times of a thousand.
    pub(crate) fn chance(&mut self, per_mille: u64) -> bool {
        self.below(1_000) < per_mille
    }

    /// One of the items.
    pub(crate) fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len() as u64) as usize]
    }

    /// A span in microseconds from `from` to `to`, each order of magnitude as likely as the next.
    pub(crate) fn span(&mut self, from: u64, to: u64) -> u64 {
        let (low, high) = (64 - from.max(1).leading_zeros(), 64 - to.max(1).leading_zeros());
        let bits = self.between(u64::from(low), u64::from(high));
        let top = 1_u64 << (bits - 1);
        (top + self.below(top)).clamp(from, to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_decides_everything_and_bounds_hold() {
        let (mut a, mut b) = (Random::new(7), Random::new(7));
        assert!((0..100).all(|_| a.bits() == b.bits()));
        assert_ne!(Random::new(8).bits(), Random::new(7).bits());
        let mut random = Random::new(1);
        for _ in 0..1_000 {
            assert!((3..=5).contains(&random.between(3, 5)));
            assert!((10..=9_999).contains(&random.span(10, 9_999)));
        }
        let yes = (0..10_000).filter(|_| random.chance(250)).count();
        assert!((2_200..2_800).contains(&yes), "{yes}");
    }
}
