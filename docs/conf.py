"""How Sphinx builds the documentation: MyST pages with the furo theme, without any network."""

from porcelain import __version__

project = "porcelain"
author = "The porcelain authors"
copyright = author
release = __version__

extensions = ["myst_parser", "sphinx_copybutton"]
exclude_patterns = ["_build"]
myst_heading_anchors = 3
html_theme = "furo"
html_title = "porcelain"
html_show_sourcelink = False
copybutton_prompt_text = "$ "
