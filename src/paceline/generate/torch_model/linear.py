"""Linear layers without bias in several precisions: float activations in, activations of the same type out."""

from __future__ import annotations

import warnings
from typing import Any, Final, Protocol

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - its name everywhere

INT8_CHUNK_ROWS: Final = 128
"""fbgemm does 1,490 GOPS on 128 rows and 1,400 or less on 512 (2 cores with AVX-512 VNNI, 2048 x 1024 weights)."""

INT4_ROWS: Final = 16
"""torch packs int4 weights of a multiple of so many outputs."""


class Linear(Protocol):
    """`y = x @ weight.T`."""

    nbytes: int
    """Of the weights in their packed form."""

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """(M, in) -> (M, out)."""


class FloatLinear:
    """As it stands there: fp32, or a half type on a GPU (or on a processor without oneDNN's)."""

    def __init__(self, weight: torch.Tensor) -> None:
        """`weight` (out, in) in the type and on the device to compute on."""
        self._weight = weight
        self.nbytes = weight.nbytes

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """See `Linear`."""
        return F.linear(x.to(self._weight.dtype), self._weight).to(x.dtype)


class PackedBf16Linear:
    """bf16 on a processor, in the blocks that oneDNN likes: not repacked at every call as F.linear does."""

    def __init__(self, weight: torch.Tensor) -> None:
        """`weight` (out, in) bf16; it is copied."""
        self._packed = torch.ops.mkldnn._reorder_linear_weight(weight, None)  # noqa: SLF001 - torch.compile calls it too
        self.nbytes = weight.nbytes

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """See `Linear`."""
        half = x.to(torch.bfloat16)
        y: torch.Tensor = torch.ops.mkldnn._linear_pointwise(half, self._packed, None, "none", [], "")  # noqa: SLF001
        return y.to(x.dtype)

    @staticmethod
    def is_available() -> bool:
        """Whether this torch and this processor can."""
        operators = torch.ops.mkldnn
        return (
            torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
            and hasattr(operators, "_linear_pointwise")
            and hasattr(operators, "_reorder_linear_weight")
            and bool(operators._is_mkldnn_bf16_supported())  # noqa: SLF001
        )


class Int8Linear:
    """int8 weights and activations on a processor, accumulated in int32.

    Each row of activations is scaled by its own largest value: what a row gets is the same in any company, exactly.
    """

    def __init__(self, codes: np.ndarray, scales: np.ndarray) -> None:
        """`codes` (out, in) int8 and `scales` (out,), as `quantize_rows` makes them; they are copied."""
        with warnings.catch_warnings():
            # torch announces that quantised tensors will go one day, without another way to these kernels.
            warnings.simplefilter("ignore")
            weight = torch._make_per_channel_quantized_tensor(  # noqa: SLF001 - the only way in with our own codes
                torch.from_numpy(codes),
                torch.from_numpy(scales).double(),
                torch.zeros(len(scales), dtype=torch.int64),
                0,
            )
            self._packed = torch.ops.quantized.linear_prepack(weight, None)
        self._outputs = len(codes)
        # Without VNNI two products are added in 16 bits, which 8 full bits would overflow: 7 are used.
        self._levels = 127.0 if torch.cpu._is_vnni_supported() else 63.0  # noqa: SLF001
        self.nbytes = int8_bytes(*codes.shape)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """See `Linear`."""
        run = torch.ops.quantized.linear_with_input_q_dq_qweight_dq_output_fp32
        wide = x.float()
        scale = wide.abs().amax(dim=1, keepdim=True).clamp_min_(1e-20) / self._levels  # (M, 1)
        wide = wide / scale  # -levels to levels; rounded inside
        y = torch.empty(len(x), self._outputs)
        for start in range(0, len(x), INT8_CHUNK_ROWS):
            rows = slice(start, start + INT8_CHUNK_ROWS)
            torch.mul(run(wide[rows], 1.0, 128, self._packed), scale[rows], out=y[rows])
        return y.to(x.dtype)


class Int4Linear:
    """int4 weights in groups, each with a scale and a middle; activations and sums are bf16 and fp32."""

    def __init__(self, codes: np.ndarray, scales: np.ndarray, middles: np.ndarray) -> None:
        """`codes` (out, in) from 0 to 15, `scales` and `middles` (out, in / group), as `quantize_groups` makes them."""
        self._outputs = len(codes)
        missing = -self._outputs % INT4_ROWS
        codes, scales, middles = (np.pad(array, ((0, missing), (0, 0))) for array in (codes, scales, middles))
        self._group = codes.shape[1] // scales.shape[1]
        self._packed = torch.ops.aten._convert_weight_to_int4pack_for_cpu(  # noqa: SLF001 - as torchao does
            torch.from_numpy(codes.astype(np.int32)), 1
        )
        pairs = np.stack((scales.T, middles.T), axis=-1)  # (in / group, out, 2)
        self._pairs = torch.from_numpy(np.ascontiguousarray(pairs)).to(torch.bfloat16)
        self.nbytes = int(self._packed.nbytes) + self._pairs.nbytes

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """See `Linear`."""
        run: Any = torch.ops.aten._weight_int4pack_mm_for_cpu  # noqa: SLF001
        y: torch.Tensor = run(x.to(torch.bfloat16).contiguous(), self._packed, self._group, self._pairs)
        return y[:, : self._outputs].to(x.dtype)

    @staticmethod
    def is_available() -> bool:
        """Whether this torch has the kernels."""
        return hasattr(torch.ops.aten, "_weight_int4pack_mm_for_cpu")


def int8_bytes(outputs: int, inputs: int) -> int:
    """Of an int8 layer: codes, and a scale and a sum of codes for each output."""
    return outputs * inputs + 8 * outputs
