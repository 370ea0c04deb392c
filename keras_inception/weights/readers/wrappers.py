"""Names of tensors without the prefixes of the modules that training scripts wrap a network in."""

import re
from collections.abc import Iterable

# Wrappers of a whole network, one or several of them: of DataParallel, Lightning and people's own classes.
PREFIX = re.compile(r"\A(?:(?:module|model|backbone|encoder)\.)+")
# Wrappers of a network or of any of its modules: of torch.compile, FSDP and checkpointed activations.
ANYWHERE = re.compile(r"\b(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")


def unwrapped(names: Iterable[str]) -> dict[str, str]:
    """Return each name without the prefixes of wrappers, or all names as they are if two would become the same."""
    found = {name: PREFIX.sub("", ANYWHERE.sub("", name)) for name in names}
    return found if len(set(found.values())) == len(found) else {name: name for name in found}
