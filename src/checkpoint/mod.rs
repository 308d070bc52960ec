//! Checkpoints: networks, and training runs, as safetensors files.
//!
//! The file of a network holds exactly what PyTorch's `state_dict` does, under the same names and in
//! the same shapes: a PyTorch module of the same layers takes it by `load_state_dict` with
//! `strict=True`, and what `safetensors.torch.save_file` writes of such a module is loaded here. One
//! value of the header, `drlim`, says which layers they are
//! ([`Network::architecture`]); it is compared where a file has it.
//!
//! The file of a training run holds those tensors too, and beside them, under names with a slash and
//! without a dot, which no parameter has:
//!
//! | tensor | type | |
//! |---|---|---|
//! | `training/steps` | u64 `[1]` | [`Siamese::steps`] |
//! | `optimizer/steps` | u64 `[1]` | [`Resume::steps`] |
//! | `optimizer/velocity`, ... | as the parameters, `[their number]` | [`Resume::moments`], all layers one after another |
//! | `sampler/state` | u64 `[3]` | [`SamplerState`]: pass, position, random numbers; where one was given |
//!
//! A run that goes on from such a file computes the same bytes as one that never stopped.
//!
//! * **Saving** writes to a temporary file beside the old one, syncs it and renames it, so at any
//!   moment, through a crash as well, the path leads to a whole file: the old or the new one. The same
//!   state gives the same bytes.
//! * **Loading** compares every name, shape and type first, and does not trust the file. On any error
//!   nothing has changed. Nothing is converted, and no name is changed, unless [`Load`] is told to: a
//!   network of `f32` does not take one of `f64`.
//!
//! ```
//! use drlim::checkpoint;
//! use drlim::nn::{Dense, Network, Shape, Tanh};
//!
//! let network = |seed| {
//!     Network::<f32>::builder(Shape::flat(3))
//!         .layer("hidden", Dense::new(4))
//!         .layer("tanh", Tanh::new())
//!         .layer("out", Dense::new(2))
//!         .build(seed)
//! };
//! let path = std::env::temp_dir().join(format!("{}.safetensors", std::process::id()));
//! let (trained, mut loaded) = (network(1)?, network(2)?);
//! checkpoint::save(&trained, &path)?;
//! checkpoint::load(&mut loaded, &path)?;
//! assert_eq!(loaded.params(), trained.params());
//! # std::fs::remove_file(path).unwrap();
//! # Ok::<(), drlim::Error>(())
//! ```

#![forbid(unsafe_code)]

mod load;
mod read;
mod replace;
mod write;

use std::borrow::Cow;
use std::fs::File;
use std::path::Path;

use safetensors::Dtype;

use crate::error::{Error, Result};
use crate::nn::Network;
use crate::optim::Resume;
use crate::pairs::SamplerState;
use crate::siamese::Siamese;
use crate::simd::real::{Real, compiled};
pub use load::Load;
use read::{Expected, Reader};
use write::{Tensor, Values};

/// The key of the architecture. It is the only one: several would be written in random order.
const ARCHITECTURE: &str = "drlim";

const TRAINING_STEPS: &str = "training/steps";
const OPTIMIZER_STEPS: &str = "optimizer/steps";
const SAMPLER_STATE: &str = "sampler/state";

fn moment_name(moment: &str) -> String {
    format!("optimizer/{moment}")
}

fn dtype<T: Real>() -> Dtype {
    if size_of::<T>() == 4 { Dtype::F32 } else { Dtype::F64 }
}

fn file_error(path: &Path, reason: impl ToString) -> Error {
    Error::File { path: path.display().to_string(), reason: reason.to_string() }
}

/// Writes the parameters of a network to a file, or over one.
///
/// Until the new file is complete and synced the old one stays as it is, and a failure leaves it so;
/// then it is replaced at once. (A symbolic link is replaced by a file.) A process that is killed
/// while it saves leaves its temporary file, its name with an ending of `.tmp`, behind.
///
/// Refused where two tensors of the network have the same name, or the file cannot be written.
pub fn save<T: Real>(net: &Network<T>, path: impl AsRef<Path>) -> Result<()> {
    let (path, bytes) = (path.as_ref(), to_bytes(net)?);
    replace::replace(path, &bytes).map_err(|error| file_error(path, error))
}

/// Reads the parameters of a network from a file that [`save`] or PyTorch wrote.
///
/// The file must hold every tensor of the network, in its shape and of its element type, and no other. Where
/// it names its layers, they must be those of the network. On an error the network has not changed. Names
/// with a prefix and other types are for [`Load`].
pub fn load<T: Real>(net: &mut Network<T>, path: impl AsRef<Path>) -> Result<()> {
    Load::new().network(net, path)
}

/// The bytes that [`save`] writes.
#[inline(never)]
pub fn to_bytes<T: Real>(net: &Network<T>) -> Result<Vec<u8>> {
    write::encode(tensors(net), net.architecture())
}

/// As [`load`], from bytes that are in memory already, or in the program by `include_bytes!`.
#[inline(never)]
pub fn from_bytes<T: Real>(net: &mut Network<T>, bytes: &[u8]) -> Result<()> {
    Load::new().network_from_bytes(net, bytes)
}

compiled!(to_bytes::<T>, from_bytes::<T>);

/// Writes all that a training run needs to go on, as [`save`] writes a network: parameters, the optimizer's
/// moments, steps done, and the position of the sampler if that is given.
///
/// The settings that the optimizer, the sampler and the network were built with are not in the file: the
/// caller builds them again.
///
/// ```
/// use drlim::loss::{Contrastive, Objective};
/// use drlim::nn::{Dense, Network, Shape};
/// use drlim::optim::{Adam, schedule};
/// use drlim::pairs::Sampler;
/// use drlim::siamese::{Fit, Siamese};
/// use drlim::{Cx, Mat, Similar, checkpoint};
/// use std::ops::ControlFlow;
///
/// let (points, labels) = ([0.0, 0.1, 1.0, 1.1], [0, 0, 1, 1]);
/// let path = std::env::temp_dir().join(format!("run-{}.safetensors", std::process::id()));
/// // Trains up to so many epochs, from where the file stands if there is one, and saves.
/// let train = |epochs| {
///     let net = Network::<f64>::builder(Shape::flat(1)).layer("map", Dense::new(2)).build(1)?;
///     let mut siamese = Siamese::new(net, Adam::new(), 4)?;
///     let mut sampler = Sampler::new(Similar::Labels(&labels), 4, 1)?;
///     if path.exists() {
///         if let Some(state) = checkpoint::load_training(&mut siamese, &path)? {
///             sampler.restore(state)?;
///         }
///     }
///     let rate = schedule::cosine(0.1, 4 * sampler.steps_per_epoch() as u64);
///     let fit = Fit::new(epochs, &rate).first_step(siamese.steps());
///     let loss = Contrastive::new(1.0)?;
///     let (cx, objective, data) = (Cx::default(), Objective::mean(&loss), Mat::new(&points, 4, 1)?);
///     siamese.fit(&cx, &objective, data, &mut sampler, fit, |_| ControlFlow::Continue(()))?;
///     checkpoint::save_training(&siamese, sampler.state(), &path)?;
///     drlim::Result::Ok(siamese.into_net().params().to_vec())
/// };
/// train(2)?;
/// let resumed = train(4)?;
/// # std::fs::remove_file(&path).unwrap();
/// assert_eq!(resumed, train(4)?); // from the start, without a file
/// # std::fs::remove_file(&path).unwrap();
/// # Ok::<(), drlim::Error>(())
/// ```
pub fn save_training<T: Real, O: Resume<T>>(
    siamese: &Siamese<T, O>,
    sampler: impl Into<Option<SamplerState>>,
    path: impl AsRef<Path>,
) -> Result<()> {
    let path = path.as_ref();
    let (net, optimizer) = (siamese.net(), siamese.optimizer());
    let words = |name: &str, words: &[u64]| Tensor {
        name: name.to_owned(),
        shape: vec![words.len()],
        values: Values::Words(words.to_vec()),
    };
    let mut all = tensors(net);
    let count = net.params().len();
    all.extend(optimizer.moments().into_iter().map(|(name, moment)| Tensor {
        name: moment_name(name),
        shape: vec![count],
        // Before the first step a moment is zero, whether it has room for all parameters or not.
        values: Values::Real(match moment {
            [] => Cow::Owned(vec![T::ZERO; count]),
            moment => Cow::Borrowed(moment),
        }),
    }));
    all.push(words(TRAINING_STEPS, &[siamese.steps()]));
    all.push(words(OPTIMIZER_STEPS, &[optimizer.steps()]));
    if let Some(SamplerState { pass, position, rng }) = sampler.into() {
        all.push(words(SAMPLER_STATE, &[pass, position, rng]));
    }
    let bytes = write::encode(all, net.architecture())?;
    replace::replace(path, &bytes).map_err(|error| file_error(path, error))
}

/// Reads a file that [`save_training`] wrote, and returns the position of the sampler, for its `restore`.
///
/// Every tensor must be there, in its shape and of its type, and no other. On an error nothing has
/// changed.
pub fn load_training<T: Real, O: Resume<T>>(
    siamese: &mut Siamese<T, O>,
    path: impl AsRef<Path>,
) -> Result<Option<SamplerState>> {
    let path = path.as_ref();
    let file = File::open(path).map_err(|error| file_error(path, error))?;
    let Run { steps, params, moments, sampler } =
        read_run(siamese, file).map_err(|reason| file_error(path, reason))?;
    siamese.resume(steps, &params, moments)?;
    Ok(sampler)
}

/// The parameters as tensors to be written.
fn tensors<T: Real>(net: &Network<T>) -> Vec<Tensor<'_, T>> {
    net.parameters()
        .map(|parameter| Tensor {
            name: parameter.name,
            shape: parameter.shape.to_vec(),
            values: Values::Real(Cow::Borrowed(parameter.values)),
        })
        .collect()
}

/// The tensors of parameters that a file must have.
fn expected<T: Real>(net: &Network<T>) -> Vec<Expected> {
    net.parameters()
        .map(|parameter| Expected::new::<T>(parameter.name, parameter.shape.to_vec()))
        .collect()
}

/// The contents of the file of a run.
struct Run<T> {
    /// Steps of the run, and of the optimizer.
    steps: [u64; 2],
    params: Vec<T>,
    moments: Vec<Vec<T>>,
    sampler: Option<SamplerState>,
}

fn read_run<T: Real, O: Resume<T>>(
    siamese: &Siamese<T, O>,
    from: impl std::io::Read,
) -> std::result::Result<Run<T>, String> {
    let net = siamese.net();
    let reader = Reader::new(from, Load::new())?;
    reader.check_architecture(&net.architecture())?;
    let params = expected(net);
    let moments: Vec<Expected> = siamese
        .optimizer()
        .moments()
        .into_iter()
        .map(|(name, _)| Expected::new::<T>(moment_name(name), vec![net.params().len()]))
        .collect();
    let steps = [TRAINING_STEPS, OPTIMIZER_STEPS].map(|name| Expected::words(name, 1));
    let sampler = Expected::words(SAMPLER_STATE, 3);
    let sampler = reader.has(&sampler).then_some(sampler);
    let all: Vec<Expected> =
        params.iter().chain(&moments).chain(&steps).chain(&sampler).cloned().collect();
    let contents = reader.read(&all)?;
    Ok(Run {
        steps: steps.map(|steps| contents.words(&steps)[0]),
        params: params.iter().flat_map(|tensor| contents.reals(tensor)).collect(),
        moments: moments.iter().map(|tensor| contents.reals(tensor).collect()).collect(),
        sampler: sampler.map(|sampler| {
            let words = contents.words(&sampler);
            SamplerState { pass: words[0], position: words[1], rng: words[2] }
        }),
    })
}
