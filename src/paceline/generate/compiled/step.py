"""The whole forward pass of a step, run by every thread of the crew: one call, ten phases a layer.

    rows     embed (first layer), normalise, make ready      inputs
    panels   queries, keys and values                        wide
    rows     rotate; keep keys and values in their blocks    wide, kv
    tiles    attention                                       attention
    rows     make ready                                      inputs
    panels   project, add to the residual                    residual
    rows     normalise, make ready                           inputs
    panels   gate and up, silu                               wide
    rows     make ready                                      inputs
    panels   down, add to the residual                       residual

and, for the rows whose logits are wanted, normalise and the output layer.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np

from paceline.generate.compiled.attention import attend
from paceline.generate.compiled.crew import (
    STOP,
    begin_step,
    compiled,
    current_phase,
    finish,
    following,
    inlined,
    skip_to,
    take,
    wait_phase,
    wait_step,
)
from paceline.generate.compiled.plan import PLANNED, plan
from paceline.generate.compiled.products import ADD, GATE, NO_BIAS, PARTS, STORE, product
from paceline.generate.compiled.rows import (
    embed,
    input_bytes,
    keep,
    make_input,
    normalise,
    rotate,
)
from paceline.generate.compiled.tiles import PANEL
from paceline.generate.compiled.words import acquire, index

PHASES_PER_LAYER = 10
_BLOCK = 16
_AFTER_ATTENTION = cast("int", np.int64(-1))


@inlined
def _panels(columns: int) -> int:
    """Columns in whole panels."""
    return (columns + PANEL - 1) // PANEL * PANEL


@compiled
def _normalise_rows(
    control: int, phase: int, model: Any, step: Any, kind: Any, weight: int, layer: int, scratch: int
) -> None:
    while True:
        first, count = take(control, phase, step.rows, PARTS)
        if count == 0:
            break
        for row in range(first, first + count):
            residual = step.residual + row * step.residual_stride
            if layer == 0:
                token = index(step.row_tokens + 4 * row)
                embed(model, token, residual)
            normalise(residual, weight, model.norm_eps, model.hidden, model.hidden, scratch)
            target = step.inputs + row * input_bytes(kind, model.hidden)
            make_input(kind, scratch, model.hidden, target)
        finish(control, phase, step.rows, count)
    wait_phase(control, phase)


@compiled
def _ready_rows(
    control: int, phase: int, step: Any, kind: Any, source: int, stride: int, values: int
) -> None:
    while True:
        first, count = take(control, phase, step.rows, PARTS)
        if count == 0:
            break
        for row in range(first, first + count):
            make_input(kind, source + row * stride, values, step.inputs + row * input_bytes(kind, values))
        finish(control, phase, step.rows, count)
    wait_phase(control, phase)


@compiled
def _keep_rows(
    control: int, phase: int, model: Any, layer: Any, step: Any, kv_kind: Any, number: int, scratch: int
) -> None:
    dims = model.head_dim
    heads = model.heads + model.kv_heads
    while True:
        first, count = take(control, phase, step.rows, PARTS)
        if count == 0:
            break
        for row in range(first, first + count):
            line = step.wide + row * step.wide_stride
            position = index(step.row_positions + 4 * row)
            slot = index(step.row_slots + 4 * row)
            for head in range(heads):
                own = line + head * 4 * dims
                weight = layer.query_norm if head < model.heads else layer.key_norm
                if weight != 0:
                    normalise(own, weight, model.norm_eps, dims, model.head_size, own)
                rotate(own, model.rotary + position * 4 * dims, dims)
            block = model.kv + (number * model.blocks + slot // _BLOCK) * model.kv_heads * model.kv_head_bytes
            for head in range(model.kv_heads):
                keys = line + (model.heads + head) * 4 * dims
                values = line + (heads + head) * 4 * dims
                place = block + head * model.kv_head_bytes
                keep(kv_kind, keys, values, dims, place, slot % _BLOCK, scratch)
        finish(control, phase, step.rows, count)
    wait_phase(control, phase)


@compiled
def _attend_tiles(
    control: int, phase: int, model: Any, step: Any, kv_kind: Any, number: int, scratch: int
) -> None:
    items = step.tiles * model.kv_heads
    while True:
        first, count = take(control, phase, items, PARTS)
        if count == 0:
            break
        for item in range(first, first + count):
            attend(model, step, kv_kind, number, item // model.kv_heads, item % model.kv_heads, scratch)
        finish(control, phase, items, count)
    wait_phase(control, phase)


@compiled
def _layer(
    control: int,
    phase: int,
    model: Any,
    layer: Any,
    step: Any,
    kind: Any,
    kv_kind: Any,
    number: int,
    scratch: int,
) -> int:
    """A layer's phases from `phase`; the number of the phase after them."""
    hidden, inner = model.hidden, model.inner
    attended = model.heads * model.head_dim
    fused = attended + 2 * model.kv_heads * model.head_dim
    _normalise_rows(control, phase, model, step, kind, layer.attention_norm, number, scratch)
    phase = following(phase)
    product(
        control, phase, kind, step.rows, step.inputs, hidden, layer.qkv, layer.qkv_scales, _panels(fused),
        layer.qkv_bias, STORE, step.wide, step.wide_stride, scratch,
    )  # fmt: skip
    phase = following(phase)
    _keep_rows(control, phase, model, layer, step, kv_kind, number, scratch)
    phase = following(phase)
    _attend_tiles(control, phase, model, step, kv_kind, number, scratch)
    phase = following(phase)
    _ready_rows(control, phase, step, kind, step.attention, step.attention_stride, attended)
    phase = following(phase)
    product(
        control, phase, kind, step.rows, step.inputs, attended, layer.attended, layer.attended_scales,
        _panels(hidden), NO_BIAS, ADD, step.residual, step.residual_stride, scratch,
    )  # fmt: skip
    phase = following(phase)
    _normalise_rows(control, phase, model, step, kind, layer.mlp_norm, _AFTER_ATTENTION, scratch)
    phase = following(phase)
    product(
        control, phase, kind, step.rows, step.inputs, hidden, layer.gate_up, layer.gate_up_scales, 2 * inner,
        NO_BIAS, GATE, step.wide, step.wide_stride, scratch,
    )  # fmt: skip
    phase = following(phase)
    _ready_rows(control, phase, step, kind, step.wide, step.wide_stride, inner)
    phase = following(phase)
    product(
        control, phase, kind, step.rows, step.inputs, inner, layer.down, layer.down_scales, _panels(hidden),
        NO_BIAS, ADD, step.residual, step.residual_stride, scratch,
    )  # fmt: skip
    return following(phase)


@compiled
def _logits(control: int, phase: int, model: Any, step: Any, kind: Any, scratch: int) -> int:
    while True:
        first, count = take(control, phase, step.wanted, PARTS)
        if count == 0:
            break
        for item in range(first, first + count):
            row = index(step.wanted_rows + 4 * item)
            residual = step.residual + row * step.residual_stride
            normalise(residual, model.final_norm, model.norm_eps, model.hidden, model.hidden, scratch)
            target = step.inputs + item * input_bytes(kind, model.hidden)
            make_input(kind, scratch, model.hidden, target)
        finish(control, phase, step.wanted, count)
    wait_phase(control, phase)
    phase = following(phase)
    product(
        control, phase, kind, step.wanted, step.inputs, model.hidden, model.output, model.output_scales,
        _panels(model.vocab), NO_BIAS, STORE, step.logits, step.logits_stride, scratch,
    )  # fmt: skip
    return following(phase)


def work(control: int, models: Any, layers: Any, steps: Any, kind: Any, kv_kind: Any, thread: int) -> int:
    """Thread 0 runs the step and returns PLANNED, or why it cannot be run; the others run steps until told to stop.

    What the others read of a step that is over is not consistent; they take nothing on the strength of it (see `crew`).
    """
    model, step = models[0], steps[0]
    seen = 0
    while True:
        if thread == 0:
            refusal = plan(model, step)
            if refusal != PLANNED:
                return refusal
            # Numbers of phases are never used twice, not even where a step has none of its last ones.
            step.phase = current_phase(control)
            begin_step(control)
        else:
            seen = wait_step(control, seen)
            if acquire(control + STOP) != 0:
                return PLANNED
        scratch = step.scratch + thread * step.scratch_stride
        phase = step.phase
        for number in range(model.layers):
            phase = _layer(control, phase, model, layers[number], step, kind, kv_kind, number, scratch)
        if step.wanted > 0:
            phase = _logits(control, phase, model, step, kind, scratch)
        if thread == 0:
            skip_to(control, following(following(following(phase))))
            return PLANNED
