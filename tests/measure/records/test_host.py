"""The host as reports name it."""

import platform
import socket
from pathlib import Path

import pytest

from paceline.measure.records.host import cpu_model, fingerprint, this_host

HERE = ("AMD EPYC", 32, 64 * 2**30, "6.8.0", "3.11.7")


def test_this_host_is_described():
    host = this_host()

    assert host == this_host()
    assert (host.hostname, host.python) == (socket.gethostname(), platform.python_version())
    assert host.cores >= 1
    assert host.memory_bytes > 2**20
    assert host.cpu
    assert host.system.startswith(platform.system())


def test_without_proc_there_is_still_a_name_of_the_processor(tmp_path):
    assert cpu_model(tmp_path / "cpuinfo")
    assert this_host(tmp_path / "cpuinfo").cores == this_host().cores


@pytest.mark.parametrize(
    ("text", "model"),
    [
        (
            "processor\t: 0\nmodel name\t: AMD  EPYC 9354\n\nprocessor : 1\nmodel name : other\n",
            "AMD EPYC 9354",
        ),
        ("processor : 0\nModel : Raspberry Pi 5\n", "Raspberry Pi 5"),
        ("CPU implementer : 0x41\nCPU part : 0xd4f\n", f"{platform.machine()} 0x41 0xd4f"),
        ("\x00\x01garbage", None),
    ],
)
def test_the_processor_is_named_by_the_kernel(tmp_path, text, model):
    path = tmp_path / "cpuinfo"
    path.write_text(text)

    assert cpu_model(path) == model or (model is None and cpu_model(path))


def test_the_fingerprint_is_short_and_stable():
    assert fingerprint(*HERE) == fingerprint(*HERE)
    assert (len(fingerprint(*HERE)), int(fingerprint(*HERE), 16) >= 0) == (12, True)


@pytest.mark.parametrize(("place", "other"), [*enumerate(["AMD EPYC 2", 31, 32 * 2**30, "6.9.0", "3.12.0"])])
def test_the_fingerprint_changes_with_each_of_its_parts(place, other):
    changed = (*HERE[:place], other, *HERE[place + 1 :])

    assert fingerprint(*changed) != fingerprint(*HERE)


def test_some_megabytes_of_memory_do_not_change_it():
    assert fingerprint("c", 1, 64 * 2**30 - 300 * 2**20, "k", "p") == fingerprint(
        "c", 1, 64 * 2**30, "k", "p"
    )


def test_the_machine_id_is_not_told():
    path = Path("/etc/machine-id")
    secret = path.read_text().strip() if path.exists() else ""

    assert not secret or secret not in repr(this_host())
