"""One rule runs any notebook through papermill.

    make results                                                        the usual way
    snakemake --cores 1 --config profile=smoke                          the same, by hand
    snakemake results/mini/metrics/03_metrics_and_protocols.json --cores 1 --config profile=mini         one notebook and what it needs
    snakemake --executor slurm --jobs 20 --config profile=full          on a cluster, with Snakemake's own executors

A notebook runs again when itself, the library files it imports, its numbers in config.yaml or the results it reads have changed.
"""

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path

from cirlib.config import load_config
from cirlib.pipeline import needed_notebooks, planned_notebooks, source_files
from cirlib.types import InputError
from snakemake.exceptions import WorkflowError

PROFILE = config.get("profile", "mini")
RESULTS = f"results/{PROFILE}"

try:
    PLAN = load_config(PROFILE, Path("config.yaml"))
    NOTEBOOKS = planned_notebooks(PLAN)
except InputError as error:
    raise WorkflowError(str(error)) from None

# Everything that smoke and mini need is in the repository, so a notebook that reaches for the network is a mistake, and fails at once.
if PROFILE != "full":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")


wildcard_constraints:
    name=r"\d\d_\w+",


rule all:
    input:
        expand(f"{RESULTS}/notebooks/{{name}}.ipynb", name=NOTEBOOKS),
        expand(f"{RESULTS}/metrics/{{name}}.json", name=NOTEBOOKS),


rule notebook:
    input:
        notebook="notebooks/{name}.ipynb",
        sources=lambda wildcards: source_files(PLAN, wildcards.name),
        needs=lambda wildcards: expand(f"{RESULTS}/metrics/{{need}}.json", need=needed_notebooks(PLAN, wildcards.name)),
    output:
        notebook=f"{RESULTS}/notebooks/{{name}}.ipynb",
        metrics=f"{RESULTS}/metrics/{{name}}.json",
    log:
        f"{RESULTS}/logs/{{name}}.log",
    params:
        # Not used by the command: Snakemake runs the notebook again when these numbers change.
        numbers=lambda wildcards: json.dumps([asdict(PLAN.profile), dict(PLAN.settings(wildcards.name))]),
        # Snakemake removes the outputs of a failed job, so papermill writes under another name and the copy moves in at the end.
        running=f"{RESULTS}/notebooks/{{name}}.running.ipynb",
        failed=f"{RESULTS}/notebooks/{{name}}.failed.ipynb",
        profile=PROFILE,
    threads: max(1, workflow.cores // int(config.get("jobs", 1)))  # each notebook computes with its share of the cores
    resources:
        mem_mb=8000,
        runtime=240,
    shell:
        """
        echo "[{wildcards.name}] runs; its log: {log}"
        begun=$SECONDS
        rm -f {params.failed}
        if {sys.executable:q} -m papermill {input.notebook} {params.running} --cwd notebooks --kernel python3 \
            --parameters profile {params.profile} --log-output --no-progress-bar > {log} 2>&1 && ls {output.metrics} >> {log} 2>&1
        then
            mv {params.running} {output.notebook}
            echo "[{wildcards.name}] done in $((SECONDS - begun)) s"
        else
            if [ -f {params.running} ]; then mv {params.running} {params.failed}; fi
            tail -n 12 {log} >&2
            echo "[{wildcards.name}] FAILED after $((SECONDS - begun)) s; up to the failing cell: {params.failed}; whole log: {log}" >&2
            exit 1
        fi
        """
