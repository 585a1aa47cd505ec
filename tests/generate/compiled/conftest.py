from pathlib import Path

import pytest

from paceline.generate.compiled.support import unsupported


def pytest_collection_modifyitems(items):
    """The kernels need AVX-512; elsewhere the torch runner is what is used, and tested."""
    here = Path(__file__).parent
    if refusal := unsupported("int8") or unsupported("bf16"):
        for item in items:
            if here in item.path.parents:
                item.add_marker(pytest.mark.skip(reason=refusal))


@pytest.fixture(scope="session")
def state_dir(request):
    """Keeps what is compiled between runs, as a server does: it is made again when a source changes."""
    return Path(request.config.cache.mkdir("generate"))
