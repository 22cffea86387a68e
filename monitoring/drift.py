"""Rules about what the classifier answers: how often it is not sure, and drift."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from monitoring.objectives import ABSTAINED_SHARE, CLASSIFIER, DRIFT, ENOUGH
from monitoring.ruling import Clock, Rule, alert, record

JOB: Final = f'job="{CLASSIFIER.job}"'


def predictions(clock: Clock) -> Iterator[Rule]:
    """Shares of labels over a day against those of the training pictures."""
    day = clock.span(86400)
    made = f"increase(porcelain_predictions_total{{{JOB}}}[{day}])"
    unsure = f"increase(porcelain_abstentions_total{{{JOB}}}[{day}])"
    total = f"sum by (job, task) ({made})"
    yield record("job_task:porcelain_predictions:increase1d", total)
    yield record(
        "job_task:porcelain_abstentions:ratio1d", f"sum by (job, task) ({unsure}) / {total}"
    )
    yield record(
        "job_task_label:porcelain_predictions:share1d",
        f"sum by (job, task, label) ({made}) "
        "/ on (job, task) group_left job_task:porcelain_predictions:increase1d",
    )
    now, then = (
        f"clamp_min({share}, 0.001)"
        for share in (
            "job_task_label:porcelain_predictions:share1d",
            f"max by (job, task, label) (porcelain_training_label_share{{{JOB}}})",
        )
    )
    yield record(
        "job_task:porcelain_prediction_drift:psi1d",
        f"sum by (job, task) (({now} - {then}) * ln({now} / {then}))",
    )
    enough = f"and job_task:porcelain_predictions:increase1d > {ENOUGH}"
    yield alert(
        "PorcelainAbstains",
        f"job_task:porcelain_abstentions:ratio1d > {ABSTAINED_SHARE} {enough}",
        "ticket",
        '"Not sure" about {{ $labels.task }} for {{ $value | humanizePercentage }} of pictures',
        "What is sent is unlike what the model has learned from, or hard to see.",
        lasting=clock.span(3600),
    )
    yield alert(
        "PorcelainDrift",
        f"job_task:porcelain_prediction_drift:psi1d > {DRIFT} {enough}",
        "ticket",
        'Predicted {{ $labels.task }} differs from training (PSI {{ printf "%.2f" $value }})',
        "Other kinds are sent than the model was trained on: look at some, and think of training "
        "anew.",
        lasting=clock.span(3600),
    )
