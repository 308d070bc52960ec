//! The random numbers of samplers, initial weights and transforms.
//!
//! The generator is SplitMix64 (Steele, Lea and Flood 2014): a counter that goes up by an odd constant, and a
//! hash of it. It is written here rather than taken from elsewhere because a seed must give the same bits for
//! ever, because one word of state is easily kept in a checkpoint, and because ten lines are less than a
//! dependency. It is not fit for secrets.

#![forbid(unsafe_code)]

/// The step of the counter: 2^64 divided by the golden ratio, made odd.
const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

/// A generator of random numbers that gives the same sequence for the same seed on every machine
/// and in every version of the crate.
///
/// ```
/// use drlim::Rng;
/// let mut rng = Rng::new(7);
/// let mut order = [0, 1, 2, 3, 4, 5];
/// rng.shuffle(&mut order);
/// assert!(rng.below(6) < 6);
///
/// // One word is all that it takes to go on later.
/// let mut resumed = Rng::from_state(rng.state());
/// assert_eq!(resumed.uniform(), rng.uniform());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rng {
    state: u64,
}

impl Rng {
    /// A generator of the sequence that belongs to a seed.
    pub fn new(seed: u64) -> Self {
        Rng { state: seed }
    }

    /// The n-th of the sequences that belong to a seed, for tasks that draw side by side.
    ///
    /// All sequences walk the same cycle of 2^64 numbers. A stream starts where two rounds of
    /// hashing put it, so that neither near seeds nor near n give streams that start near each
    /// other.
    ///
    /// ```
    /// use drlim::Rng;
    /// let first = |n| Rng::stream(1, n).next_u64();
    /// assert_ne!(first(0), first(1));
    /// ```
    pub fn stream(seed: u64, n: u64) -> Self {
        let start = hash(seed.wrapping_add(STEP)).wrapping_add(n.wrapping_mul(STEP));
        Rng { state: hash(start.wrapping_add(STEP)) }
    }

    /// The position in the sequence: see [`from_state`](Rng::from_state).
    pub fn state(&self) -> u64 {
        self.state
    }

    /// A generator that goes on at the position of another one.
    pub fn from_state(state: u64) -> Self {
        Rng { state }
    }

    /// 64 random bits.
    #[inline]
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(STEP);
        hash(self.state)
    }

    /// A whole number below `n`, each with the same probability; 0 where `n` is 0.
    ///
    /// The high word of n r, for a random word r, is below n. Some numbers would come once too often, for
    /// 2^64 mod n of the r: so a draw whose low word is below 2^64 mod n is repeated (Lemire 2019).
    #[inline]
    pub fn below(&mut self, n: u64) -> u64 {
        let mut product = u128::from(n) * u128::from(self.next_u64());
        if (product as u64) < n {
            let favoured = n.wrapping_neg() % n;
            while (product as u64) < favoured {
                product = u128::from(n) * u128::from(self.next_u64());
            }
        }
        (product >> 64) as u64
    }

    /// A number in [0, 1): one of the multiples of 2^-53, each with the same probability.
    #[inline]
    pub fn uniform(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 * (0.5 / (1_u64 << 52) as f64)
    }

    /// Puts the elements in random order, each order with the same probability.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last as u64 + 1) as usize);
        }
    }
}

/// Two rounds of shift and multiplication, in which every bit of the counter reaches every bit of
/// the result; the constants are those of SplitMix64.
#[inline(always)]
fn hash(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
