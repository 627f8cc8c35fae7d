"""Which device a backbone runs on."""

import os

import torch

from cirlib.types import InputError


def choose_device(device: str) -> torch.device:
    """The device of a name; "auto" is this process's GPU where there is one, else the CPU.

    Raises:
        InputError: If torch does not know the device, or this machine does not have it.

    Example:
        >>> choose_device("cpu")
        device(type='cpu')
    """
    if device == "auto":
        if not torch.cuda.is_available():
            return torch.device("cpu")
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)) % torch.cuda.device_count())
    try:
        chosen = torch.device(device)
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"device {device!r} cannot be used on this machine; give auto or cpu") from error
    return chosen
