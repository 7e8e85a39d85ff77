"""Uniform numbers by hashing, so that a sample depends on the seed, the tenant and its number only:
not on other tenants, threads, or the release of a library."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def keys_of(names: Sequence[Any], seed: int) -> NDArray[np.uint64]:
    """A key for each name under a seed; 1 and "1" are different names."""
    salt = str(seed).encode()
    digests = [
        hashlib.blake2b(f"{type(name).__name__}:{name}".encode(), digest_size=8, key=salt[:64])
        for name in names
    ]
    return np.array([int.from_bytes(each.digest(), "little") for each in digests], "uint64")


def uniforms(keys: NDArray[np.uint64], samples: int) -> NDArray[np.float64]:
    """``samples`` numbers of [0, 1) for each key: the generator splitmix64 at the places 1, 2, …"""
    with np.errstate(over="ignore"):
        state = keys[:, None] + np.arange(1, samples + 1, dtype="uint64")[None, :] * _GOLDEN
        state ^= state >> np.uint64(30)
        state *= np.uint64(0xBF58476D1CE4E5B9)
        state ^= state >> np.uint64(27)
        state *= np.uint64(0x94D049BB133111EB)
        state ^= state >> np.uint64(31)
    found: NDArray[np.float64] = (state >> np.uint64(11)).astype("float64") * 2.0**-53
    return found
