"""A small sweep of many shards."""

from __future__ import annotations

import json

SPEC = {
    "task": {"name": "teacher_student", "n": 64, "normalise": True},
    "grid": {
        "width": [2, 3],
        "seed": "0..9",
        "lr": [0.01, 0.03],
        "steps": 200,
        "activation": ["tanh", "softplus"],
    },
    "analysis": ["spectrum"],
    # Cuts each of the two groups into about thirty shards.
    "shard_seconds": 0.00024,
}


def write_toml(file, spec):
    """The spec as TOML; returns the file."""
    text = "".join(f"{name} = {json.dumps(spec[name])}\n" for name in ("analysis", "shard_seconds"))
    for table in ("task", "grid"):
        text += f"[{table}]\n"
        text += "".join(f"{name} = {json.dumps(value)}\n" for name, value in spec[table].items())
    file.write_text(text)
    return file
