"""The page: its frame, its colours, and the three tabs in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from nicegui import ui

from services.studio.classify_tab import ClassifyTab
from services.studio.client import ClassifierClient, GeneratorClient
from services.studio.generate_tab import GenerateTab
from services.studio.review_tab import ReviewTab
from services.studio.settings import StudioSettings
from services.studio.training_pictures import TrainingPictures

STYLE: Final = """
body { background: #f6f7f4; color: #22304a;
  font-family: system-ui, "Noto Sans", "Noto Sans CJK TC", "PingFang TC", sans-serif; }
h1, h2 { font-family: Georgia, "Noto Serif", "Songti TC", serif; font-weight: 500; margin: 0;
  color: #1d3a6e; line-height: 1.25; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.15rem; }
.porcelain-card { background: #fff; border: 1px solid #e2e6e1; border-radius: 12px;
  box-shadow: none; padding: 1.1rem; }
.porcelain-quiet { color: #5b6678; font-size: .9rem; }
.porcelain-warning { background: #fdf3dc; color: #6b4a00; border-radius: 8px;
  padding: .5rem .8rem; }
.porcelain-error { background: #fbe9e7; color: #8a1f11; border-radius: 8px; padding: .5rem .8rem; }
.porcelain-unsure { background: #fdf3dc; color: #6b4a00; border-radius: 999px; padding: 0 .6rem;
  font-size: .8rem; white-space: nowrap; }
.porcelain-known { background: #e3edf8; color: #1d3a6e; border-radius: 999px; padding: 0 .6rem;
  font-size: .8rem; white-space: nowrap; }
.porcelain-bar { height: 8px; background: #e8ece8; border-radius: 4px; overflow: hidden; }
.porcelain-bar > div { height: 100%; background: #2b5797; border-radius: 4px; }
.porcelain-bar.faint > div { background: #a9bcd6; }
.porcelain-bar.doubtful > div { background: #c99a2e; }
.porcelain-picture { border-radius: 8px; background: #eef1ee; overflow: hidden; }
.porcelain-chosen { outline: 3px solid #2b5797; outline-offset: 2px; }
.porcelain-key { border: 1px solid #c5ccd6; border-radius: 4px; padding: 0 .35rem;
  font-size: .8rem; background: #fff; }
.porcelain-number { border: 1px solid currentColor; border-radius: 3px; padding: 0 .25rem;
  margin-right: .35rem; font-size: .7rem; line-height: 1.2; opacity: .75; }
.porcelain-choice { font-size: .85rem; min-height: 2rem; }
.porcelain-another { width: 7rem; font-size: .85rem; }
.porcelain-another .q-field__control, .porcelain-another .q-field__marginal,
.porcelain-another .q-field__native { height: 2rem; min-height: 2rem; padding: 0; }
.porcelain-another .q-field__label { top: .4rem; font-size: .85rem; }
.porcelain-similar { border: 1px solid #e2e6e1; border-radius: 8px; padding: .6rem;
  flex: 0 0 9rem; min-width: 0; overflow-wrap: anywhere; }
.porcelain-upload { width: 100%; box-shadow: none; border: 2px dashed #b9c6d8;
  border-radius: 12px; max-height: none; background: #fff; }
.porcelain-upload .q-uploader__header { background: transparent; color: inherit; }
.porcelain-upload .q-uploader__list { display: none; } /* each has a card of its own below */
.porcelain-panel:focus { outline: none; }
.porcelain-touch { display: none; }
@media (pointer: coarse) {
  .porcelain-touch { display: inline-flex; }
  .porcelain-mouse, .porcelain-keys, .porcelain-number { display: none; }
  .porcelain-choice { min-height: 2.5rem; }
}
@media (max-width: 480px) { .q-tab__icon { display: none; } }
"""


@dataclass(frozen=True)
class Studio:
    """What every open page shares: no user's pictures are among it."""

    settings: StudioSettings
    classifier: ClassifierClient
    generator: GeneratorClient
    training_pictures: TrainingPictures


def build_page(studio: Studio) -> None:
    """Lay out the page for one visitor."""
    ui.colors(primary="#2b5797", secondary="#6f9a8d", accent="#8a5a2b")
    ui.add_css(STYLE)
    with ui.column().classes("w-full max-w-5xl mx-auto gap-4 p-2 sm:p-4"):
        with ui.column().classes("gap-1"):
            ui.html("<h1>Porcelain studio</h1>", sanitize=False)
            ui.label(
                "What the model thinks of a photograph, how sure it is, and where it looked."
            ).classes("porcelain-quiet")
        with ui.tabs().props("align=left no-caps inline-label").classes("w-full") as tabs:
            classify = ui.tab("Classify", icon="search")
            generate = ui.tab("Generate", icon="brush")
            review = ui.tab("Review", icon="fact_check")
        with ui.tab_panels(tabs, value=classify, animated=False, keep_alive=True).classes(
            "w-full bg-transparent"
        ):
            with ui.tab_panel(classify).classes("p-0"):
                ClassifyTab(studio.classifier, studio.settings, studio.training_pictures).build()
            with ui.tab_panel(generate).classes("p-0"):
                GenerateTab(studio.generator).build()
            with ui.tab_panel(review).classes("p-0"):
                ReviewTab(studio.classifier, studio.settings).build(lambda: tabs.value == "Review")
