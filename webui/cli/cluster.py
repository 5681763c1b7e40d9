"""``train --ray``: many embeddings over a Ray cluster, one at a time on each worker."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from webui.cli.jobs import attempt
from webui.errors import AppError
from webui.settings import CODE, Settings
from webui.studio.studio import Studio
from webui.training.jobs.job import Job
from webui.training.jobs.many import Result


class Worker:
    """Trains jobs one after another on one loaded model, in a process of its own."""

    def __init__(self, settings: Settings) -> None:
        self._studio = Studio(settings)
        self._studio.open()

    def train(self, job: Job) -> Result:
        """Carry a job out; failures are results too."""
        return attempt(self._studio, job)

    def close(self) -> None:
        """Save what is going on."""
        self._studio.close()


def train_on_cluster(
    jobs: Sequence[Job], settings: Settings, workers: int | None = None
) -> list[Result]:
    """Share jobs among as many workers as there are GPUs, or else processors; at most ``workers``.

    ``RAY_ADDRESS`` names the cluster; without it this machine is one. Raises AppError without Ray.
    """
    try:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        import ray
        from ray.util import ActorPool
    except ImportError as problem:
        raise AppError(
            "--ray needs Ray; install it with: pip install ray. Several GPUs of one machine do "
            "without it: accelerate launch -m webui train --jobs FILE."
        ) from problem
    ray.init(
        include_dashboard=False,
        log_to_driver=False,
        runtime_env={"env_vars": {"PYTHONPATH": os.pathsep.join([str(CODE), *_paths()])}},
    )
    try:
        there = ray.cluster_resources()
        gpus = int(there.get("GPU", 0))
        count = min(len(jobs), gpus or int(there.get("CPU", 1)), workers or len(jobs))
        remote = ray.remote(num_cpus=1, num_gpus=1 if gpus else 0)(Worker)
        pool: list[Any] = [remote.remote(settings) for _ in range(max(1, count))]
        results = []
        done = ActorPool(pool).map_unordered(_send, list(jobs))
        for result in done:
            print(f"{result.name}: {result.state}", flush=True)
            results.append(result)
        ray.get([worker.close.remote() for worker in pool])
        return sorted(results, key=lambda result: [job.name for job in jobs].index(result.name))
    finally:
        ray.shutdown()


def _send(worker: Any, job: Job) -> Any:
    return worker.train.remote(job)


def _paths() -> list[str]:
    return [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
