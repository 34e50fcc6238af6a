"""Tables on a device, behind one protocol."""

from gpucv.frames.arrays import bit_sums, is_on_device, like, namespace_of, take, to_host
from gpucv.frames.cpu import PandasColumns
from gpucv.frames.protocol import Array, ArrayNamespace, Columns

__all__ = [
    "Array",
    "ArrayNamespace",
    "Columns",
    "PandasColumns",
    "bit_sums",
    "is_on_device",
    "like",
    "namespace_of",
    "take",
    "to_host",
]
