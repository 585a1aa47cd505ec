"""Locust's faster client. With LOCUST_USER_RATE each user keeps to so many requests a second, without it to none."""

import os

from locust import FastHttpUser, constant_throughput, task

RATE = float(os.environ.get("LOCUST_USER_RATE", "0"))


class Caller(FastHttpUser):
    """Asks for the root again and again."""

    if RATE:
        wait_time = constant_throughput(RATE)

    @task
    def root(self):
        self.client.get("/")
