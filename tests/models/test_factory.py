"""Shared arguments as `help()`, editors and type checkers see them."""

import ast
import inspect
import re
from pathlib import Path

import keras
import pytest

from keras_inception import models, registry
from keras_inception.models.factory import Builder, Common

SEVEN, SHARED = list(Common.__annotations__)[:7], ["dropout", *list(Common.__annotations__)[7:]]


@pytest.fixture(params=registry.NETWORKS)
def factory(request):
    return registry.factory(request.param)


def test_type_checkers_see_the_types_of_the_shared_arguments():
    shared = inspect.signature(Builder).parameters
    assert Common.__annotations__ == {name: shared[name].annotation for name in Common.__annotations__}


def test_the_signature_is_that_of_keras_applications_and_the_shared_arguments(factory):
    signature = inspect.signature(factory).parameters
    theirs = inspect.signature(keras.applications.InceptionV3).parameters
    assert list(signature)[:7] == list(theirs)[:7] == SEVEN
    assert [signature[name].default for name in SEVEN if name != "weights"] == [
        theirs[name].default for name in SEVEN if name != "weights"
    ]
    assert signature["weights"].default is None
    assert all(signature[name].kind is inspect.Parameter.POSITIONAL_OR_KEYWORD for name in SEVEN)
    assert all(signature[name].kind is inspect.Parameter.KEYWORD_ONLY for name in SHARED)
    assert {parameter.kind for parameter in signature.values()} <= {
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        inspect.Parameter.KEYWORD_ONLY,
    }


def test_every_argument_is_documented_once(factory):
    for name in inspect.signature(factory).parameters:
        assert len(re.findall(rf"^    {name}: \S", factory.__doc__, re.MULTILINE)) == 1, name
    for section in ("Args:", "Returns:", "Raises:"):
        assert factory.__doc__.count(f"\n{section}\n") == 1
    assert "Options:" not in factory.__doc__


def test_a_mistaken_keyword_is_a_type_error_that_names_it(factory):
    with pytest.raises(TypeError, match=rf"^{factory.__name__}\(\) got an unexpected keyword argument 'droput'"):
        factory(droput=0.5)


def test_type_checkers_see_the_factories_of_the_registry():
    """Check the only list that is maintained separately from the registry."""
    tree = ast.parse(Path(models.__file__).read_text(encoding="utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    seen = {alias.asname: node.module for node in block.body for alias in node.names}
    assert seen == {
        name: f"keras_inception.models.{module}" for name, module in registry.public(models.__name__).items()
    }
