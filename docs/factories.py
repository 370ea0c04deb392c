"""Show networks on the site as `help` does, with the arguments that all networks share."""

import importlib
import inspect

import griffe

from keras_inception import registry


class Factories(griffe.Extension):
    """Read public names, signatures and docstrings of networks from the running package, which completes them."""

    def on_package(self, *, pkg: griffe.Module, **_: object) -> None:
        """Add the networks, which are public names by their rows in the registry."""
        for name, module in registry.public(pkg.path).items():
            pkg.set_member(name, griffe.Alias(name, f"{pkg.path}.{module}.{name}"))

    def on_function_instance(self, *, func: griffe.Function, **_: object) -> None:
        """Replace what was read from the source of a network."""
        if func.docstring is None or not any(str(each.value).startswith("network(") for each in func.decorators):
            return
        factory = getattr(importlib.import_module(func.module.path), func.name)
        func.docstring.value = inspect.getdoc(factory)
        func.parameters = griffe.Parameters(*map(_parameter, inspect.signature(factory).parameters.values()))


def _parameter(parameter: inspect.Parameter) -> griffe.Parameter:
    return griffe.Parameter(
        parameter.name,
        annotation=inspect.formatannotation(parameter.annotation, base_module="keras_inception"),
        kind=griffe.ParameterKind(parameter.kind.description),
        default=None if parameter.default is parameter.empty else repr(parameter.default),
    )
