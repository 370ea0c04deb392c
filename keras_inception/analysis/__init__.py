"""Count what a network costs, and compare it with its paper. Works on any functional Keras network."""

from keras_inception.analysis.costs import Budget, Cost, cost
from keras_inception.analysis.published import Table1, table1
from keras_inception.analysis.worked import CORRECTIONS, WORKED
from keras_inception.graph import multiply_adds

__all__ = ["CORRECTIONS", "WORKED", "Budget", "Cost", "Table1", "cost", "multiply_adds", "table1"]
