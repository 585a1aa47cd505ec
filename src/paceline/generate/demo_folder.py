"""Where the demo model lies: `generate.model = demo`."""

from __future__ import annotations

from pathlib import Path

from paceline.base.errors import ConfigError


def demo_folder() -> Path:
    """The folder of the model that is shipped, beside the installed package or in the repository.

    Raises:
        ConfigError: it is in neither place.
    """
    package = Path(__file__).resolve().parents[1]
    for root in (package, package.parents[1]):
        folder = root / "examples" / "demo_model" / "model"
        if (folder / "config.json").is_file():
            return folder
    raise ConfigError(
        f"examples/demo_model/model is in neither {package} nor {package.parents[1]}; install paceline again, "
        "or set generate.model to a model's folder",
        param="generate.model",
    )
