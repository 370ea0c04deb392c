"""Worked examples: the cost of a convolution, direct and as factorized in the Inception papers.

`CORRECTIONS` lists claims that are often repeated but wrong.
"""

from typing import NamedTuple

from keras_inception.graph import multiply_adds


class Kernel(NamedTuple):
    """A kernel applied at every position of a map; without `positions`, its weights alone are counted."""

    shape: tuple[int, ...]
    positions: tuple[int, ...] = ()

    @property
    def macs(self) -> int:
        """Return the multiply-adds, as `multiply_adds` counts them."""
        return multiply_adds(self.positions, self.shape)


class Worked(NamedTuple):
    """One connection built in two ways."""

    what: str
    directly: Kernel
    instead: tuple[Kernel, ...]

    @property
    def macs(self) -> int:
        """Return the multiply-adds of the alternative."""
        return sum(kernel.macs for kernel in self.instead)

    @property
    def saving(self) -> float:
        """Return the share of the multiply-adds that the alternative saves, in [0, 1]."""
        return 1 - self.macs / self.directly.macs


class Correction(NamedTuple):
    """A wrong claim about these networks, and the counted figure."""

    said: str
    counted: str


def _by_weights(what: str, directly: tuple[int, ...], *instead: tuple[int, ...]) -> Worked:
    """Compare kernels by their weights alone, given their shapes."""
    return Worked(what, Kernel(directly), tuple(map(Kernel, instead)))


WORKED = (
    Worked(
        "5×5 convolution of 28×28×192 to 32 channels, through a 1×1 reduction to 16 (1409.4842, module 3a)",
        Kernel((5, 5, 192, 32), (28, 28)),
        (Kernel((1, 1, 192, 16), (28, 28)), Kernel((5, 5, 16, 32), (28, 28))),
    ),
    Worked(
        "5×5 convolution of 14×14×480 to 48 channels, through a 1×1 reduction to 16 (1409.4842, module 4a)",
        Kernel((5, 5, 480, 48), (14, 14)),
        (Kernel((1, 1, 480, 16), (14, 14)), Kernel((5, 5, 16, 48), (14, 14))),
    ),
    _by_weights("5×5 as two 3×3 (1512.00567, section 3.1)", (5, 5), (3, 3), (3, 3)),
    _by_weights("3×3 as 3×1 and 1×3 (1512.00567, section 3.2)", (3, 3), (3, 1), (1, 3)),
    _by_weights("3×3 as two 2×2 (1512.00567, section 3.2)", (3, 3), (2, 2), (2, 2)),
    _by_weights("7×7 as 1×7 and 7×1 (1512.00567, Fig. 6)", (7, 7), (1, 7), (7, 1)),
    _by_weights(
        "10,000 units to 10,000 others, through a bottleneck of 100", (10_000, 10_000), (10_000, 100), (100, 10_000)
    ),
    _by_weights(
        "7×7×1024 to a vector of 1,024: a dense layer, and global average pooling in its place", (7 * 7 * 1024, 1024)
    ),
)

CORRECTIONS = (
    Correction(
        "A 5×5 convolution of 28×28×192 to 32 channels takes 1.2 billion multiply-adds.", "120,422,400: 120 million."
    ),
    Correction("Inception v3 won ImageNet 2014.", "GoogLeNet, that is Inception v1, did; v3 is of December 2015."),
    Correction(
        "Inception v2 costs as much as VGG-19.",
        "A quarter: 5,299,886,272 multiply-adds at 299×299, and VGG-19 19,632,062,464 at 224×224.",
    ),
    Correction("VGG has two dense layers.", "Three, the output is one; they hold 86.1 % of VGG-19's parameters."),
    Correction(
        "GoogLeNet has 12 times fewer parameters than AlexNet.",
        "8.6 times by count: 60 million, as AlexNet's authors give it, and 6,998,552.",
    ),
    Correction(
        "GoogLeNet keeps to its budget of 1.5 billion multiply-adds.",
        "1,582,671,872: its Table 1 sums to 1.5 billion because the first convolution stands there with 34 million "
        "instead of 118,013,952.",
    ),
)
