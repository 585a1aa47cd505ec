"""A running Paceline under tuning: its settings on trial, held by a lease that ends when nobody renews it."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote, urlsplit

import httpx

from paceline.base.errors import (
    ConfigError,
    LeaseUnknown,
    PacelineError,
    TrialFailed,
    Unreachable,
    error_of_code,
)
from paceline.tune.calibrate.batch_log import BatchLog
from paceline.tune.setting import Setting, Value

LEASE_S: Final = 10.0
"""A tuner that is killed leaves the server on trial settings for so long at most."""
RENEWALS: Final = 4.0
"""So many times within a lease: one lost answer does not end it."""
TIMEOUT_S: Final = 10.0


class Admin:
    """`/admin` of one server. The lease is renewed by a thread, so a run may take as long as it likes."""

    def __init__(self, url: str, token: str, *, insecure: bool = False, lease_s: float = LEASE_S) -> None:
        parts = urlsplit(url)
        self.root = f"{parts.scheme}://{parts.netloc}"
        self._client = httpx.Client(
            base_url=self.root,
            headers={"authorization": f"Bearer {token}"} if token else {},
            timeout=TIMEOUT_S,
            verify=not insecure,
            trust_env=False,
        )
        self._lease_s = lease_s
        self._lease: str | None = None
        self._on_trial: dict[str, Value] = {}
        self._batches_from = 0
        self._ending = threading.Event()
        self._lost = ""
        self._renewing: threading.Thread | None = None

    # -- reading --------------------------------------------------------------------------------------------------

    def settings(self) -> dict[str, dict[str, Any]]:
        """Every setting by name: value, live, tune, grid and so on. Raises ConfigError and Unreachable."""
        answer = self._call("GET", "/admin/settings")
        return {entry["name"]: entry for entry in answer["settings"]}

    def health(self) -> dict[str, Any]:
        """`/health` as it is."""
        return self._call("GET", "/health")

    def take_batches(self) -> BatchLog:
        """Those since the last call. Raises as `settings`."""
        answer = self._call("GET", f"/admin/batches?since={self._batches_from}")
        self._batches_from = int(answer["next"])
        return BatchLog.of(answer["batches"])

    def alive(self) -> bool:
        """Whether it answers, and with our lease in force."""
        try:
            self._call("GET", "/health/live")
        except PacelineError:
            return False
        return not self._lost

    # -- trying ---------------------------------------------------------------------------------------------------

    def try_out(self, setting: Setting) -> None:
        """Put the server on trial with exactly these changes to its baseline. Raises TrialFailed."""
        if self._lost:
            raise TrialFailed(self._lost)
        if not self._lease and not setting:
            return
        changes = {name: value for name, value in setting.items() if self._on_trial.get(name) != value}
        back = [name for name in self._on_trial if name not in setting]
        if back:  # a lease remembers the baseline better than we do
            self.revert()
            changes = dict(setting)
        if changes:
            self._change(changes)
            self._on_trial = dict(setting)

    def _change(self, changes: Mapping[str, Value]) -> None:
        body: dict[str, Any] = {"changes": dict(changes), "lease_s": self._lease_s}
        if self._lease:
            body["lease"] = self._lease
        try:
            answer = self._call("PATCH", "/admin/settings", body)
        except PacelineError as error:
            raise TrialFailed(f"the server did not take {dict(changes)}: {error.message}") from None
        if self._lease is None:
            self._lease = answer["lease"]["id"]
            self._ending = threading.Event()
            self._renewing = threading.Thread(
                target=self._keep_renewing, args=(self._lease, self._ending), name="lease", daemon=True
            )
            self._renewing.start()

    def revert(self) -> None:
        """End the trial; the server is back on its baseline. A server that is gone has nothing to take back."""
        lease = self._stop_renewing()
        if lease is None:
            return
        try:
            self._call("DELETE", f"/admin/settings/lease/{quote(lease)}")
        except (
            PacelineError
        ):  # gone, or ended by itself: both are the baseline, at the latest when the lease ends
            return

    def keep(self, setting: Setting) -> None:
        """Make `setting` permanent, until the server restarts. Raises TrialFailed."""
        self.try_out(setting)
        lease = self._stop_renewing()
        if lease is None:
            return
        try:
            self._call("POST", f"/admin/settings/lease/{quote(lease)}/keep")
        except PacelineError as error:
            raise TrialFailed(f"the server did not keep the settings: {error.message}") from None

    def close(self) -> None:
        """Revert what is on trial, and hang up."""
        self.revert()
        self._client.close()

    # -- the lease ------------------------------------------------------------------------------------------------

    def _stop_renewing(self) -> str | None:
        lease, self._lease, self._on_trial = self._lease, None, {}
        self._ending.set()
        if self._renewing is not None and self._renewing is not threading.current_thread():
            self._renewing.join(TIMEOUT_S)
        self._renewing = None
        return lease

    def _keep_renewing(self, lease: str, ending: threading.Event) -> None:
        missed = 0
        while not ending.wait(self._lease_s / RENEWALS):
            try:
                self._call("POST", f"/admin/settings/lease/{quote(lease)}", {"lease_s": self._lease_s})
                missed = 0
            except PacelineError as error:
                missed += 1
                if isinstance(error, LeaseUnknown) or missed >= RENEWALS:
                    self._lost = f"the lease on the trial settings was lost ({error.message})"
                    return

    # -- the wire -------------------------------------------------------------------------------------------------

    def _call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        try:
            answer = self._client.request(method, path, json=body)
        except httpx.HTTPError as error:
            raise Unreachable(
                f"cannot reach {self.root} ({error or type(error).__name__}); is the server running?"
            ) from None
        if answer.is_success:
            found: dict[str, Any] = answer.json() if answer.content else {}
            return found
        said, code = _problem(answer)
        if answer.status_code == 401:
            raise ConfigError(
                f"{self.root} refused the admin token: {said}; give --admin-token, the value of the server's admin.token",
                param="admin_token",
            )
        if answer.status_code == 404 and path == "/admin/settings":
            raise ConfigError(
                f"{self.root} lets nobody change its settings; start it with --set admin.token=SECRET "
                "(and give --admin-token), or tune it as a black box with --launch",
                param="url",
            )
        raise error_of_code(code, said)


def _problem(answer: httpx.Response) -> tuple[str, str]:
    """What a problem document says, and its code."""
    try:
        document = answer.json()
        inner = document.get("error", document)
        return str(inner.get("message") or inner.get("detail") or answer.text), str(inner.get("code", ""))
    except (ValueError, AttributeError):
        return f"status {answer.status_code}", ""
