"""Sphinx configuration: MyST pages, API from the docstrings. `make docs` treats warnings as errors."""

from scoread_jax import __version__

project = "scoread_jax"
author = copyright = "scoread_jax contributors"
version = release = __version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx-mathjax-offline", "sphinx.ext.viewcode"]
myst_enable_extensions = ["dollarmath", "amsmath", "deflist"]
myst_heading_anchors = 3
highlight_language = "bash"  # what says nothing else is a command that no test runs
nb_execution_mode = "off"  # the tests run the pages' examples and the notebooks
exclude_patterns = ["_build"]

autodoc_typehints = "none"  # the docstrings give shape, unit and range
autodoc_member_order = "bysource"
napoleon_google_docstring = True
napoleon_use_rtype = False
napoleon_use_ivar = True

html_theme = "sphinx_book_theme"
html_title = f"scoread_jax {release}"
html_static_path = ["_static"]
html_css_files = ["tables.css"]
html_theme_options = {"home_page_in_toc": True, "show_toc_level": 2, "use_download_button": False}
# Without the second bar of the theme underneath.
html_theme_options |= {f"navbar_{place}": [] for place in ("start", "center", "end", "persistent")}
