"""That records are a range of the tree whose root a checkpoint signs (RFC 9162 section 2.1).

All that is needed beside the records are the hashes of the largest subtrees left and right of
them; the inclusion proofs of the first and of the last record hold these.
"""

from __future__ import annotations

from collections.abc import Sequence

from .._log_format import root, sha

__all__ = ["range_root", "sides"]


def sides(proof: Sequence[bytes], index: int, size: int) -> tuple[list[bytes], list[bytes]]:
    """The hashes of an inclusion proof that stand left and right of its leaf, from the root down.

    Which is which follows the verification of RFC 9162 section 2.1.3.2.
    """
    left: list[bytes] = []
    right: list[bytes] = []
    at, last = index, size - 1
    for step in proof:
        if at & 1 or at == last:
            left.append(step)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            right.append(step)
        at, last = at >> 1, last >> 1
    return left[::-1], right[::-1]


def range_root(
    size: int, first: int, leaves: Sequence[bytes], before: Sequence[bytes], after: Sequence[bytes]
) -> bytes | None:
    """The root of a tree of `size` leaves of which those from `first` on have these hashes, and
    the rest these subtrees; None when the subtrees are too few or too many."""
    end = first + len(leaves)
    if not leaves or end > size:
        return None
    left, right = list(before[::-1]), list(after[::-1])

    def node(low: int, high: int) -> bytes:
        if first <= low and high <= end:
            return root(leaves[low - first : high - first])
        if high <= first:
            return left.pop()
        if low >= end:
            return right.pop()
        middle = low + (1 << (high - low - 1).bit_length() - 1)
        # On both sides the subtree outside stands higher than what is within the other half.
        if middle >= end:
            above = node(middle, high)
            return sha(b"\1", node(low, middle), above)
        return sha(b"\1", node(low, middle), node(middle, high))

    try:
        found = node(0, size)
    except IndexError:
        return None
    return None if left or right else found
