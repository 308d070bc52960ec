//! The generator of random numbers: its sequence for ever, and how evenly its draws fall.

use drlim::Rng;

/// What the generator's counter goes up by: 2^64 divided by the golden ratio, made odd.
const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

#[test]
fn the_sequence_is_that_of_splitmix64() {
    let mut rng = Rng::new(1234567);
    let sequence: [u64; 5] = std::array::from_fn(|_| rng.next_u64());
    assert_eq!(
        sequence,
        [
            6457827717110365317,
            3203168211198807973,
            9817491932198370423,
            4593380528125082431,
            16408922859458223821,
        ]
    );
}

/// Counts that an equal distribution gives less than once in a billion are refused: each is
/// about normal, with the expected count as its variance.
fn assert_uniform(counts: &[u64]) {
    let expected = counts.iter().sum::<u64>() as f64 / counts.len() as f64;
    for &count in counts {
        assert!((count as f64 - expected).abs() < 6.5 * expected.sqrt(), "{counts:?}");
    }
}

#[test]
fn every_number_below_n_is_equally_likely() {
    let mut rng = Rng::new(1);
    assert_eq!((rng.below(0), rng.below(1)), (0, 0));
    // Of the words that give a number below three quarters of 2^64 a quarter must be drawn
    // again: without that, multiples of 3 would be twice as likely as the others.
    for (n, cells) in [(10, 10), (3 << 62, 3)] {
        let mut counts = vec![0; cells as usize];
        for _ in 0..60_000 {
            let number = rng.below(n);
            counts[(number % cells) as usize] += 1;
        }
        assert_uniform(&counts);
    }
}

#[test]
fn every_order_is_equally_likely() {
    let mut rng = Rng::new(2);
    let mut counts = [0; 64];
    for _ in 0..24_000 {
        let mut order = [0, 1, 2, 3];
        rng.shuffle(&mut order);
        counts[order[0] * 16 + order[1] * 4 + order[2]] += 1;
    }
    let seen: Vec<u64> = counts.into_iter().filter(|&count| count > 0).collect();
    assert_eq!(seen.len(), 24);
    assert_uniform(&seen);
}

#[test]
fn uniform_numbers_fill_the_unit_interval() {
    let mut rng = Rng::new(3);
    let mut counts = [0; 16];
    for _ in 0..16_000 {
        counts[(rng.uniform() * 16.0) as usize] += 1;
    }
    assert_uniform(&counts);
}

#[test]
fn streams_of_near_seeds_do_not_meet() {
    let starts: Vec<u64> =
        (0..100).flat_map(|seed| (0..100).map(move |n| Rng::stream(seed, n).state())).collect();
    // Distances along the cycle, in steps: near ones would share their sequence.
    let inverse =
        (0..6).fold(1_u64, |x, _| x.wrapping_mul(2_u64.wrapping_sub(STEP.wrapping_mul(x))));
    assert_eq!(inverse.wrapping_mul(STEP), 1);
    let mut places: Vec<u64> = starts.iter().map(|start| start.wrapping_mul(inverse)).collect();
    places.sort_unstable();
    let nearest = places.windows(2).map(|pair| pair[1] - pair[0]).min();
    assert!(nearest > Some(1 << 32), "{nearest:?} steps apart");
}
