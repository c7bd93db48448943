"""Deterministic test weights: the same numbers for the same parameter names, on any machine."""

import zlib

import numpy as np


def draw(name: str, shape) -> np.ndarray:
    "One parameter's values. The flow head is drawn small, so that the flow stays in the picture."
    factor = 0.1 if "flow_head.ffn2" in name else 1.0
    return np.float32(factor) * _draw(name, tuple(shape))


def _draw(name: str, shape: tuple) -> np.ndarray:
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    if name.endswith("running_var"):
        return (0.5 + rng.random(shape)).astype("float32")
    if name.endswith("running_mean"):
        return (0.1 * rng.standard_normal(shape)).astype("float32")
    if len(shape) >= 2:
        fan_in = int(np.prod(shape[1:]))
        return (rng.standard_normal(shape) / np.sqrt(fan_in)).astype("float32")
    if name.endswith("bias"):
        return (0.1 * rng.standard_normal(shape)).astype("float32")
    return (0.5 + 0.1 * rng.standard_normal(shape)).astype("float32")  # scales, slopes, gates


def signal(name: str, shape) -> np.ndarray:
    "Smooth-ish deterministic input in about [-1, 1]."
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    return np.tanh(rng.standard_normal(tuple(shape))).astype("float32")
