"""Count the cost of any functional Keras network, and compare GoogLeNet's with its paper."""

from keras_inception.analysis.costs import Budget, Cost, cost
from keras_inception.analysis.published import Table1, table1
from keras_inception.analysis.worked import CORRECTIONS, WORKED
from keras_inception.graph import multiply_adds

__all__ = ["CORRECTIONS", "WORKED", "Budget", "Cost", "Table1", "cost", "multiply_adds", "table1"]
