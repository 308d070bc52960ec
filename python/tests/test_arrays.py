"""Arrays of every kind: half precision, read-only ones, those of other libraries; and which of them are copied."""

import dataclasses

import numpy as np
import pytest

import drlim
from drlim._arrays import embeddings
from test_arguments import CALLS, LABELS, MATRICES, PAIR, PAIRS, SIMILAR, TRIPLET

F32 = np.float32
# Numbers that are the same in half precision.
Z, V = (np.random.default_rng(7).integers(-15, 16, size=(2, 4, 3)) / 8).astype(F32)
UPSTREAM = np.ones(4, F32)

CALLS = {
    **CALLS,
    "rows_hvp": (drlim.rows_hvp, dict(loss=PAIR, a=Z, b=V, along_a=V, along_b=Z, similar=SIMILAR)),
    "indexed_hvp": (drlim.indexed_hvp, dict(loss=PAIR, z=Z, along=V, pairs=PAIRS, similar=SIMILAR[:2])),
    "all_pairs_hvp": (drlim.all_pairs_hvp, dict(loss=PAIR, z=Z, along=V, labels=LABELS)),
    "all_pairs_hvp, normalized": (drlim.all_pairs_hvp, dict(loss=PAIR, z=Z, along=V, labels=LABELS, normalize=True)),
    "cross_hvp": (
        drlim.cross_hvp,
        dict(loss=PAIR, queries=Z, keys=V, along_queries=V, along_keys=Z, query_labels=LABELS, key_labels=LABELS),
    ),
    "triplet_rows_hvp": (
        drlim.triplet_rows_hvp,
        dict(loss=TRIPLET, anchor=Z, positive=V, negative=Z[::-1], along=(V, Z, V)),
    ),
    "row_distances_hvp": (drlim.row_distances_hvp, dict(a=Z, b=V, along_a=V, along_b=Z, upstream=UPSTREAM)),
    "row_distances_hvp, cosine": (
        drlim.row_distances_hvp,
        dict(a=Z, b=V, along_a=V, along_b=Z, upstream=UPSTREAM, distance="cosine"),
    ),
    "Graph.nearest": (drlim.Graph.nearest, dict(z=Z, k=1)),
}
# Different rows, so that gradients are not 0.
ROWS = {name: V if name in ("b", "keys", "positive") else Z for name in MATRICES}
CALLS = {
    call: (function, {name: ROWS.get(name, value) for name, value in given.items()})
    for call, (function, given) in CALLS.items()
}
OF_MATRICES = [call for call, (_, given) in CALLS.items() if MATRICES & set(given)]
GIVE_GRADIENTS = [call for call in OF_MATRICES if call.split(",")[0].endswith(("hvp", "backward"))] + [
    "rows", "indexed", "all_pairs", "cross", "triplet_rows", "triplets", "all_anchors", "cross_anchors"
]  # fmt: skip


@pytest.fixture(params=["float16", "bfloat16"])
def half(request):
    if request.param == "bfloat16":
        return np.dtype(pytest.importorskip("ml_dtypes").bfloat16)
    return np.dtype(np.float16)


def run(call, change=lambda name, value: value, **more):
    """Calls with each matrix changed."""
    function, given = CALLS[call]
    changed = {name: change(name, value) if name in MATRICES else value for name, value in given.items()}
    return parts(function(**changed, **more))


def parts(result):
    """The arrays and numbers of a result, by name."""
    if dataclasses.is_dataclass(result):
        return {field.name: getattr(result, field.name) for field in dataclasses.fields(result)}
    return {str(place): part for place, part in enumerate(result if isinstance(result, tuple) else (result,))}


def same(found, expected):
    if isinstance(expected, tuple):
        return len(found) == len(expected) and all(map(same, found, expected))
    if isinstance(expected, np.ndarray):
        return found.dtype == expected.dtype and np.array_equal(found, expected, equal_nan=expected.dtype.kind == "f")
    return found == expected


def is_gradient(call, name, value):
    matrix = isinstance(value, np.ndarray) and value.ndim == 2 and call not in ("distance_matrix", "nearest")
    return matrix and (name.startswith(("grad", "hvp")) or call in GIVE_GRADIENTS)


@pytest.mark.parametrize("call", OF_MATRICES)
def test_half_precision(call, half):
    """As the same numbers in float32; gradients rounded, all else as it is."""
    lists = {"values": True} if call in ("rows", "triplet_rows", "all_anchors") else {}
    expected, gradients = run(call, **lists), 0
    for name, value in run(call, lambda _, value: value.astype(half), **lists).items():
        wanted = expected[name]
        if is_gradient(call, name, wanted):
            wanted, gradients = wanted.astype(half), gradients + (wanted != 0).any()
        assert same(value, wanted), name
    assert bool(gradients) == (call in GIVE_GRADIENTS)


@pytest.mark.parametrize("call", [call for call in GIVE_GRADIENTS if len(MATRICES & set(CALLS[call][1])) > 1])
def test_half_precision_beside_float32(call):
    """Each gradient has the type of its rows."""
    first = next(name for name in CALLS[call][1] if name in MATRICES)
    found = run(call, lambda name, value: value.astype(np.float16) if name == first else value)
    types = [value.dtype for name, value in found.items() if is_gradient(call, name, value)]
    assert types == [np.float16] + [F32] * (len(types) - 1) and len(types) > 1


def test_half_precision_beside_float64(half):
    for a, b, words in (
        (Z.astype(half), Z.astype(np.float64), "^b is of float64, expected float32 or half precision as"),
        (Z.astype(np.float64), Z.astype(half), f"^b is of {half}, expected float64 as"),
    ):
        with pytest.raises(TypeError, match=words):
            drlim.rows(PAIR, a, b, SIMILAR)


def test_lists_in_half_precision(half):
    weights = np.array([1.0, 0.5, 2.0, 0.0]).astype(half)
    assert drlim.rows(PAIR, Z, V, SIMILAR, weights=weights).value == drlim.rows(
        PAIR, Z, V, SIMILAR, weights=weights.astype(F32)
    ).value
    distances = np.array([0.5, 2.0, 1.0, 3.0]).astype(half)
    assert drlim.hard_pairs(distances, [True, True, False, False]).tolist() == [1, 2]


@pytest.mark.parametrize("call", ["indexed", "all_pairs", "triplets", "all_anchors"])
def test_outputs_of_half_precision(call, half):
    function, given = CALLS[call]
    narrow = {**given, "z": Z.astype(half)}
    exact = function(**given).grad
    for dtype in (half, F32):
        out = np.full((4, 6), 7, dtype)[:, :3]
        assert function(**narrow, out=out).grad is out and same(out, exact.astype(dtype))
    for wrong in (np.float64, np.int16):
        with pytest.raises(TypeError, match=f"^out is of {np.dtype(wrong)}, expected float32 or {half}"):
            function(**narrow, out=np.zeros((4, 3), wrong))
    with pytest.raises(ValueError, match="^out and z overlap"):
        function(**narrow, out=narrow["z"])
    with pytest.raises(TypeError, match=f"^out is of {half}, expected float32$"):
        function(**given, out=np.zeros((4, 3), half))


def test_outputs_of_rows_in_half_precision(half):
    exact, a, b = drlim.rows(PAIR, Z, V, SIMILAR), Z.astype(half), V.astype(half)
    for types in ((half, half), (half, F32), (F32, half), (F32, F32)):
        out = tuple(np.empty((4, 3), dtype) for dtype in types)
        found = drlim.rows(PAIR, a, b, SIMILAR, out=out)
        assert found.grad_a is out[0] and found.grad_b is out[1]
        assert same(out, tuple(grad.astype(dtype) for grad, dtype in zip((exact.grad_a, exact.grad_b), types)))
    with pytest.raises(ValueError, match=r"^out\[0\] and a overlap"):
        drlim.rows(PAIR, a, b, SIMILAR, out=(a, np.empty_like(b)))


@pytest.mark.skipif(np.lib.NumpyVersion(np.__version__) < "1.24.0", reason="NumPy says nothing of it before 1.24")
def test_gradients_too_large_for_half_precision():
    z, out = Z.astype(np.float16), (np.full((4, 3), 7, np.float16), np.full((4, 3), 7, np.float16))
    with pytest.warns(RuntimeWarning, match="overflow"):
        found = drlim.rows(PAIR, z, V.astype(np.float16), [True] * 4, scale=1e6)
    assert np.isinf(found.grad_a).any()
    with np.errstate(over="raise"), pytest.raises(FloatingPointError):
        drlim.rows(PAIR, z, V.astype(np.float16), [True] * 4, scale=1e6, out=out)
    assert all((array == 7).all() for array in out)


class ByInterface:
    """An array of another library: this attribute, and nothing else."""

    def __init__(self, array):
        self.array = array
        self.__array_interface__ = array.__array_interface__


class ByDLPack:
    def __init__(self, array):
        self.array = array

    def __dlpack__(self, **how):
        return self.array.__dlpack__(**how)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


class ByCall:
    def __init__(self, array):
        self.array = array

    def __array__(self, dtype=None, copy=None):
        return self.array


def by_dlpack(array):
    # NumPy hands booleans over from 1.25 on.
    lacks_booleans = np.lib.NumpyVersion(np.__version__) < "1.25.0"
    return ByDLPack(array.view(np.uint8) if array.dtype == bool and lacks_booleans else array)


def of_torch(array):
    return pytest.importorskip("torch").from_numpy(array)


def of_standard(array):
    return pytest.importorskip("array_api_strict").asarray(array, copy=False)


def of_pandas(array):
    pandas = pytest.importorskip("pandas")
    return pandas.Series(array, copy=False) if array.ndim == 1 else pandas.DataFrame(array, copy=False)


def of_file(array, folder):
    path = folder / "array"
    array.tofile(path)
    return np.memmap(path, array.dtype, "r", shape=array.shape)


OTHERS = {
    "__array_interface__": ByInterface,
    "__array__": ByCall,
    "__dlpack__": by_dlpack,
    "buffer": memoryview,
    "torch": of_torch,
    "array_api_strict": of_standard,
    "pandas": of_pandas,
}


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("call", CALLS)
def test_arrays_of_other_libraries(call, other):
    function, given = CALLS[call]
    kinds = MATRICES | {"similar", "labels", "query_labels", "key_labels", "pairs", "upstream", "distances"}
    foreign = {
        name: OTHERS[other](np.array(value)) if name in kinds else value for name, value in given.items()
    }
    found, expected = parts(function(**foreign)), parts(function(**given))
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert same(found[name], value), name


@pytest.mark.parametrize("other", OTHERS)
def test_memory_of_other_libraries_is_not_copied(other):
    base = np.array(Z)
    foreign = OTHERS[other](base)
    array, given = embeddings("z", foreign)
    assert np.shares_memory(array, base) and np.shares_memory(given, base)


def test_files(tmp_path):
    z = of_file(Z, tmp_path)
    array, _ = embeddings("z", z)
    assert np.shares_memory(array, z) and not array.flags.writeable
    assert same(drlim.all_pairs(PAIR, z, LABELS).grad, drlim.all_pairs(PAIR, Z, LABELS).grad)


@pytest.mark.parametrize("call", CALLS)
def test_read_only_arrays(call):
    function, given = CALLS[call]

    def closed(value):
        if not isinstance(value, (list, np.ndarray)):
            return value
        array = np.array(value)
        array.flags.writeable = False
        return array

    found = parts(function(**{name: closed(value) for name, value in given.items()}))
    for name, value in parts(function(**given)).items():
        assert same(found[name], value), name


def test_elements_that_are_not_aligned():
    def shifted(value):
        array = np.asarray(value)
        moved = np.frombuffer(b"x" + array.tobytes(), array.dtype, offset=1).reshape(array.shape)
        assert array.itemsize == 1 or not moved.flags.aligned
        return moved

    weights = np.linspace(0.5, 1, 4, dtype=F32)
    for function, given in (
        (drlim.rows, dict(loss=PAIR, a=Z, b=V, similar=SIMILAR, weights=weights)),
        (drlim.all_pairs, dict(loss=PAIR, z=Z, labels=LABELS)),
        (drlim.indexed, dict(loss=PAIR, z=Z, pairs=np.array(PAIRS, np.uint32), similar=SIMILAR[:2])),
        (drlim.hard_pairs, dict(distances=weights, similar=SIMILAR)),
    ):
        moved = {name: shifted(value) if name != "loss" else value for name, value in given.items()}
        found, expected = parts(function(**moved)), parts(function(**given))
        assert all(same(found[name], value) for name, value in expected.items())


class Elsewhere(ByDLPack):
    """An array on another device."""

    def __dlpack__(self, **how):
        raise BufferError("the array is on a GPU")


def test_what_is_refused():
    nested = [[1.0, 2.0], [3.0]]
    for value, words in [
        (Elsewhere(Z), "^z: the array is on a GPU"),
        (nested, "^z(:| is of object)"),  # NumPy before 1.24 makes an array of lists of it
        (Z.astype(object), "^z is of object, expected float32, float64, float16 or bfloat16"),
        (Z.view([("x", "f4")]), "^z is of "),
        (Z.astype(np.int16), "^z is of int16"),
        (np.zeros((4, 3), "V2"), r"^z is of \|V2"),
    ]:
        with pytest.raises((TypeError, ValueError), match=words):
            drlim.all_pairs(PAIR, value, LABELS)


def test_types_that_are_narrower_still():
    ml_dtypes = pytest.importorskip("ml_dtypes")
    with pytest.raises(TypeError, match="^z is of float8_e4m3fn"):
        drlim.all_pairs(PAIR, Z.astype(ml_dtypes.float8_e4m3fn), LABELS)


def test_tensors_that_arrays_cannot_be():
    torch = pytest.importorskip("torch")
    z = torch.from_numpy(Z)
    for tensor in (z.bfloat16(), z.to_sparse(), z.to("meta")):
        with pytest.raises(TypeError, match="^z: "):
            drlim.all_pairs(PAIR, tensor, LABELS)
    assert drlim.all_pairs(PAIR, z.half(), LABELS).grad.dtype == np.float16
