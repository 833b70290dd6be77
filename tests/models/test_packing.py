import copy
import lzma
from functools import cache

import numpy as np
import pytest

from automl.errors import InputError
from automl.models.network import Network
from automl.models.packing import SUFFIX, pack, read_model, unpack
from tests.models.architectures import network_file
from tests.models.test_network_file import images, network_for, session_of


@cache
def trained() -> Network:
    return network_for((8, 8))


def test_pack_and_unpack_restore_every_bit_and_repeat_themselves():
    content = network_file(trained(), [(4, 32)] * 3, codes=None, largest_code=127)
    assert unpack(pack(content)) == content
    assert pack(content) == pack(content)


@pytest.mark.parametrize("weights", ["codebook", "power_of_two"])
def test_packed_indices_are_smaller_than_a_plain_file_of_the_same_bits(weights):
    network = trained()
    uniform, coded = (
        network_file(network, [(4, 32)] * 3, codes=None, largest_code=127, weights=kind)
        for kind in ("uniform", weights)
    )
    assert len(pack(coded)) < 0.8 * len(uniform)


def test_packed_zeros_take_less_than_the_weights_that_they_replaced():
    network = copy.deepcopy(trained())
    dense = pack(network_file(network, [(8, 32)] * 3, codes=None, largest_code=127))
    for parameter in network.parameters():
        if parameter.ndim == 4:
            parameter.data.mul_(parameter.abs() > parameter.abs().flatten().quantile(0.8))
    sparse = pack(network_file(network, [(8, 32)] * 3, codes=None, largest_code=127))
    assert len(sparse) < 0.7 * len(dense)


def test_read_model_takes_plain_and_packed_files_alike(tmp_path):
    content = network_file(trained(), [(4, 32)] * 3, codes=None, largest_code=127, weights="codebook")
    (tmp_path / "plain.onnx").write_bytes(content)
    (tmp_path / f"packed{SUFFIX}").write_bytes(pack(content))
    plain, packed = (read_model(tmp_path / name) for name in ("plain.onnx", f"packed{SUFFIX}"))
    answers = [session_of(model).run(None, {"pixels": images((8, 8), 1)})[0] for model in (plain, packed)]
    assert plain == packed == content
    np.testing.assert_array_equal(*answers)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda box: box[: len(box) // 2], "one that ends early"),
        (lambda box: box[:40] + bytes([box[40] ^ 1]) + box[41:], "damaged bytes"),
        (lambda box: box + b"more", "4 more bytes behind it"),
        (lambda _: b"not a container", "damaged bytes"),
        (lambda _: b"", "one that ends early"),
    ],
)
def test_unpack_refuses_a_damaged_container(damage, message):
    with pytest.raises(InputError, match=message):
        unpack(damage(pack(np.random.default_rng(0).bytes(4000))))


def test_unpack_refuses_a_container_that_would_fill_the_memory():
    with pytest.raises(InputError, match="at most 1000 bytes when restored"):
        unpack(lzma.compress(bytes(10_000_000)), largest=1000)


def test_read_model_names_the_damaged_file(tmp_path):
    path = tmp_path / f"model{SUFFIX}"
    path.write_bytes(pack(b"network" * 100)[:-20])
    with pytest.raises(InputError, match=r"model\.onnx\.xz must be a whole xz container"):
        read_model(path)
