//! Jitter: a small generator seeded once, so that lifetimes and pauses do not fall together. Not for secrets.

use std::time::Duration;

#[derive(Debug)]
pub(crate) struct Spread {
    state: u64,
}

impl Spread {
    pub(crate) fn new(seed: u64) -> Spread {
        Spread { state: seed }
    }

    /// SplitMix64.
    pub(crate) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A duration below `bound`.
    pub(crate) fn below(&mut self, bound: Duration) -> Duration {
        let share = (self.next() >> 11) as f64 / (1_u64 << 53) as f64;
        bound.mul_f64(share)
    }
}
