"""The examples of the documentation run, and say what they print; every function and class of `drlim` has one."""

import doctest
import importlib
import inspect
import typing

import numpy as np
import pytest

import drlim

ALIASES = {name for name in drlim.__all__ if typing.get_origin(getattr(drlim, name)) or name == "__version__"}
ALIASES |= {name for name in drlim.__all__ if not callable(getattr(drlim, name))}
OPTIONAL = ["drlim.torch"]


def examples_of(thing, name):
    """The examples of a function or class, and of its methods and properties, compiled or not."""
    finder = doctest.DocTestFinder(exclude_empty=True)
    found = finder.find(thing, name, module=False, globs={"drlim": drlim, "np": np})
    if inspect.isclass(thing):
        for attribute, part in vars(thing).items():
            part = getattr(part, "__func__", part)
            if attribute.startswith("_") or any(test.name == f"{name}.{attribute}" for test in found):
                continue
            found += finder.find(part, f"{name}.{attribute}", module=False, globs={"drlim": drlim, "np": np})
    return [test for test in found if test.examples]


def run(tests, **more):
    report = []
    for test in tests:
        test.globs.update(more)
        runner = doctest.DocTestRunner(verbose=False)
        runner.run(test, out=report.append)
    assert not report, "".join(report)


def test_the_package():
    tests = examples_of(drlim, "drlim")
    assert tests
    run(tests)


@pytest.mark.parametrize("name", sorted(set(drlim.__all__) - ALIASES))
def test_functions_and_classes(name):
    thing = getattr(drlim, name)
    assert inspect.getdoc(thing), f"{name} has no documentation"
    tests = examples_of(thing, name)
    assert any(test.name == name for test in tests), f"{name} has no example"
    run(tests)


@pytest.mark.parametrize("name", OPTIONAL)
def test_modules_of_other_libraries(name):
    """What they have of examples runs."""
    library = pytest.importorskip(name.split(".")[1])
    module = importlib.import_module(name)
    tests = examples_of(module, name)
    for public in module.__all__:
        tests += examples_of(getattr(module, public), public)
    run(tests, **{library.__name__: library})


def test_what_is_no_function_or_class():
    assert ALIASES == {"ANCHOR_SUMS", "AnchorReduction", "Reduction", "__version__"}
