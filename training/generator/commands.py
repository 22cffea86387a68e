"""`porcelain generator`: pretrain, train, synthesize and evaluate."""

from __future__ import annotations

import typer

from training.generator.evaluation import command as evaluation
from training.generator.lora import command as lora
from training.generator.pretraining import command as pretraining
from training.generator.synthesis import command as synthesis

app = typer.Typer(
    help="Fine-tune Stable Diffusion and synthesise rare kinds.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)
app.command(epilog=pretraining.EXAMPLES)(pretraining.pretrain)
app.command(epilog=lora.EXAMPLES)(lora.train)
app.command(epilog=synthesis.EXAMPLES)(synthesis.synthesize)
app.command(epilog=evaluation.EXAMPLES)(evaluation.evaluate)
