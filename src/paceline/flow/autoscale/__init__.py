"""How many replicas a service needs: a pure function of a policy, what was decided before, and what the replicas say.

    decision = decide(policy, state, Signals(reporting=4, cpu_percent=91.0, memory_percent=40.0), now)
    decision.replicas, decision.why, decision.state      # the state is for the next call

What keeps the number from flapping:

- more replicas at once, fewer only when no number above was asked for during `down_stabilise_s` (`decision`);
- no removal unless the queue and p95 forecast for those that stay leave room below their targets (`removal`);
- forecasts may be wrong, so a number of replicas that missed such a target is remembered with its load, and not tried
  again until the load has fallen to what each replica carries once one more is there (`state.Missed`);
- what is not known never removes a replica: a signal that is missing, or a replica that does not report (`need`).

Seam: the simulator calls `decide` on virtual time, a cluster will call it with what its replicas measured; neither
repeats a rule of it. `AutoscalePolicy` joins the settings tree when there is a cluster to steer.
"""

from paceline.flow.autoscale.decision import Decision, decide
from paceline.flow.autoscale.policy import AutoscalePolicy
from paceline.flow.autoscale.signals import Signals
from paceline.flow.autoscale.state import State

__all__ = ["AutoscalePolicy", "Decision", "Signals", "State", "decide"]
