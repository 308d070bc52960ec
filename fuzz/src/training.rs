//! A case of a file that a training run goes on from: arbitrary bytes, or a file that was saved and then
//! damaged.

use std::fmt::Debug;
use std::ops::Range;
use std::path::PathBuf;
use std::{env, fs, process};

use arbitrary::Arbitrary;
use drlim::checkpoint::{from_bytes, load, load_training, save_training, to_bytes};
use drlim::loss::{Contrastive, Objective};
use drlim::nn::{Dense, Network, Shape};
use drlim::optim::{Adam, Resume, Sgd};
use drlim::pairs::SamplerState;
use drlim::siamese::Siamese;
use drlim::{Cx, Mat, Real};

/// A file, the bytes of which the fuzzer chooses.
#[derive(Arbitrary, Debug)]
pub struct TrainingCase {
    optimizer: Optimizer,
    file: Source,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Optimizer {
    Sgd,
    Momentum,
    Adam,
}

#[derive(Arbitrary, Debug)]
enum Source {
    Bytes(Vec<u8>),
    /// A header, and that many bytes of data.
    Header(String, u16),
    /// A run, with its sampler or without, or the network alone; and what was done to its bytes.
    Saved {
        state: Option<[u64; 3]>,
        alone: bool,
        edits: Vec<Edit>,
    },
}

#[derive(Arbitrary, Debug)]
enum Edit {
    Byte(u16, u8),
    Truncated(u16),
    Appended(Vec<u8>),
    /// One of the numbers of the header.
    Number(u8, u64),
    /// A piece of the header for another one.
    Header {
        at: u16,
        len: u8,
        to: String,
    },
    HeaderLength(u64),
}

impl TrainingCase {
    /// Runs the case for one element type.
    ///
    /// # Panics
    /// Where a file that is refused changes anything, or one that is loaded is not saved as it was loaded.
    pub(crate) fn check_type<T: Real>(&self) {
        match self.optimizer {
            Optimizer::Sgd => self.check_with(Sgd::<T>::new),
            Optimizer::Momentum => self.check_with(|| Sgd::<T>::new().momentum(0.5).unwrap()),
            Optimizer::Adam => self.check_with(Adam::<T>::new),
        }
    }

    fn check_with<T: Real, O: Resume<T> + PartialEq + Debug>(&self, optimizer: impl Fn() -> O) {
        let file = File::new::<T>();
        let bytes = match &self.file {
            Source::Bytes(bytes) => bytes.clone(),
            Source::Header(header, data) => {
                let len = (header.len() as u64).to_le_bytes();
                [&len, header.as_bytes(), &vec![0; usize::from(*data)]].concat()
            }
            Source::Saved { state, alone, edits } => {
                let (saved, state) = (run::<T, O>(1, optimizer()), state.map(sampler_state));
                let mut bytes = match alone {
                    true => to_bytes(saved.net()).unwrap(),
                    false => file.save(&saved, state),
                };
                edits.iter().for_each(|edit| edit.apply(&mut bytes));
                bytes
            }
        };
        fs::write(&file.0, &bytes).unwrap();

        let mut net = network::<T>(5);
        let before = net.params().to_vec();
        let loaded = load(&mut net, &file.0);
        let mut same = network::<T>(5);
        assert_eq!(loaded.is_ok(), from_bytes(&mut same, &bytes).is_ok(), "{loaded:?}");
        assert!(bits(net.params()) == bits(same.params()));
        assert!(loaded.is_ok() || net.params() == before, "refused, and changed");

        let [mut siamese, unchanged] = [2, 2].map(|seed| run::<T, O>(seed, optimizer()));
        match load_training(&mut siamese, &file.0) {
            Err(_) => {
                assert_eq!(siamese.net().params(), unchanged.net().params());
                assert_eq!(siamese.optimizer(), unchanged.optimizer());
                assert_eq!(siamese.steps(), unchanged.steps());
            }
            Ok(state) => {
                let saved = file.save(&siamese, state);
                let mut again = run::<T, O>(3, optimizer());
                fs::write(&file.0, &saved).unwrap();
                assert_eq!(load_training(&mut again, &file.0), Ok(state));
                assert!(saved == file.save(&again, state), "another file of the same run");
            }
        }
    }
}

impl Edit {
    fn apply(&self, bytes: &mut Vec<u8>) {
        let header_end = |bytes: &[u8]| {
            let len = bytes.first_chunk().map_or(0, |len| u64::from_le_bytes(*len));
            usize::try_from(len).ok().and_then(|len| len.checked_add(8))
        };
        let end = header_end(bytes).filter(|&end| end <= bytes.len() && end >= 8);
        match (self, end) {
            (Edit::Byte(at, to), _) if !bytes.is_empty() => {
                let at = usize::from(*at) % bytes.len();
                bytes[at] = *to;
            }
            (Edit::Truncated(len), _) => bytes.truncate(usize::from(*len)),
            (Edit::Appended(more), _) => bytes.extend(more),
            (Edit::Number(which, to), Some(end)) => {
                let is_digit = |at: usize| (8..end).contains(&at) && bytes[at].is_ascii_digit();
                let starts: Vec<usize> =
                    (8..end).filter(|&at| is_digit(at) && !is_digit(at - 1)).collect();
                if let Some(&start) = starts.get(usize::from(*which) % starts.len().max(1)) {
                    let stop = (start..end).find(|&at| !is_digit(at)).unwrap_or(end);
                    replace(bytes, start..stop, to.to_string().as_bytes());
                }
            }
            (Edit::Header { at, len, to }, Some(end)) => {
                let start = 8 + usize::from(*at) % (end - 8 + 1);
                replace(bytes, start..end.min(start + usize::from(*len)), to.as_bytes());
            }
            (Edit::HeaderLength(len), _) if bytes.len() >= 8 => {
                bytes[..8].copy_from_slice(&len.to_le_bytes());
            }
            _ => {}
        }
    }
}

/// Replaces a part of the header, and says how long it is then.
fn replace(bytes: &mut Vec<u8>, part: Range<usize>, to: &[u8]) {
    let len = bytes.first_chunk().map_or(0, |len| u64::from_le_bytes(*len));
    let len = len - part.len() as u64 + to.len() as u64;
    bytes.splice(part, to.iter().copied());
    bytes[..8].copy_from_slice(&len.to_le_bytes());
}

fn sampler_state([pass, position, rng]: [u64; 3]) -> SamplerState {
    SamplerState { pass, position, rng }
}

fn network<T: Real>(seed: u64) -> Network<T> {
    let builder = Network::builder(Shape::flat(2));
    builder.layer("hidden", Dense::new(3)).layer("out", Dense::new(1)).build(seed).unwrap()
}

/// A run of two steps.
fn run<T: Real, O: Resume<T>>(seed: u64, optimizer: O) -> Siamese<T, O> {
    let mut siamese = Siamese::new(network(seed), optimizer, 2).unwrap();
    let loss = Contrastive::new(T::ONE).unwrap();
    let x = [0.5, -1.0, 0.25, 2.0].map(T::from_f64);
    let x = Mat::new(&x, 2, 2).unwrap();
    for _ in 0..2 {
        let objective = Objective::sum(&loss);
        let pairs = [(0, 1)];
        siamese.step_pairs(&Cx::default(), &objective, 0.1, x, &pairs, &[true]).unwrap();
    }
    siamese
}

fn bits<T: Real>(of: &[T]) -> Vec<u64> {
    of.iter().map(|x| x.to_f64().to_bits()).collect()
}

/// A file of this process, of one element type; removed at the end.
struct File(PathBuf);

impl File {
    fn new<T: Real>() -> Self {
        // Memory, where there is a place for files that is.
        let shared = PathBuf::from("/dev/shm");
        let folder = if shared.is_dir() { shared } else { env::temp_dir() };
        File(folder.join(format!("drlim-fuzz-{}-{}", process::id(), T::NAME)))
    }

    fn save<T: Real, O: Resume<T>>(
        &self,
        siamese: &Siamese<T, O>,
        state: Option<SamplerState>,
    ) -> Vec<u8> {
        save_training(siamese, state, &self.0).unwrap();
        fs::read(&self.0).unwrap()
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}
