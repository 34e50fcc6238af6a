"""Tables on a device, behind one protocol."""

from gpucv.frames.cpu import PandasColumns
from gpucv.frames.protocol import Array, ArrayNamespace, Columns

__all__ = ["Array", "ArrayNamespace", "Columns", "PandasColumns"]
