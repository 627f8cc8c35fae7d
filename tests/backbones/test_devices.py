import pytest
import torch

from cirlib.backbones.devices import choose_device
from cirlib.types import InputError


def test_auto_is_the_gpu_of_this_process_or_the_cpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto") == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    assert choose_device("auto") == torch.device("cuda", 0)
    monkeypatch.setenv("LOCAL_RANK", "6")
    assert choose_device("auto") == torch.device("cuda", 2)


@pytest.mark.parametrize("name", ["cuda:99", "toaster", ""])
def test_devices_that_are_not_there_are_told(name):
    with pytest.raises(InputError, match=f"device '{name}' cannot be used on this machine; give auto or cpu"):
        choose_device(name)
