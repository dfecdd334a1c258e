"""What holds for all tests: no network, an empty cache of their own, the same hypothesis examples in every run."""

import os
import socket
import tempfile

import hypothesis
import pytest

# STLIB_ASSETS stays as given: with it the tests also run on the real weights and pictures.
os.environ.setdefault("STLIB_OFFLINE", "1")
os.environ.setdefault("STLIB_CACHE", tempfile.mkdtemp(prefix="stlib-tests-"))

hypothesis.settings.register_profile("course", deadline=None, derandomize=True)  # a busy machine is not a bug
hypothesis.settings.load_profile("course")


@pytest.fixture(scope="session", autouse=True)
def no_network():
    """A connection to anywhere but this machine fails at once, as it would without a network."""
    connect = socket.socket.connect

    def local_only(self, address):
        if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in ("127.0.0.1", "::1", "localhost"):
            raise OSError(f"A test wanted to reach {address[0]}: tests never use the network.")
        return connect(self, address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", local_only)
        yield


@pytest.fixture(scope="module")
def one_thread():
    """Pictures this small are quickest on one thread, above all where others are at work."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
