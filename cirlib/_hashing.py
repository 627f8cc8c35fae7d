"""Hashes of weights, for fingerprints and for the keys of what is kept on disk."""

import hashlib
from collections.abc import Iterable

import torch
from torch import Tensor


def hash_tensors(tensors: Iterable[Tensor]) -> str:
    """SHA-256 of types, shapes and bits, in the order given.

    Example:
        >>> hash_tensors([torch.zeros(2)]) == hash_tensors([torch.zeros(2)]) != hash_tensors([torch.zeros(2, 1)])
        True
    """
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
