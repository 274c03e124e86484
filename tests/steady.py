"""What of a --json object may not differ between two runs of the same spec."""

from typing import Any

MAY_DIFFER = ("_seconds", "_id", "_url", "_path")


def steady(summary: Any) -> Any:
    """The object without the keys that may differ, at any depth."""
    if isinstance(summary, dict):
        return {key: steady(value) for key, value in summary.items() if not key.endswith(MAY_DIFFER)}
    return [steady(one) for one in summary] if isinstance(summary, list) else summary
