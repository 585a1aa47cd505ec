"""Penalties and bias."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import RepetitionPenaltyLogitsProcessor

from paceline.base.generation import Sampling
from paceline.generate.penalties import bias, penalise

PROMPT = np.array([0, 2, 2], np.int32)


def penalised(sampling: Sampling, output: list[int]) -> list[float]:
    logits = np.array([1, 1, -1, -1, 2], np.float32)
    penalise(logits, sampling, PROMPT, output)
    return logits.tolist()


def test_the_repetition_penalty_is_hugging_faces():
    logits = torch.tensor([[1.0, 1.0, -1.0, -1.0, 2.0]])
    theirs = RepetitionPenaltyLogitsProcessor(1.25)(torch.tensor([[0, 2, 2, 4, 4]]), logits)

    assert penalised(Sampling(repetition_penalty=1.25), [4, 4]) == pytest.approx(theirs[0].tolist())


def test_presence_counts_once_and_frequency_every_time_and_neither_the_prompt():
    assert penalised(Sampling(presence_penalty=0.5), [4, 4, 1]) == [1, 0.5, -1, -1, 1.5]
    assert penalised(Sampling(frequency_penalty=0.5), [4, 4, 1]) == [1, 0.5, -1, -1, 1]


def test_without_output_only_the_prompt_counts():
    assert penalised(Sampling(presence_penalty=2, frequency_penalty=2), []) == [1, 1, -1, -1, 2]
    assert penalised(Sampling(repetition_penalty=2), []) == [0.5, 1, -2, -1, 2]


def test_a_bias_is_added():
    logits = np.zeros(4, np.float32)
    bias(logits, {3: 1.5, 0: -100.0})

    assert logits.tolist() == [-100, 0, 0, 1.5]
