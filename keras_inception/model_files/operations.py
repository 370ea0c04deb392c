"""Which TensorFlow operations a SavedModel may hold: those that compute, not those that reach outside.

TensorFlow marks operations with effects as stateful. Of these, `STATEFUL` are allowed: variables, tables, control flow
and random numbers. Of the others, all are allowed but `OUTSIDE`, which read files, call Python, or hold programs for
other compilers although TensorFlow does not call them stateful. So an operation that is added to TensorFlow is refused
if it is stateful. The registry of this TensorFlow says what is stateful, not the file.
"""

import re
from collections.abc import Container, Iterable, Iterator
from pathlib import Path
from typing import Any

STATEFUL = re.compile(
    r"VarHandleOp|VarIsInitializedOp|VariableShape|Variable|VariableV2|TemporaryVariable|DisableCopyOnRead"
    r"|(Read|Assign|AssignAdd|AssignSub)VariableOp|DestroyResourceOp|Empty|DeepCopy|GuaranteeConst"
    r"|Resource(Gather|GatherNd|CountUpTo|StridedSliceAssign|(Scatter|Apply|SparseApply)\w+)"
    r"|StatefulPartitionedCall|If|Case|While|Assert|CheckNumerics(V2)?|Stack\w*|TensorArray\w*"
    r"|(Anonymous)?(Mutable|MutableDense)?HashTable(OfTensors)?(V2)?|InitializeTableV2"
    r"|LookupTable(Find|Insert|Remove|Size|Import|Export)V2"
    r"|Random(Crop|Gamma|Poisson|PoissonV2|Shuffle|StandardNormal|Uniform|UniformInt)|TruncatedNormal|Multinomial"
    r"|ParameterizedTruncatedNormal|StatefulRandomBinomial|Stateful(Standard|Truncated)Normal(V2)?"
    r"|StatefulUniform(Int|FullInt)?|NonDeterministicInts|RngSkip|RngReadAndSkip|StatelessRandomGetAlg"
    r"|SampleDistortedBoundingBox(V2)?"
)
OUTSIDE = re.compile(
    r"ReadFile|MatchingFiles|ShardedFile\w+|PyFuncStateless|InitializeTableFromTextFile|GenerateVocabRemapping"
    r"|ImmutableConst|(Encode|Decode)Proto\w*|Debug\w+|Copy|CopyHost|Snapshot\w+|\w*Dataset\w*|\w*Iterator\w*"
    r"|TPU\w+|Tpu\w+|Xla\w+|_\w*(Send|Recv)\w*|Remote\w+|Mlir\w+"
)


def check_operations(path: Path, meta_graph: Any) -> None:
    """Raise ValueError, which names the operation, if a SavedModel could do more than compute.

    All graphs are searched, called or not, except for the functions that save and restore checkpoints and that nothing
    else refers to: TensorFlow 2 does not call these when it loads a model.

    Args:
        path: the SavedModel, for messages.
        meta_graph: its `MetaGraphDef`.
    """
    functions = {function.signature.name: function for function in meta_graph.graph_def.library.function}
    saver = {
        tensor.partition(":")[0]
        for tensor in (meta_graph.saver_def.save_tensor_name, meta_graph.saver_def.restore_op_name)
    }
    nodes = [node for node in meta_graph.graph_def.node if node.name not in saver]
    saving = _called(_references([node for node in meta_graph.graph_def.node if node.name in saver]), functions)
    others = {*_references(nodes), *meta_graph.object_graph_def.concrete_functions, *(functions.keys() - saving)}
    searched = [("", nodes), *((name, functions[name].node_def) for name in sorted(_called(others, functions)))]
    for function, members in searched:
        for node in members:
            if not _only_computes(node.op, functions):
                place = f"{node.name} of {function}" if function else node.name
                raise ValueError(
                    f"{path} is not opened: its operation {node.op} ({place}) could reach files, processes or Python "
                    "outside of the model. Save the model again without it"
                )


def _only_computes(operation: str, functions: Container[str] = ()) -> bool:
    """Return True if an operation only computes, or calls a function of the file that has no operation's name."""
    from tensorflow.python.framework import op_def_registry  # private; tested by tests/model_files

    known = op_def_registry.get(operation)
    if known is None:
        return operation in functions
    if OUTSIDE.fullmatch(operation):
        return False
    return not known.is_stateful or bool(STATEFUL.fullmatch(operation))


def _called(names: Iterable[str], functions: dict[str, Any]) -> set[str]:
    """Return the functions of these names, and those that they call, directly or not."""
    found, left = set(), [name for name in names if name in functions]
    while left:
        name = left.pop()
        if name not in found:
            found.add(name)
            left += [each for each in _references(functions[name].node_def) if each in functions]
    return found


def _references(nodes: Iterable[Any]) -> Iterator[str]:
    """Yield the names by which nodes may refer to functions."""
    for node in nodes:
        yield node.op
        for attribute in node.attr.values():
            yield attribute.func.name
            yield from (each.name for each in attribute.list.func)
            yield attribute.s.decode("utf-8", "replace")  # some operations name a function in a string
