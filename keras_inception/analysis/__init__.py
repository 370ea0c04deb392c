"""Count what a network costs, and compare it with its paper.

Works on any functional Keras network. Heavy modules are imported when a name is first used.
"""

from typing import TYPE_CHECKING

from keras_inception.utils import lazy

if TYPE_CHECKING:
    from keras_inception.analysis.costs import Budget as Budget
    from keras_inception.analysis.costs import Cost as Cost
    from keras_inception.analysis.costs import cost as cost
    from keras_inception.analysis.published import Table1 as Table1
    from keras_inception.analysis.published import table1 as table1
    from keras_inception.analysis.worked import CORRECTIONS as CORRECTIONS
    from keras_inception.analysis.worked import WORKED as WORKED
    from keras_inception.graph import multiply_adds as multiply_adds

_HOMES = {
    "Budget": "costs",
    "CORRECTIONS": "worked",
    "Cost": "costs",
    "Table1": "published",
    "WORKED": "worked",
    "cost": "costs",
    "multiply_adds": "worked",
    "table1": "published",
}

__all__ = list(_HOMES)
__getattr__, __dir__ = lazy.attach(__name__, _HOMES)
