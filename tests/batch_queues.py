"""Queues of a batcher with jobs in them."""

from math import inf

from paceline.flow.arrivals import Arrivals
from paceline.flow.batch_queue import BatchPolicy, BatchQueue
from paceline.flow.job import Job
from paceline.flow.run_time import RunTime

CPU = (0.5e-3, 0.1e-3, 60e-6, 0.0)
GPU = (8e-3, 0.02e-3, 0.5e-6, 0.0)


class Expecting(Arrivals):
    """Company is expected every 0.1 ms, whatever came before."""

    def gap_s(self, now):
        return 1e-4, inf


class Stubborn(RunTime):
    """Never learns."""

    def observe(self, rows, length, seconds):
        pass


def queue_of(lengths=(), *, prior=CPU, lanes=1, now=0.0, **policy):
    policy = {"max_cost": 512, "bucket": 8, **policy}
    queue = BatchQueue(BatchPolicy(**policy), RunTime(prior), lanes)
    for length in lengths:
        queue.put(Job(None, length), now)
    return queue


def lengths_of(batch):
    return [job.length for job in batch.jobs]
