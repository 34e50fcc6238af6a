"""Is a table fit to learn from? One verdict per measured time, and what else is in the way.

Each check has a file of its own, which says what it computes and why its thresholds are
what they are; `table` runs them all.
"""

from gpucv.traces.audit.below import below_floor
from gpucv.traces.audit.floor import weight_read_us
from gpucv.traces.audit.result import Audit, Finding, TargetAudit, Verdict
from gpucv.traces.audit.subject import AuditScope
from gpucv.traces.audit.table import audit_table

__all__ = [
    "Audit",
    "AuditScope",
    "Finding",
    "TargetAudit",
    "Verdict",
    "audit_table",
    "below_floor",
    "weight_read_us",
]
